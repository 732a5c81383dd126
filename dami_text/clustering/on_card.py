"""The state of the swap search on a CUDA card, where one candidate's test and swap are one recorded graph.

A swap touches few points, but to find them, and to wait for what they say, costs a card more than to look at all
points. So all distances to the medoids (K, N) stay on the card. A step puts the candidate in the place of the best
medoid, ranks every point's medoids anew, and sums the loss. Where that is no lower, masks take everything back.
Nothing of it waits for the host. Each step is replayed as one launch, whatever comes of it. See `fasterpam`.

The result is the same in every run: of what is added up in any order, all numbers are whole.
"""

from collections.abc import Callable
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dami_text.clustering.distances import Distances
from dami_text.clustering.on_host import TOLERANCE
from dami_text.data.ids import Rows
from dami_text.models.recording import EAGER_STEPS, Record, recorder, tell_not_recorded
from dami_text.models.scores import ROUNDING

WHOLE = 2.0**53  # up to which float64 holds, and adds, whole numbers exactly


class CardClustering:
    """The state of the search: K medoids, and for each of N points its two nearest.

    It is that of `on_host.Clustering`, and `begin` makes it.
    """

    def __init__(self, record: Record | None = None) -> None:
        """`record`: makes graphs; by default of CUDA."""
        self._record, self._steps = record, 0
        self._replay: Callable[[], object] | None = None
        self._to_medoids = torch.empty(0, 0)

    def begin(self, distances: Distances, medoids: Tensor) -> Self:
        """Begin anew with these medoids (K,), in the same memory where there are as many points and medoids."""
        to_medoids, device = distances.to(medoids).T, medoids.device
        if self._to_medoids.shape != to_medoids.shape:
            self._allocate(len(medoids), distances.shape[0], device)
        self._n_candidates = distances.shape[1]
        self._to_medoids.copy_(to_medoids)
        self._medoids.copy_(medoids)
        self._swaps.zero_()
        first, nearest, second, loss = self._ranked()
        for kept, new in ((self._first, first), (self._nearest, nearest), (self._second, second), (self._loss, loss)):
            kept.copy_(new)
        # Distances are at most twice the largest of those to one point, and so a sum of N stays below WHOLE.
        largest = 2 * float(self._to_medoids.max())
        self._scale.fill_(2.0 ** np.floor(np.log2(WHOLE / (len(first) * largest))) if largest > 0 else 1.0)
        return self

    def _allocate(self, n_medoids: int, n_points: int, device: torch.device) -> None:
        """Take the memory that the graph reads and writes."""

        def of_points(dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(n_points, dtype=dtype, device=device)

        self._replay, self._steps = None, 0
        self._to_medoids = torch.zeros(n_medoids, n_points, device=device)
        self._medoids = torch.zeros(n_medoids, dtype=torch.long, device=device)
        self._first, self._second, self._nearest = of_points(), of_points(), of_points(torch.long)
        self._column = of_points()
        self._candidate, self._swaps = (torch.zeros(1, dtype=torch.long, device=device) for _ in range(2))
        self._loss, self._scale = (torch.zeros(1, dtype=torch.float64, device=device) for _ in range(2))
        self._kept = torch.zeros(n_medoids, dtype=torch.float64, device=device)

    @property
    def medoids(self) -> NDArray[np.int64]:
        """The medoids (K,)."""
        found: NDArray[np.int64] = self._medoids.cpu().numpy().copy()
        return found

    @property
    def loss(self) -> float:
        """The sum of the points' distances to their nearest medoids."""
        return float(self._loss)

    @property
    def swaps(self) -> int:
        """How many swaps were made."""
        return int(self._swaps)

    def best_changes(self, block: Tensor, candidates: slice) -> NDArray[np.floating]:
        """See `fasterpam.Search`."""
        if len(self._medoids) == 1:
            changes = block.sum(dim=0, dtype=torch.float64) - self._loss
        else:
            nearer = torch.minimum(block, self._first[:, None])
            gained = (nearer - self._first[:, None]).sum(dim=0)  # where no medoid goes
            is_nearest = torch.zeros_like(self._to_medoids).scatter_(0, self._nearest[None], 1.0)
            # (K, B): by what the gain is less where a medoid goes
            lost = is_nearest @ torch.minimum(block, self._second[:, None]).sub_(nearer)
            changes = lost.amin(dim=0).add_(gained)
        is_medoid = torch.zeros(self._n_candidates, dtype=torch.bool, device=block.device)
        is_medoid[self._medoids] = True
        found: NDArray[np.floating] = changes.masked_fill_(is_medoid[candidates], torch.inf).cpu().numpy()
        return found

    def swap_where_better(self, candidates: Rows, columns: Tensor) -> None:
        """See `fasterpam.Search`."""
        for candidate, column in zip(torch.from_numpy(candidates).to(columns.device), columns, strict=True):
            self._candidate.copy_(candidate)
            self._column.copy_(column)
            self._take_step()

    def _take_step(self) -> None:
        if self._replay is None:
            if self._steps >= EAGER_STEPS:
                try:
                    self._replay = (self._record or recorder())(self._step)
                except RuntimeError as error:
                    tell_not_recorded("a swap of K-medoids", error)
                    self._replay = self._step
            self._steps += 1
        (self._replay or self._step)()

    def _step(self) -> None:
        """Swap the candidate for the medoid that it replaces best, if the loss is lower then."""
        medoids, column, to_medoids, slot = self._medoids, self._column, self._to_medoids, self._best_slot()
        before = to_medoids.index_select(0, slot)
        to_medoids.index_copy_(0, slot, column[None])
        first, nearest, second, loss = self._ranked()
        better = loss < self._loss * (1 - TOLERANCE)
        to_medoids.index_copy_(0, slot, torch.where(better, column, before))
        medoids.index_copy_(0, slot, torch.where(better, self._candidate, medoids.index_select(0, slot)))
        for kept, new in ((self._first, first), (self._nearest, nearest), (self._second, second), (self._loss, loss)):
            torch.where(better, new, kept, out=kept)
        self._swaps.add_(better)

    def _best_slot(self) -> Tensor:
        """The slot (1,) of the medoid whose place the candidate takes best, the first within rounding."""
        column, first, nearest = self._column, self._first, self._nearest
        # What each point is farther from its medoids, with the candidate, once its nearest one has gone.
        farther = torch.clamp(column, first, self._second).sub_(first)
        kept = self._kept.zero_().index_add_(0, nearest, (farther * self._scale).round_())
        gained = torch.minimum(column, first).sum(dtype=torch.float64) - self._loss
        changes = kept / self._scale + gained
        least = changes.amin()
        return (changes <= least + ROUNDING * least.abs()).int().argmax(dim=0, keepdim=True)

    def _ranked(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Each point's distance to its nearest medoid, that one's slot, the distance to the second, and the loss."""
        first, nearest = self._to_medoids.min(dim=0)
        self._to_medoids.scatter_(0, nearest[None], torch.inf)
        second = self._to_medoids.amin(dim=0)
        self._to_medoids.scatter_(0, nearest[None], first[None])
        return first, nearest, second, first.sum(dtype=torch.float64).view(1)
