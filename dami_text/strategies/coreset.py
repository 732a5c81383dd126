"""CORESET: the texts that leave no text far from a labelled one (Sener and Savarese 2018), by k-center greedy.

With features h (N, H), what the classifier's last layer reads, the next row is

    argmax_i  min over labelled and chosen j of  ||h_i - h_j||
"""

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.data.ids import Rows
from dami_text.data.pool import Pool
from dami_text.models.inference import predict_features
from dami_text.models.scores import first_highest
from dami_text.processes import Processes
from dami_text.strategies.base import OnFeatures, Query


class Coreset(OnFeatures):
    """K-center greedy on the model's features, starting from the labelled texts."""

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """n unlabelled rows, each the farthest from all that are labelled or chosen before it; the reason: how far."""
        unlabeled = predict_features(model, pool.texts, pool.unlabeled, self.batch_size)
        labeled = predict_features(model, pool.texts, pool.labeled, self.batch_size)
        chosen, distances = Processes.all().on_main(lambda: k_center_greedy(unlabeled, labeled, n))
        return Query.of(pool.unlabeled[chosen], [{"distance": float(distance)} for distance in distances])


def k_center_greedy(
    vectors: NDArray[np.float32], centers: NDArray[np.float32], n: int
) -> tuple[Rows, NDArray[np.float32]]:
    """n distinct rows of `vectors` (N, H), each the farthest from `centers` (L, H) and from the rows before it.

    Without centers the first row is the farthest from the mean.

    Returns:
        The rows (n,), the first of those that are equally far within rounding first, and their distances (n,).
    """
    mean = vectors.mean(axis=0)
    points = torch.from_numpy(vectors - mean)
    squares = points.square().sum(dim=1)

    def squared_distances(others: torch.Tensor) -> torch.Tensor:
        """Of all points to the nearest of `others` (M, H)."""
        products = points @ others.T
        found = (others.square().sum(dim=1) - 2 * products).amin(dim=1).add_(squares)
        close = (found <= 1e-3 * squares).nonzero()[:, 0]  # where the difference has lost its digits
        exact = torch.cdist(points[close], others, compute_mode="donot_use_mm_for_euclid_dist")
        return found.index_copy_(0, close, exact.amin(dim=1).square())

    nearest = torch.full((len(points),), torch.inf)
    starts = centers - mean if len(centers) else np.zeros_like(vectors[:1])
    for block in torch.from_numpy(starts).split(256):
        nearest = torch.minimum(nearest, squared_distances(block))
    chosen, distances = np.empty(n, np.int64), np.empty(n, np.float32)
    for k in range(n):
        row = first_highest(nearest.numpy())
        chosen[k], distances[k] = row, float(nearest[row]) ** 0.5
        nearest = torch.minimum(nearest, squared_distances(points[row : row + 1]))
        nearest[row] = -1  # never again, also where only copies are left
    return chosen, distances
