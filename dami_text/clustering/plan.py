"""What a fit will do and what it will cost, known before it starts."""

import math
from dataclasses import dataclass
from typing import Literal

from dami_text.config.defaults import CLUSTERING_SECONDS

Method = Literal["auto", "fasterpam", "streamed", "sampled", "alternate"]

# Up to this many rows "auto" keeps all distances. Of more, reading them again and again costs more than computing them
# again: streamed swaps then take three quarters of the time or less.
MATRIX_ROWS = 8_192
# What is taken to need a second on one core: so many numbers of vectors whose distances are computed, where each
# distance costs as much as some numbers more; so many looks of a sweep at a distance; so many numbers to prepare; so
# many medoids. It is not measured: the method decides which rows are found, and must be the same on every machine and
# in a run that is resumed.
NUMBERS, DISTANCE = 3e10, 80
LOOKS, PREPARED, MEDOIDS = 7e8, 1e8, 1_500
# The same on a CUDA card, fitted to what a prototype took on one H200 with 100 numbers a row: 7,000 rows (140 medoids)
# 0.18 s, 20,000 (400) 1.05 s, 100,000 (1,000) 7.5 s. There a look multiplies by which of the medoids is the nearest,
# so that it costs a number for each medoid, and each medoid some hundreds of looks at all distances to medoids.
CARD_NUMBERS, CARD_LOOKED, CARD_TO_MEDOIDS, CARD_MEDOIDS = 1e13, 2.5e13, 1.8e7, 1_000
SWEEPS = 1.6  # what the sweeps of a search cost beside the first one, where distances are not in memory,
MATRIX_SWEEPS = 3.6  # and where they are
# Rows of a sample: at least so many, and so many for each medoid.
SAMPLE = (1_000, 12)  # where the search starts
CANDIDATES = (1_000, 10)  # that "sampled" swaps in, or more where there is time
EVALUATORS = (5_000, 50)  # that "sampled" sums the loss over, or more where there is time


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The sizes of a fit.

    Attributes:
        method: one of the methods, never "auto".
        n_rows, n_dimensions, n_clusters: N, D, K.
        sample: rows of the sample where the search starts, or 0 where it starts on all rows.
        candidates, evaluators: rows that "sampled" swaps in and sums over.
        on_card: whether a CUDA card does it.
    """

    method: Method
    n_rows: int
    n_dimensions: int
    n_clusters: int
    sample: int
    candidates: int
    evaluators: int
    on_card: bool = False

    @property
    def distances(self) -> int:
        """About how many distances the fit computes: 1.6 sweeps of streamed swaps, 10 rounds of the alternation."""
        N, K = self.n_rows, self.n_clusters
        search = {
            "fasterpam": N * N,
            "streamed": _sweeps(N, N),
            "sampled": _sweeps(self.candidates, self.evaluators) + 3 * N * K,
            "alternate": 2 * N * N + 10 * (N * N // K + N * K),
        }[self.method]
        return self.sample**2 + search + N * K

    @property
    def seconds(self) -> float:
        """About how long the fit takes, on one core of usual speed or on a card."""
        if self.on_card:
            to_medoids = self._points * self.n_clusters / CARD_TO_MEDOIDS + self.n_clusters / CARD_MEDOIDS
            return self.distances * self._seconds_a_distance + to_medoids
        in_matrices = self.sample**2 + (self.n_rows**2 if self.method == "fasterpam" else 0)
        computed = (DISTANCE + self.n_dimensions) / NUMBERS
        matrices = in_matrices * (computed / 2 + MATRIX_SWEEPS / LOOKS)  # half are copied
        rest = (self.distances - in_matrices) * self._seconds_a_distance
        return matrices + rest + self.n_rows * self.n_dimensions / PREPARED + self.n_clusters / MEDOIDS

    @property
    def bytes(self) -> int:
        """About how much memory the fit takes, with a copy of the data and the distances of points to medoids."""
        matrix = 4 * max(self.sample**2, self.n_rows**2 if self.method == "fasterpam" else 0)
        to_medoids = self._points * self.n_clusters * (2 if self.on_card else 1)
        return 4 * (self.n_rows * self.n_dimensions + to_medoids) + max(matrix, 2**30 if self.on_card else 2**27)

    @property
    def _points(self) -> int:
        """The rows that the loss is summed over."""
        return self.evaluators if self.method == "sampled" else self.n_rows

    @property
    def _seconds_a_distance(self) -> float:
        """About how long it takes to compute a distance that is not kept, and to look at it in a sweep."""
        numbers = DISTANCE + self.n_dimensions
        if self.on_card:
            return numbers / CARD_NUMBERS + self.n_clusters / CARD_LOOKED
        return numbers / NUMBERS + 1 / LOOKS

    def __str__(self) -> str:
        return (
            f"K-medoids by {self.method!r}: {self.n_rows:,} rows of {self.n_dimensions:,} numbers, "
            f"{self.n_clusters:,} medoids, about {self.distances:.1e} distances "
            f"({2e-9 * self.distances * self.n_dimensions:,.1f} GFLOP) and {self.bytes / 1e6:,.0f} MB"
        )


def plan(
    n_rows: int,
    n_dimensions: int,
    n_clusters: int,
    method: Method,
    max_memory: int,
    *,
    init_given: bool,
    max_seconds: float = CLUSTERING_SECONDS,
    on_card: bool = False,
) -> Plan:
    """Choose the method and the sizes such that the matrices stay within max_memory bytes.

    "auto" takes the best method whose estimate is within max_seconds, and "sampled" as many candidates and evaluators
    as there is time for, but no fewer than it needs. `init_given`: the search starts from row numbers of the user, and
    so from no sample. `on_card`: whether a CUDA card does it.
    """
    sample = min(_size(SAMPLE, n_clusters), math.isqrt(max_memory // 8))
    if method == "alternate" or init_given or not 2 * n_clusters <= sample <= n_rows // 2:
        sample = 0
    affordable = max_memory // max(16 * n_dimensions, 4 * n_clusters)

    def planned(method: Method, pairs: int = 0) -> Plan:
        """The plan with that many pairs of candidates and evaluators at least, five evaluators to a candidate."""
        evaluators = min(n_rows, max(_size(EVALUATORS, n_clusters), math.isqrt(5 * pairs)))
        candidates = min(n_rows, max(_size(CANDIDATES, n_clusters), pairs // evaluators))
        return Plan(
            method=method,
            n_rows=n_rows,
            n_dimensions=n_dimensions,
            n_clusters=n_clusters,
            sample=sample,
            candidates=max(n_clusters, min(candidates, affordable)),
            evaluators=max(n_clusters, min(evaluators, affordable)),
            on_card=on_card,
        )

    if method != "auto":
        return planned(method)
    if n_rows <= MATRIX_ROWS and 4 * n_rows**2 <= max_memory and planned("fasterpam").seconds <= max_seconds:
        return planned("fasterpam")
    if planned("streamed").seconds <= max_seconds:
        return planned("streamed")
    least = planned("sampled")
    left = (max_seconds - least.seconds) / least._seconds_a_distance
    spent = least.candidates * least.evaluators
    return planned("sampled", spent + max(0, int(left / SWEEPS)))


def _sweeps(candidates: int, evaluators: int) -> int:
    """The distances of a full sweep of swaps and those after it (see `streamed.swap_narrowing`)."""
    return int(SWEEPS * candidates * evaluators)


def _size(sample: tuple[int, int], n_clusters: int) -> int:
    least, per_medoid = sample
    return max(least, per_medoid * n_clusters)
