"""Metrics against scikit-learn, hand counts and brute force."""

import socket
from collections import Counter

import evaluate
import numpy as np
import pytest
import sklearn.metrics
from conftest import encode_texts, make_texts, small_model

from dami_text.data.texts import LabeledTexts
from dami_text.errors import ConfigError
from dami_text.models.evaluation import accuracy, compute_metrics, evaluate_model, scorer
from dami_text.models.inference import predict_probabilities
from dami_text.models.metrics import METRICS
from dami_text.models.scores import ClassReport


def random_case(n_classes, n=200, seed=0):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(n_classes), n).round(2).astype(np.float32)  # rounded, so that some tie
    return probabilities, rng.integers(0, n_classes, n)


def f1_by_counting(predictions, labels, c):
    hits = sum(p == c and t == c for p, t in zip(predictions, labels, strict=True))
    total = sum(p == c for p in predictions) + sum(t == c for t in labels)
    return 2 * hits / total if total else 0.0


@pytest.mark.parametrize("n_classes", [2, 3, 6])
def test_metrics_against_scikit_learn_and_counting(n_classes):
    probabilities, labels = random_case(n_classes)
    metrics = compute_metrics(probabilities, labels)
    predictions = [max(range(n_classes), key=lambda c: row[c]) for row in probabilities]
    assert metrics["accuracy"] == pytest.approx(np.mean([p == t for p, t in zip(predictions, labels, strict=True)]))
    counted = [f1_by_counting(predictions, labels, c) for c in range(n_classes)]
    assert metrics["macro_f1"] == pytest.approx(np.mean(counted))
    assert metrics["macro_f1"] == pytest.approx(sklearn.metrics.f1_score(labels, predictions, average="macro"))
    assert accuracy(probabilities, labels) == metrics["accuracy"]
    assert metrics.keys() == {"accuracy", "macro_f1", "micro_f1", "roc_auc"}
    one_against_rest = sklearn.metrics.roc_auc_score(
        labels, probabilities[:, 1] if n_classes == 2 else probabilities / probabilities.sum(axis=1, keepdims=True),
        multi_class="ovr", average="macro",
    )  # fmt: skip
    tolerance = 1e-12 if n_classes == 2 else 2e-3  # scikit-learn wants rows that add up to 1, and some are rounded
    assert metrics["roc_auc"] == pytest.approx(one_against_rest, abs=tolerance)
    assert metrics["micro_f1"] == pytest.approx(sklearn.metrics.f1_score(labels, predictions, average="micro"))
    assert all(type(value) is float for value in metrics.values())


def test_roc_auc_is_the_share_of_pairs_in_the_right_order():
    probabilities, labels = random_case(2)
    positive, negative = probabilities[labels == 1, 1], probabilities[labels == 0, 1]
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert compute_metrics(probabilities, labels)["roc_auc"] == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone(label):
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32)
    metrics = compute_metrics(probabilities, np.full(3, label))
    hits = 2 if label == 0 else 1
    # F1 of the present class: 2 hits / (predicted + present); of the other one 0.
    assert metrics == pytest.approx(
        {"accuracy": hits / 3, "macro_f1": (2 * hits / (hits + 3)) / 2, "micro_f1": hits / 3, "roc_auc": 0.5}
    )


def test_macro_f1_counts_a_class_that_is_neither_present_nor_predicted():
    probabilities = np.eye(4, dtype=np.float32)[[0, 0, 1, 1]]
    # Class 0: 2 * 2 / (2 + 3) = 0.8; class 1: 2 * 1 / (2 + 1) = 2 / 3; classes 2 and 3: 0.
    metrics = compute_metrics(probabilities, np.array([0, 0, 0, 1]))
    # ROC AUC of class 0: the three 1s and the 0 make pairs of which (1, 0, ...) are in order, a tie counts half.
    first, second = (2 * 1 + 1 * 0.5) / 3, (1 * 2 + 1 * 0.5) / 3
    wanted = {"accuracy": 0.75, "macro_f1": (0.8 + 2 / 3) / 4, "micro_f1": 0.75, "roc_auc": (first + second) / 2}
    assert metrics == pytest.approx(wanted)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_batches_added_one_by_one_count_as_one(name):
    probabilities, labels = random_case(2)
    predictions = probabilities if name == "roc_auc" else probabilities.argmax(axis=1)
    options = {"n_classes": 2} if name == "macro_f1" else {}
    metric = METRICS[name](keep_in_memory=True)
    assert isinstance(metric, evaluate.Metric)
    for start in range(0, len(labels), 33):
        rows = slice(start, start + 33)
        metric.add_batch(predictions=predictions[rows], references=labels[rows])
    assert metric.compute(**options)[name] == pytest.approx(compute_metrics(probabilities, labels)[name])


def test_no_network_is_asked(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert compute_metrics(*random_case(2)).keys() == METRICS.keys()


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_evaluate_model_is_the_metrics_of_its_probabilities(batch_size):
    encoded = encode_texts(["", *make_texts(40)])
    model = small_model("cnn", len(encoded.tokenizer), 3)
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(encoded))[:30]
    labels = rng.integers(0, 3, 30)
    expected = [predict_probabilities(model, encoded, rows[i : i + 1])[0].argmax() == labels[i] for i in range(30)]
    metrics = evaluate_model(model, LabeledTexts(encoded, rows, labels), batch_size)
    assert metrics["accuracy"] == pytest.approx(np.mean(expected))
    assert 0 < metrics["accuracy"] < 1


# A metric of one's own ---------------------------------------------------------------------------------------------

MODULE = """
import datasets
import evaluate


class {name}(evaluate.Metric):
    def _info(self):
        features = {{{given!r}: {feature}, "references": datasets.Value("int64")}}
        return evaluate.MetricInfo(description="", citation="", features=datasets.Features(features))

    def _compute(self, {given}, references):
        return {result}
"""


def write_metric(folder, name, result, given="predictions", feature='datasets.Value("int64")'):
    path = folder / f"{name.lower()}.py"
    path.write_text(MODULE.format(name=name, given=given, feature=feature, result=result))
    return str(path)


def test_a_metric_of_ones_own_by_path(tmp_path):
    path = write_metric(tmp_path, "Hits", '{"hits": sum(p == r for p, r in zip(predictions, references))}')
    probabilities, labels = random_case(3)
    assert scorer(path)(probabilities, labels) == (probabilities.argmax(axis=1) == labels).sum()


def test_a_metric_of_ones_own_of_probabilities(tmp_path):
    mean = '{"mean": float(sum(prediction_scores) / len(prediction_scores))}'
    path = write_metric(tmp_path, "Mean", mean, "prediction_scores", 'datasets.Value("float32")')
    probabilities, labels = random_case(2)
    assert scorer(path)(probabilities, labels) == pytest.approx(probabilities[:, 1].mean())


@pytest.mark.parametrize("result", ['{"why": "because"}', "1 / 0", "{}"])
def test_a_metric_of_ones_own_that_gives_no_number(tmp_path, result):
    path = write_metric(tmp_path, f"Bad{len(result)}", result)
    with pytest.raises(ConfigError, match=r"gives no number: .*; it must give one"):
        scorer(path)(*random_case(2))


@pytest.mark.parametrize("metric", ["no/such/metric", "./missing.py"])
def test_a_metric_that_is_not_there(metric):
    with pytest.raises(ConfigError, match=r"cannot be loaded: .*; wanted the path or Hub id of a metric for evaluate"):
        scorer(metric)


# What an accuracy does not show -----------------------------------------------------------------------------------


def test_a_report_of_classes_by_scikit_learns_figures():
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels, predicted = rng.integers(0, 4, 60), rng.integers(0, 3, 60)
        report = ClassReport.of(predicted, labels, list("abcde"))
        expected = sklearn.metrics.f1_score(labels, predicted, labels=range(5), average="macro", zero_division=0)
        assert report.macro_f1 == pytest.approx(expected)
        assert report.accuracy == pytest.approx(sklearn.metrics.accuracy_score(labels, predicted))
        assert (report.largest, report.largest_share) == (
            "abcde"[np.bincount(labels).argmax()],
            max(Counter(labels).values()) / 60,
        )
        assert report.never_predicted == ["d"]  # e is not there to be predicted


def test_a_model_that_says_the_largest_class_alone_is_told_so():
    labels = np.array([0] * 17 + [1] * 3)
    nothing = ClassReport.of(np.zeros(20, np.int64), labels, ["ham", "spam"])
    assert nothing.accuracy == nothing.largest_share == 0.85
    told = " ".join(nothing.warnings())
    assert "never predicted: 'spam'" in told
    assert "no better than that of always saying 'ham'" in told
    assert "--class-weights balanced" in told
    assert "--metric macro_f1" in told
    assert ClassReport.of(labels, labels, ["ham", "spam"]).warnings() == []
    assert ClassReport.of(np.zeros(3, np.int64), np.zeros(3, np.int64), ["ham", "spam"]).warnings() == []
    assert ClassReport.of(labels[:0], labels[:0], ["ham", "spam"]) is None
