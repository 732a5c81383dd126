"""Uncertainty sampling against hand arithmetic and plain loops."""

import math

import numpy as np
import pytest
import torch
from strategy_cases import CLASSES, KINDS, logits_of, model_for, odd_pool, probabilities_of, reasons_by_row

from dami_text.strategies import Uncertainty, highest
from dami_text.strategies.uncertainty import log_uncertainty

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
    logits = 3 + np.log(np.array([p]).clip(min=1e-300))
    found = [math.exp(log_uncertainty(logits, kind)[0]) - (kind == "margin") for kind in UNCERTAINTIES]
    assert found == pytest.approx([least_confidence, margin, entropy], abs=1e-12)


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


@pytest.mark.parametrize("scale", [1, 20, 300])
def test_of_two_classes_all_kinds_give_the_same_order(scale):
    """Also where float32 rounds all probabilities to 0 and 1."""
    difference = (scale * np.random.default_rng(0).normal(size=200)).astype(np.float32)
    logits = np.stack([difference, np.zeros_like(difference)], axis=1)
    orders = [np.argsort(-log_uncertainty(logits, kind), kind="stable").tolist() for kind in UNCERTAINTIES]
    assert orders[0] == orders[1] == orders[2] == np.argsort(np.abs(difference), kind="stable").tolist()


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("kind", UNCERTAINTIES)
def test_a_model_that_is_nearly_sure_is_asked_by_its_logits(kind, n_classes):
    pool = odd_pool()
    model = model_for("cnn", pool, n_classes)
    for factor in (50.0, 2000.0):
        model.classifier.weight.data.mul_(factor)
        model.classifier.bias.data.mul_(factor)
        with torch.no_grad():
            z = np.array([logits_of(model, pool, row).tolist() for row in pool.unlabeled])
        z.sort(axis=1)
        surest = pool.unlabeled[np.argsort(z[:, -2] - z[:, -1], kind="stable")]  # by the second class alone
        rows = Uncertainty(kind).query(model, pool, 6, np.random.default_rng(0)).rows
        assert rows.tolist() == surest[::-1][:6].tolist()
        model.classifier.weight.data.div_(factor)
        model.classifier.bias.data.div_(factor)


def test_logits_far_apart_give_numbers():
    logits = np.array([[1e6, 0, -1e6], [3e38, -3e38, 0], [0, 0, 0]], np.float32)
    for kind in UNCERTAINTIES:
        found = log_uncertainty(logits, kind)
        assert np.isfinite(found).all()
        assert found[0] == found[1] < found[2]


def test_equal_scores_keep_the_order_of_the_rows():
    pool = odd_pool()
    scores = np.arange(len(pool.unlabeled)) % 3 / 2
    assert highest(scores, pool, 5).rows.tolist() == pool.unlabeled[2::3][:5].tolist()


@pytest.mark.parametrize("kind", UNCERTAINTIES)
def test_where_all_scores_are_equal_the_order_is_that_of_hashes(kind):
    pool = odd_pool()
    model = model_for("cnn", pool)
    model.classifier.weight.data.zero_()
    query = Uncertainty(kind).query(model, pool, 5, np.random.default_rng(0))
    by_hash = sorted(pool.unlabeled.tolist(), key=lambda row: int(pool.texts.keys(np.array([row]))[0]))
    assert query.rows.tolist() == by_hash[:5]
