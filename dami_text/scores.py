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
    from scipy.stats import rankdata

    areas = []
    for c in [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1]):
        positive = labels == c
        n_positive, n = int(positive.sum()), len(labels)
        if 0 < n_positive < n:  # Mann and Whitney's U, by the ranks of the positive: without scikit-learn's checks
            u = rankdata(probabilities[:, c])[positive].sum() - n_positive * (n_positive + 1) / 2
            areas.append(u / (n_positive * (n - n_positive)))
    return float(np.mean(areas)) if areas else 0.5
