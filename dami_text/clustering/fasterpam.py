"""FasterPAM: eager swaps of a medoid for another row, with cached removal losses.

Source: Schubert & Rousseeuw, "Fast and eager k-medoids clustering: O(k) runtime improvement of the PAM, CLARA, and
CLARANS algorithms", Information Systems 101 (2021). Each point knows its nearest and its second-nearest medoid, so
that one pass over a candidate's distances gives the change of the loss for its swap with each of the K medoids; only
the points nearer to the candidate than to their second-nearest medoid, about 2 in K, have a part in it.

Here candidates come in blocks: one pass finds each one's best swap, then the promising ones are looked at again, the
best first, and swapped at once where the loss still falls. What a search knows of its points is kept where that is
fastest: see `on_host` and `on_card`.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dami_text.clustering.distances import Distances
from dami_text.clustering.on_card import CardClustering
from dami_text.clustering.on_host import assigned
from dami_text.clustering.progress import progress
from dami_text.data.ids import Rows
from dami_text.models.scores import ROUNDING
from dami_text.processes import is_card


class Search(Protocol):
    """A clustering that swaps change."""

    @property
    def medoids(self) -> NDArray[np.int64]:
        """The medoids (K,), candidates."""

    @property
    def loss(self) -> float:
        """The sum of the points' distances to their nearest medoids."""

    @property
    def swaps(self) -> int:
        """How many swaps were made."""

    def best_changes(self, block: Tensor, candidates: slice) -> NDArray[np.floating]:
        """The change of the loss (B,) by each candidate's best swap, for distances (N, B); infinite for medoids."""

    def swap_where_better(self, candidates: Rows, columns: Tensor) -> None:
        """Take each candidate (P,) in turn, with its distances (P, N): do its best swap where the loss falls."""


#: Begins a search with medoids (K,).
Begin = Callable[[Distances, Tensor], Search]


def beginning(device: torch.device) -> Begin:
    """What begins searches on the device; those that follow each other have the same number of points and medoids."""
    return CardClustering().begin if is_card(device) else assigned


def swap_until_optimal(distances: Distances, medoids: Tensor, max_iter: int) -> tuple[Tensor, int]:
    """Swap medoids (K,) for candidates until no single swap lowers the loss, in max_iter sweeps at most.

    Returns the medoids and the number of sweeps over the candidates that were begun.
    """
    state = beginning(distances.device)(distances, medoids)
    swaps, unchanged, sweep = 0, 0, 0
    while sweep < max_iter and unchanged < len(distances.blocks):
        sweep += 1
        for candidates in progress(distances.blocks, f"K-medoids, sweep {sweep}"):
            swap_block(distances, state, candidates)
            unchanged = unchanged + 1 if state.swaps == swaps else 0
            swaps = state.swaps
            if unchanged == len(distances.blocks):
                break
    return torch.from_numpy(state.medoids).to(medoids.device), sweep


def swap_block(distances: Distances, state: Search, candidates: slice) -> NDArray[np.floating]:
    """Do the swaps that a block of candidates offers, the most profitable first.

    Returns what the change of the loss by each candidate's best swap was at first, (B,); infinite for medoids.
    """
    block = distances.block(candidates)
    changes, loss = state.best_changes(block, candidates), state.loss
    steps = changes / (ROUNDING * loss) if loss > 0 else changes
    order = steps.round().argsort(kind="stable")  # of candidates that are as good but for rounding, the first first
    promising = order[changes[order] < 0]
    columns = distances.columns(candidates, torch.from_numpy(promising).to(block.device))
    state.swap_where_better(candidates.start + promising, columns)
    return changes
