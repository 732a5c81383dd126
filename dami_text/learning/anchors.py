"""The part of a large pool that is like the labelled texts of each class.

Random texts of a large pool hold few of a rare class. Its labelled texts tell where to look: some of them are drawn as
anchors, anew in each round so that others lead elsewhere, and the unlabelled texts most similar to them are what the
strategy chooses among (AnchorAL, Lesci and Vlachos 2024; after SEALS, Coleman et al. 2022). Anchors are drawn by
k-means++, which spreads them over the class.

AnchorAL takes 50 neighbours of each anchor and keeps those of the highest mean similarity to the anchors that found
them. Here all classes give as many texts, whatever their numbers of labels and anchors, and as many as are asked for.
"""

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
from sklearn.cluster import kmeans_plusplus
from sklearn.preprocessing import normalize

from dami_text.data.ids import Rows
from dami_text.data.pool import Pool
from dami_text.data.similarity import compared_features, similarities
from dami_text.errors import ConfigError
from dami_text.models.scores import ROUNDING

#: Anchors of a class at most, as in the paper.
ANCHORS = 10

#: Unlabelled texts that are compared with the anchors at once.
BLOCK = 10_000


def near_anchors(pool: Pool, n: int, rng: np.random.Generator) -> Pool:
    """The pool in which only n of the unlabelled rows are there to choose from, those nearest to anchors.

    Args:
        pool: with one labelled row at least, of a known class, and n unlabelled ones.
        n: the number of rows.
        rng: draws the anchors.

    Raises:
        ConfigError: the texts have no features before a model is trained.
    """
    features = compared_features(pool.texts)
    if features is None:
        raise ConfigError(
            "--pool-subsample-by anchors compares texts by a frozen encoder's features or by TF-IDF, and these texts "
            "have neither; add --freeze-encoder, use --model linear, or leave it out"
        )
    assert pool.labels is not None
    of_classes = [pool.labeled[pool.labels == c] for c in np.unique(pool.labels)]
    anchors = [drawn_anchors(features, rows, rng) for rows in of_classes]
    found = most_similar(features, np.concatenate(anchors), pool.unlabeled, n)
    ends = np.cumsum([len(rows) for rows in anchors])
    return pool.among(np.sort(in_turn(np.split(found, ends[:-1]), n)))


def drawn_anchors(features: Any, rows: Rows, rng: np.random.Generator) -> Rows:
    """At most ANCHORS of a class's labelled rows (n,), drawn by k-means++ over their features of unit length."""
    if len(rows) <= ANCHORS:
        return rows
    seed = int(rng.integers(2**31))
    _, places = kmeans_plusplus(normalize(features[rows]), ANCHORS, random_state=seed)
    drawn: Rows = rows[np.unique(places)]
    return drawn


def most_similar(features: Any, anchors: Rows, rows: Rows, k: int) -> Rows:
    """For each of the anchors (A,), the k of `rows` (n,) of the highest cosine similarity (A, k), the highest first.

    Of similarities that are equal within rounding the earlier row comes first. Every row is compared, BLOCK at a time.
    """
    best = np.empty((len(anchors), 0), np.int64)
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        steps = np.round(similarities(features, anchors, block) / ROUNDING).astype(np.int64)
        keys = steps * 2**32 - np.arange(start, start + len(block))  # one number of the similarity and the place
        best = np.concatenate([best, keys], axis=1)
        if best.shape[1] > k:
            best = np.partition(best, -k, axis=1)[:, -k:]
    found: Rows = rows[-np.sort(best, axis=1)[:, ::-1] % 2**32]
    return found


def in_turn(found: Sequence[Rows], n: int) -> Rows:
    """n distinct rows: classes take turns, and so do the anchors of a class; each gives its most similar row left.

    `found` has for each class the rows (A, k) that are most similar to its anchors, with k at least n.
    """
    queues = [iter(rows.T.ravel().tolist()) for rows in found]
    taken: dict[int, None] = {}
    for queue in cycle(queues):
        if len(taken) == n:
            break
        taken[next(row for row in queue if row not in taken)] = None
    return np.fromiter(taken, np.int64, n)
