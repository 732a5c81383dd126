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

    NaN where there are none: of a text that alone has its class.
    """
    quality: NDArray[np.floating[Any]] = probabilities[np.arange(len(labels)), labels]
    return quality


def probabilities_by_words(
    texts: Dataset, labels: NDArray[np.int64], n_classes: int, config: TokenizationConfig
) -> NDArray[np.floating[Any]]:
    """Cross-validated probabilities (n, C) of the linear model for these texts alone, which have labels (n,).

    For models that take seconds to minutes to train: theirs would take as many trainings as there are parts.
    """
    from dami_text.data.tfidf import TfidfEncoder, TfidfTexts
    from dami_text.models.linear import WAYS
    from dami_text.models.logistic import fit_logistic

    features = TfidfTexts(texts, TfidfEncoder.fit(texts, config))
    return fit_logistic(features.matrix, labels, n_classes, features.mean, WAYS).cross_validated
