"""Logistic regression on TF-IDF against scikit-learn's, and its life in runs and sessions."""

import json

import numpy as np
import pytest
import torch
from datasets import Dataset
from labeling_cases import CLASSES, label_some, texts_without_labels
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union

from dami_text.cli.main import main
from dami_text.cli.run import run_al
from dami_text.config.data_options import TokenizationConfig
from dami_text.config.options import TrainingConfig
from dami_text.config.run import LabelingConfig, RunConfig
from dami_text.data.demo import demo_dataset
from dami_text.data.estimators import TEXT_ENCODER
from dami_text.data.texts import LabeledTexts
from dami_text.data.tfidf import TfidfEncoder, TfidfTexts
from dami_text.errors import ConfigError
from dami_text.labeling.prediction import Classifier
from dami_text.labeling.rounds import create_session, train_round
from dami_text.labeling.session import SessionConfig
from dami_text.models.inference import predict_probabilities
from dami_text.models.linear import LinearConfig, LinearForSequenceClassification


@pytest.fixture(scope="module")
def demo():
    """300 reviews of the demo as TF-IDF, and their labels."""
    part = demo_dataset().select(range(300))
    texts = Dataset.from_dict({"text": part["text"]})
    return TfidfTexts(texts, TfidfEncoder.fit(texts, TokenizationConfig())), np.array(part["label"])


def fitted(texts, rows, labels, n_classes, **options):
    """A model that is fitted to the labels (n,) of rows (n,)."""
    model = LinearForSequenceClassification(LinearConfig(len(texts.encoder), num_labels=n_classes))
    model.fit(LabeledTexts(texts, np.asarray(rows), np.asarray(labels)), TrainingConfig(**options))
    return model


@pytest.mark.parametrize("n", [60, 200])
def test_it_is_better_than_the_regression_that_everybody_tries_first(demo, n):
    texts, labels = demo
    rest = np.setdiff1d(np.arange(300), np.arange(n))
    found = predict_probabilities(fitted(texts, np.arange(n), labels[:n], 2), texts, rest).argmax(axis=1)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    theirs = make_pipeline(make_union(words, characters), LogisticRegression(C=30, max_iter=1000))
    strings = [texts.text(row) for row in range(300)]
    expected = theirs.fit(strings[:n], labels[:n]).predict([strings[row] for row in rest])
    assert (found == labels[rest]).mean() >= (expected == labels[rest]).mean() - 0.02


def test_what_a_text_has_alone_is_a_feature_of_its_own(demo):
    """The fit is that of a model whose vocabulary has every entry, where those of one text weigh as others do."""
    texts, labels = demo
    strings = Dataset.from_dict({"text": [texts.text(row) for row in range(300)]})
    encoder = TfidfEncoder.fit(strings, TokenizationConfig(min_document_frequency=1))
    for (_, some), (_, every) in zip(texts.encoder.union.transformer_list, encoder.union.transformer_list, strict=True):
        every.idf_ = np.minimum(every.idf_, some.idf_.max())
    knowing = TfidfTexts(strings, encoder)
    assert texts.unknown.max() > 0.3
    assert knowing.unknown.max() < 1e-5
    rows, rest = np.arange(40), np.arange(40, 300)
    found, expected = (
        predict_probabilities(fitted(known, rows, labels[:40], 2), known, rest) for known in (texts, knowing)
    )
    np.testing.assert_allclose(found, expected, atol=0.01)  # what a text has alone has a mean that is hardly above 0


def test_balanced_classes_count_as_equally_frequent(demo):
    texts, labels = demo
    rows = np.concatenate([np.flatnonzero(labels == 0)[:40], np.flatnonzero(labels == 1)[:4]])
    shares = [
        predict_probabilities(fitted(texts, rows, labels[rows], 2, **options), texts, np.arange(300))[:, 1].mean()
        for options in ({}, {"class_weights": "balanced"})
    ]
    assert shares[0] < 0.3
    assert shares[1] > 0.4


def test_a_class_without_a_label_is_never_predicted(demo):
    texts, labels = demo
    model = fitted(texts, np.arange(40), 2 * labels[:40], 4)  # classes 0 and 2
    probabilities = predict_probabilities(model, texts, np.arange(300))
    assert set(probabilities.argmax(axis=1)) == {0, 2}
    np.testing.assert_array_equal(probabilities[:, [1, 3]], 0)


def test_one_class_alone_is_always_predicted(demo):
    texts, _ = demo
    probabilities = predict_probabilities(fitted(texts, [5], [1], 3), texts, np.arange(300))
    np.testing.assert_array_equal(probabilities, [[0, 1, 0]] * 300)


def test_weights_of_words_are_those_of_their_entries():
    words = ["good film", "good book", "bad film", "bad book"]
    texts = Dataset.from_dict({"text": words})
    tfidf = TfidfTexts(texts, TfidfEncoder.fit(texts, TokenizationConfig(min_document_frequency=1)))
    model = LinearForSequenceClassification(LinearConfig(len(tfidf.encoder), num_labels=2))
    names = tfidf.encoder.union.get_feature_names_out().tolist()
    with torch.no_grad():
        model.classifier.weight[1, names.index("words__good")] = 3.0
        model.classifier.weight[1, names.index("words__good film")] = 1.0
    idf = {
        name: weight
        for (_, v) in tfidf.encoder.union.transformer_list
        for name, weight in zip(v.get_feature_names_out(), v.idf_, strict=True)
    }
    expected = [3 * idf["good"] + idf["good film"] / 2, idf["good film"] / 2]
    np.testing.assert_allclose(model.word_weights(tfidf, 0), expected, rtol=1e-5)


STRATEGIES = ("random", "least-confidence", "margin", "entropy", "badge", "coreset", "kmeans-features")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_run_ends_with_a_model_that_predicts(strategy, tmp_path, capsys):
    run = tmp_path / "run"
    arguments = ["--model=linear", "--strategy", strategy, "--initial-size=30", "--query-size=30", "--budget=60"]
    assert run_al([*arguments, "--output-dir", str(run)]) == 0
    *_, last = (json.loads(line) for line in (run / "rounds.jsonl").read_text(encoding="utf-8").splitlines())
    assert last["n_labeled"] == 60
    assert (run / "model" / TEXT_ENCODER).is_file()
    classifier = Classifier.load(run / "model")
    test = demo_dataset().select(range(500))
    right = classifier.probabilities(test["text"]).argmax(axis=1) == np.array(test["label"])
    assert right.mean() > 0.55


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategy=dami"], "strategy dami needs gradients by the embeddings of words, which this model"),
        (["--strategy=bald"], "strategy bald needs dropout to sample"),
        (["--strategy=margin", "--learning-rate=0.1"], "--learning-rate has no effect on --model linear; leave it out"),
        (["--strategy=margin", "--dropout=0.1"], "--model linear has no dropout, and --dropout is 0.1; leave it out"),
        (
            ["--strategy=margin", "--export-code"],
            "--export-code is for CNN, BiLSTM and encoders, and --model is linear",
        ),
    ],
)
def test_what_it_cannot_do_is_one_line(arguments, message, tmp_path, capsys):
    assert run_al(["--model=linear", *arguments, "--output-dir", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_session_that_could_train_nothing_is_not_made(reviews, tmp_path):
    file, _ = texts_without_labels(reviews, tmp_path)
    run = RunConfig.of(dataset=str(file), model="linear", strategy="dami")
    with pytest.raises(ConfigError, match="strategy dami needs gradients by the embeddings of words"):
        create_session(tmp_path / "s.dami", SessionConfig(run, LabelingConfig(labels=CLASSES)))
    assert not (tmp_path / "s.dami").exists()
    with create_session(
        tmp_path / "bald.dami",
        SessionConfig(RunConfig.of(dataset=str(file), strategy="bald"), LabelingConfig(labels=CLASSES)),
    ) as session:
        assert len(session) == 300


def test_a_session_shades_the_words_that_decide(reviews, tmp_path, capsys):
    file, truth = texts_without_labels(reviews, tmp_path)
    run = RunConfig.of(dataset=str(file), model="linear", strategy="margin", initial_size=10, query_size=5)
    session = create_session(tmp_path / "s.dami", SessionConfig(run, LabelingConfig(labels=CLASSES)))
    label_some(session, truth, 12)
    train = ["train", str(tmp_path / "s.dami"), "--output-dir", str(tmp_path / "model")]
    assert main([*train, "--export-code"]) == 1
    assert (
        "error: --export-code is for CNN, BiLSTM and encoders, and --model is linear; leave it out"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "model").exists()
    train_round(session)
    asked = [item for item in session.store.queue(1) if item.kind == "asked"]
    assert asked
    assert all(max(weight for *_, weight in item.reason["shades"]) > 0 for item in asked)
    for item in asked:
        text = session.text(item.row)
        assert all(text[start:end].isalnum() for start, end, _ in item.reason["shades"])
    right = Classifier.of_session(session).probabilities([session.text(row) for row in range(300)]).argmax(axis=1)
    assert (right == np.array(truth)).mean() > 0.5
