"""Every strategy with classes that no label has: it asks for what it would ask for if these classes did not exist."""

from typing import Any

import numpy as np
import pytest
from conftest import make_texts
from datasets import Dataset
from strategy_cases import odd_pool, pool_of
from table_cases import mlp_for, odd_table
from test_strategy_battery import OPTIONS, ask, assert_same, model_of

from dami_text.config.data_options import TokenizationConfig
from dami_text.config.options import TrainingConfig
from dami_text.data.pool import Pool
from dami_text.data.texts import LabeledTexts
from dami_text.data.tfidf import TfidfEncoder, TfidfTexts
from dami_text.models.linear import LinearConfig, LinearForSequenceClassification
from dami_text.models.unseen import never_predicted
from dami_text.strategies import highest

KINDS = ("cnn", "bilstm", "bert", "mlp")
C = 5
SEEN = {"two": np.array([1, 3]), "three": np.array([0, 2, 4])}
ON_FEATURES = (
    *("random", "least-confidence", "margin", "entropy", "badge", "coreset", "kmeans-features", "own"),
    *("cluster-margin", "typiclust", "probcover", "cal", "positives"),
)
EVERYWHERE = [(name, kind) for name in OPTIONS for kind in KINDS if kind != "mlp" or name not in ("egl-word", "own")]
on_all = pytest.mark.parametrize(("name", "kind"), EVERYWHERE)


def pool_and_model(kind: str, n_classes: int = C) -> tuple[Pool, Any]:
    """Odd texts or rows, and a model for them in double precision, so that rounding decides nothing."""
    if kind == "mlp":
        pool = odd_table()
        return pool, mlp_for(pool, n_classes).double()
    pool = odd_pool(repetitive=False, kind=kind)
    return pool, model_of(kind, pool, n_classes).double()


def for_classes(kind: str, seen: np.ndarray) -> tuple[Pool, Any, Any]:
    """A pool, a model that can predict `seen` of C classes, and one of these classes only, with the same weights."""
    (pool, model), (_, smaller) = pool_and_model(kind), pool_and_model(kind, len(seen))
    weights = model.state_dict()
    weights |= {name: weights[name][seen] for name in ("classifier.weight", "classifier.bias")}
    smaller.load_state_dict(weights)
    with never_predicted(model, np.setdiff1d(np.arange(C), seen)):
        return pool, model, smaller


@on_all
@pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN)
def test_the_query_is_that_of_a_model_without_the_classes_that_no_label_has(name, kind, seen):
    pool, model, smaller = for_classes(kind, seen)
    assert_same(ask(name, model, pool, 9), ask(name, smaller, pool, 9))


@on_all
def test_a_model_of_one_class_can_be_asked_for_some_and_for_all(name, kind):
    pool, model, _ = for_classes(kind, np.array([3]))
    assert len(set(ask(name, model, pool, 9).rows.tolist())) == 9
    assert sorted(ask(name, model, pool, len(pool.unlabeled)).rows.tolist()) == pool.unlabeled.tolist()


@pytest.mark.parametrize("name", ON_FEATURES)
@pytest.mark.parametrize("seen", [np.array([3]), *SEEN.values()], ids=["one", *SEEN])
def test_the_linear_model_can_be_asked(name, seen):
    texts = Dataset.from_dict({"text": make_texts(60, shortest=3)})
    tfidf = TfidfTexts(texts, TfidfEncoder.fit(texts, TokenizationConfig()))
    rows, places = np.arange(20), np.arange(20) % len(seen)
    queries = []
    for n_classes, labels in ((C, seen[places]), (max(2, len(seen)), places)):
        model = LinearForSequenceClassification(LinearConfig(len(tfidf.encoder), num_labels=n_classes))
        model.fit(LabeledTexts(tfidf, rows, labels), TrainingConfig())
        queries.append(ask(name, model, Pool(tfidf, rows), 9))
    assert_same(*queries)


def test_where_all_scores_are_equal_the_first_rows_of_a_sorted_file_are_not_asked_for():
    texts = [*(f"w1 w2 w{i}" for i in range(20)), *(f"w3 w4 w{i}" for i in range(20))]
    pool, again = pool_of(texts), pool_of(texts[::-1])
    rows = highest(np.zeros(40), pool, 10).rows
    assert 2 <= (rows < 20).sum() <= 8  # of a random choice 98%
    assert sorted(39 - highest(np.zeros(40), again, 10).rows) == sorted(rows)  # whatever the order of the rows
    ranks = np.arange(40.0)
    assert highest(np.zeros(40), pool, 3, ranks).rows.tolist() == [39, 38, 37]
