"""Stopping criteria against hand arithmetic and scikit-learn."""

import math

import numpy as np
import pytest

from dami_text.learning.stopping import StablePredictions, kappa, rounds_stopped


def from_table(table):
    """Two models' predictions whose contingency table this is."""
    table = np.array(table)
    first, second = np.indices(table.shape)
    return first.ravel().repeat(table.ravel()), second.ravel().repeat(table.ravel())


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ([[20, 5], [10, 15]], 0.4),  # A = 35/50, E = 25/50 * 30/50 + 25/50 * 20/50 = 0.5
        ([[45, 15], [25, 15]], (0.6 - 0.54) / 0.46),  # E = .6 * .7 + .4 * .3
        ([[10, 0, 0], [0, 20, 0], [0, 0, 70]], 1.0),
        ([[0, 10], [10, 0]], -1.0),  # A = 0, E = 0.5
        ([[0, 0], [30, 70]], 0.0),  # the first says one class alone: A = E = 0.7
    ],
)
def test_kappa_by_hand(table, expected):
    assert kappa(*from_table(table)) == pytest.approx(expected)
    assert kappa(*reversed(from_table(table))) == pytest.approx(expected)


def test_kappa_is_that_of_scikit_learn():
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(0)
    for n_classes in (2, 3, 77):
        first = rng.integers(n_classes, size=400)
        second = np.where(rng.random(400) < 0.9, first, rng.integers(n_classes, size=400))
        assert kappa(first, second) == pytest.approx(cohen_kappa_score(first, second))


def test_models_that_say_one_and_the_same_class_alone_have_no_kappa_and_have_not_settled():
    one = np.full(50, 3)
    assert math.isnan(kappa(one, one))
    assert math.isnan(kappa(one[:0], one[:0]))
    assert not StablePredictions().stops([one] * 10)
    assert math.isnan(StablePredictions().agreement([one] * 10))


def predictions_with(changes, n=1000):
    """Predictions of half 0 and half 1, in which so many texts of either class have changed places."""
    predicted = np.arange(n) % 2
    predicted[:changes] = 1 - predicted[:changes]
    return predicted


def test_the_mean_of_the_last_three_kappas_decides():
    # Of n texts in two halves, 2 c of which differ, A = 1 - 2 c / n and E = 1/2: kappa is 1 - 4 c / n.
    same, moved = predictions_with(0), predictions_with(10)  # 10 of 1000 differ: kappa 0.98
    criterion = StablePredictions()
    assert kappa(same, moved) == pytest.approx(0.98)
    assert criterion.agreement([same, same, same]) is None  # three kappas take four rounds
    assert criterion.agreement([same, same, same, moved]) == pytest.approx((1 + 1 + 0.98) / 3)
    assert criterion.stops([same, same, same, moved])  # 0.9933: one kappa below the cutoff does not matter
    assert not criterion.stops([same, moved, same, same, moved][:4])  # 0.98, 0.98, 1: 0.9867
    assert StablePredictions(cutoff=0.98).stops([same, moved, same, same])
    assert StablePredictions(window=1).stops([moved, same, same])


def test_the_cutoff_itself_is_enough():
    history = [predictions_with(0), predictions_with(0), predictions_with(0)]
    exact = StablePredictions(cutoff=1.0, window=2)
    assert exact.stops(history)
    assert not exact.stops([*history, predictions_with(2)])


def test_rounds_in_a_row_are_counted_from_the_last():
    same, moved = predictions_with(0), predictions_with(100)
    criterion = StablePredictions(window=1)
    assert rounds_stopped(criterion, []) == 0
    assert rounds_stopped(criterion, [same, same, moved, moved, moved]) == 2
    assert rounds_stopped(criterion, [same, same, moved]) == 0
    assert rounds_stopped(criterion, [same] * 5) == 4
