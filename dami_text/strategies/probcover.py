"""ProbCover: texts whose neighbourhoods cover most of the pool (Yehuda, Dekel, Hacohen and Weinshall 2022).

With features h, a text covers those within a radius delta of it. Chosen is, n times, the unlabelled text that covers
most of the texts which no labelled or chosen one covers:

    argmax_i  |{j not covered: ||h_i - h_j|| < delta}|

A ball is pure where all its texts are in one of C clusters by K-means, C the number of classes that have labels. delta
is the largest radius at which 95% of the balls are pure. Where a text has any number of labels, C counts those that
were told, and having none.
"""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from transformers import PreTrainedModel

from dami_text.data.ids import Rows
from dami_text.data.pool import Pool
from dami_text.models.inference import predict_features
from dami_text.models.tasks import task_of
from dami_text.models.unseen import seen_classes
from dami_text.processes import Processes
from dami_text.strategies.base import OnFeatures, Query

PURITY = 0.95  # as in the paper
MAX_ROWS = 10_000  # texts, whose neighbourhoods take 100 MB; of more of them, so many at random stand for all


class ProbCover(OnFeatures):
    """Greedy maximum coverage by balls of the radius that keeps them pure."""

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """n unlabelled rows; the reason: how many texts each covers that none before it does."""
        some = pool.sample(max(n, MAX_ROWS - len(pool.labeled)), rng)
        rows = np.concatenate([some.labeled, some.unlabeled])
        features = predict_features(model, pool.texts, rows, self.batch_size)
        n_labeled, n_classes = len(some.labeled), len(seen_classes(model)) + task_of(model).multilabel

        def choose() -> tuple[Rows, Rows]:
            return cover(neighbourhoods(features, pure_radius(features, n_classes, rng)), n_labeled, n)

        chosen, covered = Processes.all().on_main(choose)
        return Query.of(rows[chosen], [{"newly_covered": int(count)} for count in covered])


def pure_radius(features: NDArray[np.float32], n_classes: int, rng: np.random.Generator) -> float:
    """The largest radius at which at least `PURITY` of the balls around features (N, H) are pure.

    A ball is pure as long as the nearest text of another cluster is outside, so the radius is a quantile of these
    distances. Infinite where there is one cluster only.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters
        means = KMeans(min(n_classes, len(features)), n_init=1, random_state=int(rng.integers(2**31))).fit(features)
    clusters, points = torch.from_numpy(means.labels_.astype(np.int64)), torch.from_numpy(features)
    nearest = [
        torch.cdist(block, points).masked_fill_(own[:, None] == clusters, torch.inf).amin(dim=1)
        for block, own in zip(points.split(1024), clusters.split(1024), strict=True)
    ]
    rising = torch.cat(nearest).sort().values
    return float(rising[int(np.floor((1 - PURITY) * len(rising)))])


def neighbourhoods(features: NDArray[np.float32], radius: float) -> NDArray[np.bool_]:
    """Whether rows of features (N, H) are within the radius of each other, (N, N); each is within its own."""
    points = torch.from_numpy(features)
    near = [torch.cdist(block, points) < radius * (1 - 1e-6) for block in points.split(1024)]  # rounding apart
    found: NDArray[np.bool_] = torch.cat(near).fill_diagonal_(True).numpy()
    return found


def cover(near: NDArray[np.bool_], n_labeled: int, n: int) -> tuple[Rows, Rows]:
    """The greedy choice by neighbourhoods (N, N), of which the first `n_labeled` texts are labelled.

    Once all is covered, coverage begins anew.

    Returns:
        n distinct places (n,) without a label, and how many texts (n,) each newly covers.
    """
    free = np.arange(len(near)) >= n_labeled
    uncovered = ~near[:n_labeled].any(axis=0)
    counts = near.sum(axis=1, dtype=np.int64) - near[:, ~uncovered].sum(axis=1, dtype=np.int64)
    chosen, covered = np.empty(n, np.int64), np.empty(n, np.int64)
    for k in range(n):
        if not uncovered.any():
            uncovered = np.ones(len(near), bool)
            counts = near.sum(axis=1, dtype=np.int64)
        place = int(np.where(free, counts, -1).argmax())
        newly = near[place] & uncovered
        chosen[k], covered[k], free[place] = place, newly.sum(), False
        counts -= near[:, newly].sum(axis=1, dtype=np.int64)
        uncovered &= ~newly
    return chosen, covered
