"""Cluster-Margin: diverse texts among those of which the model is least sure (Citovsky et al. 2021).

The m n unlabelled texts of the smallest margins p_(1) - p_(2) are clustered by their features, with average linkage,
and one text is drawn from each cluster. The paper clusters the whole pool once, by the features of the first model, and
takes the clusters in turn, the smallest first. Here a round depends on nothing but its model: the m n texts alone are
clustered, into n clusters, so that each gives one text. Where a text has any number of labels, its margin is the mean
over the labels.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import pairwise_distances
from transformers import PreTrainedModel

from dami_text.config.defaults import BATCH_SIZE, UNCERTAIN
from dami_text.config.options import StrategyConfig
from dami_text.data.ids import Rows
from dami_text.data.pool import Pool
from dami_text.models.inference import predict_features
from dami_text.processes import Processes
from dami_text.strategies.base import Query
from dami_text.strategies.uncertainty import least_certain

MAX_CLUSTERED = 5_000  # texts, whose distances take 300 MB


@dataclass(frozen=True)
class ClusterMargin:
    """One text at random from each of n clusters of the `factor` * n texts of the smallest margins."""

    factor: int = UNCERTAIN
    batch_size: int = BATCH_SIZE

    needs: ClassVar[frozenset[str]] = frozenset({"features"})
    multilabel: ClassVar[bool] = True

    @classmethod
    def of(cls, config: StrategyConfig) -> Self:
        """The strategy as the options say."""
        return cls(config.uncertain_factor, config.inference_batch_size)

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """n unlabelled rows, those of the largest clusters first.

        The reasons: the margin's score, and how many uncertain texts the row stands for.
        """
        limit = max(n, min(self.factor * n, MAX_CLUSTERED))
        uncertain = least_certain(model, pool, limit, self.batch_size)
        features = predict_features(model, pool.texts, uncertain.rows, self.batch_size)
        chosen, sizes = Processes.all().on_main(lambda: one_of_each_cluster(features, n, rng))
        reasons = [
            {**uncertain.reasons[place], "cluster_size": int(size)} for place, size in zip(chosen, sizes, strict=True)
        ]
        return Query.of(uncertain.rows[chosen], reasons)


def one_of_each_cluster(vectors: NDArray[np.float32], n: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """A random place (n,) in each of n clusters of `vectors` (M, H), the largest first, and the sizes (n,) of these."""
    if n == len(vectors):
        labels = np.arange(n)
    else:
        distances = pairwise_distances(vectors.astype(np.float64))
        labels = AgglomerativeClustering(n, metric="precomputed", linkage="average").fit_predict(distances)
    sizes = np.bincount(labels, minlength=n)
    order = np.argsort(-sizes, kind="stable")
    chosen = [int(rng.choice(np.flatnonzero(labels == cluster))) for cluster in order]
    return np.array(chosen, np.int64), sizes[order]
