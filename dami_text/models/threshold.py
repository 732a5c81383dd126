"""From which probability on a rare class is predicted: chosen by cross-validation, and moved to one half.

A class of a few labelled texts among many others seldom has a probability above one half, so a model that knows it well
may never predict it. Its best threshold depends on what counts: here on F1 of the class.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dami_text.models.logistic import FOLDS, LogisticFit

#: Labelled texts of the rarer class from which on a threshold is chosen: one in each part of the cross-validation.
FEWEST = FOLDS

#: How close to 0 and 1 a threshold may be.
EDGE = 1e-6


def with_threshold(fit: LogisticFit, labels: NDArray[np.int64]) -> LogisticFit:
    """The fit of two classes whose biases are moved so that the rarer one is predicted from its best threshold on.

    The log-odds of the rarer class fall by those of the threshold: what had that probability has one half. The ranking
    of texts stays. So all that takes the likelier class, transformers' pipelines too, predicts by the threshold. The
    probabilities are no estimates of how often a class is right any more; `cross_validated` still are.

    Args:
        fit: of two classes; returned as it is where the rarer has fewer than FEWEST labelled texts.
        labels: (n,) of the texts that it is of.
    """
    counts = np.bincount(labels, minlength=2)
    rarer = 1 if counts[1] <= counts[0] else 0
    known = ~np.isnan(fit.cross_validated[:, rarer])
    if counts[rarer] < FEWEST:
        return fit
    threshold = best_threshold(fit.cross_validated[known, rarer], labels[known] == rarer)
    threshold = min(max(threshold, EDGE), 1 - EDGE)
    moved = np.log(threshold / (1 - threshold)) / 2
    bias = fit.bias + moved
    bias[rarer] -= 2 * moved
    return replace(fit, bias=bias)


def best_threshold(probabilities: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """The threshold of probabilities (n,) with the highest F1 of the positive texts (n,), the first of several.

    It lies midway between the lowest probability above it and the highest below; 0 is below all.
    """
    order = np.argsort(-probabilities, kind="stable")
    ranked = np.append(probabilities[order], 0.0)
    last = ranked[:-1] > ranked[1:]  # equal probabilities are on the same side
    last[-1] = True
    f1 = 2 * np.cumsum(positive[order]) / (np.arange(1, len(order) + 1) + positive.sum())
    best = int(np.where(last, f1, -1).argmax())
    return float(ranked[best] + ranked[best + 1]) / 2
