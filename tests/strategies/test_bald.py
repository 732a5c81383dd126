"""BALD against double loops over samples and classes, and its noise against the uniform distribution."""

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from encoder_cases import save_encoder, tiny_model, tiny_tokenizer
from model_zoo import tiny
from scipy import stats
from strategy_cases import CLASSES, KINDS, features_of, model_for, odd_pool, pool_of, reasons_by_row

from dami_text.config.run import RunConfig
from dami_text.errors import ConfigError
from dami_text.learning.factory import make_learner
from dami_text.randomness import hashed_noise
from dami_text.strategies import Bald
from dami_text.strategies.bald import mutual_information


def slow_information(samples: list[list[float]]) -> float:
    """H of the mean over samples less the mean over samples of H."""

    def entropy(p: list[float]) -> float:
        return -sum(x * math.log(x) for x in p if x > 0)

    mean = [sum(sample[c] for sample in samples) / len(samples) for c in range(len(samples[0]))]
    return entropy(mean) - sum(entropy(sample) for sample in samples) / len(samples)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([[1, 0], [0, 1]], math.log(2)),
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], math.log(3)),
        ([[0.5, 0.5], [0.5, 0.5]], 0),
        ([[1, 0], [1, 0], [1, 0]], 0),
        ([[0.75, 0.25], [0.25, 0.75]], 0.75 * math.log(3) - math.log(2)),
        ([[1, 0], [0.5, 0.5]], 2 * math.log(2) - 0.75 * math.log(3) - 0.5 * math.log(2)),
    ],
)
def test_mutual_information_by_hand(samples, expected):
    batch = torch.tensor([samples, samples[::-1]], dtype=torch.float64)
    assert mutual_information(batch).tolist() == pytest.approx([expected] * 2, abs=1e-12)
    assert slow_information(samples) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.5, 0.2])
def test_against_a_loop(kind, n_classes, rate):
    pool = odd_pool()
    model = model_for(kind, pool, n_classes, dropout=rate)
    n, samples = len(pool.unlabeled), 7
    query = Bald(samples).query(model, pool, n, np.random.default_rng(3))

    features = features_of(model, pool, pool.unlabeled)
    weight, bias = model.classifier.weight.detach().numpy(), model.classifier.bias.detach().numpy()
    seed = int(np.random.default_rng(3).integers(2**63))
    expected = []
    for row, h in zip(pool.unlabeled, features, strict=True):
        noise = hashed_noise(seed, pool.texts.keys(np.array([row])), samples * len(h))[0]
        probabilities = []
        for s in range(samples):
            kept = [noise[s * len(h) + j] / 65_536 >= rate for j in range(len(h))]
            logits = [
                bias[c] + sum(weight[c, j] * h[j] / (1 - rate) for j in range(len(h)) if kept[j])
                for c in range(n_classes)
            ]
            total = sum(math.exp(z) for z in logits)
            probabilities.append([math.exp(z) / total for z in logits])
        expected.append(slow_information(probabilities))
    scores = reasons_by_row(query)
    assert [scores[row] for row in pool.unlabeled] == pytest.approx(expected, abs=1e-5)
    assert query.rows.tolist() == pool.unlabeled[np.argsort(-np.array(expected), kind="stable")].tolist()
    assert max(expected) > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_it_samples_the_models_own_dropout(kind):
    """The mutual information under torch's dropout, with the model in training mode, is the same in expectation."""
    pool = odd_pool(14)
    model = model_for(kind, pool, 3, dropout=0.5)
    scores = reasons_by_row(Bald(4000).query(model, pool, len(pool.unlabeled), np.random.default_rng(0)))
    trained = deepcopy(model).train()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for row in pool.unlabeled:
            batch = pool.texts.collate(np.full(4000, row))
            logits = trained(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
            expected = mutual_information(torch.softmax(logits, dim=-1)[None])
            assert scores[row] == pytest.approx(float(expected), abs=0.015)


@pytest.mark.parametrize("n_classes", CLASSES)
def test_without_dropout_nothing_disagrees(n_classes):
    pool = odd_pool()
    model = model_for("cnn", pool, n_classes)
    for scale in (1, 1e4):  # the second one saturates every probability
        model.classifier.weight.data.mul_(scale)
        model.dropout.p = 1e-9
        query = Bald().query(model, pool, len(pool.unlabeled), np.random.default_rng(0))
        assert list(reasons_by_row(query).values()) == pytest.approx([0] * len(pool.unlabeled), abs=1e-12)


def test_a_texts_noise_does_not_depend_on_the_other_texts():
    pool = odd_pool()
    model = model_for("cnn", pool, 3)

    def scores(some_pool, seed):
        n = len(some_pool.unlabeled)
        return reasons_by_row(Bald().query(model, some_pool, n, np.random.default_rng(seed)))

    everyone, fewer = scores(pool, 0), scores(pool.with_labeled(pool.unlabeled[::2]), 0)
    assert 0 < len(fewer) < len(everyone)
    assert fewer == pytest.approx({row: everyone[row] for row in fewer}, abs=1e-7)
    other = scores(pool, 1)
    assert sum(abs(other[row] - everyone[row]) > 1e-3 for row in everyone) > len(everyone) / 2


def test_equal_texts_have_noise_of_their_own():
    pool = pool_of(["w1 w2 w3"] * 5)
    query = Bald(3).query(model_for("cnn", pool), pool, 5, np.random.default_rng(0))
    assert len({round(score, 9) for score in reasons_by_row(query).values()}) > 1


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_an_encoders_samples_are_of_its_own_dropout_in_its_own_places(kind):
    """In expectation they are those of the model in training mode, run by transformers on one text after another."""
    rates = {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.3}
    pool = pool_of(["w1 w2 w3 w4", "w7 w8 w9 w1 w2", "w20 w21 w22 w23"], kind="bert")
    model, n = tiny_model(kind, 3, **rates), 6_000
    scores = reasons_by_row(Bald(n).query(model, pool, 3, np.random.default_rng(0)))
    assert not model.training
    trained = deepcopy(model).train()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for row, score in scores.items():
            logits = trained(**pool.texts.collate(np.full(n, row)).inputs).logits
            expected = float(mutual_information(torch.softmax(logits, dim=-1)[None]))
            assert score == pytest.approx(expected, abs=max(0.004, 0.07 * expected))
            assert expected > 0.01


def by_hand(logits_of, features, rest, rate, samples, seed, keys):
    """The mutual information of each text, with its own masks (S, H) on its features (H,)."""
    found = []
    for h, beside, key in zip(features, rest, keys, strict=True):
        noise = hashed_noise(seed, np.array([key]), samples * len(h))[0].reshape(samples, len(h))
        kept = torch.from_numpy(np.where(noise / 65_536 >= rate, h / (1 - rate), 0).astype(np.float32))
        with torch.no_grad():
            probabilities = torch.softmax(logits_of(kept) + beside, dim=-1)
        found.append(slow_information(probabilities.tolist()))
    return found


@pytest.mark.parametrize("kind", ["bert", "qwen3"])
@pytest.mark.parametrize("rate", [0.5, 0.2])
def test_a_model_without_dropout_has_it_before_its_head(kind, rate, tmp_path):
    """The features are those that transformers' own call gives the last layer."""
    pool = pool_of(["w1 w2 w3", "w4 w5 w6 w7", "w8 w9"], kind="bert")
    options = {"attention_probs_dropout_prob": 0.0, "num_labels": 3}
    model = tiny("bert", **options) if kind == "bert" else tiny("qwen3", vocab_size=len(tiny_tokenizer()), num_labels=3)
    head = model.classifier if kind == "bert" else model.score
    with torch.no_grad():
        head.weight *= 10
        states = [model.base_model(**pool.texts.collate(np.array([row])).inputs) for row in range(3)]
    features = [s.pooler_output[0] if kind == "bert" else s.last_hidden_state[0, -1] for s in states]
    query = Bald(6, head_dropout=rate).query(model, pool, 3, np.random.default_rng(3))
    seed = int(np.random.default_rng(3).integers(2**63))
    expected = by_hand(head, [f.numpy() for f in features], [0.0] * 3, rate, 6, seed, pool.texts.keys(np.arange(3)))
    assert [reasons_by_row(query)[row] for row in range(3)] == pytest.approx(expected, abs=1e-5)
    assert max(expected) > 0.01


def test_a_frozen_encoders_features_are_thinned_out_and_its_tokens_are_not(tmp_path):
    texts = ["w1 w2 w3", "w1 w4 w5", "w2 w4 w6", "w3 w5 w6", "w7 w8", "w7 w9"]
    options = {"model": str(save_encoder(tmp_path / "bert")), "freeze_encoder": True, "strategy": "bald"}
    learner = make_learner(texts, ["a", "b"], RunConfig.of(bald_head_dropout=0.3, bald_samples=8, **options))
    learner.tell([0, 1], [0, 1])
    model, rows = learner.trained_model(), learner.pool.unlabeled
    with torch.no_grad():
        model.lexicon.weight[:-1] = torch.randn(model.lexicon.weight[:-1].shape, generator=torch.Generator())
    features, lexical = learner.pool.texts.frozen_features.features, learner.pool.texts.frozen_features.lexical
    query = learner.strategy.query(model, learner.pool, 4, np.random.default_rng(0))
    seed = int(np.random.default_rng(0).integers(2**63))
    rest = torch.from_numpy(lexical[rows].toarray()) @ model.lexicon.weight[:-1].detach()
    keys = learner.pool.texts.keys(rows)
    expected = by_hand(model.classifier, features[rows], rest, 0.3, 8, seed, keys)
    assert [reasons_by_row(query)[row] for row in rows] == pytest.approx(expected, abs=1e-5)
    assert max(expected) > 1e-3


def test_dropout_before_the_head_is_refused_where_it_has_no_effect(tmp_path):
    options = {"model": str(save_encoder(tmp_path / "bert")), "strategy": "bald", "bald_head_dropout": 0.3}
    with pytest.raises(ConfigError, match="bert has dropout of its own, which bald samples; leave it out"):
        make_learner(["w1 w2", "w3 w4"], ["a", "b"], RunConfig.of(**options))


def test_norms_over_a_batch_keep_their_statistics():
    """Dropout is switched on, and nothing else that training switches on."""
    pool = pool_of(["w1 w2 w3", "w4 w5 w6"], kind="bert")
    model = tiny_model("bert")
    model.classifier = torch.nn.Sequential(torch.nn.BatchNorm1d(8), model.classifier)
    before = deepcopy(model.state_dict())
    Bald(4).query(model, pool, 2, np.random.default_rng(0))
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())


def test_a_small_network_without_dropout_is_refused():
    words = pool_of(["w1 w2 w3"])
    with pytest.raises(ConfigError, match="TextCNNForSequenceClassification has none"):
        Bald().query(model_for("cnn", words, dropout=0.0), words, 1, np.random.default_rng(0))


def test_noise_is_uniform():
    keys = np.random.default_rng(0).integers(2**64, size=400, dtype=np.uint64)
    noise = hashed_noise(5, keys, 501)
    assert noise.shape == (400, 501)
    assert noise.dtype == np.uint16
    counts = np.bincount(noise.ravel() // 256, minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-4
    assert stats.chisquare(np.bincount(noise.ravel() % 256, minlength=256)).pvalue > 1e-4
    assert stats.kstest((noise.ravel() + 0.5) / 65_536, "uniform").pvalue > 1e-4
    for axis in (0, 1):  # every text's noise, and every unit's, has its mean where it should be
        scores = (noise.mean(axis=axis) - 32_767.5) / (65_536 / math.sqrt(12 * noise.shape[axis]))
        assert stats.kstest(scores, "norm").pvalue > 1e-4


@pytest.mark.parametrize(
    "keys", [np.arange(300, dtype=np.uint64), np.uint64(2**64 - 1) - np.arange(300, dtype=np.uint64)]
)
def test_noise_of_neighbouring_keys_and_seeds_has_nothing_in_common(keys):
    """Keys of equal texts differ by one."""
    noise = np.concatenate([hashed_noise(seed, keys, 400) for seed in (0, 1, 2**63 - 1)]).astype(float)
    assert len(np.unique(noise, axis=0)) == len(noise)
    correlations = np.corrcoef(noise)[np.triu_indices(len(noise), 1)]
    assert np.abs(correlations).max() < 6.5 / 400**0.5
    assert correlations.std() == pytest.approx(1 / 400**0.5, rel=0.02)


def test_noise_depends_on_the_seed_and_the_rows_own_key_only():
    keys = np.random.default_rng(1).integers(2**64, size=50, dtype=np.uint64)
    noise = hashed_noise(7, keys, 30)
    order = np.random.default_rng(2).permutation(50)
    np.testing.assert_array_equal(hashed_noise(7, keys[order], 30), noise[order])
    np.testing.assert_array_equal(hashed_noise(7, keys[17:18], 30), noise[17:18])
    np.testing.assert_array_equal(hashed_noise(7, keys, 13), noise[:, :13])
    assert (hashed_noise(8, keys, 30) == noise).mean() < 0.01
