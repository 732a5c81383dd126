"""What a fit will do and what it will cost, known before it starts."""

import math
from dataclasses import dataclass
from typing import Literal

Method = Literal["auto", "fasterpam", "streamed", "sampled", "alternate"]

SAMPLE_PER_MEDOID = 12  # rows of the sample where the search starts
CANDIDATES_PER_MEDOID = 20  # for "sampled"
EVALUATORS_PER_MEDOID = 100  # fewer than this are worse than k-means++ for large K
STREAMED_WORK = 4e12  # N * N * D up to which "auto" looks at all distances: minutes on one core
TYPICAL_SWEEPS = 4


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
        """About how many distances the fit computes."""
        assignment = self.n_rows * self.n_clusters
        sweep = {
            "fasterpam": self.n_rows**2,
            "streamed": TYPICAL_SWEEPS * self.n_rows**2,
            "sampled": TYPICAL_SWEEPS * self.candidates * self.evaluators + 2 * assignment,
            "alternate": 2 * self.n_rows**2 // self.n_clusters + TYPICAL_SWEEPS * assignment,
        }[self.method]
        return self.sample**2 + sweep + assignment

    def __str__(self) -> str:
        N, D, K = self.n_rows, self.n_dimensions, self.n_clusters
        flops = 2 * self.distances * self.n_dimensions
        return (
            f"K-medoids ({self.method}) of {N:,} rows of {D:,} numbers into {K:,} clusters: "
            f"about {self.distances:.1e} distances, {flops / 1e9:,.1f} GFLOP"
        )


def plan(
    n_rows: int, n_dimensions: int, n_clusters: int, method: Method, max_memory: int, starts_anywhere: bool
) -> Plan:
    """Choose the method and the sizes that keep the fit's arrays within max_memory bytes.

    `starts_anywhere` is False where the user gave the first medoids: no sample is searched for them then.
    """
    if method == "auto":
        if 4 * n_rows**2 <= max_memory:
            method = "fasterpam"
        else:
            method = "streamed" if n_rows**2 * n_dimensions <= STREAMED_WORK else "sampled"
    sample = min(SAMPLE_PER_MEDOID * n_clusters, math.isqrt(max_memory // 8))
    if method == "alternate" or not starts_anywhere or not 2 * n_clusters <= sample <= n_rows // 2:
        sample = 0
    rows = max(2 * n_clusters, max_memory // (8 * n_dimensions + 64))
    return Plan(
        method=method,
        n_rows=n_rows,
        n_dimensions=n_dimensions,
        n_clusters=n_clusters,
        sample=sample,
        candidates=min(n_rows, CANDIDATES_PER_MEDOID * n_clusters, rows),
        evaluators=min(n_rows, EVALUATORS_PER_MEDOID * n_clusters, rows),
    )
