"""Word vectors by counting: what word2vec learns step by step, factorised at once, and without a compiler.

Source: Levy & Goldberg, "Neural word embedding as implicit matrix factorization", NIPS 2014: skip-gram with negative
sampling factorises the words' pointwise mutual information, shifted by the logarithm of its number of negative samples.
Windows weigh near words more, as word2vec's do on average, and contexts are smoothed by the power of 0.75 (Levy,
Goldberg & Dagan, TACL 2015, who find that a factorisation does best without the shift, and of it U sqrt(S)).
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

WINDOW = 15  # word2vec's 5 are worse in few texts, where no pair of words is seen often
SMOOTHING = 0.75
SPREAD = 0.25 / 3**0.5  # the standard deviation of Kim's random vectors

BLOCK = 500_000  # words whose pairs are counted at a time


def ppmi_vectors(texts: Iterable[NDArray[np.int32]], n_words: int, dim: int, seed: int) -> NDArray[np.float32]:
    """Vectors (n_words, dim) of words by the company that they keep in `texts`, their ids in order.

    Positive pointwise mutual information of words within 15 places of each other, by a truncated singular value
    decomposition, scaled to a standard deviation of 0.144 over all words that have company. Words without it, and
    dimensions beyond the number of words, are 0.
    """
    counts = sparse.csr_array((n_words, n_words), dtype=np.float64)
    for words, owners in _blocks(texts):
        counts = counts + _pairs(words, owners, n_words)
    information = _positive_information(sparse.csr_array(counts + counts.T))
    vectors = np.zeros((n_words, dim), np.float32)
    rank = min(dim, n_words - 1)
    if information.nnz and rank > 0:
        u, s, _ = randomized_svd(information, rank, random_state=seed, flip_sign=True)
        found = u * np.sqrt(s)
        present = np.diff(information.indptr) > 0
        vectors[:, :rank] = found * (SPREAD / max(float(found[present].std()), 1e-12))
    return vectors


def _blocks(texts: Iterable[NDArray[np.int32]]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The words of some texts, and which text each is of."""
    words: list[NDArray[np.int32]] = []
    size = 0
    for text in texts:
        words.append(text)
        size += len(text)
        if size >= BLOCK:
            yield _joined(words)
            words, size = [], 0
    if words:
        yield _joined(words)


def _joined(words: list[NDArray[np.int32]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.concatenate(words).astype(np.int64), np.repeat(np.arange(len(words)), [len(text) for text in words])


def _pairs(words: NDArray[np.int64], owners: NDArray[np.int64], n_words: int) -> sparse.csr_array:
    """How often each word is followed by each other within the window, near ones counted more."""
    rows, columns, weights = [], [], []
    for distance in range(1, min(WINDOW, len(words) - 1) + 1):
        inside = owners[:-distance] == owners[distance:]
        rows.append(words[:-distance][inside])
        columns.append(words[distance:][inside])
        weights.append(np.full(inside.sum(), (WINDOW + 1 - distance) / WINDOW))
    if not rows:
        return sparse.csr_array((n_words, n_words), dtype=np.float64)
    places = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_array(sparse.coo_array((np.concatenate(weights), places), shape=(n_words, n_words)))


def _positive_information(counts: sparse.csr_array) -> sparse.csr_array:
    """log p(w, c) / (p(w) p(c)) where it is positive, of symmetric counts."""
    totals = np.asarray(counts.sum(axis=1)).ravel()
    smoothed = totals**SMOOTHING
    found = sparse.coo_array(counts)
    rows, columns = found.coords
    expected = totals[rows] * smoothed[columns] / max(smoothed.sum(), 1e-300)
    information = np.log(found.data / expected)
    keep = information > 0
    return sparse.csr_array(sparse.coo_array((information[keep], (rows[keep], columns[keep])), shape=counts.shape))
