"""Distances between rows in float32, accurate whatever the offset and the scale, a tile at a time.

||a - b||^2 = ||a||^2 + ||b||^2 - 2 a.b is one matrix product, but loses its digits where the distance is small beside
the norms. Hence the rows are centred first, and the pairs that stay close beside their norms are computed again from
the differences. Where groups of rows are so far apart that float32 would round away how the rows of a group differ,
what it rounded away is kept beside the rows, and counts in those differences.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dami_text.models.scores import ROUNDING
from dami_text.processes import is_card

Metric = Literal["euclidean", "cosine"]

CPU = torch.device("cpu")

# Below this share of ||a||^2 a squared distance from the product is computed again: from the differences or, where more
# than the share `MANY` of a tile is so close, by a product in float64, which is cheaper then. Where that leaves `MOST`
# too close, all of the tile are computed from the differences.
CLOSE, CLOSE_IN_FLOAT64 = 1e-3, 1e-9
MANY, MOST = 0.02, 0.25

TILE_NUMBERS = 2**18  # numbers in a temporary array, such that it stays in the processor's cache
BLOCK_CANDIDATES = 128
BLOCK_NUMBERS = 2**24  # distances in a block of candidates at most
# The same on a CUDA card, which waits for Python between small arrays.
CARD_TILE_NUMBERS = 2**24
CARD_BLOCK_CANDIDATES = 2_048
CARD_BLOCK_NUMBERS = 2**26
CENTRE_ROWS = 10_000  # the centre is the median of so many rows at most
PROBED_ROWS = 500  # whose distances to their neighbours tell whether float32's rounding matters
TOLERABLE = 1e-5  # share of such a distance that rounding may be


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """Rows made ready for `pairwise`: centred, scaled, and with their squared norms.

    Attributes:
        values: (N, D) float32.
        rest: (N, D) float32, what rounding took from the values; None where it does not matter.
        norms: (N,) float32, the squared norm of each row.
        metric: "euclidean", or "cosine" for rows of unit length.
        unit: what a distance of 1 here means in the units of the data.
        weights: (N,) float32, how much each row's distances count in sums; None where all count 1.
    """

    values: Tensor
    rest: Tensor | None
    norms: Tensor
    metric: Metric
    unit: float
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Tensor | slice) -> "Vectors":
        rest, weights = (None if part is None else part[rows] for part in (self.rest, self.weights))
        return replace(self, values=self.values[rows], rest=rest, norms=self.norms[rows], weights=weights)

    def weighted(self, weights: Tensor) -> "Vectors":
        """The rows with their weights multiplied by `weights` (N,)."""
        return replace(self, weights=weights if self.weights is None else self.weights * weights)

    def total(self, distances: Tensor) -> float:
        """The sum, in float64, of one distance (N,) a row, each by the row's weight."""
        wide = distances.double()
        return float((wide if self.weights is None else wide * self.weights).sum())

    @property
    def wide(self) -> Tensor:
        """The rows (N, D) in float64."""
        return self.values.double() if self.rest is None else self.values.double().add_(self.rest)


def prepare(X: Tensor, metric: Metric) -> Vectors:
    """Copy X, (N, D) of any real type, into float32 rows for distances.

    Euclidean: divided by a power of two and centred at the coordinates' median, not at their mean: the bulk of
    heavy-tailed data lies at the median, and small distances are exact only near the origin. Cosine: rows of unit
    length, centred likewise; a zero row is at distance 1 from every other but 0 from another zero row.
    """
    if metric == "cosine":
        source, unit = _unit_rows(X), 1.0
    else:
        source, unit = X, _magnitude(X)
    centre = (widened(source[:: len(X) // CENTRE_ROWS + 1]) / unit).median(dim=0).values

    def centred(rows: slice) -> Tensor:
        return widened(source[rows]).double() / unit - centre.double()

    values = torch.empty(source.shape, dtype=torch.float32, device=X.device)
    probe = centred(slice(None, None, len(X) // PROBED_ROWS + 1))
    rest = torch.empty_like(values) if metric == "euclidean" and _rounding_matters(probe) else None
    for chunk in row_slices(*source.shape, device=X.device):
        wide = centred(chunk)
        values[chunk] = wide
        if rest is not None:
            rest[chunk] = wide.sub_(values[chunk])
    if metric == "euclidean":
        magnitude = _magnitude(values)
        values /= magnitude
        rest = None if rest is None else rest.div_(magnitude)
        unit *= magnitude
    norms = torch.cat([values[chunk].square().sum(dim=1) for chunk in row_slices(*source.shape, device=X.device)])
    return Vectors(values=values, rest=rest, norms=norms, metric=metric, unit=unit)


def _rounding_matters(rows: Tensor) -> bool:
    """Whether rounding rows (n, D) to float32 changes near neighbours' distances by more than is tolerable."""
    distances = torch.cdist(rows, rows)
    distances = distances[distances > 0]
    if not len(distances):
        return False
    rounding = float(rows.norm(dim=1).max()) * torch.finfo(torch.float32).eps
    return rounding > TOLERABLE * float(distances.kthvalue(len(distances) // len(rows) + 1).values)


def pairwise(a: Vectors, b: Vectors, out: Tensor | None = None) -> Tensor:
    """The distances (A, B) between the rows of a and of b, float32, in units of `a.unit`."""
    out = empty((len(a), len(b)), a.values.device) if out is None else out
    for tile in row_slices(len(a), len(b), device=a.values.device):
        _finish(_squared(a[tile], b, out[tile]), a.metric)
    return out


def _finish(squared: Tensor, metric: Metric) -> Tensor:
    return squared.sqrt_() if metric == "euclidean" else squared.div_(2)  # 1 - cos of unit rows


def _squared(a: Vectors, b: Vectors, out: Tensor) -> Tensor:
    torch.addmm(b.norms, a.values, b.values.T, alpha=-2, out=out).add_(a.norms[:, None])
    limits = CLOSE * a.norms
    rows = nonzero(out.amin(dim=1) < limits)
    close = nonzero(out[rows] < limits[rows, None])
    if len(close) > MANY * out.numel():
        wide_a, wide_b = a.wide, b.wide
        norms = wide_a.square().sum(dim=1, keepdim=True)
        wide = torch.addmm(wide_b.square().sum(dim=1), wide_a, wide_b.T, alpha=-2).add_(norms)
        close = nonzero(wide < CLOSE_IN_FLOAT64 * norms)
        if len(close) > MOST * out.numel():
            return out.copy_(torch.cdist(wide_a, wide_b, compute_mode="donot_use_mm_for_euclid_dist").square_())
        out.copy_(wide)
        rows = torch.arange(len(a), device=out.device)
    for part in close.split(tile_numbers(out.device) // a.values.shape[1] + 1):
        a_rows, b_rows = rows[part // len(b)], part % len(b)
        out[a_rows, b_rows] = _differences(a, a_rows, b, b_rows)
    return out


def pair_by_pair(a: Vectors, a_rows: Tensor, b: Vectors, b_rows: Tensor) -> Tensor:
    """The distances (P,) of rows of a from rows of b, by their differences, float32, in units of `a.unit`."""
    step = tile_numbers(a_rows.device) // a.values.shape[1] + 1
    parts = zip(a_rows.split(step), b_rows.split(step), strict=True)
    return _finish(torch.cat([_differences(a, of_a, b, of_b) for of_a, of_b in parts]), a.metric)


def _differences(a: Vectors, a_rows: Tensor, b: Vectors, b_rows: Tensor) -> Tensor:
    differences = a.values.index_select(0, a_rows).sub_(b.values.index_select(0, b_rows))
    if a.rest is not None and b.rest is not None:
        differences.add_(a.rest.index_select(0, a_rows).sub_(b.rest.index_select(0, b_rows)))
    return differences.square_().sum(dim=1)


class Distances(Protocol):
    """The distances (N, C) from N points to C candidates; each point's are multiplied by its weight, if it has one."""

    shape: tuple[int, int]
    blocks: list[slice]
    device: torch.device
    weights: Tensor | None

    def block(self, candidates: slice) -> Tensor:
        """The distances (N, B) from all points to a block of candidates."""
        ...

    def columns(self, candidates: slice, places: Tensor) -> Tensor:
        """Some columns (P, N), each in one piece, of the block that was asked for last."""
        ...

    def to(self, candidates: Tensor) -> Tensor:
        """The distances (N, K) from all points to some candidates (K,)."""
        ...


class Matrix:
    """All distances among N vectors, in memory: 4 * N * N bytes, block after block.

    Before they are weighted, they are symmetric to the bit: half are copied, and a column is read as a row.
    """

    def __init__(self, vectors: Vectors) -> None:
        self.shape = (len(vectors), len(vectors))
        self.device, self.weights = vectors.values.device, vectors.weights
        self.blocks = _blocks(self.shape, self.device)
        self._size = self.blocks[0].stop
        self._parts = empty((len(self.blocks), len(vectors), self._size), self.device)  # the last one's end is unused
        group = max(1, tile_numbers(self.device) // self._size**2)
        for i, part in enumerate(self.blocks):  # the rows of the block and all after them, to the block
            distances = self._part(part)
            corner = pairwise(vectors[part], vectors[part], distances[part])
            corner.copy_(corner.tril().maximum(corner.tril(-1).T))
            for first in range(i + 1, len(self.blocks), group):
                others = self.blocks[first : first + group]
                rows = slice(others[0].start, others[-1].stop)
                pairwise(vectors[rows], vectors[part], distances[rows])
                for other in others:
                    self._part(other)[part] = distances[other].T

    def block(self, candidates: slice) -> Tensor:
        """See Distances."""
        distances = self._part(candidates)
        return distances if self.weights is None else distances * self.weights[:, None]

    def columns(self, candidates: slice, places: Tensor) -> Tensor:
        """See Distances."""
        return self._rows(places + candidates.start)

    def to(self, candidates: Tensor) -> Tensor:
        """See Distances."""
        return self._rows(candidates).T.contiguous()

    def among(self, rows: Tensor) -> Tensor:
        """The distances (M, M) among some of the vectors (M,)."""
        distances = self._parts[rows // self._size, rows[:, None], rows % self._size]
        return distances if self.weights is None else distances.mul_(self.weights[rows, None])

    def _part(self, candidates: slice) -> Tensor:
        """The distances (N, B) to candidates of one block, before they are weighted."""
        i, start = divmod(candidates.start, self._size)
        return self._parts[i, :, start : start + candidates.stop - candidates.start]

    def _rows(self, rows: Tensor) -> Tensor:
        distances = self._parts[:, rows].transpose(0, 1).flatten(1)[:, : self.shape[1]]
        return distances if self.weights is None else distances * self.weights


class Tiles:
    """Distances computed whenever they are asked for: the memory of one block, which the next one overwrites."""

    def __init__(self, points: Vectors, candidates: Vectors) -> None:
        self.shape = (len(points), len(candidates))
        self.device, self.weights = points.values.device, points.weights
        self.blocks = _blocks(self.shape, self.device)
        self._points, self._candidates = points, candidates
        self._buffer = empty((len(points) * (self.blocks[0].stop - self.blocks[0].start),), self.device)

    def block(self, candidates: slice) -> Tensor:
        """See Distances."""
        return self._weighted(pairwise(self._points, self._candidates[candidates], self._block(candidates)))

    def columns(self, candidates: slice, places: Tensor) -> Tensor:
        """See Distances."""
        return self._block(candidates)[:, places].T.contiguous()

    def to(self, candidates: Tensor) -> Tensor:
        """See Distances."""
        return self._weighted(pairwise(self._points, self._candidates[candidates]))

    def _block(self, candidates: slice) -> Tensor:
        """The part of the buffer for the distances to a block."""
        size = len(range(self.shape[1])[candidates])
        return self._buffer[: self.shape[0] * size].view(self.shape[0], size)

    def _weighted(self, distances: Tensor) -> Tensor:
        return distances if self.weights is None else distances.mul_(self.weights[:, None])


def totals(distances: Distances) -> Tensor:
    """The sum of each candidate's distances, (C,) float64."""
    return torch.cat([distances.block(part).sum(dim=0, dtype=torch.float64) for part in distances.blocks])


def tile_numbers(device: torch.device) -> int:
    """How many numbers a temporary array on the device has."""
    return CARD_TILE_NUMBERS if is_card(device) else TILE_NUMBERS


def row_slices(n_rows: int, row_size: int, *, device: torch.device = CPU) -> list[slice]:
    """The rows of an array in parts that stay in the processor's cache or, on a card, are as large as it wants them."""
    step = max(1, tile_numbers(device) // row_size)
    return [slice(first, first + step) for first in range(0, n_rows, step)]


def empty(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """A float32 array; NumPy asks the system for large pages, which are touched 8 times as fast."""
    return torch.empty(shape, device=device) if device.type != "cpu" else torch.from_numpy(np.empty(shape, np.float32))


def nonzero(mask: Tensor) -> Tensor:
    """The positions of True in the flattened mask; on a processor NumPy searches 3 times as fast as torch."""
    if mask.device.type != "cpu":
        return mask.view(-1).nonzero().view(-1)
    return torch.from_numpy(mask.numpy().reshape(-1).nonzero()[0])


def first_least(sums: NDArray[np.float64]) -> int:
    """The first place in `sums` (C,) whose number is the smallest within rounding.

    Of two equally good medoids, such as the two members of a pair, neither the processor nor the size of the batches
    may decide: both change the last digits of distances.
    """
    least = sums.min()
    return int((sums <= least + ROUNDING * abs(least)).argmax())


def nearest(distances: Tensor) -> Tensor:
    """The first place in each row of distances (A, B) whose number is the smallest within rounding."""
    close = distances <= distances.amin(dim=1, keepdim=True) * (1 + ROUNDING)
    return close.int().argmax(dim=1) if close.device.type != "cpu" else torch.from_numpy(close.numpy().argmax(axis=1))


def assign(vectors: Vectors, medoids: Tensor) -> tuple[Tensor, Tensor]:
    """The slot (N,) of each row's nearest medoid (K,), the first within rounding, and its distance (N,) in float32.

    A medoid is in its own slot, even where another one is the same vector.
    """
    centres = vectors[medoids]
    parts = row_slices(len(vectors), len(medoids), device=medoids.device)
    labels = torch.cat([nearest(pairwise(vectors[part], centres)) for part in parts])
    labels[medoids] = torch.arange(len(medoids), device=medoids.device)
    return labels, pair_by_pair(vectors, torch.arange(len(vectors), device=medoids.device), centres, labels)


def members_of(labels: Tensor, n_clusters: int) -> tuple[Tensor, ...]:
    """The rows of each cluster, rising, from the slot of each row (N,)."""
    sizes: list[int] = torch.bincount(labels, minlength=n_clusters).tolist()
    return tuple(torch.split(labels.argsort(stable=True), sizes))


def _unit_rows(X: Tensor) -> Tensor:
    rows = torch.empty(X.shape, dtype=torch.float32, device=X.device)
    for chunk in row_slices(*X.shape, device=X.device):
        wide = widened(X[chunk])
        wide = wide / wide.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(wide.dtype).tiny)
        rows[chunk] = torch.nn.functional.normalize(wide, dim=1).float()
    zero = (rows == 0).all(dim=1)
    return torch.cat([rows, zero[:, None].float()], dim=1) if zero.any() else rows


def _magnitude(values: Tensor) -> float:
    """The power of two next above the largest absolute value, or the nearest that can be divided by."""
    parts = row_slices(*values.shape, device=values.device)
    largest = max(float(widened(values[part]).abs().max()) for part in parts)
    limit = 1020 if values.dtype == torch.float64 else 120
    return 2.0 ** min(max(math.frexp(largest)[1], -limit), limit)


def widened(values: Tensor) -> Tensor:
    """The values in float32, or in float64 if they are."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def _blocks(shape: tuple[int, int], device: torch.device) -> list[slice]:
    points, candidates = shape
    size = min(BLOCK_NUMBERS // points, BLOCK_CANDIDATES)
    if is_card(device):
        size = min(CARD_BLOCK_NUMBERS // points, CARD_BLOCK_CANDIDATES)
    size = max(1, size)
    return [slice(start, min(start + size, candidates)) for start in range(0, candidates, size)]
