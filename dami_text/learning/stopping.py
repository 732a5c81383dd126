"""When to stop labelling: criteria over what a round shows of its model, its pool and the labels that were asked for.

A criterion is an object that knows its threshold and is shown the history: the evidence of each round, oldest first. It
keeps nothing and sees no label that the strategy has not asked for. So a labelling session and a resumed simulation ask
it about their records. `config.stopping` has the criteria by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from dami_text.learning.hypergeometric import at_most, first_where
from dami_text.learning.projected_gain import projected_gain

Predictions = NDArray[np.integer[Any]]

#: Texts of a stop set, at most (Bloodgood and Vijay-Shanker 2009).
STOP_SET = 2000


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What criteria may know of a round. What none of those that are asked needs can be left out.

    Attributes:
        n_labeled: the texts that the round's model was trained on.
        predictions: the classes (S,) that it predicts for the texts of the stop set, which is the same in all rounds.
        unlabeled: (S,), which of these texts have no label.
        mean_entropy, max_entropy: of the probabilities that the model gives to these, see `normalized_entropy`; None
            where all have labels.
        labels: (n_labeled,) the labels that were asked for, as numbers of classes, in the order in which they came.
        n_texts: texts of the pool, with or without a label.
        hits: (V,), of labelled texts that no model trains on, drawn at random, whether the model is right; none of them
            where there are no such texts.
    """

    n_labeled: int
    predictions: Predictions
    unlabeled: NDArray[np.bool_] | None = None
    mean_entropy: float | None = None
    max_entropy: float | None = None
    labels: NDArray[np.int64] | None = None
    n_texts: int = 0
    hits: NDArray[np.bool_] | None = None


History = Sequence[Evidence]


class StoppingCriterion(Protocol):
    """Says whether more labels would be spent in vain.

    Attributes:
        stops_above: whether it stops from the threshold on upwards, or downwards.
        what: `value` in words.
    """

    stops_above: ClassVar[bool]
    what: ClassVar[str]

    @property
    def threshold(self) -> float:
        """What `value` is compared with."""

    def value(self, history: History) -> float | None:
        """What decides after the last of these rounds; None or NaN as long as nothing can be said."""


def stops(criterion: StoppingCriterion, history: History) -> bool:
    """Whether to stop after the last of these rounds: the value is at the threshold or beyond it."""
    return beyond(criterion, criterion.value(history), criterion.threshold)


def beyond(criterion: StoppingCriterion, value: float | None, threshold: float) -> bool:
    """Whether a value of the criterion is at a threshold or beyond it; None and NaN are not."""
    if value is None:
        return False
    return value >= threshold if criterion.stops_above else value <= threshold


def rounds_stopped(criterion: StoppingCriterion, history: History) -> int:
    """How many rounds in a row, up to the last, the criterion has said that labelling may stop."""
    n = 0
    while n < len(history) and stops(criterion, history[: len(history) - n]):
        n += 1
    return n


def kappa(first: Predictions, second: Predictions) -> float:
    """Cohen's kappa of two models' predictions (S,) of the same texts: (A - E) / (1 - E).

    A is the share of texts with equal predictions, and E what A would be by chance, the sum over the classes of the
    product of their shares in either. NaN where there is no text, and where both models predict one and the same class
    throughout: E is 1 then, and their agreement says nothing.
    """
    if not len(first):
        return float("nan")
    n_classes = int(max(first.max(), second.max())) + 1
    shares = [np.bincount(each, minlength=n_classes) / len(each) for each in (first, second)]
    chance = float(shares[0] @ shares[1])
    observed = float((first == second).mean())
    return float("nan") if chance == 1 else (observed - chance) / (1 - chance)


def normalized_entropy(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The entropy (n,) of class probabilities (n, C) as a share of the most that there can be, log C: from 0 to 1."""
    from scipy.special import entr

    entropy: NDArray[np.float64] = entr(probabilities.astype(np.float64)).sum(axis=1) / np.log(probabilities.shape[1])
    return entropy


@dataclass(frozen=True)
class StablePredictions:
    """Stop once the models hardly change their minds: mean kappa of the last rounds, each with the one before it.

    Bloodgood and Vijay-Shanker 2009, "A Method for Stopping Active Learning Based on Stabilizing Predictions and the
    Need for User-Adjustable Stopping". Models that predict one class alone have not settled: kappa is undefined.

    Attributes:
        threshold: the least mean kappa.
        window: the number of kappas that it is the mean of.
    """

    stops_above: ClassVar[bool] = True
    what: ClassVar[str] = "mean kappa of successive models"

    threshold: float = 0.99
    window: int = 3

    def value(self, history: History) -> float | None:
        """The mean kappa at the end of the history; None with fewer than `window` + 1 rounds, NaN if undefined."""
        if len(history) <= self.window:
            return None
        last = [evidence.predictions for evidence in history[-self.window - 1 :]]
        return float(np.mean([kappa(*pair) for pair in pairwise(last)]))


@dataclass(frozen=True)
class ClassificationChange:
    """Stop once a new model predicts for the texts without a label what the one before it did.

    Zhu, Wang and Hovy 2008, "Multi-Criteria-Based Strategy to Stop Active Learning for Data Annotation". They look at
    all texts that are left; here these are those of the stop set. A text that was labelled meanwhile does not count.

    Attributes:
        threshold: the largest share of these texts whose predictions differ; 0 in the paper.
    """

    stops_above: ClassVar[bool] = False
    what: ClassVar[str] = "share of changed predictions"

    threshold: float = 0.0

    def value(self, history: History) -> float | None:
        """The share of changes from the last round but one; None in the first, and where no text is left."""
        if len(history) < 2:
            return None
        before, now = history[-2:]
        left = now.unlabeled
        if left is None or not left.any():
            return None
        return float((before.predictions != now.predictions)[left].mean())


@dataclass(frozen=True)
class OverallUncertainty:
    """Stop once the model is sure of the texts without a label on average.

    The overall uncertainty of Zhu, Wang, Hovy and Ma 2010, "Confidence-Based Stopping Criteria for Active Learning for
    Data Annotation": the mean entropy of what is left. Here it is divided by log C, so that a threshold means the same
    for any number of classes.

    Attributes:
        threshold: the largest mean entropy, from 0 to 1.
    """

    stops_above: ClassVar[bool] = False
    what: ClassVar[str] = "mean entropy"

    threshold: float = 0.1

    def value(self, history: History) -> float | None:
        """The mean entropy in the last round; None where no text is left."""
        return history[-1].mean_entropy


@dataclass(frozen=True)
class MaximumUncertainty:
    """Stop once the model is sure of every text without a label.

    The maximum uncertainty of the same paper (max-confidence in that of 2008), divided by log C as well.

    Attributes:
        threshold: the largest entropy of any text, from 0 to 1.
    """

    stops_above: ClassVar[bool] = False
    what: ClassVar[str] = "largest entropy"

    threshold: float = 0.1

    def value(self, history: History) -> float | None:
        """The largest entropy in the last round; None where no text is left."""
        return history[-1].max_entropy


@dataclass(frozen=True)
class ExpectedGain:
    """Stop once the next 100 labels are expected to bring little: what the labelling page shows.

    See `projected_gain`. It costs labels of texts that are kept out of training: those that a session at its default
    `--validation-share`, a tenth, would have by then.

    Attributes:
        threshold: the least gain for which to go on, in points of accuracy.
    """

    stops_above: ClassVar[bool] = False
    what: ClassVar[str] = "points that the next 100 labels are expected to bring"

    threshold: float = 0.5

    def value(self, history: History) -> float | None:
        """The expected gain in points; None before there are enough rounds and texts to project it."""
        hits = [evidence.hits for evidence in history if evidence.hits is not None]
        if not hits or len(hits) < len(history):
            return None
        n = min(history[-1].n_labeled // 9, len(hits[-1]))  # a tenth of both together
        sizes = np.array([evidence.n_labeled for evidence in history])
        gain = projected_gain(sizes, np.array([each[:n] for each in hits]))
        return None if gain is None else 100 * gain.value


@dataclass(frozen=True)
class EstimatedRecall:
    """Stop once a share of a rare class's texts are found, by a test at 5%.

    The ranked quasi-sampling of Callaghan and Mueller-Hansen 2020, "Statistical stopping criteria for automated
    screening in systematic reviews". The last n labels are taken for random draws from the texts that were left before
    them. If the share that was found were less than the target, the class would have so many texts among these that so
    few of them in n draws have a probability, by the hypergeometric distribution. It is computed for each n, and the
    least of all decides. Who asks for the likeliest texts of the class finds more of them than random draws would, so
    that the test errs towards going on; it promises nothing where other texts are asked for, nor does it count that it
    is repeated.

    Attributes:
        threshold: the target, a share of the class's texts.
        label: the number of the class; by default the one with the fewest labels, of those that have one.
        error: the probability at which to stop too early, if the draws were random.
    """

    stops_above: ClassVar[bool] = True
    what: ClassVar[str] = "share found of the class, at least"

    threshold: float = 0.95
    label: int | None = None
    error: float = 0.05

    def value(self, history: History) -> float | None:
        """The least share that has been found, by the test: all targets up to it are met. None while there is none."""
        now = history[-1]
        if now.labels is None:
            return None
        counts = np.bincount(now.labels)
        label = int(np.where(counts > 0, counts, len(now.labels) + 1).argmin()) if self.label is None else self.label
        places = np.flatnonzero(now.labels == label)
        found = len(places)
        if not found:
            return None
        # With k of the class in the last n labels, most n are the least likely: those from behind the next of them on.
        in_sample = np.arange(found + 1)
        starts = np.concatenate([[0], places + 1])[::-1]
        draws = len(now.labels) - starts
        population = now.n_texts - starts

        def rejected(total: int) -> bool:
            """Whether the class has fewer texts than `total` in all, by the test."""
            among = total - (found - in_sample)
            few = in_sample * population < draws * among  # others have a probability of a half at least
            sample = (each[few] for each in (in_sample, draws, among, population))
            return bool(few.any() and (at_most(*sample) < self.error).any())

        most = found + now.n_texts - len(now.labels)
        return found / (first_where(rejected, found + 1, most + 1) - 1)


@dataclass(frozen=True)
class Budget:
    """Stop with a number of labels, whatever the models do.

    Attributes:
        threshold: the number.
    """

    stops_above: ClassVar[bool] = True
    what: ClassVar[str] = "labels"

    threshold: float

    def value(self, history: History) -> float:
        """The number of labels."""
        return float(history[-1].n_labeled)
