"""What several runs say together: how good strategies are, how sure that is, and how many labels they save."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
BOOTSTRAP_FROM = 10  # seeds; Student's t below
RESAMPLES = 9_999

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate and its 95% confidence interval; the ends are NaN where one seed alone says nothing of them."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class LearningCurve:
    """The scores of runs that differ in their seed alone.

    Attributes:
        dataset, model, strategy: what the runs share.
        seeds: (S,), sorted.
        n_labeled, share: (R,), labelled texts, and their share of the training set.
        scores: (S, R), higher is better.
        seconds: by name (train, query), (S, R).
    """

    dataset: str
    model: str
    strategy: str
    seeds: tuple[int, ...]
    n_labeled: NDArray[np.int64]
    share: Floats
    scores: Floats
    seconds: dict[str, Floats] = field(default_factory=dict)

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
    """The mean of values (S,) of as many seeds: by Student's t below 10 seeds, by BCa bootstrap from 10 on."""
    mean = float(values.mean())
    if len(values) < BOOTSTRAP_FROM or np.ptp(values) == 0:
        half = float(half_t_interval(values))
        return Interval(mean, mean - half, mean + half)
    found = stats.bootstrap((values,), np.mean, n_resamples=RESAMPLES, rng=np.random.default_rng(0), method="BCa")
    return Interval(mean, float(found.confidence_interval.low), float(found.confidence_interval.high))


def share_won(first: LearningCurve, second: LearningCurve) -> float:
    """The share of (seed, round) in which `first` scores higher, ties counted half.

    Round 0 does not count where both share its models, and others follow. Source: the pairwise matrices of Liu et al.
    2020, Figures 5 and 7.
    """
    difference = _difference(first, second)
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def significantly_better(first: LearningCurve, second: LearningCurve) -> float:
    """The share of rounds in which `first` is significantly better; NaN for a single seed.

    Two-sided t-tests, paired by seed, one a round (round 0 as in `share_won`), Holm-corrected over the rounds. Source:
    the pairwise matrix of Ash et al. 2020 (BADGE), which does not correct.
    """
    if len(first.seeds) < 2:
        return math.nan
    difference = _difference(first, second)
    significant = holm(paired_p_values(difference)) < 1 - CONFIDENCE
    return float((significant & (difference.mean(axis=0) > 0)).mean())


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


def equal_labels(curve: LearningCurve, baseline: LearningCurve, r: int) -> Interval:
    """How many labels `baseline` needs for the mean score that `curve` has in round r; infinite as `labels_needed`.

    From 10 seeds on the interval is from a bootstrap over seeds. Below, it holds the numbers of labels at which the
    baseline's score, interpolated seed by seed, does not differ from the curve's by a paired t-test at 5%.
    """
    n, score = curve.n_labeled, curve.scores[:, r]
    estimate = labels_needed(n, baseline.mean(), float(score.mean()))
    seeds = len(curve.seeds)
    if seeds < 2:
        return Interval(estimate, math.nan, math.nan)
    if seeds >= BOOTSTRAP_FROM:
        rng = np.random.default_rng(0)
        draws = rng.integers(seeds, size=(RESAMPLES // 5, seeds))
        found = np.sort([labels_needed(n, baseline.scores[d].mean(axis=0), float(score[d].mean())) for d in draws])
        tail = (1 - CONFIDENCE) / 2
        low, high = found[int(tail * len(found))], found[int((1 - tail) * len(found))]
        return Interval(estimate, float(low), float(high))
    labels = np.unique(np.append(np.linspace(n[0], n[-1], 2_000), n))
    interpolated = np.array([np.interp(labels, n, scores) for scores in baseline.scores])  # (S, L)
    difference = score[:, None] - interpolated
    alike = labels[np.abs(difference.mean(axis=0)) <= half_t_interval(difference)]
    low = min(estimate, alike.min() if len(alike) else n[-1])
    high = max(estimate, alike.max() if len(alike) else n[0])
    return Interval(estimate, -math.inf if low <= n[0] else float(low), math.inf if high >= n[-1] else float(high))


def matrix(curves: Sequence[LearningCurve], compare: Callable[[LearningCurve, LearningCurve], float]) -> Floats:
    """`compare` of each curve (row) with each other one (column); NaN on the diagonal."""
    return np.array([[math.nan if a is b else compare(a, b) for b in curves] for a in curves])
