"""Draws without replacement: what a random sample of texts says of all of them."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
FAR = 18  # times the draws: the square of a distance from the mean that e^-36 of all samples are beyond

Counts = int | NDArray[np.int64]


def at_most(hits: Counts, draws: Counts, among: Counts, total: Counts) -> NDArray[np.float64]:
    """The probability (M,) of at most `hits` hits in `draws` random draws from `total` texts, `among` of them hits.

    The numbers are one for all or (M,) each: the distribution function of the hypergeometric distribution. What is far
    below the mean is left out: by Hoeffding's inequality (1963) its probability is less than 1e-15.
    """
    hits, draws, among, total = (
        each[:, None] for each in np.broadcast_arrays(*(np.atleast_1d(n) for n in (hits, draws, among, total)))
    )
    fewest, most = np.maximum(0, draws - (total - among)), np.minimum(hits, np.minimum(draws, among))
    mean = draws * among / np.maximum(total, 1)
    fewest = np.maximum(fewest, np.floor(mean - np.sqrt(FAR * draws)).astype(np.int64))
    i = fewest + np.arange(max(0, int((most - fewest).max())) + 1)
    possible = i <= most
    i = np.where(possible, i, fewest)  # whose probability can be computed
    of = _log_factorials(int(total.max()))
    misses = total - among
    ways = of[among] - of[i] - of[among - i] + of[misses] - of[draws - i] - of[misses - draws + i]
    ways -= of[total] - of[draws] - of[total - draws]
    found: NDArray[np.float64] = np.where(possible, np.exp(ways), 0.0).sum(axis=1)
    return found


def hypergeometric_interval(hits: int, n: int, total: int) -> tuple[int, int]:
    """A 95% interval of the hits among `total` texts of which n, drawn at random, have `hits`.

    It has each number at which neither so few nor so many hits in the sample are less likely than 2.5%: the interval of
    Clopper and Pearson (1934) for draws without replacement.
    """
    tail = (1 - CONFIDENCE) / 2
    most = total - (n - hits)
    low = first_where(lambda among: hits == 0 or 1 - float(at_most(hits - 1, n, among, total)[0]) > tail, hits, most)
    high = first_where(lambda among: float(at_most(hits, n, among, total)[0]) <= tail, hits, most + 1) - 1
    return low, high


def first_where(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The first number from low on for which a condition holds that holds from there on; `high` if it never does."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


@lru_cache(maxsize=2)
def _log_factorials(most: int) -> NDArray[np.float64]:
    """log n! for n from 0 to `most`."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1)))])
