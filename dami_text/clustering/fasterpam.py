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

from dami_text.clustering.distances import Distances, first_least, nonzero, row_slices
from dami_text.clustering.progress import progress
from dami_text.models.scores import ROUNDING

TOLERANCE = 1e-9  # a swap must lower the loss by more than this share of it


@dataclass(kw_only=True)
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
    last_loss, unchanged = state.loss, 0
    for sweep in range(1, max_iter + 1):
        for candidates in progress(distances.blocks, f"K-medoids, sweep {sweep}"):
            swap_block(distances, state, candidates)
            unchanged = unchanged + 1 if state.loss == last_loss else 0
            last_loss = state.loss
            if unchanged == len(distances.blocks):
                return state, sweep
    return state, max_iter


def assigned(distances: Distances, medoids: Tensor) -> Clustering:
    """The clustering of all points by the medoids (K,)."""
    N, C, K = *distances.shape, len(medoids)
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
    for part in row_slices(N, K):
        _search(distances, state, points[part])
    _add_removal_loss(state, points, 1)
    state.loss = float(state.nearest_distance.double().sum())
    return state


def swap_block(distances: Distances, state: Clustering, candidates: slice) -> Tensor:
    """Do the swaps that a block of candidates offers, the most profitable first.

    Returns what the change of the loss by each candidate's best swap was at first, (B,); infinite for medoids.
    """
    block = distances.block(candidates)
    changes = _best_changes(state, block)
    changes[state.is_medoid[candidates]] = torch.inf
    steps = changes / (ROUNDING * state.loss) if state.loss > 0 else changes
    order = steps.round().argsort(stable=True)  # of candidates that are as good but for rounding, the first first
    threshold = -TOLERANCE * state.loss
    for place in order[changes[order] < 0].tolist():
        column = block[:, place].contiguous()
        change, slot = _best_swap(state, column)
        if change < threshold:
            _swap(distances, state, slot, candidates.start + place, column)
            state.loss += change
    return changes


def _best_changes(state: Clustering, block: Tensor) -> Tensor:
    """The change of the loss (B,) by each candidate's best swap, for distances (N, B), in float32's accuracy."""
    (N, B), K = block.shape, len(state.medoids)
    if K == 1:
        return block.sum(dim=0, dtype=torch.float64) - state.loss
    gained = torch.zeros(B, device=block.device)  # where no medoid goes
    lost = torch.zeros((K, B), device=block.device)  # by what the gain is less where a medoid goes
    for part in row_slices(N, B):
        distance = block[part]
        first, second = state.nearest_distance[part, None], state.second_distance[part, None]
        nearer = torch.minimum(distance, first).sub_(first)
        gained += nearer.sum(dim=0)
        # Without removal_loss, whose size would hide small changes where the second-nearest medoid is far away.
        lost.index_add_(0, state.nearest[part], torch.minimum(distance, second).sub_(first).sub_(nearer))
    return lost.amin(dim=0) + gained


def _best_swap(state: Clustering, column: Tensor) -> tuple[float, int]:
    """The change of the loss by a candidate's best swap, in float64, and its slot, for distances (N,)."""
    if len(state.medoids) == 1:
        return float(column.double().sum()) - state.loss, 0
    near = nonzero(column < state.second_distance)
    distance = column[near].double()
    first, second = state.nearest_distance[near].double(), state.second_distance[near].double()
    kept = torch.bincount(state.nearest[near], torch.maximum(distance, first) - second, minlength=len(state.medoids))
    changes = kept + state.removal_loss + (distance - first).clamp_(max=0).sum()
    slot = first_least(changes)
    return float(changes[slot]), int(slot)


def _swap(distances: Distances, state: Clustering, slot: int, candidate: int, column: Tensor) -> None:
    """Put the candidate, with distances column (N,), in the slot, and update the points that this touches."""
    lost = (state.nearest == slot) | (state.second == slot)
    taken = column < state.second_distance
    touched = nonzero(lost | taken)
    _add_removal_loss(state, touched, -1)
    state.is_medoid[state.medoids[slot]] = False
    state.is_medoid[candidate] = True
    state.medoids[slot] = candidate
    _take(state, slot, nonzero(taken), column)
    _search(distances, state, nonzero(lost & ~taken))
    _add_removal_loss(state, touched, 1)


def _take(state: Clustering, slot: int, points: Tensor, column: Tensor) -> None:
    """Make the slot's new medoid one of the two nearest of some points."""
    distance, nearest, nearest_distance = column[points], state.nearest[points], state.nearest_distance[points]
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
    found = distances.between(points, state.medoids).topk(min(2, len(state.medoids)), dim=1, largest=False)
    state.nearest[points], state.nearest_distance[points] = found.indices[:, 0], found.values[:, 0]
    if len(state.medoids) > 1:
        state.second[points], state.second_distance[points] = found.indices[:, 1], found.values[:, 1]


def _add_removal_loss(state: Clustering, points: Tensor, sign: int) -> None:
    """Count some points in the removal losses, or out of them."""
    rise = state.second_distance[points].double() - state.nearest_distance[points].double()
    state.removal_loss += sign * torch.bincount(state.nearest[points], rise, minlength=len(state.medoids))
