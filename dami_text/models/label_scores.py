"""How good probabilities (N, C) of labels (N, C) are, where a text has any number: one above 1/2 is predicted.

With t texts that have a label and are predicted to, p that are predicted to and h that have it, F1 is 2 t / (p + h).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dami_text.models.scores import average_precision_of, average_precisions
from dami_text.models.tasks import ANY_LABELS

Probabilities = NDArray[np.float32]
Labels = NDArray[np.int64]
Floats = NDArray[np.float64]


def micro_f1(probabilities: Probabilities, labels: Labels) -> float:
    """F1 of all decisions on texts and labels together."""
    right, predicted, present = _counted(probabilities, labels, axis=None)
    return float(_share(2 * right, predicted + present))


def label_f1(probabilities: Probabilities, labels: Labels) -> Floats:
    """F1 of each label (C,); 0 for one that is neither there nor predicted."""
    right, predicted, present = _counted(probabilities, labels, axis=0)
    return _share(2 * right, predicted + present)


def label_precision(probabilities: Probabilities, labels: Labels) -> Floats:
    """The share of the predictions of each label (C,) that are right; 0 where there are none."""
    right, predicted, _ = _counted(probabilities, labels, axis=0)
    return _share(right, predicted)


def label_recall(probabilities: Probabilities, labels: Labels) -> Floats:
    """The share of the texts with each label (C,) for which it is predicted; 0 where there are none."""
    right, _, present = _counted(probabilities, labels, axis=0)
    return _share(right, present)


def macro_f1(probabilities: Probabilities, labels: Labels) -> float:
    """The mean over labels of F1."""
    return float(label_f1(probabilities, labels).mean())


def samples_f1(probabilities: Probabilities, labels: Labels) -> float:
    """The mean over texts of F1; 1 for a text without labels for which none is predicted."""
    right, predicted, present = _counted(probabilities, labels, axis=1)
    return float(np.where(predicted + present > 0, _share(2 * right, predicted + present), 1.0).mean())


def subset_accuracy(probabilities: Probabilities, labels: Labels) -> float:
    """The share of texts all of whose labels are predicted, and no other."""
    return float((ANY_LABELS.predicted(probabilities) == labels).all(axis=1).mean())


def average_precision(probabilities: Probabilities, labels: Labels) -> float:
    """The mean over labels of their average precision."""
    return float(average_precisions(probabilities, labels).mean())


def micro_average_precision(probabilities: Probabilities, labels: Labels) -> float:
    """The average precision of all decisions on texts and labels together."""
    return average_precision_of(probabilities.ravel(), labels.ravel() == 1)


#: The metrics of all labels, by their names in `config.metrics`, and those that are of each label (C,).
OF_LABELS: dict[str, Callable[[Probabilities, Labels], float]] = {
    "micro_f1": micro_f1,
    "macro_f1": macro_f1,
    "samples_f1": samples_f1,
    "subset_accuracy": subset_accuracy,
    "average_precision": average_precision,
    "micro_average_precision": micro_average_precision,
}
BY_LABEL: dict[str, Callable[[Probabilities, Labels], Floats]] = {
    "f1": label_f1,
    "precision": label_precision,
    "recall": label_recall,
    "average_precision": average_precisions,
}


def _counted(probabilities: Probabilities, labels: Labels, axis: int | None) -> tuple[Floats, Floats, Floats]:
    """How many decisions along an axis are right to predict a label, predict one, and should."""
    predicted = ANY_LABELS.predicted(probabilities)
    right, predicted_n, present = (np.asarray(each.sum(axis=axis)) for each in (predicted * labels, predicted, labels))
    return right, predicted_n, present


def _share(parts: Floats, of: Floats) -> Floats:
    """Parts by what they are parts of; 0 where that is 0."""
    return np.asarray(parts / np.maximum(of, 1))
