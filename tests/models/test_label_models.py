"""Models of texts with any number of labels, against scikit-learn, torch and transformers' own pipelines."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from encoder_cases import save_encoder
from label_cases import NAMES, labeled_texts
from model_zoo import save_tiny
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, precision_score, recall_score
from sklearn.multiclass import OneVsRestClassifier
from transformers import pipeline

from dami_text.config.metrics import MULTILABEL, WITH_CLASS
from dami_text.config.run import RunConfig
from dami_text.data.texts import LabeledTexts
from dami_text.errors import ConfigError
from dami_text.learning.preparation import learner_over
from dami_text.models.evaluation import compute_metrics, scorer
from dami_text.models.inference import predict_features, predict_probabilities
from dami_text.models.kinds.linear import LinearSource
from dami_text.models.linear import WAYS
from dami_text.models.logistic import fit_logistic
from dami_text.models.one_vs_rest import fit_each_label
from dami_text.models.scores import results_by_class
from dami_text.models.tasks import ANY_LABELS, ONE_CLASS, task_of


def trained(texts, labels, n, names=NAMES, **options):
    """The learner over the texts whose first n are labelled."""
    config = RunConfig.of(**{"task": "multilabel", "strategy": "random"} | options)
    dataset = Dataset.from_dict({"text": texts})
    source = config.model.kind.source(config, dataset, names)
    learner = learner_over(dataset, names, config, source)
    learner.tell(np.arange(n), labels[:n])
    learner.train()
    return learner


# Regression -------------------------------------------------------------------------------------------------------


class OurRegression(ClassifierMixin, BaseEstimator):
    """The package's regression of two classes, with scikit-learn's methods."""

    def __init__(self, mean=None):
        self.mean = mean

    def fit(self, features, labels):
        self.classes_ = np.unique(labels)
        self.found_ = fit_logistic(features, labels, 2, self.mean, WAYS)
        return self

    def predict_proba(self, features):
        logits = features @ self.found_.weight.T + self.found_.bias
        return torch.softmax(torch.from_numpy(logits), dim=1).numpy()


def topics(n, seed=0):
    """n texts on any of five topics, each of which has twelve words and shares two hundred others; labels (n, 5)."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, 5)) < [0.4, 0.3, 0.2, 0.15, 0.1]).astype(np.int64)
    texts = []
    for row in labels:
        words = [f"topic{c}word{rng.integers(12)}" for c in np.flatnonzero(row) for _ in range(3)]
        words += [f"word{rng.integers(200)}" for _ in range(8)] + [f"topic{rng.integers(5)}word{rng.integers(12)}"]
        texts.append(" ".join(rng.permutation(words)))
    return texts, labels


@pytest.fixture(scope="module")
def on_topics():
    """The linear model of the first 1,000 of 2,000 texts on topics, with the texts as it reads them and the labels."""
    texts, labels = topics(2000)
    learner = trained(texts, labels, 1000, list("abcde"), model="linear")
    return learner.model, learner.pool.texts, labels


def test_the_linear_model_is_one_vs_rest(on_topics):
    """To the digits of float32, scikit-learn's one-vs-rest around the package's regression gives its probabilities."""
    model, texts, labels = on_topics
    own = sparse.diags(np.sqrt(texts.unknown[:1000]))  # a feature of each labelled text alone
    features = sparse.hstack([texts.matrix, sparse.vstack([own, sparse.csr_matrix((1000, 1000))])], format="csr")
    mean = np.append(texts.mean, np.zeros(1000))
    other = OneVsRestClassifier(OurRegression(mean)).fit(features[:1000], labels[:1000])
    found = predict_probabilities(model, texts, np.arange(1000, 2000))
    assert found == pytest.approx(other.predict_proba(features[1000:]), abs=1e-4)


def test_the_linear_model_is_as_good_as_scikit_learns(on_topics):
    """Micro and macro F1 within half a point of one-vs-rest logistic regression on the same features."""
    model, texts, labels = on_topics
    other = OneVsRestClassifier(LogisticRegression(C=60, max_iter=1000)).fit(texts.matrix[:1000], labels[:1000])
    theirs, truth = other.predict(texts.matrix[1000:]), labels[1000:]
    probabilities = predict_probabilities(model, texts, np.arange(1000, 2000))
    for average in ("micro", "macro"):
        ours = scorer(f"{average}_f1", multilabel=True)(probabilities, truth)
        assert ours > f1_score(truth, theirs, average=average) - 0.005
        assert ours > 0.97


def test_labels_that_none_or_all_have():
    texts, labels = labeled_texts(60)
    labels[:, 0], labels[:, 3] = 1, 0
    for options in ({"model": "linear"}, {"model": "cnn", "word_vectors": "random", "steps": 150}):
        learner = trained(texts, labels, 40, **options)
        found = predict_probabilities(learner.model, learner.pool.texts, np.arange(60))
        assert (found[:, 0] > 0.5).all()
        assert (found[:, 3] == 0).all()


def test_no_text_has_a_label(caplog):
    texts, labels = labeled_texts(30)
    for options in ({"model": "linear"}, {"model": "cnn", "word_vectors": "random", "steps": 5}):
        learner = trained(texts, np.zeros_like(labels), 20, **options)
        assert (predict_probabilities(learner.model, learner.pool.texts, np.arange(30)) == 0).all()
        assert "no labelled text has any label: the model predicts none" in caplog.text
        caplog.clear()


def test_one_label_alone():
    texts, labels = labeled_texts(200)
    for options in ({"model": "linear"}, {"model": "cnn", "word_vectors": "random", "steps": 150}):
        learner = trained(texts, labels[:, :1], 120, NAMES[:1], **options)
        found = predict_probabilities(learner.model, learner.pool.texts, np.arange(120, 200))
        assert found.shape == (80, 1)
        assert ((found > 0.5) == labels[120:, :1]).mean() > 0.95


def test_each_labels_fit_is_put_in_its_row():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 5)), rng.integers(0, 2, (60, 3))
    mean = features.mean(axis=0)

    def fit(of_one, n_classes):
        found = fit_logistic(features, of_one, n_classes, mean, WAYS)
        return found, found.weight[:, :2]

    whole, tokens = fit_each_label(labels, fit)
    assert (whole.weight.shape, whole.bias.shape, tokens.shape) == ((3, 5), (3,), (3, 2))
    assert whole.cross_validated.shape == (60, 3)
    for c in range(3):
        one = fit_logistic(features, labels[:, c], 2, mean, WAYS)
        odds = features @ (one.weight[1] - one.weight[0]) + one.bias[1] - one.bias[0]
        assert features @ whole.weight[c] + whole.bias[c] == pytest.approx(odds)


# Loss -------------------------------------------------------------------------------------------------------------


def test_the_loss_is_the_mean_of_binary_cross_entropies():
    rng = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(6, 3, generator=rng), torch.randint(0, 2, (6, 3), generator=rng)
    expected = torch.nn.BCEWithLogitsLoss()(logits, labels.float())
    ones = torch.ones(2, 3)
    assert ANY_LABELS.loss(logits, labels, ones, reduction="sum") / 6 == pytest.approx(float(expected))
    assert ANY_LABELS.loss(logits, labels, ones, reduction="none").shape == (6,)
    surprise = ANY_LABELS.surprise(torch.sigmoid(logits).numpy(), labels.numpy())
    assert surprise == pytest.approx(float(expected), abs=1e-6)


def test_balanced_weights_by_hand():
    """Of four texts three have the first label and none the second: 4 / (2 * 1), 4 / (2 * 3), and 1 where all agree."""
    labels = np.array([[1, 0], [1, 0], [0, 0], [1, 0]])
    assert ANY_LABELS.weights(labels, 2, balanced=True).tolist() == [[2, 1], [pytest.approx(2 / 3), 1]]
    assert ANY_LABELS.weights(labels, 2, balanced=False).tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("balanced", [False, True])
def test_the_loss_of_a_guess_is_the_least(balanced):
    labels = np.array([[1, 0, 1]] * 5 + [[0, 0, 1]] * 3 + [[0, 1, 1]])
    weights = ANY_LABELS.weights(labels, 3, balanced=balanced)
    odds = torch.linspace(-12, 12, 4001)
    least = [
        ANY_LABELS.loss(odds[:, None], torch.full((4001, 1), label), weights[:, c : c + 1], reduction="none")
        for c in range(3)
        for label in (0, 1)
    ]
    counts = np.stack([9 - labels.sum(axis=0), labels.sum(axis=0)], axis=1).ravel()
    total = sum(
        float((counts[2 * c] * least[2 * c] + counts[2 * c + 1] * least[2 * c + 1]).min()) / 27 for c in range(3)
    )
    assert ANY_LABELS.guess_loss(labels, weights.numpy()) == pytest.approx(total, abs=1e-4)


# Metrics ----------------------------------------------------------------------------------------------------------


def some_probabilities(n=200, seed=0):
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, 4)) < [0.6, 0.3, 0.1, 0.02]).astype(np.int64)
    probabilities = np.clip(0.35 * labels + rng.random((n, 4)).round(1) * 0.65, 0, 1).astype(np.float32)
    return probabilities, labels


def test_metrics_are_those_of_scikit_learn():
    probabilities, labels = some_probabilities()
    predicted = probabilities > 0.5
    found = compute_metrics(probabilities, labels, "micro_f1", list("abcd"), multilabel=True)
    assert list(found) == list(MULTILABEL)
    assert found == pytest.approx(
        {
            "micro_f1": f1_score(labels, predicted, average="micro"),
            "macro_f1": f1_score(labels, predicted, average="macro"),
            "samples_f1": f1_score(labels, predicted, average="samples", zero_division=1),
            "subset_accuracy": accuracy_score(labels, predicted),
            "average_precision": average_precision_score(labels, probabilities, average="macro"),
            "micro_average_precision": average_precision_score(labels, probabilities, average="micro"),
        }
    )


def test_metrics_of_one_label_are_those_of_scikit_learn():
    probabilities, labels = some_probabilities()
    predicted = probabilities > 0.5
    of = {"f1": f1_score, "precision": precision_score, "recall": recall_score}
    assert {*of, "average_precision"} == set(WITH_CLASS)
    for c, name in enumerate("abcd"):
        for metric, theirs in of.items():
            ours = scorer(f"{metric}:{name}", list("abcd"), multilabel=True)(probabilities, labels)
            assert ours == pytest.approx(theirs(labels[:, c], predicted[:, c]))
        ours = scorer(f"average_precision:{name}", list("abcd"), multilabel=True)(probabilities, labels)
        assert ours == pytest.approx(average_precision_score(labels[:, c], probabilities[:, c]))
    by_label = results_by_class(probabilities, labels, predicted.astype(np.int64))
    assert by_label["right"] == (labels & predicted).sum(axis=0).tolist()
    assert (by_label["present"], by_label["predicted"]) == (labels.sum(axis=0).tolist(), predicted.sum(axis=0).tolist())


def test_metrics_without_labels():
    probabilities, labels = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.int64)
    found = compute_metrics(probabilities, labels, "f1:b", ["a", "b"], multilabel=True)
    expected = dict.fromkeys(MULTILABEL, 0.0) | {"samples_f1": 1.0, "subset_accuracy": 1.0, "f1:b": 0.0}
    assert found == expected


def test_a_metric_of_labels_is_not_of_classes():
    with pytest.raises(ConfigError, match="--metric samples_f1 is for texts with any number of labels"):
        scorer("samples_f1", ["a", "b"])


# Models that transformers loads -----------------------------------------------------------------------------------

ENCODER = {"learning_rate": 0.003, "steps": 200}


@pytest.mark.parametrize(
    ("options", "at_least"),
    [
        ({"model": "cnn", "word_vectors": "random", "steps": 200}, 0.95),
        ({"model": "bilstm", "word_vectors": "random", "steps": 200}, 0.95),
        ({"model": "cnn", "word_vectors": "random", "steps": 200, "class_weights": "balanced"}, 0.9),
        ({"model": "ENCODER", **ENCODER}, 0.5),
        ({"model": "ENCODER", "freeze_encoder": True}, 0.6),
        ({"model": "DECODER", **ENCODER}, 0.3),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_a_saved_model_gives_all_probabilities_in_a_pipeline(tmp_path, options, at_least):
    texts, labels = labeled_texts(300)
    if options["model"] == "ENCODER":
        options = options | {"model": str(save_encoder(tmp_path / "encoder"))}
    if options["model"] == "DECODER":
        options = options | {"model": str(save_tiny("gpt2", tmp_path / "decoder"))}
    learner = trained(texts, labels, 200, **options)
    model, rows = learner.model, np.arange(200, 300)
    assert task_of(model) is ANY_LABELS
    found = predict_probabilities(model, learner.pool.texts, rows)
    assert scorer("micro_f1", multilabel=True)(found, labels[rows]) > at_least
    assert predict_features(model, learner.pool.texts, rows).shape[0] == 100
    learner.save_pretrained(tmp_path / "model")
    classify = pipeline("text-classification", model=str(tmp_path / "model"), top_k=None, device="cpu")
    for place in range(5):
        scores = {each["label"]: each["score"] for each in classify([texts[200 + place]])[0]}
        assert [scores[name] for name in NAMES] == pytest.approx(found[place].tolist(), abs=1e-5)


def test_a_validation_split_stops_the_training():
    texts, labels = labeled_texts(300)
    learner = trained(texts, labels, 150, model="cnn", word_vectors="random", epochs=30, validation="split")
    learner._validation = LabeledTexts(learner.pool.texts, np.arange(150, 220), labels[150:220])
    done = learner.train()
    assert done.has_learned
    assert done.validation_score > 0.95
    assert done.epochs < 30


def test_single_labels_keep_their_task():
    texts, _ = labeled_texts(20)
    dataset = Dataset.from_dict({"text": texts})
    model = LinearSource(RunConfig.of(model="linear"), dataset, NAMES).new_model()
    assert task_of(model) is ONE_CLASS
    assert model.config.to_dict().get("problem_type") is None
