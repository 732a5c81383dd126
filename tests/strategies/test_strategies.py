"""What a query is, random sampling, and DAMI on a model whose regions are known by hand.

The rules that all strategies keep are tested in test_strategy_battery.py.
"""

import numpy as np
import pytest
import torch
from conftest import encode_texts, small_model

from dami_text.config.kinds import CAPABILITIES, kind_of
from dami_text.config.options import StrategyConfig
from dami_text.config.registry import STRATEGIES
from dami_text.data.pool import Pool
from dami_text.data.texts import EncodedTexts
from dami_text.errors import ConfigError
from dami_text.models.scores import first_highest, highest_first
from dami_text.strategies import Query, RandomSampling, build_strategy, check_query, require_given
from dami_text.strategies.coreset import k_center_greedy


def test_a_query_without_reasons_has_empty_ones():
    query = Query.of(np.array([3, 1], np.int32), clusters=2)
    assert query.rows.tolist() == [3, 1]
    assert query.rows.dtype == np.int64
    assert query.reasons == [{}, {}]
    assert query.details == {"clusters": 2}
    check_query(query, Pool(encode_texts(["a"] * 4), [0, 2]), 2)


def test_random_sampling_chooses_every_row_as_often_as_any_other():
    pool = Pool(encode_texts(["a"] * 12), [0, 11])
    rng = np.random.default_rng(0)
    first = np.zeros((12, 4), int)  # how often a row was chosen, by its rank
    for _ in range(3000):
        query = RandomSampling().query(None, pool, 4, rng)
        check_query(query, pool, 4)
        first[query.rows, range(4)] += 1
    assert not first[[0, 11]].any()
    expected = 3000 / 10
    chi_squared = ((first[1:11] - expected) ** 2 / expected).sum(axis=0)
    assert (chi_squared < 27.9).all(), "9 degrees of freedom, p = 0.001"


@pytest.mark.parametrize(
    ("strategy", "model", "missing"),
    [
        ("egl-word", "mlp", "the words of texts"),
        ("bald", "mlp", "dropout to sample"),
        ("dami", "mlp", None),
        ("egl", "mlp", None),
        ("egl-word", "cnn", None),
        ("random", "mlp", None),
    ],
)
def test_a_strategy_is_refused_where_the_model_cannot_give_what_it_needs(strategy, model, missing):
    made = build_strategy(StrategyConfig(strategy=strategy))
    if missing is None:
        require_given(made, kind_of(model).gives, strategy)
        return
    message = f"^strategy {strategy} needs {missing}, which this model does not give; choose "
    with pytest.raises(ConfigError, match=message) as error:
        require_given(made, kind_of(model).gives, strategy)
    named = str(error.value).rpartition("that works with it: ")[2].split(", ")
    assert strategy not in named
    for name in named:
        require_given(build_strategy(StrategyConfig(strategy=name)), kind_of(model).gives, name)


def test_every_name_is_a_strategy_that_says_what_it_needs():
    for name in STRATEGIES:
        made = build_strategy(StrategyConfig(strategy=name))
        assert set(getattr(made, "needs", ())) <= CAPABILITIES.keys()


#: The words that decide, each in one direction of the embedding, with the slope of the log-odds along it.
SLOPES = {"north": 9.0, "east": -8.0, "south": 7.0, "west": -6.0}


def regions(sizes: list[int]) -> tuple[EncodedTexts, torch.nn.Module, np.ndarray]:
    """Texts each with one of the words that decide, a model whose gradient there is its slope, and which word it is."""
    rng = np.random.default_rng(0)
    names = np.repeat(list(SLOPES), sizes)
    texts = []
    for name in names:
        words = [f"filler{i}" for i in rng.integers(0, 10, rng.integers(0, 8))]
        words.insert(rng.integers(len(words) + 1), name.capitalize())
        texts.append(" ".join(words))
    encoded = encode_texts(texts)
    model = small_model("cnn", len(encoded.tokenizer), embedding_dim=4, filter_sizes=[1], n_filters=4)
    with torch.no_grad():
        model.embedding.weight.fill_(-1)  # no filter answers to filler
        model.embedding.weight[encoded.tokenizer.convert_tokens_to_ids(list(SLOPES))] = torch.eye(4)
        model.convolutions[0].weight.copy_(torch.eye(4).view(4, 4, 1, 1))
        model.convolutions[0].bias.zero_()
        model.classifier.weight[0] = 0
        model.classifier.weight[1] = torch.tensor(list(SLOPES.values()))
    return encoded, model, names


@pytest.mark.parametrize("sizes", [[30, 20, 10, 5], [3, 40, 7, 2], [1, 1, 1, 1]])
def test_dami_takes_one_text_of_each_region(sizes):
    encoded, model, names = regions(sizes)
    firsts = np.concatenate([[True], names[1:] != names[:-1]])
    pool = Pool(encoded, np.flatnonzero(~firsts & (np.arange(len(names)) % 3 == 0)))
    strategy = build_strategy(StrategyConfig(strategy="dami", interpretation_target="logit", inference_batch_size=9))
    unlabeled, lengths = names[pool.unlabeled], encoded.lengths[pool.unlabeled]
    # A filler word's gradient is zero, a deciding word's the slope in its direction.
    mean = [slope * (1 / lengths[unlabeled == name]).sum() / len(unlabeled) for name, slope in SLOPES.items()]
    for seed in range(3):
        query = strategy.query(model, pool, 4, np.random.default_rng(seed))
        check_query(query, pool, 4)
        chosen = names[query.rows].tolist()
        assert sorted(chosen) == sorted(SLOPES)
        assert [reason["word"] for reason in query.reasons] == [name.capitalize() for name in chosen]
        counts = [reason["cluster_size"] for reason in query.reasons]
        assert counts == [(unlabeled == name).sum() for name in chosen] == sorted(counts, reverse=True)
        for name, reason in zip(chosen, query.reasons, strict=True):
            gradient = SLOPES[name] * np.eye(4)[list(SLOPES).index(name)]
            assert reason["deviation"] == pytest.approx(((gradient - mean) ** 2).sum(), rel=1e-5)


def test_dami_counts_only_the_unlabelled_texts():
    """With all texts of three regions labelled, the fourth is all there is."""
    encoded, model, names = regions([6, 5, 4, 8])
    pool = Pool(encoded, np.flatnonzero(names != "west"))
    query = build_strategy(StrategyConfig(strategy="dami")).query(model, pool, 3, np.random.default_rng(0))
    check_query(query, pool, 3)
    assert set(names[query.rows]) == {"west"}
    assert sum(reason["cluster_size"] for reason in query.reasons) == 8


# Ties ---------------------------------------------------------------------------------------------------------------


def noisy(values, seed):
    """The values with another last digit each, as another processor would have it."""
    values = np.asarray(values, np.float32)
    return (values * (1 + np.random.default_rng(seed).uniform(-1.5e-7, 1.5e-7, values.shape))).astype(np.float32)


@pytest.mark.parametrize("seed", range(10))
def test_scores_that_differ_by_rounding_alone_are_taken_in_the_order_of_the_rows(seed):
    scores = [0.3, 0.7, 0.3, 0.7, 0.1, 0.7, 0.0, 0.3]
    assert highest_first(noisy(scores, seed)).tolist() == [1, 3, 5, 0, 2, 7, 4, 6]
    assert highest_first(-noisy(scores, seed)).tolist() == [6, 4, 0, 2, 7, 1, 3, 5]
    assert first_highest(noisy(scores, seed)) == 1
    assert first_highest(-noisy([0.5, 0.3, 0.3], seed)) == 1


def test_scores_that_differ_are_told_apart_and_odd_ones_allowed():
    rng = np.random.default_rng(0)
    scores = rng.random(500)
    assert highest_first(scores).tolist() == np.argsort(-scores).tolist()
    assert highest_first(np.zeros(4)).tolist() == [0, 1, 2, 3]
    assert highest_first(np.array([])).tolist() == []
    assert first_highest(np.array([-np.inf, -2.0, -2.0])) == 1


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_chosen_in_the_order_of_their_rows(seed):
    rng = np.random.default_rng(3)
    vectors = np.repeat(rng.normal(size=(6, 4)), 3, axis=0).astype(np.float32)
    expected, _ = k_center_greedy(vectors, vectors[:0], 6)
    found, _ = k_center_greedy(noisy(vectors, seed), vectors[:0], 6)
    assert found.tolist() == expected.tolist()
    assert all(row % 3 == 0 for row in found)
