"""FasterPAM: eager swaps of a medoid for another row, with cached removal losses.

Source: Schubert & Rousseeuw, "Fast and eager k-medoids clustering: O(k) runtime improvement of the PAM, CLARA, and
CLARANS algorithms", Information Systems 101 (2021). Each point knows its nearest and its second-nearest medoid, so
that one pass over a candidate's distances gives the change of the loss for its swap with each of the K medoids; only
the points nearer to the candidate than to their second-nearest medoid, about 2 in K, have a part in it.

Here candidates come in blocks: one pass finds each one's best swap, then the promising ones are looked at again, the
best first, and swapped at once where the loss still falls.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dami_text.clustering.distances import BLOCK_NUMBERS, Distances, nonzero
from dami_text.clustering.progress import bar

TOLERANCE = 1e-9  # a swap must lower the loss by more than this share of it


@dataclass
class Clustering:
    """The state of the search: K medoids, and for each of N points its two nearest.

    Attributes:
        medoids: (K,) int64 candidates. A place in this list is a medoid's slot.
        is_medoid: (C,) bool.
        nearest, second: (N,) int64 slots of the nearest and the second-nearest medoid.
        nearest_distance, second_distance: (N,) float32; the second is infinite where there is one medoid only.
        removal_loss: (K,) float64, by how much the loss would rise if the medoid went.
        loss: the sum of nearest_distance in float64, kept up to date from swap to swap.
    """

    medoids: Tensor
    is_medoid: Tensor
    nearest: Tensor
    second: Tensor
    nearest_distance: Tensor
    second_distance: Tensor
    removal_loss: Tensor
    loss: float


def swap_until_optimal(distances: Distances, medoids: Tensor, max_iter: int) -> tuple[Clustering, int]:
    """Swap medoids (K,) for candidates until no single swap lowers the loss, in max_iter sweeps at most.

    Returns the clustering and the number of sweeps over the candidates that were begun.
    """
    state = assigned(distances, medoids)
    unchanged = 0
    for sweep in range(1, max_iter + 1):
        with bar(distances.shape[0], f"K-medoids, sweep {sweep}") as progress:
            for candidates in distances.blocks:
                unchanged = 0 if swap_block(distances, state, candidates) else unchanged + 1
                if unchanged == len(distances.blocks):
                    return state, sweep
                progress.update(candidates.stop - candidates.start)
    return state, max_iter


def assigned(distances: Distances, medoids: Tensor) -> Clustering:
    """The clustering of all points by the medoids (K,)."""
    C, N, K = *distances.shape, len(medoids)
    state = Clustering(
        medoids=medoids.clone(),
        is_medoid=torch.zeros(C, dtype=torch.bool, device=medoids.device).index_fill_(0, medoids, True),
        nearest=torch.zeros(N, dtype=torch.int64, device=medoids.device),
        second=torch.zeros(N, dtype=torch.int64, device=medoids.device),
        nearest_distance=torch.full((N,), torch.inf, device=medoids.device),
        second_distance=torch.full((N,), torch.inf, device=medoids.device),
        removal_loss=torch.zeros(K, dtype=torch.float64, device=medoids.device),
        loss=0.0,
    )
    points = torch.arange(N, device=medoids.device)
    for part in points.split(max(1, BLOCK_NUMBERS // (4 * K))):
        _search(distances, state, part)
    _add_removal_loss(state, points, 1)
    state.loss = float(state.nearest_distance.double().sum())
    return state


def swap_block(distances: Distances, state: Clustering, candidates: slice) -> int:
    """Do the swaps that a block of candidates offers, the most profitable first; return how many."""
    rows = distances.block(candidates)
    threshold = -TOLERANCE * state.loss
    changes, _ = _best_swaps(state, rows)
    changes[state.is_medoid[candidates]] = torch.inf
    order = changes.argsort(stable=True)
    swaps = 0
    for place in order[changes[order] < threshold].tolist():
        change, slot = (value.item() for value in _best_swaps(state, rows[place : place + 1]))
        if change < threshold:
            _swap(distances, state, int(slot), candidates.start + place, rows[place])
            state.loss += change
            swaps += 1
    return swaps


def _best_swaps(state: Clustering, rows: Tensor) -> tuple[Tensor, Tensor]:
    """For candidates with distances rows (B, N): the change of the loss by each one's best swap, its slot; (B,) each."""
    B, N, K = *rows.shape, len(state.medoids)
    if K == 1:
        return rows.double().sum(dim=1) - state.loss, torch.zeros(B, dtype=torch.int64, device=rows.device)
    near = nonzero(rows < state.second_distance)
    candidate = near // N
    point = near - candidate * N
    distance = rows.reshape(-1).index_select(0, near)
    first = state.nearest_distance.index_select(0, point)
    second = state.second_distance.index_select(0, point)
    pair = candidate * K + state.nearest.index_select(0, point)
    gained = torch.bincount(pair, (distance - first).clamp_(max=0).double(), minlength=B * K).view(B, K).sum(dim=1)
    kept = torch.bincount(pair, (torch.maximum(distance, first) - second).double(), minlength=B * K).view(B, K)
    best, slots = (kept + state.removal_loss).min(dim=1)
    return best + gained, slots


def _swap(distances: Distances, state: Clustering, slot: int, candidate: int, row: Tensor) -> None:
    """Put the candidate, with distances row (N,), in the slot, and update the points that this touches."""
    lost = (state.nearest == slot) | (state.second == slot)
    taken = row < state.second_distance
    touched = nonzero(lost | taken)
    _add_removal_loss(state, touched, -1)
    state.is_medoid[state.medoids[slot]] = False
    state.is_medoid[candidate] = True
    state.medoids[slot] = candidate
    _take(state, slot, nonzero(taken), row)
    _search(distances, state, nonzero(lost & ~taken))
    _add_removal_loss(state, touched, 1)


def _take(state: Clustering, slot: int, points: Tensor, row: Tensor) -> None:
    """Make the slot's new medoid one of the two nearest of some points."""
    distance, nearest, nearest_distance = row[points], state.nearest[points], state.nearest_distance[points]
    gone = nearest == slot
    other = torch.where(gone, state.second[points], nearest)
    other_distance = torch.where(gone, state.second_distance[points], nearest_distance)
    is_first = distance < other_distance
    state.nearest[points] = torch.where(is_first, slot, other)
    state.second[points] = torch.where(is_first, other, slot)
    state.nearest_distance[points] = torch.minimum(distance, other_distance)
    state.second_distance[points] = torch.maximum(distance, other_distance)


def _search(distances: Distances, state: Clustering, points: Tensor) -> None:
    """Find the two nearest of all medoids for some points."""
    found = distances.between(state.medoids, points).topk(min(2, len(state.medoids)), dim=0, largest=False)
    state.nearest[points], state.nearest_distance[points] = found.indices[0], found.values[0]
    if len(state.medoids) > 1:
        state.second[points], state.second_distance[points] = found.indices[1], found.values[1]


def _add_removal_loss(state: Clustering, points: Tensor, sign: int) -> None:
    """Count some points in the removal losses, or out of them."""
    rise = state.second_distance[points].double() - state.nearest_distance[points].double()
    state.removal_loss += sign * torch.bincount(state.nearest[points], rise, minlength=len(state.medoids))
