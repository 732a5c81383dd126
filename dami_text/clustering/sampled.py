"""Searches on samples of the rows: where the other methods start, and what a million rows allow.

Source: Kaufman & Rousseeuw, "Finding Groups in Data", 1990, chapter 3 (CLARA): the medoids of a sample are good
medoids of all rows.
"""

import numpy as np
import torch
from torch import Tensor

from dami_text.clustering.distances import Matrix, Tiles, Vectors, assign, first_least, totals
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
    state, _ = swap_until_optimal(matrix, initial_medoids(matrix, work.n_clusters, init, rng), max_iter)
    return rows[state.medoids]


def swap_sampled(
    vectors: Vectors, medoids: Tensor, work: Plan, max_iter: int, rng: np.random.Generator
) -> tuple[Tensor, int]:
    """Swap the medoids (K,) for a sample of candidates, by the loss of a sample of evaluators, then polish them.

    Returns the medoids and the number of sweeps over the candidates.
    """
    evaluators = _draw(vectors, work.evaluators, rng)
    candidates = torch.cat([medoids, _draw(vectors, work.candidates, rng)]).unique()
    places = torch.isin(candidates, medoids).nonzero().view(-1)
    places, sweeps = swap_narrowing(vectors[evaluators], vectors[candidates], places, max_iter)
    medoids = candidates[places]
    return polish(vectors, medoids), sweeps


def polish(vectors: Vectors, medoids: Tensor) -> Tensor:
    """Take for each cluster's medoid the best of the members near its mean: one round of the alternation, in chunks."""
    labels, _ = assign(vectors, medoids)
    sizes = torch.bincount(labels, minlength=len(medoids)).tolist()
    clusters = labels.argsort(stable=True).split(sizes)
    polished = medoids.clone()
    for slot, members in enumerate(progress(clusters, "K-medoids, polishing")):
        near = _nearest_to_mean(vectors, members[:: len(members) // POLISHED_MEMBERS + 1])
        candidates = torch.cat([near.sort().values, medoids[slot : slot + 1]])
        evaluators = members[:: len(members) // POLISHED_EVALUATORS + 1]
        sums = totals(Tiles(vectors[evaluators], vectors[candidates]))
        polished[slot] = candidates[first_least(sums)]
    return polished


def _nearest_to_mean(vectors: Vectors, rows: Tensor) -> Tensor:
    values = vectors.values[rows]
    squared = (values - values.mean(dim=0)).square_().sum(dim=1)
    return rows[squared.topk(min(POLISHED_CANDIDATES, len(rows)), largest=False).indices]


def _draw(vectors: Vectors, size: int, rng: np.random.Generator) -> Tensor:
    rows = np.sort(rng.choice(len(vectors), size, replace=False))
    return torch.from_numpy(rows).to(vectors.values.device)
