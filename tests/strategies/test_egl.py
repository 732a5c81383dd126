"""The expected gradient length, over all parameters and over the last layer's, against autograd."""

import math

import numpy as np
import pytest
from strategy_cases import CLASSES, KINDS, loss_gradients, model_for, odd_pool, reasons_by_row

from dami_text.strategies import Egl
from dami_text.strategies.egl import head_lengths


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", ["all", "head"])
def test_against_autograd(kind, n_classes, which):
    pool = odd_pool()
    model = model_for(kind, pool, n_classes)
    parameters = list((model if which == "all" else model.classifier).parameters())
    expected = []
    for row in pool.unlabeled:
        length = 0.0
        for p, gradients in loss_gradients(model, pool, row, parameters):
            length += p * math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
        expected.append(length)
    query = Egl(which).query(model, pool, len(expected), np.random.default_rng(0))
    scores = reasons_by_row(query)
    assert [scores[row] for row in pool.unlabeled] == pytest.approx(expected, rel=1e-5)
    assert query.rows.tolist() == pool.unlabeled[np.argsort(-np.array(expected), kind="stable")].tolist()


@pytest.mark.parametrize(
    ("p", "features", "expected"),
    [
        # ||e_c|| is (1 - p_c) sqrt(2) for two classes; sqrt(||h||^2 + 1) = sqrt(2 + 2 + 4 + 1) = 3
        ([0.5, 0.5], [2**0.5, -(2**0.5), 2], 0.5 * 2**0.5 * 3),
        ([0.8, 0.2], [0, 0, 0], 2 * 0.8 * 0.2 * 2**0.5),
        ([1, 0], [1, 2, 3], 0),
        # e_0 = (-0.5, 0.25, 0.25): 0.375 ** 0.5; e_1 and e_2: (0.5, -0.75, 0.25): 0.875 ** 0.5
        ([0.5, 0.25, 0.25], [0, 0, 0], 0.5 * 0.375**0.5 + 0.5 * 0.875**0.5),
    ],
)
def test_of_the_last_layer_by_hand(p, features, expected):
    found = head_lengths(np.array([p], np.float32), np.array([features], np.float32))
    assert found.tolist() == pytest.approx([expected], abs=1e-6)
