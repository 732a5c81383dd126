"""Strategies where a text has any number of labels, over a learner: uncertainty and CVIRS against loops, and one's own.

The other formulas are tested in `test_label_formulas`, and what all strategies keep to in `test_strategy_battery`.
"""

import numpy as np
import pytest
from datasets import Dataset
from label_cases import NAMES, labeled_texts
from scipy.special import expit
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score

from dami_text.config.registry import LABEL_STRATEGIES, STRATEGIES
from dami_text.config.run import RunConfig
from dami_text.data.pool import Pool
from dami_text.errors import ConfigError
from dami_text.learning.preparation import learner_over
from dami_text.models.inference import predict_logits, predict_probabilities
from dami_text.strategies import Cvirs, Lci, Query
from dami_text.strategies.cvirs import distances, margin_ranks


def learner(n_labels=4, n=120, **options):
    """A learner over n texts, of which 60 are labelled."""
    texts, labels = labeled_texts(n)
    names = NAMES[:n_labels] if n_labels <= 4 else [f"label {i}" for i in range(n_labels)]
    labels = np.resize(labels.T, (n_labels, n)).T
    config = RunConfig.of(**{"task": "multilabel", "model": "linear"} | options)
    dataset = Dataset.from_dict({"text": texts})
    source = config.model.kind.source(config, dataset, names)
    made = learner_over(dataset, names, config, source)
    made.tell(np.arange(60), labels[:60])
    return made


def binary(p, kind):
    """A score of two classes with probabilities p and 1 - p, from 0 (sure)."""
    high, low = max(p, 1 - p), min(p, 1 - p)
    if kind == "least-confidence":
        return 1 - high
    if kind == "margin":
        return low - high
    return -sum(q * np.log(q) for q in (high, low) if q > 0)


@pytest.mark.parametrize("kind", ["least-confidence", "margin", "entropy"])
@pytest.mark.parametrize("aggregation", ["mean", "max"])
@pytest.mark.parametrize("n_labels", [1, 3, 20])
def test_uncertainty_against_a_loop(kind, aggregation, n_labels):
    made = learner(n_labels, strategy=kind, label_aggregation=aggregation)
    query = made.ask(60)
    logits = predict_logits(made.model, made.pool.texts, query.rows).astype(np.float64)
    expected = [getattr(np, aggregation)([binary(p, kind) for p in row]) for row in expit(logits)]
    assert [reason["score"] for reason in query.reasons] == pytest.approx(expected, abs=1e-6)
    assert expected == pytest.approx(sorted(expected, reverse=True), abs=1e-5)


NEEDS_A_NETWORK = ("bald", "badge", "egl", "egl-word", "dami", "dami-kcenter", "dami-margin", "dropquery")


@pytest.mark.parametrize("name", [*STRATEGIES, *LABEL_STRATEGIES])
@pytest.mark.parametrize("n_labels", [1, 3, 20])
def test_strategies_give_rows(name, n_labels):
    network = {"model": "cnn", "word_vectors": "random", "steps": 5} if name in NEEDS_A_NETWORK else {}
    made = learner(n_labels, strategy=name, **network)
    assert len(set(made.ask(7).rows.tolist()) & set(range(60, 120))) == 7
    again = learner(n_labels, strategy=name, **network)
    assert again.ask(7).rows.tolist() == made.ask(7).rows.tolist()


class Own:
    """A strategy of one's own that does not say whether it works."""

    def query(self, model, pool, n, rng):
        return Query.of(pool.unlabeled[:n])


class OwnForLabels(Own):
    """One that says it does."""

    multilabel = True


def test_a_strategy_of_ones_own_has_to_say_that_it_works():
    with pytest.raises(
        ConfigError, match="Own is for one class a text, and --task is multilabel; give it a member multi"
    ):
        learner(strategy=f"{__name__}:Own")
    assert learner(strategy=f"{__name__}:OwnForLabels").ask(2).rows.tolist() == [60, 61]


# CVIRS ------------------------------------------------------------------------------------------------------------


def joint_entropy(a, b):
    _, counts = np.unique(np.stack([a, b]), axis=1, return_counts=True)
    return entropy(counts)


def one_distance(a, b):
    """One less the mutual information by the joint entropy, which is the same as the paper's."""
    if (a != b).all():
        return 1.0
    joint = joint_entropy(a, b)
    return 1 - mutual_info_score(a, b) / joint if joint > 0 else 0.0


@pytest.mark.parametrize("n_labels", [1, 3, 20])
def test_cvirs_against_a_loop(n_labels):
    made = learner(n_labels, strategy="cvirs")
    query = made.ask(60)
    p = predict_probabilities(made.model, made.pool.texts, made.pool.unlabeled).astype(np.float64)
    margins = np.abs(p - (1 - p))
    expected = {}
    for i, row in enumerate(made.pool.unlabeled.tolist()):
        below = [(margins[:, c] < margins[i, c] - 1e-6).sum() for c in range(n_labels)]
        equal = [(np.abs(margins[:, c] - margins[i, c]) <= 1e-6).sum() for c in range(n_labels)]
        ranks = [b + (e + 1) / 2 for b, e in zip(below, equal, strict=True)]
        s = sum(60 - rank for rank in ranks) / (n_labels * 59)
        expected[row] = s * np.mean([one_distance((p[i] > 0.5).astype(int), told) for told in made.labels])
    scores = [reason["score"] for reason in query.reasons]
    assert scores == pytest.approx([expected[row] for row in query.rows.tolist()], abs=0.01)
    assert scores == sorted(scores, reverse=True)


def test_distances_by_hand():
    """Of four labels, with natural logarithms: H(1, 0) by 2 : 2 is log 2, and four different pairs have log 4."""
    a, b = np.array([[1, 1, 0, 0]]), np.array([[1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 0]])
    joint = entropy([2, 1, 1])
    last = (2 * joint - np.log(2) - entropy([3, 1])) / joint
    assert distances(a, b)[0] == pytest.approx([1, 0, 1, 1, last])
    assert distances(np.zeros((1, 3), int), np.array([[0, 0, 0], [1, 1, 1]])).tolist() == [[0, 1]]


def test_the_surest_text_has_the_lowest_rank():
    assert margin_ranks(np.array([[5, -5], [0, 0], [1, 2]], np.float32)).tolist() == [0, 1, 0.5]
    assert margin_ranks(np.array([[-1e4, 1], [-1.1e4, 1]], np.float32)).tolist() == [0.5, 0.5]


def test_what_compares_with_labels_is_for_any_number_of_them():
    assert tuple(LABEL_STRATEGIES) == ("cvirs", "lci")
    for name, strategy in {"cvirs": Cvirs(), "lci": Lci()}.items():
        with pytest.raises(ConfigError, match=f"{name} is for texts with any number of labels; add task multilabel"):
            RunConfig.of(strategy=name)
        made = learner(strategy=name)
        made.train()
        with pytest.raises(
            ValueError, match=f"{name} compares texts with labels that were told, and the pool has none"
        ):
            strategy.query(made.model, Pool(made.pool.texts, made.pool.labeled), 1, np.random.default_rng(0))
