"""Searches on samples of the rows: where the other methods start, and what a million rows allow.

Sources: Kaufman & Rousseeuw, "Finding Groups in Data", 1990, chapter 3 (CLARA): the medoids of a sample are good
medoids of all rows. Bachem, Lucic & Krause, "Scalable k-means clustering via lightweight coresets", KDD 2018: a sample
that is half uniform and half in proportion to what a row adds to the loss, each row weighted by the inverse of its
chance, tells the loss of heavy-tailed data too, where a few far rows make up most of it.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dami_text.clustering.distances import Matrix, Tiles, Vectors, assign, first_least, members_of, totals
from dami_text.clustering.fasterpam import swap_until_optimal
from dami_text.clustering.initialization import Init, initial_medoids
from dami_text.clustering.plan import Plan
from dami_text.clustering.progress import progress
from dami_text.clustering.streamed import swap_narrowing

POLISHED_MEMBERS = 10_000  # members of a cluster that may become its medoid,
POLISHED_CANDIDATES = 64  # as the nearest to their mean,
POLISHED_EVALUATORS = 1_000  # or that the loss is summed over


def first_medoids(vectors: Vectors, work: Plan, init: Init, max_iter: int, rng: np.random.Generator) -> Tensor:
    """K rows (K,) to start from: the medoids of a sample, by FasterPAM; without a sample the initial rows."""
    if not work.sample:
        return initial_medoids(Tiles(vectors, vectors), work.n_clusters, init, rng)
    rows = _draw(vectors, work.sample, rng)
    matrix = Matrix(vectors[rows])
    medoids, _ = swap_until_optimal(matrix, initial_medoids(matrix, work.n_clusters, init, rng), max_iter)
    return rows[medoids]


def swap_sampled(
    vectors: Vectors, medoids: Tensor, work: Plan, max_iter: int, rng: np.random.Generator
) -> tuple[Tensor, int]:
    """Swap the medoids (K,) for a sample of candidates, by the loss of a sample of evaluators, then polish them.

    Returns the medoids and the number of sweeps over the candidates.
    """
    chances, device = _chances(assign(vectors, medoids)[1], vectors.weights), medoids.device
    evaluators, weights = (part.to(device) for part in _draw_weighted(chances, work.evaluators, rng))
    drawn, _ = _draw_weighted(chances, work.candidates, rng)
    candidates = torch.cat([medoids, drawn.to(device)]).unique()
    places = torch.isin(candidates, medoids).nonzero().view(-1)
    points = vectors[evaluators].weighted(weights)
    places, sweeps = swap_narrowing(points, vectors[candidates], places, max_iter)
    medoids = candidates[places]
    return polish(vectors, medoids), sweeps


def polish(vectors: Vectors, medoids: Tensor) -> Tensor:
    """Take for each cluster's medoid the best of the members near its mean: one round of the alternation, in chunks."""
    labels, _ = assign(vectors, medoids)
    polished = medoids.clone()
    for slot, members in enumerate(progress(members_of(labels, len(medoids)), "K-medoids, polishing")):
        near = _nearest_to_mean(vectors, members[:: len(members) // POLISHED_MEMBERS + 1])
        candidates = torch.cat([near.sort().values, medoids[slot : slot + 1]])
        evaluators = members[:: len(members) // POLISHED_EVALUATORS + 1]
        sums = totals(Tiles(vectors[evaluators], vectors[candidates])).cpu().numpy()
        polished[slot] = candidates[first_least(sums)]
    return polished


def _nearest_to_mean(vectors: Vectors, rows: Tensor) -> Tensor:
    values = vectors.values[rows]
    mean = values.mean(dim=0)
    if vectors.weights is not None and (weights := vectors.weights[rows]).any():
        mean = (weights / weights.sum()) @ values
    squared = (values - mean).square_().sum(dim=1)
    return rows[squared.topk(min(POLISHED_CANDIDATES, len(rows)), largest=False).indices]


def _chances(distances: Tensor, weights: Tensor | None = None) -> NDArray[np.float64]:
    """The chances (N,), of sum 1, of rows at these distances to their medoids: half uniform, half by the distance.

    Where rows have weights, these multiply both halves.
    """
    counts = (torch.ones_like(distances) if weights is None else weights).double().cpu().numpy()
    share = distances.double().cpu().numpy() * counts
    uniform: NDArray[np.float64] = counts / counts.sum()
    return (uniform + share / share.sum()) / 2 if share.any() else uniform


def _draw_weighted(chances: NDArray[np.float64], size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """About `size` rows, rising, and their weights, float32: the inverse of what each was expected to be drawn.

    Rows are drawn systematically: one whose expected number is 1 or more is there, and none twice.
    """
    if size >= len(chances):
        return torch.arange(len(chances)), torch.ones(len(chances))
    expected = np.minimum(chances * size, 1)
    ends = np.floor(np.cumsum(expected) + rng.random())
    rows = np.flatnonzero(np.diff(ends, prepend=0) > 0)
    return torch.from_numpy(rows), torch.from_numpy(1 / expected[rows]).float()


def _draw(vectors: Vectors, size: int, rng: np.random.Generator) -> Tensor:
    rows = np.sort(rng.choice(len(vectors), size, replace=False))
    return torch.from_numpy(rows).to(vectors.values.device)
