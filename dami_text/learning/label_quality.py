"""How doubtful a label is: what a model that was trained without it makes of it.

The score is the self-confidence of Northcutt, Jiang and Chuang 2021 ("Confident Learning: Estimating Uncertainty in
Dataset Labels"), which Kuan and Mueller 2022 ("Model-agnostic label quality scoring to detect real-world label errors")
compare with others: the probability that the model gives to the label. Of 5% wrong labels planted in eight data sets of
2 to 77 classes, the margin to the best other class found no more of them, nor did either of the two after adjustment by
the mean confidence in each class.
"""

from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from dami_text.config.data_options import TokenizationConfig


def label_quality(
    probabilities: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]
) -> NDArray[np.floating[Any]]:
    """The quality (n,) of labels (n,), from 0, doubtful, to 1, by probabilities (n, C) of models that did not see them.

    NaN where there are none: of a text that alone has its class. The quality of any number of labels, (n, C) of 0 and
    1, is the least probability of what they say of a label: that it holds, or that it does not.
    """
    quality: NDArray[np.floating[Any]]
    if labels.ndim == 2:
        said = np.where(labels == 1, probabilities, 1 - probabilities)
        quality = np.where(np.isnan(said), np.inf, said).min(axis=1)
        return np.where(np.isinf(quality), np.nan, quality)
    quality = probabilities[np.arange(len(labels)), labels]
    return quality


def probabilities_by_words(
    texts: Dataset, labels: NDArray[np.int64], n_classes: int, config: TokenizationConfig
) -> NDArray[np.floating[Any]]:
    """Cross-validated probabilities (n, C) of the linear model for these texts alone, of labels (n,) or (n, C).

    For models that take seconds to minutes to train: theirs would take as many trainings as there are parts.
    """
    from dami_text.data.tfidf import TfidfEncoder, TfidfTexts
    from dami_text.models.linear import WAYS
    from dami_text.models.logistic import LogisticFit, fit_logistic
    from dami_text.models.one_vs_rest import fit_each_label

    features = TfidfTexts(texts, TfidfEncoder.fit(texts, config))

    def fit(of: NDArray[np.int64], n: int) -> tuple[LogisticFit, None]:
        return fit_logistic(features.matrix, of, n, features.mean, WAYS), None

    found, _ = fit(labels, n_classes) if labels.ndim == 1 else fit_each_label(labels, fit)
    return found.cross_validated
