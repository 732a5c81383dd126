"""Statistics against hand arithmetic, loops and scipy's own tests."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from dami_text.simulation.comparison import (
    LearningCurve,
    area_p_values,
    equal_labels,
    half_t_interval,
    holm,
    labels_needed,
    matrix,
    mean_interval,
    paired_p_values,
    share_won,
    significant_wins,
)


def curve(scores, n_labeled=None, strategy="dami"):
    """A curve of scores (S, R)."""
    scores = np.array(scores, float)
    n = np.array(n_labeled if n_labeled is not None else 10 * np.arange(1, scores.shape[1] + 1))
    return LearningCurve(
        dataset="demo",
        model="cnn",
        strategy=strategy,
        seeds=tuple(range(len(scores))),
        n_labeled=n,
        share=n / 1000,
        scores=scores,
    )


T_2 = 4.302652729911275  # Student's t, 97.5%, 2 degrees of freedom, from a table


def test_mean_and_t_interval_by_hand():
    found = curve([[0.1, 0.5], [0.2, 0.5], [0.3, 0.5]])
    assert found.mean().tolist() == pytest.approx([0.2, 0.5])
    assert found.half_interval().tolist() == pytest.approx([T_2 * 0.1 / math.sqrt(3), 0])
    assert np.isnan(curve([[0.1, 0.5]]).half_interval()).all()
    interval = mean_interval(np.array([1.0, 2.0, 3.0]))
    assert interval == pytest.approx((2, 2 - T_2 / math.sqrt(3), 2 + T_2 / math.sqrt(3)))
    assert half_t_interval(np.array([2.0, 2.0])) == 0


@pytest.mark.parametrize("seeds", [5, 10, 20])
def test_intervals_of_means_and_differences_hold_the_truth_in_95_of_100_experiments(seeds):
    rng = np.random.default_rng(seeds)
    n = 6_000
    shared, own = rng.normal(0, 0.02, (n, seeds)), rng.normal(0, 0.01, (2, n, seeds))
    first, second = 0.8 + shared + own[0], 0.79 + shared + own[1]
    for values, truth in ((first, 0.8), (first - second, 0.01)):
        found = [mean_interval(one) for one in values]
        assert np.mean([each.low <= truth <= each.high for each in found]) == pytest.approx(0.95, abs=0.011)
    skewed = [mean_interval(one) for one in rng.exponential(1, (n, seeds))]
    assert np.mean([each.low <= 1 <= each.high for each in skewed]) > 0.87  # BCa's bootstrap: 0.863 with 10 seeds


@pytest.mark.parametrize("seeds", [5, 10, 20])
def test_the_numbers_of_equal_labels_hold_the_truth_in_95_of_100_experiments(seeds):
    rng, n, r, truth = np.random.default_rng(seeds), 100.0 * np.arange(1, 13), 5, 733.0
    mean = 0.9 - 0.4 * np.exp(-n / 500)
    score = np.interp(truth, n, mean)  # what the strategy has with 600 labels

    def experiment():
        shared = rng.normal(0, 0.02, (seeds, 1))
        baseline = mean + shared + rng.normal(0, 0.008, (seeds, len(n)))
        other = mean - mean[r] + score + shared + rng.normal(0, 0.008, (seeds, len(n)))
        return equal_labels(curve(other, n), curve(baseline, n, "random"), r)

    found = [experiment() for _ in range(1_500)]
    covered = [any(low <= truth <= high for low, high in each.ranges) for each in found]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)
    assert all(any(low <= each.estimate <= high for low, high in each.ranges) for each in found)


def test_the_numbers_of_equal_labels_may_lie_in_several_ranges():
    """The baseline's curve rises, falls below the score and rises again: in between it is significantly lower."""
    n = np.arange(100, 1100, 100)
    mean = np.array([0.5, 0.6, 0.7, 0.7, 0.6, 0.5, 0.5, 0.6, 0.7, 0.9])
    noise = np.array([-0.01, 0.0, 0.01])[:, None]
    baseline, other = curve(mean + noise, n, "random"), curve(np.full((3, 10), 0.7) + noise * 2, n)
    half = T_2 * 0.01 / math.sqrt(3)  # of the difference, which is the noise
    found = equal_labels(other, baseline, 4)
    assert found.estimate == pytest.approx(300)
    steps = 100 / 0.1 * half, 100 / 0.2 * half  # labels, where the curve rises by .1 and by .2 a round
    expected = [(300 - steps[0], 400 + steps[0]), (900 - steps[0], 900 + steps[1])]
    assert np.array(found.ranges) == pytest.approx(np.array(expected), abs=1.1)
    never = equal_labels(curve(np.full((3, 10), 0.92) + 2 * noise, n), baseline, 4)
    assert never.estimate == math.inf
    assert never.ranges == ((pytest.approx(1000 - (half - 0.02) / 0.2 * 100, abs=1.1), math.inf),)
    out_of_reach = equal_labels(curve(np.full((3, 10), 0.99) + 2 * noise, n), baseline, 4)
    assert out_of_reach == (math.inf, ((math.inf, math.inf),))


def test_a_number_of_labels_that_no_test_excludes_is_among_the_ranges():
    """The baseline comes near the score in the middle and falls behind at the end: it may never reach it."""
    n = np.array([100, 200, 300])
    noise = np.array([-0.01, 0.0, 0.01])[:, None]
    found = equal_labels(curve(np.full((3, 3), 0.7) + 2 * noise, n), curve(np.array([0.5, 0.69, 0.5]) + noise, n), 1)
    assert found.estimate == math.inf
    (low, high), last = found.ranges
    assert 150 < low < 200 < high < 250
    assert last == (math.inf, math.inf)


def test_p_values_of_areas_are_scipys_corrected_for_the_number_of_strategies():
    rng = np.random.default_rng(0)
    base = curve(rng.normal(0.7, 0.02, (10, 4)))
    gains = (0.015, 0.006, 0.0)
    curves = [curve(base.scores + gain + rng.normal(0, 0.01, (10, 4))) for gain in gains]
    raw = [stats.ttest_rel(each.area(), base.area()).pvalue for each in curves]
    order = sorted(range(3), key=lambda i: raw[i])
    expected = {i: max((3 - place) * raw[j] for place, j in enumerate(order[: order.index(i) + 1])) for i in order}
    assert area_p_values(curves, base).tolist() == pytest.approx([min(1, expected[i]) for i in range(3)])
    assert np.isnan(area_p_values([curve([[0.5]])], curve([[0.6]]))).all()


def test_the_area_is_the_mean_of_the_trapezoids():
    found = curve([[0.5, 0.7, 0.9], [0.5, 0.5, 0.5]], [10, 20, 40]).area()
    assert found.tolist() == pytest.approx([(0.6 * 10 + 0.8 * 20) / 30, 0.5])
    assert curve([[0.4], [0.6]], [10]).area().tolist() == [0.4, 0.6]


def test_share_won_counts_ties_half_and_not_a_first_round_that_both_share():
    a = curve([[0.5, 0.6, 0.7], [0.5, 0.6, 0.6]])
    b = curve([[0.5, 0.6, 0.6], [0.5, 0.7, 0.5]])
    # Seed 0: a tie, a win; seed 1: a loss, a win.
    assert (share_won(a, b), share_won(b, a)) == (0.625, 0.375)
    assert share_won(curve([[0.5], [0.6]]), curve([[0.4], [0.7]])) == 0.5, "a single round is all there is"
    found = matrix([a, b], share_won)
    assert found[[0, 1], [1, 0]].tolist() == [0.625, 0.375]
    assert np.isnan(found.diagonal()).all()
    # First models of their own, as with --init-model: a loss and a tie more.
    other = curve([[0.6, 0.6, 0.6], [0.5, 0.7, 0.5]])
    assert (share_won(a, other), share_won(other, a)) == (3 / 6, 3 / 6)


def test_paired_p_values_are_scipys():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(6, 8)), rng.normal(0.5, size=(6, 8))
    assert paired_p_values(first - second).tolist() == pytest.approx(stats.ttest_rel(first, second).pvalue.tolist())
    assert paired_p_values(np.array([[0.0, 0.25], [0.0, 0.25]])).tolist() == [1, 0]


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([0.9, 0.6])).tolist() == pytest.approx([1, 1])


def test_only_differences_that_hold_after_the_correction_are_significant():
    noise = np.array([-0.01, 0.0, 0.01])[:, None]
    base = np.full((3, 5), 0.5)
    # t = difference / (0.01 / sqrt(3)): p is 3e-5, 1e-4, 0.04 and 1, to be compared with 0.05 / 4, 0.05 / 3, ...
    difference = np.array([0, 1.0, -0.5, 0.03, 0.0])
    noise = noise * [0, 1, 1, 1, 1]  # the first round is shared
    better = curve(base + difference + noise)
    p_values = [stats.ttest_1samp(noise[:, 1] + d, 0).pvalue for d in difference[1:]]
    assert p_values[2] < 0.05 < 2 * p_values[2], "one that only the correction takes away"
    won = significant_wins([better, curve(base)])
    assert won[0, 1] == won[1, 0] == 1 / 4
    assert np.isnan(won.diagonal()).all()
    assert np.isnan(significant_wins([curve(base[:1]), curve(base[:1])])).all()
    assert np.isnan(significant_wins([better])).all()


def test_the_correction_covers_all_pairs_of_curves_and_their_rounds():
    noise = np.array([-0.01, 0.0, 0.01])[:, None]
    base = np.full((3, 2), 0.5)
    ahead = base + np.array([0.05, 0.0]) + noise * [1, 0]
    p = stats.ttest_1samp(noise[:, 0] + 0.05, 0).pvalue
    assert 2 * p < 0.05 < 6 * p, "enough among two rounds, and not among those of three pairs"
    assert significant_wins([curve(ahead), curve(base)])[0, 1] == 1 / 2
    won = significant_wins([curve(ahead), curve(base), curve(base - noise)])
    assert won[0, 1] == won[1, 0] == 0


def test_the_higher_curve_is_the_significantly_better_one_and_the_lower_is_not():
    base = np.random.default_rng(0).uniform(0.5, 0.7, (4, 6))
    higher = curve(base + 0.1 + np.random.default_rng(1).normal(0, 0.001, base.shape))
    won = significant_wins([higher, curve(base)])
    assert (won[0, 1], won[1, 0]) == (1, 0)


def test_two_seeds_are_enough_for_an_interval_of_equal_labels_and_one_is_not():
    n = np.array([100, 200, 300, 400])
    baseline = np.array([[0.5, 0.6, 0.7, 0.8], [0.52, 0.62, 0.72, 0.82]])
    better = baseline + np.array([[0.05], [0.049]])
    found = equal_labels(curve(better, n), curve(baseline, n), 1)
    ((low, high),) = found.ranges
    assert low <= found.estimate <= high
    assert found.estimate == pytest.approx(249.5)
    assert 240 < low < high < 260
    assert equal_labels(curve(better[:1], n), curve(baseline[:1], n), 1).ranges == ()


@pytest.mark.parametrize(
    ("score", "labels"),
    [(0.6, 200), (0.55, 150), (0.7, 350), (0.8, 400), (0.5, 100), (0.1, -math.inf), (0.81, math.inf)],
)
def test_labels_needed_on_the_running_maximum(score, labels):
    # The running maximum is 0.5, 0.6, 0.6, 0.8.
    found = labels_needed(np.array([100, 200, 300, 400]), np.array([0.5, 0.6, 0.55, 0.8]), score)
    assert found == pytest.approx(labels)


def rising(offsets, budget=1100):
    """Curves of slope 0.001 a label from 100 labels on, one for each offset."""
    n = np.arange(100, budget + 1, 100)
    return curve([offset + n / 1000 for offset in offsets], n, "random")


def test_equal_labels_by_a_paired_test():
    seeds = [0.0, 5.0, -3.0]  # what a seed adds to both strategies says nothing of their difference
    base = rising(seeds, 2000)
    better = rising([seed + gain for seed, gain in zip(seeds, (0.1, 0.2, 0.3), strict=True)], 2000)
    found = equal_labels(better, base, 5)  # at 600 labels, 0.2 = 200 labels ahead
    half = 1000 * T_2 * 0.1 / math.sqrt(3)
    assert found.estimate == pytest.approx(800)
    assert found.ranges == ((pytest.approx(800 - half, abs=1.5), pytest.approx(800 + half, abs=1.5)),)
    late = equal_labels(better, base, 17)  # at 1800 labels: random reaches it with 2000, or never
    assert late == (pytest.approx(2000), ((pytest.approx(2000 - half, abs=1.5), math.inf),))
    never = equal_labels(better, base, 19)
    assert never == (math.inf, ((pytest.approx(2200 - half, abs=1.5), math.inf),))
    alone = equal_labels(rising([0.2]), rising([0.0]), 5)
    assert alone.estimate == pytest.approx(800)
    assert alone.ranges == ()


def test_fewer_labels_than_the_first_round_has_are_not_told_apart():
    found = equal_labels(rising([-0.2, -0.25, -0.3]), rising([0.0, 0.0, 0.0]), 2)
    assert found == (-math.inf, ((-math.inf, pytest.approx(174, abs=1)),))
    found = equal_labels(rising([0.0, -0.1, 0.1] * 4), rising([0.0] * 12), 0)
    assert (found.estimate, found.ranges[0][0]) == (pytest.approx(100), -math.inf)


def test_a_strategy_that_is_worse_saves_less_than_nothing():
    found = equal_labels(rising([-0.2, -0.2, -0.2]), rising([0.0, 0.0, 0.0]), 5)
    assert found.estimate == pytest.approx(400)
    assert found.ranges == ((pytest.approx(400, abs=1), pytest.approx(400, abs=1)),)


def test_every_pair_of_a_matrix_adds_up_to_one():
    rng = np.random.default_rng(0)
    curves = [curve(rng.integers(0, 4, (5, 6)) / 4, strategy=name) for name in "abc"]
    found = matrix(curves, share_won)
    for i, j in itertools.combinations(range(3), 2):
        assert found[i, j] + found[j, i] == pytest.approx(1)
