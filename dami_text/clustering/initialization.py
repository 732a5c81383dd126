"""Where the search starts: K distinct rows."""

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dami_text.clustering.distances import Distances, totals
from dami_text.models.scores import highest_first

InitName = Literal["random", "k-means++", "park-jun"]
Init = InitName | NDArray[np.integer]
INITS: tuple[str, ...] = get_args(InitName)


def initial_medoids(distances: Distances, n_clusters: int, init: Init, rng: np.random.Generator) -> Tensor:
    """K distinct rows (K,) of the N that the distances (N, N) are between."""
    if isinstance(init, np.ndarray):
        return torch.from_numpy(init.astype(np.int64)).to(distances.device)
    if init == "random":
        return torch.from_numpy(rng.choice(distances.shape[0], n_clusters, replace=False)).to(distances.device)
    return k_means_plus_plus(distances, n_clusters, rng) if init == "k-means++" else park_jun(distances, n_clusters)


def k_means_plus_plus(distances: Distances, n_clusters: int, rng: np.random.Generator) -> Tensor:
    """One row after the other, each drawn in proportion to its distance to the nearest row drawn before.

    Of rows with weights, the first is drawn in proportion to the weight, the others to the weight times the distance.

    Source: Arthur & Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007, with the distance
    itself as the potential (their section 5), since K-medoids sums distances and not their squares.
    """
    N = distances.shape[0]
    chances = torch.zeros(N) if distances.weights is None else distances.weights.cpu()
    nearest = torch.full((N,), torch.inf)
    medoids: list[int] = []
    for _ in range(n_clusters):
        row = _draw(chances, medoids, rng)
        medoids.append(row)
        nearest = torch.minimum(nearest, distances.block(slice(row, row + 1))[:, 0].cpu())
        nearest[row] = 0  # also where rounding left a distance to itself: no row twice
        chances = nearest
    return torch.tensor(medoids, device=distances.device)


def _draw(chances: Tensor, drawn: list[int], rng: np.random.Generator) -> int:
    """A row drawn in proportion to its chance; any row that is not drawn yet where all chances are 0."""
    sums = chances.double().cumsum(dim=0)
    total = float(sums[-1])
    if total > 0:
        row = torch.searchsorted(sums, rng.random() * total, right=True)
        return int(row.clamp_(max=int(chances.nonzero()[-1])))
    left = np.setdiff1d(np.arange(len(chances)), drawn)
    return int(rng.choice(left))


def park_jun(distances: Distances, n_clusters: int) -> Tensor:
    """The K rows j with the smallest v_j = sum_i (d_ij / sum_l d_il), the first of equal ones (within rounding).

    Weights count in both sums: v_j = sum_i (w_i d_ij / sum_l w_l d_il).

    Source: Park & Jun, "A simple and fast algorithm for K-medoids clustering", Expert Systems with Applications
    36(2), 2009.
    """
    sums = totals(distances)
    shares = torch.where(sums > 0, 1 / sums, 0)
    v = torch.empty_like(sums)  # filled in place: a list of small results would scatter the memory around the blocks
    for part in distances.blocks:
        v[part] = shares @ distances.block(part).double()
    order = highest_first(-v.cpu().numpy())[:n_clusters]
    return torch.from_numpy(order).to(distances.device)
