"""How good class probabilities are, quickly: what trainings compute at every epoch, and the metrics are made of."""

import numpy as np
from numpy.typing import NDArray


def accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The share of rows whose most probable class, of probabilities (N, C), is their label (N,)."""
    return float((probabilities.argmax(axis=1) == labels).mean())


def roc_auc(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The area under the ROC curve of probabilities (N, C): of the second class of two, else the mean over the classes.

    Each of more than two classes stands against the rest. A class that is nowhere, or everywhere, has no curve and is
    left out; 0.5 where none has one.
    """
    from sklearn.metrics import roc_auc_score

    classes = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    areas = [roc_auc_score(labels == c, probabilities[:, c]) for c in classes if 0 < (labels == c).mean() < 1]
    return float(np.mean(areas)) if areas else 0.5
