"""Expected errors: how many texts compete, and which."""

import numpy as np
import pytest
import torch
from strategy_cases import CLASSES, KINDS, model_for, odd_pool, probabilities_of

from dami_text.models.last_layer import head_of
from dami_text.strategies import ExpectedErrors


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_as_many_texts_compete_as_the_model_is_expected_to_get_wrong(kind, n_classes):
    pool = odd_pool()
    model = model_for(kind, pool, n_classes)
    probabilities = probabilities_of(model, pool)
    highest = np.sort(probabilities, axis=1)[:, ::-1]
    errors, margins = 1 - highest[:, 0], highest[:, 0] - highest[:, 1]
    query = ExpectedErrors().query(model, pool, 3, np.random.default_rng(2))
    assert query.details["candidates"] == pytest.approx(max(6, errors.sum()), abs=0.51)
    places = np.searchsorted(pool.unlabeled, query.rows)
    assert (margins[places] <= np.sort(margins)[query.details["candidates"] - 1] + 1e-6).all()
    assert [reason["score"] for reason in query.reasons] == pytest.approx(errors[places].tolist(), rel=1e-4)
    assert sum(reason["cluster_size"] for reason in query.reasons) == query.details["candidates"]


def test_a_sure_model_leaves_twice_the_number_and_one_that_knows_nothing_half_of_two_classes():
    pool = odd_pool()
    model = model_for("cnn", pool, 2)
    head = head_of(model)
    n = len(pool.unlabeled)
    for weight, bias, candidates in ((0.0, [0.0, 0.0], n // 2), (0.0, [0.0, 50.0], 6)):
        with torch.no_grad():
            head.weight.fill_(weight)
            head.bias.copy_(torch.tensor(bias))
        query = ExpectedErrors().query(model, pool, 3, np.random.default_rng(0))
        assert query.details["candidates"] == pytest.approx(candidates, abs=0.51)
    everything = ExpectedErrors().query(model, pool, n, np.random.default_rng(0))
    assert sorted(everything.rows.tolist()) == pool.unlabeled.tolist()
