"""What a frozen encoder's head knows of single tokens: their TF-IDF beside the encoder's features.

An encoder's features say what a text is about, and blur which words it has. With a hundred labels or more the words
often tell the classes apart better: "thanks" is gratitude. So the head has weights for tokens, too (`Lexicon`), and
cross-validation on the labelled texts decides whether they are used.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from dami_text.data.texts import EncodedTexts
from dami_text.models.lexicon import Lexicon
from dami_text.models.logistic import LogisticFit, Regression, Ways, length_of, surely_higher

#: The most frequent tokens that have weights, at most.
MOST_TOKENS = 50_000

#: The shares of the encoder's features in all inner products that are tried; the rest is the tokens'.
SHARES = (0.5, 0.25)

#: How to fit where both are used.
WAYS = Ways(balanced=10.0, free=10.0)


def lexicon_of(texts: EncodedTexts, vocabulary_size: int, n_classes: int) -> Lexicon:
    """The tokens that are in two of the texts or more, special and unknown ones left out; their weights are 0.

    The inverse document frequency is log((1 + texts) / (1 + texts with the token)) + 1.
    """
    frequencies = np.asarray((token_counts(texts, vocabulary_size) > 0).sum(axis=0)).ravel()
    frequencies[[i for i in texts.special_ids if i < vocabulary_size]] = 0
    known = np.argsort(-frequencies, kind="stable")[:MOST_TOKENS]
    known = np.sort(known[frequencies[known] >= min(2, len(texts))])
    lexicon = Lexicon(vocabulary_size, len(known), n_classes)
    lexicon.places[torch.from_numpy(known)] = torch.arange(len(known))
    lexicon.idf[:-1] = torch.from_numpy(np.log((1 + len(texts)) / (1 + frequencies[known])) + 1)
    return lexicon


def lexical_features(lexicon: Lexicon, texts: EncodedTexts) -> sparse.csr_matrix:
    """The TF-IDF (N, K) of texts, of which the lexicon's logits are weighted sums."""
    places, idf = lexicon.places.cpu().numpy(), lexicon.idf[:-1].cpu().numpy()
    known = np.flatnonzero(places < len(idf))
    found = sparse.csr_matrix(token_counts(texts, len(places))[:, known])
    found.data = (1 + np.log(found.data)).astype(np.float32)
    found = sparse.csr_matrix(found.multiply(idf))
    lengths = np.sqrt(np.asarray(found.multiply(found).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1 / np.maximum(lengths, 1e-6)) @ found, dtype=np.float32)


def token_counts(texts: EncodedTexts, vocabulary_size: int) -> sparse.csr_matrix:
    """How often each token is in each text (N, V)."""
    rows = np.repeat(np.arange(len(texts)), texts.lengths)
    tokens = np.concatenate([np.zeros(0, np.int32), *(texts.token_ids(row) for row in range(len(texts)))])
    counts = sparse.csr_matrix((np.ones(len(tokens), np.float32), (rows, tokens)), (len(texts), vocabulary_size))
    counts.sum_duplicates()
    return counts


def fit_with_tokens(
    alone: Regression,
    features: NDArray[np.float32],
    mean: NDArray[np.float64],
    lexical: sparse.csr_matrix,
    lexical_mean: NDArray[np.float64],
    labels: NDArray[np.int64],
    n_classes: int,
    *,
    balanced: bool,
) -> tuple[LogisticFit, NDArray[np.floating[Any]]]:
    """The regression on features, or on features and tokens where held-out labels surely are likelier then.

    Args:
        alone: the regression on features alone.
        features, mean: (n, H) of the labelled texts and (H,) of the pool.
        lexical, lexical_mean: the same of their tokens, (n, K) and (K,).
        labels: (n,).
        n_classes: C.
        balanced: whether all classes count as equally frequent.

    Returns:
        The fit, of features (C, H), and the weights of tokens (C, K), which are 0 where they are not used.
    """
    own, other = length_of(features), length_of(lexical)
    best, scales = alone, (1.0, 0.0)
    for share in SHARES if len(alone.held_out) else ():  # not for one class only, or one text of each
        tried = share**0.5 / own, (1 - share) ** 0.5 / other
        parts, means = (features * tried[0], lexical * tried[1]), (mean * tried[0], lexical_mean * tried[1])
        found = Regression(parts, labels, n_classes, means, WAYS, balanced=balanced)
        if surely_higher(found.held_out, best.held_out):
            best, scales = found, tried
    fit, n_features = best.fit(), features.shape[1]
    if best is alone:
        return fit, np.zeros((n_classes, lexical.shape[1]))
    tokens = fit.weight[:, n_features:] * scales[1]
    return replace(fit, weight=fit.weight[:, :n_features] * scales[0]), tokens
