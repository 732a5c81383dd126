"""DropQuery and the likeliest of a class, by hand and against loops."""

import numpy as np
import pytest
from strategy_cases import CLASSES, KINDS, model_for, odd_pool, probabilities_of, reasons_by_row

from dami_text.errors import ConfigError
from dami_text.randomness import hashed_noise
from dami_text.strategies import DropQuery, Positives
from dami_text.strategies.dropquery import changed_predictions


def test_the_changes_are_those_of_a_head_that_reads_what_dropout_leaves():
    rng = np.random.default_rng(0)
    features, weight = rng.normal(size=(50, 8)).astype(np.float32), rng.normal(size=(3, 8)).astype(np.float32)
    bias, keys = rng.normal(size=3).astype(np.float32), rng.integers(2**60, size=50).astype(np.uint64)
    logits = features @ weight.T + bias
    found = changed_predictions(logits, features, weight, keys, 7)
    for i in range(50):
        noise = hashed_noise(7, keys[i : i + 1], 24).reshape(3, 8)
        samples = [weight @ (4 * features[i] * (noise[s] >= 49_152)) + bias for s in range(3)]  # a quarter is left
        assert found[i] == sum(int(sample.argmax() != logits[i].argmax()) for sample in samples)
    assert set(found) == {0, 1, 2, 3}


def test_a_quarter_of_the_features_is_left():
    noise = hashed_noise(1, np.arange(2000, dtype=np.uint64), 24)
    assert (noise >= 49_152).mean() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_candidates_are_the_texts_of_most_changes(kind):
    pool = odd_pool()
    model = model_for(kind, pool, 3)
    everything = DropQuery().query(model, pool, len(pool.unlabeled), np.random.default_rng(2))
    changes = reasons_by_row(everything, "changed_predictions")
    few = DropQuery().query(model, pool, 3, np.random.default_rng(2))
    often = [row for row, count in changes.items() if count > 1.5]
    least = sorted(changes.values(), reverse=True)[2]
    for row, reason in zip(few.rows.tolist(), few.reasons, strict=True):
        assert reason["changed_predictions"] == changes[row]
        assert row in often if len(often) >= 3 else changes[row] >= least


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_likeliest_of_a_class(kind, n_classes):
    pool = odd_pool()
    model = model_for(kind, pool, n_classes)
    probabilities = probabilities_of(model, pool)
    for c, name in enumerate(model.config.id2label.values()):
        query = Positives(name).query(model, pool, 5, np.random.default_rng(0))
        expected = np.sort(probabilities[:, c])[::-1][:5]
        assert [reason["score"] for reason in query.reasons] == pytest.approx(expected.tolist(), rel=1e-5)
        assert query.details == {"positive_class": name}
    rarest = list(model.config.id2label.values())[int(probabilities.mean(axis=0).argmin())]
    assert Positives().query(model, pool, 5, np.random.default_rng(0)).details == {"positive_class": rarest}


def test_a_class_that_is_none():
    pool = odd_pool()
    with pytest.raises(ConfigError, match="--positive-class 'spam' is no class; name one of"):
        Positives("spam").query(model_for("cnn", pool, 2), pool, 5, np.random.default_rng(0))
