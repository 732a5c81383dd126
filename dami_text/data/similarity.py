"""How alike texts are by features that are there already: a frozen encoder's, and TF-IDF."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from dami_text.data.ids import Rows
from dami_text.data.texts import Texts
from dami_text.data.tfidf import TfidfTexts


def compared_features(texts: Texts) -> Any:
    """The features (N, H) of texts that are there without a pass through a model, dense or sparse; None without any."""
    if texts.frozen_features is not None:
        return texts.frozen_features.features
    return texts.matrix if isinstance(texts, TfidfTexts) else None


def similarities(features: Any, rows: Rows, others: Rows) -> NDArray[np.float32]:
    """The cosine similarity (n, m) of the features of `rows` (n,) and `others` (m,)."""
    product = normalize(features[rows]) @ normalize(features[others]).T
    return np.asarray(product.toarray() if hasattr(product, "toarray") else product)
