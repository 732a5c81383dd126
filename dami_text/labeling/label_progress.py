"""How good a session's models are, and how well annotators agree, where a text has any number of labels."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dami_text.config.fields import listed

Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class LabelReport:
    """What micro F1 alone does not show of predictions.

    Attributes:
        micro_f1, macro_f1: F1 of all decisions on texts and labels together, and its mean over the labels.
        subset_accuracy: the share of texts all of whose labels are predicted, and no other.
        never_predicted: the labels that texts have, but that are never predicted.
    """

    metric: ClassVar[str] = "micro F1"

    micro_f1: float
    macro_f1: float
    subset_accuracy: float
    never_predicted: list[str]

    @classmethod
    def of(cls, predicted: Labels, labels: Labels, class_names: Sequence[str]) -> "LabelReport | None":
        """The report on predictions (N, C) of labels (N, C), both 0 and 1; None without a text."""
        if not len(labels):
            return None
        right, there = predicted * labels, predicted + labels
        never = np.flatnonzero((labels.sum(axis=0) > 0) & (predicted.sum(axis=0) == 0)).tolist()
        return cls(
            micro_f1=float(2 * right.sum() / max(1, there.sum())),
            macro_f1=float((2 * right.sum(axis=0) / np.maximum(there.sum(axis=0), 1)).mean()),
            subset_accuracy=float((predicted == labels).all(axis=1).mean()),
            never_predicted=[class_names[i] for i in never],
        )

    def __str__(self) -> str:
        return f"macro F1 {self.macro_f1:.2f}; all labels right in {self.subset_accuracy:.1%}"

    def warnings(self) -> list[str]:
        """What there is to worry about; empty where there is nothing."""
        return [f"never predicted: {listed(self.never_predicted)}"] if self.never_predicted else []


def masi(first: Iterable[int], second: Iterable[int]) -> float:
    """The distance of two sets of labels, from 0 for equal ones to 1 for such as have nothing in common.

    One minus the product of Jaccard's index and of 1, 2/3 or 1/3: for equal sets, if one is part of the other, and if
    they overlap (Passonneau 2006, "Measuring Agreement on Set-valued Items (MASI) for Semantic and Pragmatic
    Annotation").

    Examples:
        >>> [round(masi({0, 1}, other), 3) for other in ({0, 1}, {0}, {1, 2}, {2}, ())]
        [0.0, 0.667, 0.889, 1.0, 1.0]
    """
    a, b = set(first), set(second)
    if a == b:
        return 0.0
    monotonicity = 2 / 3 if a < b or b < a else 1 / 3
    return 1 - len(a & b) / len(a | b) * monotonicity


@dataclass(frozen=True, kw_only=True)
class LabelAgreement:
    """Of two annotators on the n texts that both labelled: the share of equal answers, and Krippendorff's alpha.

    alpha is 1 - D / E, with D the mean distance of the two answers to a text, and E that of any two answers to any
    texts. Distances are `masi`, so that answers which share labels agree in part. It is None where all answers are
    equal: then nothing shows what chance alone would do.
    """

    first: str
    second: str
    n: int
    observed: float
    alpha: float | None

    @classmethod
    def of(
        cls, first: str, second: str, answers: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
    ) -> "LabelAgreement":
        """The agreement of two annotators whose answers to the same texts these are, a pair for each text."""
        counts = Counter(answer for pair in answers for answer in pair)
        n_answers = counts.total()
        pairs = [(a, b) for a in counts for b in counts if a != b]
        expected = sum(counts[a] * counts[b] * masi(a, b) for a, b in pairs) / (n_answers * (n_answers - 1))
        observed = sum(masi(a, b) for a, b in answers) / len(answers)
        return cls(
            first=first,
            second=second,
            n=len(answers),
            observed=sum(a == b for a, b in answers) / len(answers),
            alpha=1 - observed / expected if expected else None,
        )

    def __str__(self) -> str:
        alpha = "undefined" if self.alpha is None else f"{self.alpha:.2f}"
        texts = f"{self.n} text{'s' * (self.n != 1)}"
        return f"Krippendorff's alpha {alpha} (MASI distance), {self.observed:.0%} equal, {texts}"
