"""From which probability on a label is predicted: chosen by cross-validation, and moved to one half.

A class of a few labelled texts among many others seldom has a probability above one half, so a model that ranks texts
well may never predict it. Of two classes the rarer one gets a threshold, and of labels that a text has any number of
each gets its own. Models predict by them, but they ask by one half: with a moved threshold, margin sampling finds fewer
texts of the class.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.models.last_layer import head_of
from dami_text.models.logistic import FOLDS
from dami_text.models.tasks import task_of
from dami_text.models.word_level import class_names_of

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]

#: Labelled texts of each class of two without which no threshold is chosen: one in each part of the cross-validation.
FEWEST = FOLDS

#: The same of texts with a label, and of those without it: cross-validation holds out no single one.
FEWEST_OF_LABEL = 2

#: How close to 0 and 1 a threshold may be.
EDGE = 1e-6

#: A label is predicted for at most so many times as many cross-validated texts as have it. F1 of few texts is highest
#: by chance at thresholds so low that a rare label is predicted for most texts (Yang 2001, "A Study of Thresholding
#: Strategies for Text Categorization"), which costs the F1 of all labels together dearly.
MOST = 2


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """From which probability on a class is predicted.

    Attributes:
        number: of the class.
        probability: before it was moved to one half.
        f1_before, f1_after: of the class among cross-validated labelled texts, by one half and by the threshold. The
            second is a little too high: the threshold was chosen by it.
    """

    number: int
    probability: float
    f1_before: float
    f1_after: float


def move_threshold(model: PreTrainedModel, cross_validated: Floats, labels: Labels) -> Threshold:
    """Move the threshold of the rarer of a model's two classes for good, however few texts it has.

    See `choose_thresholds` and `move`.
    """
    number = rarer_class(labels)
    found = _threshold(number, cross_validated[:, number], labels == number)
    move(model, [found])
    return found


def choose_thresholds(cross_validated: Floats, labels: Labels) -> list[Threshold]:
    """The thresholds of the highest F1 among cross-validated texts.

    Of two classes it is that of the rarer one, and of any number of labels that of each. A class of too few labelled
    texts has none: it keeps one half.

    Args:
        cross_validated: (n, C) probabilities of the texts that the model was trained on, NaN for one that was never
            held out.
        labels: (n,) their classes, of two; or (n, C) 0 and 1 for each label.
    """
    if labels.ndim == 1:
        number = rarer_class(labels)
        positives, fewest, most = {number: labels == number}, FEWEST, None
    else:
        positives, fewest, most = {c: column == 1 for c, column in enumerate(labels.T)}, FEWEST_OF_LABEL, MOST
    return [
        _threshold(number, cross_validated[:, number], positive, most)
        for number, positive in positives.items()
        if min(positive.sum(), (~positive).sum()) >= fewest
    ]


def _threshold(number: int, probabilities: Floats, positive: NDArray[np.bool_], most: int | None = None) -> Threshold:
    """The `best_threshold` of a class by probabilities (n,); the limit is `most` times the positive texts."""
    known = ~np.isnan(probabilities)
    probabilities, positive = probabilities[known], positive[known]
    limit = None if most is None else most * int(positive.sum())
    threshold = min(max(best_threshold(probabilities, positive, limit), EDGE), 1 - EDGE)
    before, after = (_f1(probabilities > each, positive) for each in (0.5, threshold))
    return Threshold(number=number, probability=threshold, f1_before=before, f1_after=after)


def move(model: PreTrainedModel, thresholds: Sequence[Threshold]) -> None:
    """Move the biases of a model's last layer so that classes are predicted from their thresholds on.

    The log-odds of a class fall by those of its threshold: what had that probability has one half. So all that takes
    the likelier class, or labels above one half, predicts by the threshold: transformers' pipelines, too. A class's
    ranking of texts stays. The probabilities do not say any more how often it is right. The model's configuration has
    the thresholds by their classes' names, as `moved_thresholds`.
    """
    several, names = task_of(model).multilabel, class_names_of(model.config)
    bias = head_of(model).bias
    with torch.no_grad():
        for each in thresholds:
            moved = float(np.log(each.probability / (1 - each.probability)))
            bias[each.number] -= moved
            if not several:
                bias.add_(moved / 2)
    if thresholds:
        model.config.moved_thresholds = {names[each.number]: round(each.probability, 6) for each in thresholds}


@contextmanager
def moved(model: PreTrainedModel, thresholds: Sequence[Threshold]) -> Iterator[PreTrainedModel]:
    """Inside the block, the model predicts by the thresholds; see `move`."""
    if not thresholds:
        yield model
        return
    bias = head_of(model).bias
    before = bias.detach().clone()
    move(model, thresholds)
    try:
        yield model
    finally:
        with torch.no_grad():
            bias.copy_(before)
        del model.config.moved_thresholds


def rarer_class(labels: Labels) -> int:
    """The class of two with fewer labels (n,); the second where they are as many."""
    counts = np.bincount(labels, minlength=2)
    return 0 if counts[0] < counts[1] else 1


def best_threshold(probabilities: Floats, positive: NDArray[np.bool_], most: int | None = None) -> float:
    """The threshold of probabilities (n,) with the highest F1 of the positive texts (n,), the highest of several.

    It lies midway between the lowest probability above it and the highest below; 0 is below all. At most `most` texts
    are above it, but for those of equal probabilities.
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked = np.append(probabilities[order], 0.0)
    above = np.arange(1, len(order) + 1)
    last = ranked[:-1] > ranked[1:]  # equal probabilities are on the same side
    if most is not None:
        last &= above <= max(most, int(np.argmax(last)) + 1)
    f1 = 2 * np.cumsum(positive[order]) / (above + positive.sum())
    best = int(np.where(last, f1, -1).argmax())
    return float(ranked[best] + ranked[best + 1]) / 2


def _f1(predicted: NDArray[np.bool_], positive: NDArray[np.bool_]) -> float:
    return float(2 * (predicted & positive).sum() / (predicted.sum() + positive.sum()))
