"""How good class probabilities are, quickly: what trainings evaluate by, and the metrics are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dami_text.config.fields import listed
from dami_text.data.labels import label_counts

#: How far rounding in float32 takes two numbers apart that are equal, as a share of their size.
ROUNDING = 1e-6

#: Accuracy above the largest class's share up to which a model is said to know no more than that class.
MARGIN = 0.01


@dataclass(frozen=True, kw_only=True)
class ClassReport:
    """What an accuracy alone does not show of predictions.

    Attributes:
        accuracy, macro_f1: of the predictions; macro F1 is the mean over all classes, 0 for one that is neither present
            nor predicted.
        largest, largest_share: the largest class and its share, the accuracy of a model that always predicts it.
        never_predicted: the classes that are present, but never predicted.
    """

    accuracy: float
    macro_f1: float
    largest: str
    largest_share: float
    never_predicted: list[str]

    @classmethod
    def of(
        cls, predicted: NDArray[np.int64], labels: NDArray[np.int64], class_names: Sequence[str]
    ) -> "ClassReport | None":
        """The report on predictions (N,) of labels (N,), both places in `class_names`; None without a label."""
        if not len(labels):
            return None
        n = len(class_names)
        present, asserted = np.bincount(labels, minlength=n), np.bincount(predicted, minlength=n)
        largest = int(present.argmax())
        never = np.flatnonzero((present > 0) & (asserted == 0)).tolist()
        share = float(present[largest] / len(labels))
        return cls(
            accuracy=float((predicted == labels).mean()),
            macro_f1=float(class_f1(predicted, labels, n).mean()),
            largest=class_names[largest],
            largest_share=share,
            never_predicted=[class_names[i] for i in never],
        )

    @classmethod
    def of_round(cls, line: Mapping[str, Any]) -> "ClassReport | None":
        """What a run's round has recorded of the test split; None in folders of versions without it."""
        return cls(**line["test"]) if line.get("test") else None

    @property
    def knows_nothing(self) -> bool:
        """Whether always predicting the largest class would be as good, where there are others to tell it from."""
        return self.largest_share < 1 and self.accuracy <= self.largest_share + MARGIN

    def __str__(self) -> str:
        return f"macro F1 {self.macro_f1:.2f}; the largest class, {self.largest!r}, has {self.largest_share:.1%}"

    def warnings(self) -> list[str]:
        """What there is to worry about, and what may help; empty where there is nothing."""
        told = []
        if self.never_predicted:
            told.append(f"never predicted: {listed(self.never_predicted)}")
        if self.knows_nothing:
            told.append(f"the accuracy is no better than that of always saying {self.largest!r}")
        if told:
            told.append("--class-weights balanced gives rare classes more weight; --metric macro_f1 counts all alike")
        return told


def results_by_class(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], predicted: NDArray[np.int64]
) -> dict[str, list[Any]]:
    """What precision, recall, F1 and average precision of each class follow from: lists (C,), in the classes' order.

    Args:
        probabilities: (N, C).
        labels: (N,), or (N, C) of any number of labels.
        predicted: as labels.

    Returns:
        present, predicted and right: how many texts are of a class, are said to be, and are both.
        average_precision: see `average_precisions`, in four digits.
    """
    n_classes = probabilities.shape[1]
    right = labels[predicted == labels] if labels.ndim == 1 else labels * predicted
    counted = {"present": labels, "predicted": predicted, "right": right}
    counts = {name: label_counts(found, n_classes).tolist() for name, found in counted.items()}
    return counts | {"average_precision": average_precisions(probabilities, labels).round(4).tolist()}


def highest_first(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """The places of scores (N,), highest first, and of scores that are equal within rounding the earlier place.

    The last digits of a score depend on the processor and on the batch that its text was in. Two copies of a text must
    not change places because of them.
    """
    size = float(np.abs(scores).max(initial=0))
    steps = np.round(scores.astype(np.float64) / (ROUNDING * size)) if 0 < size < np.inf else scores
    return np.argsort(-steps, kind="stable")


def first_highest(values: NDArray[np.floating]) -> int:
    """The first place of values (N,) whose number is the largest within rounding."""
    largest = float(values.max())
    return int(np.flatnonzero(values >= largest - ROUNDING * abs(largest))[0])


def accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The share of rows whose most probable class, of probabilities (N, C), is their label (N,)."""
    return float((probabilities.argmax(axis=1) == labels).mean())


def macro_f1(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The mean over all classes of `class_f1`, where the most probable class, of probabilities (N, C), is predicted."""
    return float(class_f1(probabilities.argmax(axis=1), labels, probabilities.shape[1]).mean())


def class_f1(predicted: NDArray[np.int64], labels: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """F1 (C,) of each class, by predictions (N,) and labels (N,); 0 for one that is neither present nor predicted."""
    there = np.bincount(labels, minlength=n_classes) + np.bincount(predicted, minlength=n_classes)
    right = np.bincount(labels[predicted == labels], minlength=n_classes)
    f1: NDArray[np.float64] = 2 * right / np.maximum(there, 1)
    return f1


def roc_auc(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The area under the ROC curve of probabilities (N, C): of the second class of two, else the mean over the classes.

    Each of more than two classes stands against the rest. A class that is nowhere, or everywhere, has no curve and is
    left out; 0.5 where none has one.
    """
    from scipy.stats import rankdata

    areas = []
    for c in [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1]):
        positive = labels == c
        n_positive, n = int(positive.sum()), len(labels)
        if 0 < n_positive < n:  # Mann and Whitney's U, by the ranks of the positive: without scikit-learn's checks
            u = rankdata(probabilities[:, c])[positive].sum() - n_positive * (n_positive + 1) / 2
            areas.append(u / (n_positive * (n - n_positive)))
    return float(np.mean(areas)) if areas else 0.5


def average_precision(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Average precision of probabilities (N, C): of the second class of two, else the mean over the classes."""
    found = average_precisions(probabilities, labels)
    return float(found[1] if len(found) == 2 else found.mean())


def average_precisions(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """The average precision of each class (C,), by probabilities (N, C); 0 for a class that is nowhere.

    Labels are (N,), or (N, C) of any number of labels.
    """
    n_classes = probabilities.shape[1]
    holds = labels == 1 if labels.ndim == 2 else labels[:, None] == np.arange(n_classes)
    return np.array([average_precision_of(probabilities[:, c], holds[:, c]) for c in range(n_classes)])


def average_precision_of(scores: NDArray[np.floating], hits: NDArray[np.bool_]) -> float:
    """Average precision: the mean precision at the hits (N,), ranked by scores (N,), highest first; 0 without hits.

    What has equal scores has the precision at the last of them.
    """
    if not hits.any():
        return 0.0
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], hits[order]
    last = np.append(np.diff(scores) != 0, True)  # of equal scores
    precision = np.cumsum(hits)[last] / np.arange(1, len(hits) + 1)[last]
    return float(precision[np.cumsum(last) - last][hits].mean())
