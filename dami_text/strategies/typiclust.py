"""TypiClust: the most typical text of each cluster that has no label yet (Hacohen, Dekel and Weinshall 2022).

The L labelled and the unlabelled texts are clustered by their features into L + n clusters, 500 at most. Clusters are
taken in turn, those of the fewest labels first and of these the largest, and each gives its unlabelled text of the
highest

    typicality(x) = 1 / (mean distance from x to its 20 nearest neighbours in its cluster)

Clusters of fewer than 5 texts are left for last. The paper's features are a frozen encoder's, which know no label; a
model that is trained anew in each round has other features each time.
"""

import warnings
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors
from transformers import PreTrainedModel

from dami_text.data.ids import Rows
from dami_text.data.pool import Pool
from dami_text.models.inference import predict_features
from dami_text.models.scores import highest_first
from dami_text.processes import Processes
from dami_text.strategies.base import OnFeatures, Query

NEIGHBOURS, MIN_SIZE, MAX_CLUSTERS = 20, 5, 500  # as in the paper
EXACT_CLUSTERS = 50  # by K-means; more of them by mini-batches, as in the paper
SMALLEST = 1e-5  # mean distance that is told from 0


class TypiClust(OnFeatures):
    """The most typical unlabelled texts of the clusters of the fewest labels."""

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """n unlabelled rows; the reasons: the typicality, and how many texts the cluster has."""
        rows = np.concatenate([pool.labeled, pool.unlabeled])
        features = predict_features(model, pool.texts, rows, self.batch_size)
        n_labeled = len(pool.labeled)

        def choose() -> tuple[Rows, NDArray[np.float64], Rows]:
            clusters = cluster(features, min(n_labeled + n, MAX_CLUSTERS), rng)
            return most_typical(features, clusters, n_labeled, n)

        chosen, typicality, sizes = Processes.all().on_main(choose)
        reasons = [
            {"typicality": float(value), "cluster_size": int(size)}
            for value, size in zip(typicality, sizes, strict=True)
        ]
        return Query.of(rows[chosen], reasons)


def cluster(features: NDArray[np.float32], k: int, rng: np.random.Generator) -> Rows:
    """The cluster (N,) of each row of features (N, H), from 0 to k - 1, by K-means."""
    kind = KMeans if k <= EXACT_CLUSTERS else MiniBatchKMeans
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters: some are empty then
        labels: Rows = kind(k, n_init=1, random_state=int(rng.integers(2**31))).fit_predict(features).astype(np.int64)
    return labels


def most_typical(
    features: NDArray[np.float32], clusters: Rows, n_labeled: int, n: int
) -> tuple[Rows, NDArray[np.float64], Rows]:
    """The choice among features (N, H) in clusters (N,), of which the first `n_labeled` have labels.

    Returns:
        n distinct places (n,) that have no label, their typicality (n,) and the sizes (n,) of their clusters.
    """
    sizes = np.bincount(clusters)
    labels = np.bincount(clusters[:n_labeled], minlength=len(sizes))
    typicality = np.zeros(len(clusters))
    ranked: list[Rows] = []  # of each cluster, its places without a label, the most typical first
    for c in range(len(sizes)):
        members = np.flatnonzero(clusters == c)
        typicality[members] = typicalities(features[members])
        members = members[highest_first(typicality[members])]
        ranked.append(members[members >= n_labeled])

    def in_turn() -> Iterator[int]:
        by_need = np.lexsort((-sizes, labels))
        for order in (by_need[sizes[by_need] >= MIN_SIZE], by_need[sizes[by_need] < MIN_SIZE]):
            for turn in range(max((len(ranked[c]) for c in order), default=0)):
                yield from (int(ranked[c][turn]) for c in order if turn < len(ranked[c]))

    chosen = np.array(list(islice(in_turn(), n)), np.int64)
    return chosen, typicality[chosen], sizes[clusters[chosen]]


def typicalities(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """The typicality (M,) of each row of a cluster (M, H); that of copies of one text is a large number."""
    k = min(NEIGHBOURS, len(features) - 1)
    if k < 1:
        return np.zeros(len(features))
    distances, _ = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(features.astype(np.float64)).kneighbors()
    found: NDArray[np.float64] = 1 / (distances.mean(axis=1) + SMALLEST)
    return found
