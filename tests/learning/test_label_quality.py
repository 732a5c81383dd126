"""Doubtful labels: the probabilities of fits that did not see them, and whether planted wrong labels come first."""

import json

import numpy as np
import pytest
from datasets import Dataset

from dami_text.config.data_options import TokenizationConfig
from dami_text.learning.label_quality import label_quality, probabilities_by_words
from dami_text.models.logistic import Ways, fit_logistic

WRONG, FIRST = 50, 100  # of 1,000 labels, 5% are wrong; so many are looked at


def test_the_quality_of_a_label_is_its_probability():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [np.nan, np.nan]])
    np.testing.assert_array_equal(label_quality(probabilities, np.array([0, 0, 1])), [0.9, 0.2, np.nan])


def test_each_text_is_judged_by_a_fit_without_it():
    """Against scikit-learn on the other parts: of each class, every fifth text is in the same part."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=60)
    features = rng.normal(size=(60, 4)) + np.eye(3, 4)[labels]
    mean = np.zeros(4)
    fit = fit_logistic(features, labels, 5, mean, Ways(2.0, 2.0), balanced=True)
    found = fit.cross_validated
    scaled = features / np.sqrt((features**2).sum(axis=1).mean())
    part = np.empty(60, int)
    part[np.argsort(labels, kind="stable")] = np.arange(60) % 5
    for i in range(60):
        rest = part != part[i]
        model = LogisticRegression(C=2.0, fit_intercept=False, class_weight="balanced", tol=1e-8, max_iter=1000)
        logits = model.fit(scaled[rest], labels[rest]).decision_function(scaled[i : i + 1])[0]
        expected = np.exp(fit.sharpness * logits) / np.exp(fit.sharpness * logits).sum()
        np.testing.assert_allclose(found[i], [*expected, 0, 0], atol=2e-3)  # classes 3 and 4 have no label


def test_nothing_is_said_of_a_text_that_alone_has_its_class():
    rng = np.random.default_rng(1)
    labels = np.array([0] * 10 + [1] * 10 + [2])
    found = fit_logistic(rng.normal(size=(21, 3)), labels, 3, np.zeros(3), Ways(1.0, 1.0)).cross_validated
    assert np.isnan(found[20]).all()
    assert not np.isnan(found[:20]).any()
    one_class = fit_logistic(rng.normal(size=(5, 3)), np.zeros(5, int), 2, np.zeros(3), Ways(1.0, 1.0))
    assert np.isnan(one_class.cross_validated).all()


def planted(labels, seed, n_classes=2):
    """Labels of which WRONG are another class, and which."""
    rng = np.random.default_rng(seed)
    wrong = rng.choice(len(labels), WRONG, replace=False)
    changed = labels.copy()
    changed[wrong] = (changed[wrong] + rng.integers(1, n_classes, size=WRONG)) % n_classes
    return changed, wrong


def share_found(quality, wrong):
    first = np.argsort(np.where(np.isnan(quality), np.inf, quality), kind="stable")[:FIRST]
    return np.isin(wrong, first).mean()


@pytest.mark.parametrize("n_classes", [2, 6])
def test_planted_wrong_labels_come_first(n_classes):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        truth = rng.integers(n_classes, size=1000)
        features = rng.normal(size=(1000, 20)) + 3 * np.eye(n_classes, 20)[truth]
        labels, wrong = planted(truth, seed, n_classes)
        fit = fit_logistic(features, labels, n_classes, features.mean(axis=0), Ways(5.0, 5.0))
        assert share_found(label_quality(fit.cross_validated, labels), wrong) >= 0.8


def subjective(real_data, seed):
    """1,000 sentences of subj and their labels."""
    file = real_data / "SetFit" / "subj" / "train.jsonl"
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    chosen = np.random.default_rng(seed).permutation(len(lines))[:1000]
    return [lines[i]["text"] for i in chosen], np.array([lines[i]["label"] for i in chosen], np.int64)


@pytest.mark.parametrize("seed", range(3))
def test_half_of_the_wrong_labels_of_real_sentences_are_in_the_first_hundred_by_words(real_data, seed):
    texts, truth = subjective(real_data, seed)
    labels, wrong = planted(truth, seed)
    probabilities = probabilities_by_words(Dataset.from_dict({"text": texts}), labels, 2, TokenizationConfig())
    assert share_found(label_quality(probabilities, labels), wrong) >= 0.5


@pytest.mark.slow
def test_half_of_the_wrong_labels_of_real_sentences_are_in_the_first_hundred_by_an_encoder(real_data, minilm):
    from dami_text.config.run import RunConfig
    from dami_text.learning.factory import make_learner

    for seed in range(3):
        texts, truth = subjective(real_data, seed)
        labels, wrong = planted(truth, seed)
        config = RunConfig.of(model=str(minilm), freeze_encoder=True, strategy="margin")
        learner = make_learner(texts, ["objective", "subjective"], config).core
        learner.tell(np.arange(1000), labels)
        assert share_found(label_quality(learner.train().cross_validated, labels), wrong) >= 0.5
