"""Distances between rows in float32, accurate whatever the offset and the scale, a tile at a time.

||a - b||^2 = ||a||^2 + ||b||^2 - 2 a.b is one matrix product, but loses its digits where the distance is small beside
the norms. Hence the rows are centred first, and the pairs that stay close beside their norms are computed again from
the differences.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

Metric = Literal["euclidean", "cosine"]

CLOSE = 1e-3  # below this share of ||a||^2 a squared distance from the product is computed again
TILE_COLUMNS = 4096  # with blocks of some 100 rows a tile stays in the processor's cache
CHUNK_NUMBERS = 2**22  # numbers in a temporary array that nobody sees
BLOCK_ROWS = 128  # candidates in a block
BLOCK_NUMBERS = 2**24  # distances in a block at most
CENTRE_ROWS = 10_000  # the centre is the median of so many rows at most


@dataclass(frozen=True)
class Vectors:
    """Rows made ready for `pairwise`: centred, scaled, and with their squared norms.

    Attributes:
        values: (N, D) float32.
        norms: (N,) float32, the squared norm of each row.
        metric: "euclidean", or "cosine" for rows of unit length.
        unit: what a distance of 1 here means in the units of the data.
    """

    values: Tensor
    norms: Tensor
    metric: Metric
    unit: float

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Tensor | slice) -> "Vectors":
        return Vectors(self.values[rows], self.norms[rows], self.metric, self.unit)


def prepare(X: Tensor, metric: Metric) -> Vectors:
    """Copy X, (N, D) of any real type, into float32 rows for distances.

    Euclidean: divided by a power of two and centred at the coordinates' median, not at their mean: the bulk of
    heavy-tailed data lies at the median, and small distances are exact only near the origin. Cosine: rows of unit
    length, centred likewise; a zero row is at distance 1 from every other but 0 from another zero row.
    """
    if metric == "cosine":
        values, unit = _unit_rows(X), 1.0
    else:
        values, unit = torch.empty(X.shape, dtype=torch.float32, device=X.device), _magnitude(X)
    source = values if metric == "cosine" else X
    centre = (_widened(source[:: len(X) // CENTRE_ROWS + 1]) / unit).median(dim=0).values
    for chunk in _chunks(X):
        values[chunk] = (_widened(source[chunk]) / unit - centre).float()
    if metric == "euclidean":
        magnitude = _magnitude(values)
        values /= magnitude
        unit *= magnitude
    norms = torch.cat([values[chunk].square().sum(dim=1) for chunk in _chunks(X)])
    return Vectors(values, norms, metric, unit)


def pairwise(a: Vectors, b: Vectors, out: Tensor | None = None) -> Tensor:
    """The distances (A, B) between the rows of a and of b, float32, in units of `a.unit`."""
    out = torch.empty((len(a), len(b)), device=a.values.device) if out is None else out
    for start in range(0, len(b), TILE_COLUMNS):
        columns = slice(start, start + TILE_COLUMNS)
        _finish(_squared(a, b[columns], out[:, columns]), a.metric)
    return out


def paired(a: Vectors, b: Vectors) -> Tensor:
    """The distances (N,) between the rows of a and the same rows of b, from their differences."""
    squared = [(a.values[chunk] - b.values[chunk]).square().sum(dim=1) for chunk in _chunks(a.values)]
    return _finish(torch.cat(squared), a.metric)


def _finish(squared: Tensor, metric: Metric) -> Tensor:
    return squared.sqrt_() if metric == "euclidean" else squared.div_(2)  # 1 - cos of unit rows


def _squared(a: Vectors, b: Vectors, out: Tensor) -> Tensor:
    torch.addmm(b.norms, a.values, b.values.T, alpha=-2, out=out).add_(a.norms[:, None])
    close = nonzero(out < CLOSE * a.norms[:, None])
    if len(close) * 32 > out.numel():  # so many that a product in float64 is cheaper than the differences
        wide_a, wide_b = a.values.double(), b.values.double()
        product = torch.addmm(wide_b.square().sum(dim=1), wide_a, wide_b.T, alpha=-2)
        out.copy_(product.add_(wide_a.square().sum(dim=1)[:, None]))
    else:
        for part in close.split(max(1, CHUNK_NUMBERS // (8 * a.values.shape[1]))):
            rows, columns = part // len(b), part % len(b)
            out[rows, columns] = (a.values[rows] - b.values[columns]).square().sum(dim=1)
    return out.clamp_(min=0)


class Distances(Protocol):
    """The distances (C, N) from C candidates to N points."""

    shape: tuple[int, int]
    blocks: list[slice]
    device: torch.device

    def block(self, candidates: slice) -> Tensor:
        """The distances (B, N) from a block of candidates to all points."""
        ...

    def between(self, candidates: Tensor, points: Tensor) -> Tensor:
        """The distances (A, B) from some candidates (A,) to some points (B,)."""
        ...


class Matrix:
    """All distances in memory: 4 * C * N bytes."""

    def __init__(self, candidates: Vectors, points: Vectors) -> None:
        self.shape = (len(candidates), len(points))
        self.blocks = _blocks(self.shape, BLOCK_NUMBERS)
        self.device = points.values.device
        self.matrix = torch.empty(self.shape, device=self.device)
        for rows in self.blocks:
            pairwise(candidates[rows], points, out=self.matrix[rows])

    def block(self, candidates: slice) -> Tensor:
        """See Distances."""
        return self.matrix[candidates]

    def between(self, candidates: Tensor, points: Tensor) -> Tensor:
        """See Distances."""
        return self.matrix[candidates[:, None], points]


class Tiles:
    """Distances computed whenever they are asked for: the memory of one block, of at most max_numbers."""

    def __init__(self, candidates: Vectors, points: Vectors, max_numbers: int = BLOCK_NUMBERS) -> None:
        self.shape = (len(candidates), len(points))
        self.blocks = _blocks(self.shape, min(max_numbers, BLOCK_NUMBERS))
        self.device = points.values.device
        self._candidates, self._points = candidates, points

    def block(self, candidates: slice) -> Tensor:
        """See Distances."""
        return pairwise(self._candidates[candidates], self._points)

    def between(self, candidates: Tensor, points: Tensor) -> Tensor:
        """See Distances."""
        return pairwise(self._candidates[candidates], self._points[points])


def totals(distances: Distances) -> Tensor:
    """The sum of each candidate's distances, (C,) float64."""
    return torch.cat([distances.block(rows).sum(dim=1, dtype=torch.float64) for rows in distances.blocks])


def nonzero(mask: Tensor) -> Tensor:
    """The positions of True in the flattened mask; on a processor NumPy searches 3 times as fast as torch."""
    if mask.is_cuda:
        return mask.view(-1).nonzero().view(-1)
    return torch.from_numpy(mask.numpy().reshape(-1).nonzero()[0])


def argmin(rows: Tensor) -> Tensor:
    """The place of the smallest number in each row; on a processor NumPy is 5 times as fast as torch."""
    return rows.argmin(dim=1) if rows.is_cuda else torch.from_numpy(rows.numpy().argmin(axis=1))


def assign(vectors: Vectors, medoids: Tensor) -> tuple[Tensor, Tensor]:
    """The slot (N,) of each row's nearest medoid (K,), and its distance (N,) in float32.

    A medoid is in its own slot, even where another one is the same vector.
    """
    centres = vectors[medoids]
    size = max(1, min(4096, CHUNK_NUMBERS // len(medoids)))
    chunks = [slice(start, start + size) for start in range(0, len(vectors), size)]
    labels = torch.cat([argmin(pairwise(vectors[chunk], centres)) for chunk in chunks])
    labels[medoids] = torch.arange(len(medoids), device=medoids.device)
    distances = [paired(vectors[chunk], centres[labels[chunk]]) for chunk in chunks]
    return labels, torch.cat(distances)


def _unit_rows(X: Tensor) -> Tensor:
    rows = torch.empty(X.shape, dtype=torch.float32, device=X.device)
    for chunk in _chunks(X):
        wide = _widened(X[chunk])
        wide = wide / wide.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(wide.dtype).tiny)
        rows[chunk] = torch.nn.functional.normalize(wide, dim=1).float()
    zero = (rows == 0).all(dim=1)
    return torch.cat([rows, zero[:, None].float()], dim=1) if zero.any() else rows


def _magnitude(values: Tensor) -> float:
    """The power of two next above the largest absolute value, within float32's range."""
    largest = max(float(_widened(values[chunk]).abs().max()) for chunk in _chunks(values))
    exponent = int(torch.tensor(largest, dtype=torch.float64).frexp().exponent)
    return 2.0 ** min(max(exponent, -120), 120) if values.dtype != torch.float64 else 2.0**exponent


def _widened(values: Tensor) -> Tensor:
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def _chunks(values: Tensor) -> list[slice]:
    rows = max(1, CHUNK_NUMBERS // max(1, values.shape[1]))
    return [slice(start, start + rows) for start in range(0, len(values), rows)]


def _blocks(shape: tuple[int, int], max_numbers: int) -> list[slice]:
    candidates, points = shape
    size = max(1, min(max_numbers // points, BLOCK_ROWS))
    return [slice(start, min(start + size, candidates)) for start in range(0, candidates, size)]
