"""Searches on samples: where the others start, and all that a million rows allow.

Source: Kaufman & Rousseeuw, "Clustering large applications (program CLARA)" in "Finding groups in data", 1990: the
medoids of a sample are good medoids of all rows.
"""

import numpy as np
import torch
from torch import Tensor

from dami_text.clustering.distances import Matrix, Tiles, Vectors
from dami_text.clustering.fasterpam import swap_until_optimal
from dami_text.clustering.initialization import Init, initial_medoids
from dami_text.clustering.streamed import swap_narrowing

SAMPLE_SWEEPS = 20


def first_medoids(vectors: Vectors, n_clusters: int, init: Init, sample: int, rng: np.random.Generator) -> Tensor:
    """K rows (K,) to start from: the medoids of a sample by FasterPAM, or without one (0) the plain initial rows."""
    if not sample:
        return initial_medoids(Tiles(vectors, vectors), n_clusters, init, rng)
    rows = _draw(vectors, sample, rng)
    matrix = Matrix(vectors[rows])
    state, _ = swap_until_optimal(matrix, initial_medoids(matrix, n_clusters, init, rng), SAMPLE_SWEEPS)
    return rows[state.medoids]


def sampled(
    vectors: Vectors, medoids: Tensor, candidates: int, evaluators: int, max_iter: int, rng: np.random.Generator
) -> tuple[Tensor, int]:
    """Swap the medoids (K,) for some candidates as long as the loss of some evaluators falls.

    Returns the medoids and the number of sweeps.
    """
    points = _draw(vectors, evaluators, rng)
    others = _draw(vectors, candidates, rng)
    rows = torch.cat([medoids, others[~torch.isin(others, medoids)]])
    start = torch.arange(len(medoids), device=medoids.device)
    places, sweeps = swap_narrowing(vectors[points], vectors[rows], start, max_iter)
    return rows[places], sweeps


def _draw(vectors: Vectors, size: int, rng: np.random.Generator) -> Tensor:
    rows = np.sort(rng.choice(len(vectors), size, replace=False))
    return torch.from_numpy(rows).to(vectors.values.device)
