"""K-means on the model's features: DAMI without interpretations (the texts nearest to the means; Kang et al. 2004)."""

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from transformers import PreTrainedModel

from dami_text.data.ids import Rows
from dami_text.data.pool import Pool
from dami_text.models.inference import predict_features
from dami_text.models.scores import first_highest
from dami_text.processes import Processes
from dami_text.strategies.base import OnFeatures, Query

NEAR = 1.001  # times the smallest squared distance: rows that are measured again


class KMeansFeatures(OnFeatures):
    """For each of n means of the unlabelled texts' features, the text nearest to it."""

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """n unlabelled rows, of the largest clusters first; the reason: how many texts the cluster has."""
        features = predict_features(model, pool.texts, pool.unlabeled, self.batch_size)
        chosen, sizes = Processes.all().on_main(lambda: nearest_to_means(features, n, rng))
        return Query.of(pool.unlabeled[chosen], [{"cluster_size": int(size)} for size in sizes])


def nearest_to_means(features: NDArray[np.float32], n: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """For each of n means of `features` (N, H) the nearest row that is not another mean's, and its cluster's size.

    The first of rows that are equally near within rounding, such as the two of a pair, is taken.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than means: copies are chosen then
        means = KMeans(n, n_init=1, random_state=int(rng.integers(2**31))).fit(features)
    sizes = np.bincount(means.labels_, minlength=n)
    order = np.argsort(-sizes, kind="stable")
    free = np.ones(len(features), bool)
    chosen = np.empty(n, np.int64)
    for place, mean in enumerate(order):
        members = means.labels_ == mean
        centre = features[members].mean(axis=0, dtype=np.float64) if members.any() else means.cluster_centers_[mean]
        distances = np.where(free, np.square(features - centre.astype(np.float32)).sum(axis=1), np.inf)
        near = np.flatnonzero(distances <= NEAR * distances.min() + np.finfo(np.float32).tiny)
        exact = np.square(features[near] - centre).sum(axis=1)  # in float64: a pair's two are equally near
        chosen[place] = near[first_highest(-exact)]
        free[chosen[place]] = False
    return chosen, sizes[order]
