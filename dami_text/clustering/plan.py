"""What a fit will do and what it will cost, known before it starts."""

import math
from dataclasses import dataclass
from typing import Literal

Method = Literal["auto", "fasterpam", "streamed", "sampled", "alternate"]

# Up to this many rows "auto" keeps all distances. Of more, reading them again and again costs more than computing them
# again: streamed swaps then end within 0.05% of the same loss, and take 0.3 to 0.6 of the time.
MATRIX_ROWS = 8_192
STREAMED_WORK = 4e12  # N * N * D up to which "auto" computes all distances: some minutes on one core
# Rows of a sample: at least so many, and so many for each medoid.
SAMPLE = (1_000, 12)  # where the search starts
CANDIDATES = (2_000, 10)  # that "sampled" swaps in
EVALUATORS = (10_000, 50)  # that "sampled" sums the loss over


@dataclass(frozen=True)
class Plan:
    """The sizes of a fit.

    Attributes:
        method: one of the methods, never "auto".
        n_rows, n_dimensions, n_clusters: N, D, K.
        sample: rows of the sample where the search starts, or 0 where it starts on all rows.
        candidates, evaluators: rows that "sampled" swaps in and sums over.
    """

    method: Method
    n_rows: int
    n_dimensions: int
    n_clusters: int
    sample: int
    candidates: int
    evaluators: int

    @property
    def distances(self) -> int:
        """About how many distances the fit computes: 1.5 sweeps of streamed swaps, 10 rounds of the alternation."""
        N, K = self.n_rows, self.n_clusters
        search = {
            "fasterpam": N * N,
            "streamed": 3 * N * N // 2,
            "sampled": 3 * self.candidates * self.evaluators // 2 + 2 * N * K,
            "alternate": 2 * N * N + 10 * (N * N // K + N * K),
        }[self.method]
        return self.sample**2 + search + N * K

    @property
    def bytes(self) -> int:
        """About how much memory the fit takes, with a float32 copy of the data."""
        matrix = 4 * max(self.sample**2, self.n_rows**2 if self.method == "fasterpam" else 0)
        return 4 * self.n_rows * self.n_dimensions + max(matrix, 2**27)

    def __str__(self) -> str:
        return (
            f"K-medoids by {self.method!r}: {self.n_rows:,} rows of {self.n_dimensions:,} numbers, "
            f"{self.n_clusters:,} medoids, about {self.distances:.1e} distances "
            f"({2e-9 * self.distances * self.n_dimensions:,.1f} GFLOP) and {self.bytes / 1e6:,.0f} MB"
        )


def plan(n_rows: int, n_dimensions: int, n_clusters: int, method: Method, max_memory: int, init_given: bool) -> Plan:
    """Choose the method and the sizes such that the matrices stay within max_memory bytes.

    `init_given`: the search starts from row numbers of the user, and so from no sample.
    """
    if method == "auto" and n_rows <= MATRIX_ROWS and 4 * n_rows**2 <= max_memory:
        method = "fasterpam"
    elif method == "auto":
        method = "streamed" if n_rows**2 * n_dimensions <= STREAMED_WORK else "sampled"
    sample = min(_size(SAMPLE, n_clusters), math.isqrt(max_memory // 8))
    if method == "alternate" or init_given or not 2 * n_clusters <= sample <= n_rows // 2:
        sample = 0
    affordable = max_memory // (16 * n_dimensions)
    return Plan(
        method=method,
        n_rows=n_rows,
        n_dimensions=n_dimensions,
        n_clusters=n_clusters,
        sample=sample,
        candidates=min(n_rows, max(n_clusters, min(_size(CANDIDATES, n_clusters), affordable))),
        evaluators=min(n_rows, max(n_clusters, min(_size(EVALUATORS, n_clusters), affordable))),
    )


def _size(sample: tuple[int, int], n_clusters: int) -> int:
    least, per_medoid = sample
    return max(least, per_medoid * n_clusters)
