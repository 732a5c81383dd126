"""The rules of the strategies' battery, on the rows of a table and an MLP."""

import numpy as np
import pytest
import torch
from strategy_cases import CLASSES, reasons_by_row
from table_cases import mlp_for, odd_table, table_pool
from test_strategy_battery import (
    CHANCE,
    OF_ONE_TEXT,
    OPTIONS,
    WITHOUT_MODEL,
    ask,
    assert_close,
    assert_same,
    state_of,
)

from dami_text.strategies.dami import Dami

NAMES = [name for name in OPTIONS if name not in ("egl-word", "own")]

on_all = pytest.mark.parametrize(("name", "n_classes"), [(name, n) for name in NAMES for n in CLASSES])


@on_all
def test_distinct_unlabelled_rows_the_same_for_the_same_seed(name, n_classes):
    pool = odd_table()
    model = mlp_for(pool, n_classes)
    assert len(ask(name, model, pool, 1).rows) == 1
    assert sorted(ask(name, model, pool, len(pool.unlabeled)).rows.tolist()) == pool.unlabeled.tolist()
    query, again = (ask(name, model, pool, 9, seed=3) for _ in range(2))
    assert query.rows.tolist() == again.rows.tolist()
    assert query.reasons == again.reasons


@on_all
def test_permuting_the_pool_permutes_everything(name, n_classes):
    pool = odd_table()
    model = mlp_for(pool, n_classes)
    order = np.random.default_rng(1).permutation(len(pool))
    permuted = table_pool(pool.texts.matrix[order], np.flatnonzero(np.isin(order, pool.labeled)))
    n = len(pool.unlabeled)
    first, second = ask(name, model, pool, n), ask(name, model, permuted, n)
    for what in set(OF_ONE_TEXT) & first.reasons[0].keys():
        expected, found = reasons_by_row(first, what), reasons_by_row(second, what)
        assert_close([found[row] for row in sorted(found)], [expected[int(order[row])] for row in sorted(found)])
    if name not in CHANCE:
        assert order[ask(name, model, permuted, 9).rows].tolist() == ask(name, model, pool, 9).rows.tolist()


@on_all
def test_batches_change_nothing(name, n_classes):
    pool = odd_table()
    model = mlp_for(pool, n_classes).double()
    expected = ask(name, model, pool, 9)
    for batch_size in (1, 7):
        assert_same(ask(name, model, pool, 9, batch_size=batch_size), expected)


@on_all
def test_the_model_is_left_as_it_was_also_after_an_exception(name, n_classes, monkeypatch):
    pool = odd_table()
    model = mlp_for(pool, n_classes).train()
    model.hidden[0].requires_grad_(False)
    model.classifier.weight.grad = torch.ones_like(model.classifier.weight)
    before = state_of(model)
    ask(name, model, pool, 5, batch_size=8)
    assert state_of(model) == before
    calls, features = [], type(model).features

    def failing(*inputs):
        calls.append(inputs)
        if len(calls) == 3:
            raise ArithmeticError("no third batch")
        return features(*inputs)

    monkeypatch.setattr(type(model), "features", failing)
    if name not in WITHOUT_MODEL:
        with pytest.raises(ArithmeticError, match="no third batch"):
            ask(name, model, pool, 5, batch_size=8)
    assert state_of(model) == before


def dead(model):
    """No hidden unit ever fires."""
    model.hidden[-1].bias.data.fill_(-1e6)


def sure_of_one_class(model):
    model.classifier.bias.data[0] += 1000


@on_all
def test_odd_tables(name, n_classes):
    rng = np.random.default_rng(0)
    for features in (np.ones((14, 3)), np.zeros((14, 3)), rng.normal(size=(14, 3)), rng.normal(size=(14, 1))):
        for change in (lambda model: None, dead, sure_of_one_class):
            pool = table_pool(features, [1, 12])
            model = mlp_for(pool, n_classes)
            change(model)
            assert len(ask(name, model, pool, 4).rows) == 4
            assert sorted(ask(name, model, pool, 12).rows.tolist()) == pool.unlabeled.tolist()


def test_dami_has_no_word_to_tell_of_a_row():
    pool = odd_table()
    query = Dami().query(mlp_for(pool), pool, 5, np.random.default_rng(0))
    assert {reason["word"] for reason in query.reasons} == {None}
    assert sum(reason["cluster_size"] for reason in query.reasons) == len(pool.unlabeled)
