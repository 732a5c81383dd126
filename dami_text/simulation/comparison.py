"""What several runs say together: how good strategies are, how sure that is, and how many labels they save."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dami_text.publishing.cards import IN_ALL

CONFIDENCE = 0.95
ROUNDING = 1e-12  # of differences of scores

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate and its 95% confidence interval; the ends are NaN where one seed alone says nothing of them."""

    estimate: float
    low: float
    high: float


class EqualLabels(NamedTuple):
    """How many labels give the same score, and the numbers that a test at 5% does not exclude, in ranges.

    Infinite are more labels than there were, minus infinite fewer than at the start. One seed alone gives no ranges.
    """

    estimate: float
    ranges: tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """The scores of runs that differ in their seed alone.

    Attributes:
        dataset, model, strategy: what the runs share.
        seeds: (S,), sorted.
        n_labeled, share: (R,), labelled texts, and their share of the training set.
        scores: (S, R), higher is better.
        seconds: by name (train, query), (S, R).
        counted: what the numbers of labels count: all, or those beside validation labels (`cards.labels_counted`).
    """

    dataset: str
    model: str
    strategy: str
    seeds: tuple[int, ...]
    n_labeled: NDArray[np.int64]
    share: Floats
    scores: Floats
    seconds: dict[str, Floats] = field(default_factory=dict)
    counted: str = IN_ALL

    def mean(self) -> Floats:
        """The mean over the seeds (R,)."""
        return np.asarray(self.scores.mean(axis=0))

    def half_interval(self) -> Floats:
        """Half the width of the mean's 95% interval (R,), by Student's t; NaN for a single seed."""
        return half_t_interval(self.scores)

    def area(self) -> Floats:
        """The area under each seed's curve (S,), by trapezoids, over the range of labels: a mean score."""
        if len(self.n_labeled) == 1:
            return np.asarray(self.scores[:, 0])
        width = self.n_labeled[-1] - self.n_labeled[0]
        return np.asarray(np.trapezoid(self.scores, self.n_labeled, axis=1) / width)


def half_t_interval(values: Floats) -> Floats:
    """Half the width of the 95% interval of the mean over the first axis, by Student's t; NaN for a single value."""
    n = len(values)
    if n < 2:
        return np.full(values.shape[1:], np.nan)
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)
    return np.asarray(quantile * values.std(axis=0, ddof=1) / math.sqrt(n))


def mean_interval(values: Floats) -> Interval:
    """The mean of values (S,) of as many seeds, by Student's t."""
    mean, half = float(values.mean()), float(half_t_interval(values))
    return Interval(mean, mean - half, mean + half)


def area_p_values(curves: Sequence[LearningCurve], baseline: LearningCurve) -> Floats:
    """The p-values of each curve's area against the baseline's (K,), Holm-corrected for the number of curves.

    Two-sided t-tests, paired by seed; NaN for a single seed.
    """
    if len(baseline.seeds) < 2:
        return np.full(len(curves), np.nan)
    return holm(paired_p_values(np.column_stack([curve.area() - baseline.area() for curve in curves])))


def share_won(first: LearningCurve, second: LearningCurve) -> float:
    """The share of (seed, round) in which `first` scores higher, ties counted half.

    Round 0 does not count where both share its models, and others follow. Source: the pairwise matrices of Liu et al.
    2020, Figures 5 and 7.
    """
    difference = _difference(first, second)
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def significant_wins(curves: Sequence[LearningCurve]) -> Floats:
    """The share of rounds in which a curve (row) is significantly better than another (column), (K, K).

    Two-sided t-tests, paired by seed, one a pair of curves and round (round 0 as in `share_won`), Holm-corrected over
    all of them. NaN on the diagonal, and everywhere for a single seed. Source: the pairwise matrix of Ash et al. 2020
    (BADGE), which does not correct.
    """
    won = np.full((len(curves), len(curves)), np.nan)
    if len(curves) < 2 or len(curves[0].seeds) < 2:
        return won
    pairs = list(combinations(range(len(curves)), 2))
    differences = [_difference(curves[i], curves[j]) for i, j in pairs]
    p_values = holm(np.concatenate([paired_p_values(difference) for difference in differences]))
    last = np.cumsum([difference.shape[1] for difference in differences])
    for (i, j), difference, p in zip(pairs, differences, np.split(p_values, last[:-1]), strict=True):
        significant, mean = p < 1 - CONFIDENCE, difference.mean(axis=0)
        won[i, j], won[j, i] = (significant & (mean > 0)).mean(), (significant & (mean < 0)).mean()
    return won


def _difference(first: LearningCurve, second: LearningCurve) -> Floats:
    """The differences (S, R), or (S, R - 1) where the first round is the same one."""
    difference = first.scores - second.scores
    same_start = len(first.n_labeled) > 1 and not difference[:, 0].any()
    return np.asarray(difference[:, 1:] if same_start else difference)


def paired_p_values(difference: Floats) -> Floats:
    """The two-sided p-values (R,) of differences (S, R), by Student's t; 0 where all seeds differ by the same."""
    n, mean = len(difference), difference.mean(axis=0)
    error = difference.std(axis=0, ddof=1) / math.sqrt(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(mean == 0, 0.0, np.abs(mean) / error)
    return np.asarray(2 * stats.t.sf(t, n - 1))


def holm(p_values: Floats) -> Floats:
    """The p-values (R,) adjusted for their number. Source: Holm, Scandinavian Journal of Statistics 6, 1979."""
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def labels_needed(n_labeled: NDArray[np.int64], mean: Floats, score: float) -> float:
    """How many labels the mean curve (R,) needs for `score`: linear on its running maximum.

    Infinite for more labels than it has, and minus infinity for fewer than it begins with.
    """
    best = np.maximum.accumulate(mean)
    reached = np.flatnonzero(best >= score)
    if not len(reached):
        return math.inf
    r = int(reached[0])
    if r == 0:
        return float(n_labeled[0]) if score == best[0] else -math.inf
    part = (score - best[r - 1]) / (best[r] - best[r - 1])
    return float(n_labeled[r - 1] + part * (n_labeled[r] - n_labeled[r - 1]))


def equal_labels(curve: LearningCurve, baseline: LearningCurve, r: int) -> EqualLabels:
    """How many labels `baseline` needs for the mean score that `curve` has in round r.

    The ranges hold the numbers of labels at which the baseline's score, interpolated seed by seed, does not differ from
    the curve's by a paired t-test at 5%. A range that reaches an end of the baseline's curve goes beyond it.
    """
    n, score = curve.n_labeled, curve.scores[:, r]
    estimate = labels_needed(n, baseline.mean(), float(score.mean()))
    if len(curve.seeds) < 2:
        return EqualLabels(estimate, ())
    labels = np.unique(
        np.concatenate([np.linspace(n[0], n[-1], 2_000), n, [estimate] if math.isfinite(estimate) else []])
    )
    interpolated = np.array([np.interp(labels, n, scores) for scores in baseline.scores])  # (S, L)
    difference = score[:, None] - interpolated
    alike = np.abs(difference.mean(axis=0)) <= half_t_interval(difference) + ROUNDING
    edges = np.flatnonzero(np.diff(np.pad(alike.astype(int), 1)))  # where a range begins, and one after where it ends
    ranges = [(float(labels[first]), float(labels[end - 1])) for first, end in edges.reshape(-1, 2)]
    ranges = [(low if low > n[0] else -math.inf, high if high < n[-1] else math.inf) for low, high in ranges]
    if not any(low <= estimate <= high for low, high in ranges):  # which then is infinite: no test excludes it
        ranges.append((estimate, estimate))
    return EqualLabels(estimate, tuple(sorted(ranges)))


def matrix(curves: Sequence[LearningCurve], compare: Callable[[LearningCurve, LearningCurve], float]) -> Floats:
    """`compare` of each curve (row) with each other one (column); NaN on the diagonal."""
    return np.array([[math.nan if a is b else compare(a, b) for b in curves] for a in curves])
