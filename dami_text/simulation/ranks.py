"""Ranks of strategies over several data sets, and whether they differ by more than chance.

Source: Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7, 2006: Friedman's test, then
Nemenyi's for all pairs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dami_text.simulation.comparison import CONFIDENCE, LearningCurve, area_p_values
from dami_text.simulation.results import Comparison

#: Data sets, and strategies, that a ranking has at least.
FEWEST = 3

#: Decimals of scores that are compared, so that rounding breaks no tie.
DECIMALS = 12

ALPHA = 1 - CONFIDENCE

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The strategies that one model has on all of its data sets: N data sets, K strategies.

    Attributes:
        model: what the data sets were learned with.
        datasets: (N,), those on which anything can be compared.
        strategies: (K,), those that are on all of them.
        scores: (N, K), means of the learning curves, higher is better.
        left_out: by strategy, the data sets that lack it.
        skipped: data sets on which nothing can be compared.
    """

    model: str
    datasets: tuple[str, ...]
    strategies: tuple[str, ...]
    scores: Floats
    left_out: dict[str, tuple[str, ...]]
    skipped: tuple[str, ...]

    @property
    def enough(self) -> bool:
        """Whether there are data sets and strategies enough for a test."""
        return min(len(self.datasets), len(self.strategies)) >= FEWEST

    @cached_property
    def ranks(self) -> Floats:
        """The ranks (N, K) within each data set: 1 is best, and equal scores share the mean of their ranks."""
        return np.asarray(stats.rankdata(-self.scores.round(DECIMALS), axis=1))

    @property
    def mean_ranks(self) -> Floats:
        """The mean ranks (K,) over the data sets."""
        return np.asarray(self.ranks.mean(axis=0))

    def friedman(self) -> tuple[float, float]:
        """Friedman's chi square, corrected for ties, and its p-value: 0 and 1 where all strategies tie everywhere."""
        if (self.ranks == self.ranks[0, 0]).all():
            return 0.0, 1.0
        statistic, p_value = stats.friedmanchisquare(*self.ranks.T)
        return float(statistic), float(p_value)

    @property
    def critical_difference(self) -> float:
        """The least difference of two mean ranks that Nemenyi's test at 5% tells from chance."""
        n, k = self.scores.shape
        return critical_difference(n, k)


def critical_difference(n: int, k: int) -> float:
    """Nemenyi's critical difference at 5% of the mean ranks of k strategies on n data sets."""
    q = stats.studentized_range.ppf(CONFIDENCE, k, math.inf) / math.sqrt(2)
    return float(q * math.sqrt(k * (k + 1) / (6 * n)))


def rankings(comparisons: Sequence[Comparison]) -> list[Ranking]:
    """A ranking for each model with data sets and strategies enough, in the order found.

    It is not `enough` itself where too few of the strategies are on all data sets.
    """
    by_model: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        by_model.setdefault(comparison.model, []).append(comparison)
    found = [_ranking(model, group) for model, group in by_model.items()]
    return [
        ranking
        for ranking in found
        if min(len(ranking.datasets), len(ranking.strategies) + len(ranking.left_out)) >= FEWEST
    ]


def _ranking(model: str, comparisons: Sequence[Comparison]) -> Ranking:
    by_dataset = {
        comparison.dataset: {curve.strategy: curve for curve in comparison.curves}
        for comparison in comparisons
        if comparison.curves
    }
    names = list(dict.fromkeys(name for curves in by_dataset.values() for name in curves))
    lacking = {name: tuple(data for data, curves in by_dataset.items() if name not in curves) for name in names}
    kept = tuple(name for name in names if not lacking[name])
    areas = [[float(curves[name].area().mean()) for name in kept] for curves in by_dataset.values()]
    return Ranking(
        model=model,
        datasets=tuple(by_dataset),
        strategies=kept,
        scores=np.array(areas).reshape(len(by_dataset), len(kept)),
        left_out={name: data for name, data in lacking.items() if data},
        skipped=tuple(comparison.dataset for comparison in comparisons if not comparison.curves),
    )


def joined(mean_ranks: Floats, difference: float) -> list[tuple[float, float]]:
    """The bars of a critical-difference diagram: the longest spans of mean ranks (K,) of at most `difference`.

    Spans of one strategy alone are left out.
    """
    ordered = np.sort(mean_ranks)
    last = np.searchsorted(ordered, ordered + difference + 10.0**-DECIMALS, side="right") - 1
    return [
        (float(ordered[i]), float(ordered[j]))
        for i, j in enumerate(last)
        if j > i and (i == 0 or j > last[i - 1])  # otherwise the span before holds this one
    ]


class Against(NamedTuple):
    """A strategy's mean score over the curve less the baseline's on a data set, and the p-value, NaN for one seed."""

    difference: float
    p_value: float

    @property
    def sign(self) -> int:
        """1 where the strategy is significantly better at 5%, -1 where it is worse, and 0 where that is open."""
        return int(np.sign(self.difference)) if self.p_value < ALPHA else 0


def against(curves: Sequence[LearningCurve], baseline: LearningCurve) -> dict[str, Against]:
    """Each strategy but the baseline against it on one data set, paired by seed, Holm-corrected over all of them."""
    others = [curve for curve in curves if curve is not baseline]
    if not others:
        return {}
    return {
        curve.strategy: Against(float((curve.area() - baseline.area()).mean()), float(p_value))
        for curve, p_value in zip(others, area_p_values(others, baseline), strict=True)
    }
