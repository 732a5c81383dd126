"""Uncertainty sampling against hand arithmetic and plain loops."""

import math

import numpy as np
import pytest
from strategy_cases import CLASSES, KINDS, model_for, odd_pool, probabilities_of, reasons_by_row

from dami_text.strategies import Uncertainty
from dami_text.strategies.uncertainty import uncertainty

UNCERTAINTIES = ("least-confidence", "margin", "entropy")


def slow_score(p: list[float], kind: str) -> float:
    """The score of one text with probabilities p."""
    descending = sorted(p, reverse=True)
    if kind == "least-confidence":
        return 1 - descending[0]
    if kind == "margin":
        return descending[1] - descending[0]
    return sum(-x * math.log(x) for x in p if x > 0)


@pytest.mark.parametrize(
    ("p", "least_confidence", "margin", "entropy"),
    [
        ([0.5, 0.5], 0.5, 0, math.log(2)),
        ([0.75, 0.25], 0.25, -0.5, 2 * math.log(2) - 0.75 * math.log(3)),
        ([0.5, 0.25, 0.25], 0.5, -0.25, 1.5 * math.log(2)),
        ([0.25, 0.25, 0.5], 0.5, -0.25, 1.5 * math.log(2)),
        ([1, 0, 0], 0, -1, 0),
        ([0.125, 0.25, 0, 0.5, 0, 0.125], 0.5, -0.25, 1.75 * math.log(2)),
    ],
)
def test_by_hand(p, least_confidence, margin, entropy):
    found = [float(uncertainty(np.array([p], np.float32), kind)[0]) for kind in UNCERTAINTIES]
    assert found == pytest.approx([least_confidence, margin, entropy], abs=1e-7)


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("model_kind", KINDS)
@pytest.mark.parametrize("kind", UNCERTAINTIES)
def test_against_a_loop(kind, model_kind, n_classes):
    pool = odd_pool()
    model = model_for(model_kind, pool, n_classes)
    expected = [slow_score(p, kind) for p in probabilities_of(model, pool).tolist()]
    query = Uncertainty(kind).query(model, pool, len(expected), np.random.default_rng(0))
    scores = reasons_by_row(query)
    assert [scores[row] for row in pool.unlabeled] == pytest.approx(expected, abs=1e-6)
    best = pool.unlabeled[np.argsort(-np.array(expected), kind="stable")]
    assert query.rows.tolist() == best.tolist()


def test_of_two_classes_all_kinds_give_the_same_order():
    p = np.random.default_rng(0).random(50).astype(np.float32)
    orders = [np.argsort(-uncertainty(np.stack([p, 1 - p], axis=1), kind)).tolist() for kind in UNCERTAINTIES]
    assert orders[0] == orders[1] == orders[2] == np.argsort(np.abs(p - 0.5)).tolist()


@pytest.mark.parametrize("kind", UNCERTAINTIES)
def test_equal_scores_keep_the_order_of_the_rows(kind):
    pool = odd_pool()
    model = model_for("cnn", pool)
    model.classifier.weight.data.zero_()
    query = Uncertainty(kind).query(model, pool, 5, np.random.default_rng(0))
    assert query.rows.tolist() == pool.unlabeled[:5].tolist()
