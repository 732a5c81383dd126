"""The threshold of a rare class against a search over all thresholds, and what it does to models."""

import numpy as np
import pytest
from datasets import Dataset
from sklearn.metrics import f1_score

from dami_text import make_learner
from dami_text.config.run import RunConfig
from dami_text.errors import ConfigError
from dami_text.models.logistic import LogisticFit
from dami_text.models.threshold import best_threshold, with_threshold


def fit_of(probabilities):
    """A fit whose cross-validated probabilities of the second class are these (n,)."""
    both = np.stack([1 - probabilities, probabilities], axis=1)
    return LogisticFit(np.zeros((2, 3)), np.array([0.4, -0.4]), 1.0, 0.5, 0, np.zeros(0), both)


@pytest.mark.parametrize("seed", range(20))
def test_no_threshold_has_a_higher_f1(seed):
    rng = np.random.default_rng(seed)
    positive = rng.random(40) < 0.2
    positive[0] = True
    probabilities = (rng.beta(1, 5, 40) + 0.2 * positive).round(1 if seed % 2 else 6)  # some are equal where rounded
    found = best_threshold(probabilities, positive)
    every = [f1_score(positive, probabilities >= t, zero_division=0) for t in np.unique(probabilities)]
    assert f1_score(positive, probabilities > found) == pytest.approx(max(every))


def test_the_threshold_lies_midway():
    # .9 yes, .5 no, .3 yes, .1 no: F1 of the first 1, 2, 3, 4 is 2/3, 1/2, 4/5, 2/3.
    found = best_threshold(np.array([0.5, 0.9, 0.1, 0.3]), np.array([False, True, False, True]))
    assert found == pytest.approx(0.2)
    assert best_threshold(np.array([0.5, 0.3]), np.array([True, True])) == pytest.approx(0.15), "all are positive"


@pytest.mark.parametrize("rare", [0, 1])
def test_what_had_the_thresholds_probability_has_one_half(rare):
    probabilities = np.concatenate([np.full(5, 0.3), np.full(20, 0.1)])
    labels = np.array([1] * 5 + [0] * 20)
    if rare == 0:
        probabilities, labels = 1 - probabilities, 1 - labels
    fit = fit_of(probabilities)
    moved = with_threshold(fit, labels)
    # Log-odds of .2, midway between .3 and .1, are moved to 0; the ranking stays.
    odds = np.log(0.2 / 0.8)
    assert moved.bias[rare] - moved.bias[1 - rare] == pytest.approx(fit.bias[rare] - fit.bias[1 - rare] - odds)
    assert moved.bias.sum() == pytest.approx(fit.bias.sum())
    assert moved.cross_validated is fit.cross_validated


def test_too_few_texts_of_a_class_choose_no_threshold():
    labels = np.array([1] * 4 + [0] * 20)
    fit = fit_of(np.linspace(0.3, 0.1, 24))
    assert with_threshold(fit, labels) is fit
    assert with_threshold(fit, np.zeros(24, np.int64)) is fit


def rare_texts():
    """160 texts, 8 of which are of the class "rare", with a word that some others have too."""
    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(30)]
    labels = ["rare" if i % 20 == 0 else "usual" for i in range(160)]
    texts = [
        " ".join([*rng.choice(words, 8), *(["signal"] if label == "rare" or rng.random() < 0.05 else [])])
        for label in labels
    ]
    return texts, labels


def test_a_model_predicts_by_it_wherever_it_is_read(tmp_path):
    texts, labels = rare_texts()
    found = {}
    for threshold in ("none", "f1"):
        learner = make_learner(texts, ["usual", "rare"], model="linear", threshold=threshold)
        learner.tell(range(120), labels[:120])
        learner.train()
        learner.save(tmp_path / threshold)
        found[threshold] = learner.predict_proba(texts[120:])
        predicted = learner.predict(texts[120:]).tolist()
        assert predicted == [["usual", "rare"][c] for c in found[threshold].argmax(axis=1)]
    assert np.argsort(found["none"][:, 1]).tolist() == np.argsort(found["f1"][:, 1]).tolist(), "the ranking stays"
    expected = np.array(labels[120:]) == "rare"
    scores = {name: f1_score(expected, p[:, 1] > 0.5, zero_division=0) for name, p in found.items()}
    assert scores["f1"] > scores["none"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "cnn"}, "threshold f1 is for linear and for frozen encoders, and model is cnn; leave it out"),
        ({"model": "an/encoder"}, "threshold f1 is for linear and for frozen encoders"),
    ],
)
def test_models_without_a_threshold_refuse_it(options, message):
    with pytest.raises(ConfigError, match=message):
        RunConfig.of(threshold="f1", **options)
    assert RunConfig.of(threshold="f1", model="an/encoder", freeze_encoder=True).training.threshold == "f1"
    assert RunConfig.of(threshold="f1", model="auto").training.threshold == "f1"


def test_more_than_two_classes_have_none():
    texts = Dataset.from_dict({"text": ["good film", "bad film", "so so"]})
    with pytest.raises(ConfigError, match="threshold is for two classes, and there are 3; leave it out"):
        make_learner(texts, ["a", "b", "c"], model="linear", threshold="f1")
