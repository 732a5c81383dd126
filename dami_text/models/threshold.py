"""From which probability on the rarer of two classes is predicted: chosen by cross-validation, and moved to one half.

A class of a few labelled texts among many others seldom has a probability above one half, so a model that ranks texts
well may never predict it. A final model predicts by the threshold that suits the class. The models that ask for labels
keep their own: with a moved one, margin sampling finds fewer texts of the class.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.models.last_layer import head_of
from dami_text.models.logistic import FOLDS

#: Labelled texts of the rarer class without which no threshold is chosen: one in each part of the cross-validation.
FEWEST = FOLDS

#: How close to 0 and 1 a threshold may be.
EDGE = 1e-6


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


def move_threshold(
    model: PreTrainedModel, cross_validated: NDArray[np.floating[Any]], labels: NDArray[np.int64]
) -> Threshold:
    """Move the biases of a model's last layer so that the rarer of its two classes is predicted from its threshold on.

    The log-odds of the class fall by those of the threshold: what had that probability has one half. So all that takes
    the likelier class, transformers' pipelines too, predicts by the threshold. The ranking of texts stays. The
    probabilities do not say any more how often a class is right.

    Args:
        model: of two classes.
        cross_validated: (n, 2) probabilities of the texts that it was trained on, NaN for one that was never held out.
        labels: (n,) their classes; FEWEST of each at least.
    """
    number = rarer_class(labels)
    known = ~np.isnan(cross_validated[:, number])
    probabilities, positive = cross_validated[known, number], labels[known] == number
    threshold = min(max(best_threshold(probabilities, positive), EDGE), 1 - EDGE)
    moved = float(np.log(threshold / (1 - threshold)))
    with torch.no_grad():
        bias = head_of(model).bias
        bias.add_(moved / 2)
        bias[number] -= moved
    return Threshold(
        number=number,
        probability=threshold,
        f1_before=_f1(probabilities > 0.5, positive),
        f1_after=_f1(probabilities > threshold, positive),
    )


def rarer_class(labels: NDArray[np.int64]) -> int:
    """The class of two with fewer labels (n,); the second where they are as many."""
    counts = np.bincount(labels, minlength=2)
    return 0 if counts[0] < counts[1] else 1


def best_threshold(probabilities: NDArray[np.floating[Any]], positive: NDArray[np.bool_]) -> float:
    """The threshold of probabilities (n,) with the highest F1 of the positive texts (n,), the highest of several.

    It lies midway between the lowest probability above it and the highest below; 0 is below all.
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked = np.append(probabilities[order], 0.0)
    last = ranked[:-1] > ranked[1:]  # equal probabilities are on the same side
    f1 = 2 * np.cumsum(positive[order]) / (np.arange(1, len(order) + 1) + positive.sum())
    best = int(np.where(last, f1, -1).argmax())
    return float(ranked[best] + ranked[best + 1]) / 2


def _f1(predicted: NDArray[np.bool_], positive: NDArray[np.bool_]) -> float:
    return float(2 * (predicted & positive).sum() / (predicted.sum() + positive.sum()))
