"""Draws without replacement: what a random sample of texts says of all of them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95

Counts = int | NDArray[np.int64]


def at_most(hits: Counts, draws: Counts, among: Counts, total: Counts) -> NDArray[np.float64]:
    """The probability (M,) of at most `hits` hits in `draws` random draws from `total` texts, `among` of them hits.

    The numbers are one for all or (M,) each: the distribution function of the hypergeometric distribution.
    """
    hits, draws, among, total = (
        each[:, None] for each in np.broadcast_arrays(*(np.atleast_1d(n) for n in (hits, draws, among, total)))
    )
    most = np.minimum(hits, np.minimum(draws, among))
    i = np.arange(max(0, int(most.max())) + 1)
    possible = (i <= most) & (i >= draws - (total - among))
    i = np.where(possible, i, np.maximum(0, draws - (total - among)))  # a number that has a probability
    ways = _log_choose(among, i) + _log_choose(total - among, draws - i) - _log_choose(total, draws)
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


def _log_choose(n: NDArray[np.int64], k: NDArray[np.int64]) -> NDArray[np.float64]:
    from scipy.special import gammaln

    found: NDArray[np.float64] = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return found
