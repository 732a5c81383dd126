"""Classes without a label: every model predicts those with labels only, as a model that has no others would."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from conftest import make_texts, small_model
from datasets import Dataset
from encoder_cases import tiny_model
from sklearn.metrics import roc_auc_score
from strategy_cases import pool_of
from table_cases import mlp_for, table_pool
from test_evaluation import write_metric
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from dami_text.config.data_options import TokenizationConfig
from dami_text.config.options import TrainingConfig
from dami_text.data.texts import FeatureTexts, LabeledTexts, Texts
from dami_text.data.tfidf import TfidfEncoder, TfidfTexts
from dami_text.models.early_stopping import EarlyStopping
from dami_text.models.evaluation import compute_metrics, scorer
from dami_text.models.frozen_features import frozen_features
from dami_text.models.inference import predict_probabilities
from dami_text.models.last_layer import UNSEEN
from dami_text.models.linear import LinearConfig, LinearForSequenceClassification
from dami_text.models.tasks import ONE_CLASS
from dami_text.models.training import Training, train
from dami_text.models.unseen import never_predicted, seen_logits

KINDS = ("cnn", "bilstm", "bert", "frozen bert", "mlp", "linear")
N, C = 40, 5
SEEN = {"two": np.array([1, 3]), "three": np.array([0, 2, 4])}
ADAMW = {"optimizer": "adamw", "weight_decay": 5.0, "learning_rate": 0.02}
L2 = {"weight_decay": 0.1}


@cache
def texts_of(kind: str) -> Texts:
    """N texts, or rows of a table, as models of this kind read them."""
    texts = make_texts(N, seed=2, shortest=3)
    if kind == "mlp":
        return table_pool(np.random.default_rng(0).normal(size=(N, 4))).texts
    if kind == "linear":
        dataset = Dataset.from_dict({"text": texts})
        return TfidfTexts(dataset, TfidfEncoder.fit(dataset, TokenizationConfig()))
    encoded = pool_of(texts, kind="bert" if "bert" in kind else kind).texts
    if kind == "frozen bert":
        return encoded.with_features(FeatureTexts(frozen_features(tiny_model("bert"), encoded)))
    return encoded


def new_model(kind: str, n_classes: int = C) -> PreTrainedModel:
    """A model before its training."""
    if "bert" in kind:
        model = tiny_model("bert", n_classes)
        model.base_model.requires_grad_(kind == "bert")
        return model
    if kind == "mlp":
        return mlp_for(table_pool(texts_of("mlp").matrix), n_classes)
    if kind == "linear":
        return LinearForSequenceClassification(LinearConfig(len(texts_of("linear").encoder), num_labels=n_classes))
    return small_model(kind, len(texts_of(kind).tokenizer), n_classes)


def for_seen_only(kind: str, model: PreTrainedModel, seen: np.ndarray) -> PreTrainedModel:
    """A model of as many classes as are seen, with the same weights."""
    smaller, weights = new_model(kind, len(seen)), model.state_dict()
    weights |= {name: weights[name][seen] for name in ("classifier.weight", "classifier.bias")}
    smaller.load_state_dict(weights)
    return smaller


def labels_of(seen: np.ndarray) -> np.ndarray:
    """A label of the seen classes for each text, unequally many of each."""
    return seen[(np.arange(N) ** 2 // 3) % len(seen)]


def trained(
    model: PreTrainedModel, texts: Texts, labels: np.ndarray, validation: np.ndarray | None = None, **options: Any
) -> Training:
    """Train on the first 20 texts; the ten after them are for validation, with labels (10,) of their own."""
    config = TrainingConfig(**{"steps": 12, "epochs": 3, "epoch_steps": 4, "learning_rate": 0.01, **options})
    stops = None if validation is None else LabeledTexts(texts, np.arange(20, 30), validation)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        data = LabeledTexts(texts, np.arange(20), labels[:20])
        return train(model, data, stops, config, Accelerator(cpu=True), rng=np.random.default_rng(0))


@pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("options", "early"),
    [({}, False), ({}, True), ({"class_weights": "balanced"}, False), (L2, True), (ADAMW, False)],
    ids=["steps", "epochs", "balanced", "l2", "adamw"],
)
def test_training_is_that_of_a_model_without_the_classes_that_no_label_has(kind, seen, options, early):
    texts, model = texts_of(kind), new_model(kind)
    smaller, labels = for_seen_only(kind, model, seen), labels_of(seen)
    validation = labels[20:30] if early else None
    done = trained(model, texts, labels, validation, **options)
    places = np.searchsorted(seen, labels)
    expected = trained(smaller, texts, places, None if validation is None else places[20:30], **options)
    assert done == expected

    probabilities = predict_probabilities(model, texts, np.arange(N))
    unseen = np.setdiff1d(np.arange(C), seen)
    np.testing.assert_array_equal(probabilities[:, unseen], 0)
    assert (model.classifier.bias[unseen] == UNSEEN).all()
    theirs = predict_probabilities(smaller, texts, np.arange(N))
    np.testing.assert_allclose(probabilities[:, seen], theirs, atol=2e-4)
    assert len(np.unique(theirs)) > N  # neither knows nothing


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_one_class_are_told_of_in_one_line_and_it_is_always_predicted(kind, caplog):
    texts, model = texts_of(kind), new_model(kind)
    done = trained(model, texts, np.full(N, 3), np.array([3, 3, 3, 0, 1] * 2))
    assert caplog.messages == ["all labels are of one class, 'LABEL_3': the model always predicts it; label others too"]
    assert done.validation_score == pytest.approx(0.6)
    np.testing.assert_array_equal(predict_probabilities(model, texts, np.arange(N)), [np.arange(C) == 3] * N)


@pytest.mark.parametrize("kind", KINDS)
def test_validation_may_have_classes_that_no_label_has(kind):
    model, labels = new_model(kind), labels_of(SEEN["two"])
    done = trained(model, texts_of(kind), labels, np.array([0, 2, 4, 4, 4, 0, 2, 1, 3, 1]))
    predicted = predict_probabilities(model, texts_of(kind), np.arange(N)).argmax(axis=1)
    assert set(predicted) <= {1, 3}
    assert done.validation_score == np.mean(predicted[20:30] == [0, 2, 4, 4, 4, 0, 2, 1, 3, 1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_keeps_to_it(kind, tmp_path):
    model, texts = new_model(kind), texts_of(kind)
    trained(model, texts, labels_of(SEEN["two"]))
    model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    expected = predict_probabilities(model, texts, np.arange(N))
    np.testing.assert_allclose(predict_probabilities(again, texts, np.arange(N)), expected, atol=1e-6)
    assert (again.classifier.bias.detach()[[0, 2, 4]] == UNSEEN).all()


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_half_precision_has_room_for_it(precision):
    with never_predicted(model := new_model("mlp"), np.array([0, 2, 4])):
        pass
    logits = model.to(precision)(input_ids=torch.from_numpy(texts_of("mlp").matrix[:, None])).logits
    probabilities = torch.softmax(logits.float(), dim=-1)
    assert probabilities.isfinite().all()
    assert (probabilities[:, [0, 2, 4]] == 0).all()


def test_a_model_whose_last_layer_has_no_bias_says_so_and_trains(caplog):
    model = new_model("cnn")
    model.classifier = nn.Linear(model.classifier.in_features, C, bias=False)
    trained(model, texts_of("cnn"), labels_of(SEEN["two"]))
    assert caplog.messages == [
        "the last layer of TextCNNForSequenceClassification has no bias: it may predict classes that no label has"
    ]
    logits = torch.randn(3, C)
    assert seen_logits(model, logits) is logits


def test_a_model_whose_classes_all_have_labels_is_left_alone(caplog):
    model = new_model("cnn", 2)
    before = model.classifier.bias.detach().clone()
    with never_predicted(model, np.zeros(0, np.int64)):
        pass
    assert torch.equal(model.classifier.bias, before)
    assert caplog.messages == []


def test_logits_of_the_classes_that_can_be_predicted_unless_these_are_below_two():
    model, logits = new_model("cnn"), torch.arange(2.0 * C).reshape(2, C)
    assert seen_logits(model, logits) is logits
    with never_predicted(model, np.array([0, 2, 4])):
        assert seen_logits(model, logits).tolist() == [[1, 3], [6, 8]]
    with never_predicted(model, np.array([0, 2, 3, 4])):
        assert seen_logits(model, logits) is logits


# Metrics -------------------------------------------------------------------------------------------------------------


def test_every_metric_is_a_number_where_classes_are_missing_in_predictions_and_in_the_test_split(tmp_path):
    rng = np.random.default_rng(0)
    probabilities = np.zeros((60, C), np.float32)
    probabilities[:, [1, 3]] = rng.dirichlet((1, 1), 60)
    labels = rng.choice([0, 1, 3], 60)  # 2 and 4 are nowhere, 0 is never predicted
    own = write_metric(tmp_path, "Right", '{"right": float(sum(p == r for p, r in zip(predictions, references)))}')
    found = compute_metrics(probabilities, labels, own)
    assert np.isfinite(list(found.values())).all()
    predicted = np.where(probabilities[:, 1] >= probabilities[:, 3], 1, 3)
    assert found["accuracy"] == pytest.approx(np.mean(predicted == labels))
    assert found[own] == (predicted == labels).sum()
    areas = [roc_auc_score(labels == c, probabilities[:, c]) for c in (0, 1, 3)]
    assert areas[0] == 0.5
    assert found["roc_auc"] == pytest.approx(np.mean(areas))


def test_an_epoch_whose_metric_is_no_number_is_the_lowest(tmp_path):
    """The precision of a class is none where the class is not predicted."""
    hits = "sum(p * r for p, r in zip(predictions, references))"
    result = f'{{"precision": {hits} / sum(predictions) if sum(predictions) else float("nan")}}'
    own = write_metric(tmp_path, "Precision", result)
    probabilities = np.array([[0.9, 0.1]] * 4, np.float32), np.array([[0.4, 0.6]] * 4, np.float32)
    assert np.isnan(compute_metrics(probabilities[0], np.ones(4, np.int64), own)[own])
    for order in ((0, 1, 0), (1, 0, 0)):
        stopping = EarlyStopping(ONE_CLASS, scorer(own), TrainingConfig(), 4)
        kept = [stopping.offer(probabilities[place], np.ones(4, np.int64)) for place in order]
        assert stopping.score == 1
        assert kept == [True, order[0] == 0, False]


@pytest.mark.parametrize("label", [0, 1])
def test_every_metric_is_a_number_where_one_class_is_all_there_is(label):
    certain = np.zeros((9, 2), np.float32)
    certain[:, label] = 1
    found = compute_metrics(certain, np.full(9, label))
    assert found == {"accuracy": 1, "macro_f1": 0.5, "micro_f1": 1, "roc_auc": 0.5}
