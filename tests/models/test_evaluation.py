"""Metrics against scikit-learn, hand counts and brute force."""

import socket
from collections import Counter

import evaluate
import numpy as np
import pytest
import sklearn.metrics
from conftest import encode_texts, make_texts, small_model

from dami_text.config.metrics import RECORDED
from dami_text.data.texts import LabeledTexts
from dami_text.errors import ConfigError
from dami_text.models.evaluation import accuracy, compute_metrics, evaluate_model, scorer
from dami_text.models.inference import predict_probabilities
from dami_text.models.metrics import METRICS
from dami_text.models.scores import ClassReport, average_precisions, results_by_class


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
    predictions = probabilities if name in ("roc_auc", "average_precision") else probabilities.argmax(axis=1)
    options = {"macro_f1": {"n_classes": 2}}.get(name, {"positive": 1} if name in ("f1", "precision", "recall") else {})
    metric = METRICS[name](keep_in_memory=True)
    assert isinstance(metric, evaluate.Metric)
    for start in range(0, len(labels), 33):
        rows = slice(start, start + 33)
        metric.add_batch(predictions=predictions[rows], references=labels[rows])
    assert metric.compute(**options)[name] == pytest.approx(scorer(name, ["ham", "spam"])(probabilities, labels))


def test_no_network_is_asked(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for metric in METRICS:
        assert compute_metrics(*random_case(2), metric, ["ham", "spam"]).keys() == {*RECORDED, metric}


def cases(n_classes):
    """Random predictions and labels: of all classes, of which one or all but one are missing here or there."""
    probabilities, labels = random_case(n_classes)
    yield probabilities, labels
    without_last = np.c_[probabilities[:, :-1] + 1, np.zeros(len(labels))].astype(np.float32)
    yield without_last, labels  # never predicted
    yield probabilities, labels.clip(max=n_classes - 2)  # not there
    yield without_last, labels.clip(max=n_classes - 2)
    for c in (0, n_classes - 1):
        yield np.eye(n_classes, dtype=np.float32)[np.full(len(labels), c)], np.full(len(labels), c)
        yield probabilities, np.full(len(labels), c)
        yield np.eye(n_classes, dtype=np.float32)[np.full(len(labels), c)], np.full(len(labels), 1 - min(c, 1))


@pytest.mark.filterwarnings("ignore:.*:UserWarning:sklearn", "ignore:.*:RuntimeWarning:sklearn")
@pytest.mark.parametrize("n_classes", [2, 3, 12])
def test_metrics_of_any_classes_by_scikit_learn(n_classes):
    names = [f"class {c}" for c in range(n_classes)]
    for probabilities, labels in cases(n_classes):
        predictions = probabilities.argmax(axis=1)
        each = [
            sklearn.metrics.average_precision_score(labels == c, probabilities[:, c])
            for c in ([1] if n_classes == 2 else range(n_classes))
        ]
        expected = {
            "balanced_accuracy": sklearn.metrics.balanced_accuracy_score(labels, predictions),
            "matthews_correlation": sklearn.metrics.matthews_corrcoef(labels, predictions),
            "average_precision": np.mean(each),
        }
        by_class = sklearn.metrics.precision_recall_fscore_support(
            labels, predictions, labels=range(n_classes), zero_division=0
        )
        for measure, values in zip(("precision", "recall", "f1"), by_class, strict=False):
            expected |= {f"{measure}:{name}": value for name, value in zip(names, values, strict=True)}
            if n_classes == 2:
                expected[measure] = values[1]
        found = {metric: scorer(metric, names)(probabilities, labels) for metric in expected}
        assert found == pytest.approx(expected)
        assert all(type(value) is float for value in found.values())


@pytest.mark.filterwarnings("ignore:.*:UserWarning:sklearn")
@pytest.mark.parametrize("n_classes", [2, 3, 12])
def test_the_average_precision_of_each_class_by_scikit_learn(n_classes):
    names = [f"class {c}" for c in range(n_classes)]
    for probabilities, labels in cases(n_classes):
        expected = [
            sklearn.metrics.average_precision_score(labels == c, probabilities[:, c]) if c in labels else 0
            for c in range(n_classes)
        ]
        assert average_precisions(probabilities, labels) == pytest.approx(np.array(expected), abs=1e-12)
        found = [scorer(f"average_precision:{name}", names)(probabilities, labels) for name in names]
        assert found == pytest.approx(expected, abs=1e-12)


def test_the_results_of_each_class_by_hand():
    # Ranked by class 1: .9 (a 1), .6 (a 0), .4 (a 1); by class 2 the one text of it is at the head with another.
    probabilities = np.array([[0.1, 0.9, 0.0], [0.2, 0.6, 0.2], [0.4, 0.4, 0.2]], np.float32)
    assert results_by_class(probabilities, np.array([1, 0, 1]), np.array([1, 1, 0])) == {
        "present": [1, 2, 0],
        "predicted": [1, 2, 0],
        "right": [0, 1, 0],
        "average_precision": [0.5, round((1 + 2 / 3) / 2, 4), 0.0],
    }


def test_average_precision_is_the_mean_precision_at_the_positive_texts():
    positive = np.array([0.9, 0.8, 0.7, 0.6, 0.1], np.float32)
    labels = np.array([1, 0, 1, 0, 1])
    probabilities = np.c_[1 - positive, positive]
    assert scorer("average_precision")(probabilities, labels) == pytest.approx((1 / 1 + 2 / 3 + 3 / 5) / 3)


def test_a_metric_of_a_class_with_a_colon_or_a_slash_in_its_name():
    probabilities, labels = random_case(3)
    expected = sklearn.metrics.recall_score(labels, probabilities.argmax(axis=1), average=None)
    for name, place in (("a:b", 0), ("n/a", 1), ("f1", 2)):
        assert scorer(f"recall:{name}", ["a:b", "n/a", "f1"])(probabilities, labels) == pytest.approx(expected[place])


@pytest.mark.parametrize(
    ("metric", "names", "message"),
    [
        (
            "f1:Spam",
            ["ham", "spam"],
            r"--metric f1:Spam: the data have no class 'Spam'; choose one of \['ham', 'spam'\]",
        ),
        ("recall:1", [*map(str, range(30, 60))], r"no class '1'; choose one of \['30', .*, '49'\] and 10 more"),
        (
            "f1",
            list("abc"),
            r"--metric f1 is of the positive .* have 3; choose macro_f1, micro_f1 or f1:CLASS, with one",
        ),
        ("precision", list("abc"), r"choose macro_f1, micro_f1 or precision:CLASS, with one of \['a', 'b', 'c'\]"),
    ],
)
def test_a_class_that_the_data_do_not_have(metric, names, message):
    with pytest.raises(ConfigError, match=message):
        scorer(metric, names)


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
