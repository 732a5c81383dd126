"""The state of the swap search in NumPy, whose calls on the few points that a swap touches cost a fraction of torch's.

See `fasterpam`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dami_text.clustering.distances import Distances, first_least, row_slices
from dami_text.data.ids import Rows

TOLERANCE = 1e-9  # a swap must lower the loss by more than this share of it


@dataclass(kw_only=True)
class Clustering:
    """The state of the search: K medoids, and for each of N points its two nearest.

    Attributes:
        medoids: (K,) candidates. A place in this list is a medoid's slot.
        is_medoid: (C,) bool.
        to_medoids: (N, K) float32, each point's distances to the medoids.
        nearest, second: (N,) slots of the nearest and the second-nearest medoid, the first ones where it is a tie.
        nearest_distance, second_distance: (N,) float32; the second is infinite where there is one medoid only.
        removal_loss: (K,) float64, by how much the loss would rise if the medoid went.
        loss: the sum of nearest_distance in float64, kept up to date from swap to swap.
        swaps: how many swaps were made.
    """

    medoids: NDArray[np.int64]
    is_medoid: NDArray[np.bool_]
    to_medoids: NDArray[np.float32]
    nearest: NDArray[np.intp]
    second: NDArray[np.intp]
    nearest_distance: NDArray[np.float32]
    second_distance: NDArray[np.float32]
    removal_loss: NDArray[np.float64]
    loss: float
    swaps: int = 0

    def best_changes(self, block: Tensor, candidates: slice) -> NDArray[np.floating]:
        """See `fasterpam.Search`."""
        changes = _best_changes(self, block)
        changes[self.is_medoid[candidates]] = np.inf
        return changes

    def swap_where_better(self, candidates: Rows, columns: Tensor) -> None:
        """See `fasterpam.Search`."""
        threshold = -TOLERANCE * self.loss
        for candidate, column in zip(candidates.tolist(), columns.cpu().numpy(), strict=True):
            change, slot = _best_swap(self, column)
            if change < threshold:
                _swap(self, slot, candidate, column)
                self.loss += change
                self.swaps += 1


def assigned(distances: Distances, medoids: Tensor) -> Clustering:
    """The clustering of all points by the medoids (K,)."""
    N, C, K = *distances.shape, len(medoids)
    slots = medoids.cpu().numpy().copy()
    state = Clustering(
        medoids=slots,
        is_medoid=np.isin(np.arange(C), slots),
        to_medoids=distances.to(medoids).cpu().numpy(),
        nearest=np.zeros(N, np.intp),
        second=np.zeros(N, np.intp),
        nearest_distance=np.empty(N, np.float32),
        second_distance=np.empty(N, np.float32),
        removal_loss=np.zeros(K),
        loss=0.0,
    )
    points = np.arange(N)
    for part in row_slices(N, K):
        _rank(state, points[part])
    _add_removal_loss(state, points, 1)
    state.loss = float(state.nearest_distance.sum(dtype=np.float64))
    return state


def _best_changes(state: Clustering, block: Tensor) -> NDArray[np.floating]:
    """The change of the loss (B,) by each candidate's best swap, for distances (N, B), in float32's accuracy."""
    (N, B), K = block.shape, len(state.medoids)
    if K == 1:
        return block.sum(dim=0, dtype=torch.float64).cpu().numpy() - state.loss
    nearest, first, second = (
        torch.from_numpy(each).to(block.device)
        for each in (state.nearest, state.nearest_distance[:, None], state.second_distance[:, None])
    )
    gained = torch.zeros(B, device=block.device)  # where no medoid goes
    lost = torch.zeros((K, B), device=block.device)  # by what the gain is less where a medoid goes
    for part in row_slices(N, B):
        nearer = torch.minimum(block[part], first[part])
        # Without removal_loss, whose size would hide small changes where the second-nearest medoid is far away.
        lost.index_add_(0, nearest[part], torch.minimum(block[part], second[part]).sub_(nearer))
        gained += nearer.sub_(first[part]).sum(dim=0)
    return lost.amin(dim=0).add_(gained).cpu().numpy()


def _best_swap(state: Clustering, column: NDArray[np.float32]) -> tuple[float, int]:
    """The change of the loss by a candidate's best swap, in float64, and its slot, for distances (N,)."""
    K = len(state.medoids)
    if K == 1:
        return float(column.sum(dtype=np.float64)) - state.loss, 0
    near = (column < state.second_distance).nonzero()[0]
    distance = column[near].astype(np.float64)
    first, second = state.nearest_distance[near], state.second_distance[near]
    kept = np.bincount(state.nearest[near], np.maximum(distance, first) - second, minlength=K)
    changes = kept + state.removal_loss + np.minimum(distance - first, 0).sum()
    slot = first_least(changes)
    return float(changes[slot]), slot


def _swap(state: Clustering, slot: int, candidate: int, column: NDArray[np.float32]) -> None:
    """Put the candidate, with distances column (N,), in the slot, and update the points that this touches."""
    touched = (state.nearest == slot) | (state.second == slot)
    points = (touched | (column < state.second_distance)).nonzero()[0]
    _add_removal_loss(state, points, -1)
    state.is_medoid[state.medoids[slot]] = False
    state.is_medoid[candidate] = True
    state.medoids[slot] = candidate
    state.to_medoids[:, slot] = column
    _rank(state, points)
    _add_removal_loss(state, points, 1)


def _rank(state: Clustering, points: NDArray[np.intp]) -> None:
    """Find the two nearest of all medoids for some points."""
    distances, places = state.to_medoids[points], np.arange(len(points))
    nearest = distances.argmin(axis=1)
    state.nearest[points], state.nearest_distance[points] = nearest, distances[places, nearest]
    distances[places, nearest] = np.inf
    second = distances.argmin(axis=1)
    state.second[points], state.second_distance[points] = second, distances[places, second]


def _add_removal_loss(state: Clustering, points: NDArray[np.intp], sign: int) -> None:
    """Count some points in the removal losses, or out of them; with one medoid only there is no second-nearest."""
    if len(state.medoids) == 1:
        return
    rise = state.second_distance[points].astype(np.float64) - state.nearest_distance[points]
    state.removal_loss += sign * np.bincount(state.nearest[points], rise, minlength=len(state.removal_loss))
