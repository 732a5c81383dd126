"""Learners in Python where a text has any number of labels: what they take, predict and keep."""

import json

import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from encoder_cases import save_encoder
from label_cases import NAMES, WORDS, labeled_texts
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from transformers import pipeline

import dami_text.models.auto  # noqa: F401 - for transformers
from dami_text import load_learner, make_learner
from dami_text.errors import ConfigError, DataError, DataTypeError

TEXTS, HOLD = labeled_texts(120)


def names_of(row):
    return [name for name, holds in zip(NAMES, row, strict=True) if holds]


LABELS = [names_of(row) for row in HOLD]


def learner(n=60, names=NAMES, **options):
    options = {"model": "linear", "task": "multilabel", "labels": [*LABELS[:n], *[None] * (120 - n)], **options}
    return make_learner(TEXTS, names, **options)


def test_ask_and_tell_with_lists_of_names():
    made = learner()
    assert repr(made) == "TextLearner(120 texts, 60 labelled, 4 labels, model linear, strategy margin, round 0)"
    query = made.ask(5)
    assert set(query.rows) <= set(range(60, 120))
    guesses = made.predict(query.texts).tolist()
    made.tell(query.rows, [LABELS[row] for row in query.rows])
    assert made.core.labels.tolist() == HOLD[made.pool.labeled].tolist()
    table = made.labels.set_index("row")
    assert [table["label"][row] for row in query.rows] == [LABELS[row] for row in query.rows]
    told = made.history.iloc[-1]
    assert told["metric"] == "subset accuracy on what was asked"
    assert told["score"] == np.mean([LABELS[row] == guess for row, guess in zip(query.rows, guesses, strict=True)])


def test_predictions_are_lists_of_names():
    made = learner(90)
    probabilities = made.predict_proba(TEXTS[90:])
    assert made.predict(TEXTS[90:]).tolist() == [names_of(row > 0.5) for row in probabilities]
    assert made.predict([TEXTS[0]]).tolist() == [names_of(made.predict_proba([TEXTS[0]])[0] > 0.5)], "one alone"
    assert made.predict([]).tolist() == []
    expected = f1_score(HOLD[90:], probabilities > 0.5, average="micro")
    assert made.score(TEXTS[90:], LABELS[90:]) == pytest.approx(expected)
    assert made.score(TEXTS[90:], HOLD[90:], metric="macro_f1") == pytest.approx(
        f1_score(HOLD[90:], probabilities > 0.5, average="macro")
    )
    with pytest.raises(ConfigError, match="metric is accuracy, and task is multilabel; it must be one of micro_f1"):
        learner(metric="accuracy")


@pytest.mark.parametrize(
    "given",
    [
        [["looks", "story"], [], ["sound"]],
        [("looks", "story"), set(), {"sound"}],
        [[0, 3], [], [np.int64(2)]],
        np.array([[1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]),
        np.array([[True, False, False, True], [False] * 4, [False, False, True, False]]),
        pd.Series([["looks", "story"], [], ["sound"]]),
        [np.array(["looks", "story"]), np.array([], str), np.array(["sound"])],
    ],
)
def test_labels_in_the_forms_that_people_have_them_in(given):
    made = learner(0, labels=None)
    made.tell([5, 1, 7], given)
    assert made.core.labels.tolist() == [[0, 0, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0]]


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (["looks"], DataTypeError, r"row 3 has the label 'looks', and a text has any number of labels; give a list of"),
        ([None], DataTypeError, r"row 3 has the label None, and a text has any number of labels; give a list of them"),
        ([["looks", "taste"]], DataError, "row 3 has the label 'taste', which is no class; labels are the classes"),
        ([["looks", None]], DataError, r"row 3 has no label \(None\)"),
        ([["looks", "looks"]], DataError, r"row 3 has a label twice, in \['looks', 'looks'\]; give each once"),
        ([["looks", 0]], DataError, "row 3 has a label twice"),
        ([[7]], DataError, "row 3 has the label 7, which is no class"),
        (np.array([[1, 0, 2, 0]]), DataError, "an array holds 0 or 1 for each label"),
        ([["looks"], []], DataError, "got 1 rows and 2 labels"),
    ],
)
def test_each_mistake_has_its_own_message_and_nothing_is_taken(labels, error, message):
    made = learner(0, labels=None)
    with pytest.raises(error, match=message) as raised:
        made.tell([3], labels)
    assert "\n" not in str(raised.value)
    assert not len(made.pool.labeled)


def test_a_row_that_is_told_again_is_corrected_in_whatever_order_its_labels_come():
    made = learner(10)
    before = made.round
    made.tell([2, 3], [LABELS[2][::-1], LABELS[3]])
    assert made.round == before, "the same labels are nothing new"
    other = [name for name in NAMES if name not in LABELS[2]]
    made.tell([2, 50], [other, []])
    assert made.core.labels[2].tolist() == (1 - HOLD[2]).tolist()
    told, corrected = made.history.iloc[-2], made.history.iloc[-1]
    assert (told["event"], told["rows"], told["labels"]) == ("told", [50], [[]])
    assert (corrected["event"], corrected["before"], corrected["labels"]) == ("corrected", [LABELS[2]], [other])


def test_labels_of_a_column_of_the_hubs_lists():
    features = Features({"text": Value("string"), "kinds": List(ClassLabel(names=NAMES[::-1]))})
    numbers = [None if row > 20 else [NAMES[::-1].index(name) for name in LABELS[row]] for row in range(120)]
    data = Dataset.from_dict({"text": TEXTS, "kinds": numbers}, features=features)
    made = make_learner(data, NAMES, model="linear", task="multilabel", labels="kinds")
    assert made.pool.labeled.tolist() == list(range(21))
    assert made.core.labels.tolist() == HOLD[:21].tolist()


def test_one_label_alone_and_names_that_are_none():
    made = make_learner(TEXTS, ["looks"], model="linear", task="multilabel")
    made.tell(range(60), HOLD[:60, :1])
    found = [bool(labels) for labels in made.predict(TEXTS[60:])]
    assert np.mean(found == (HOLD[60:, 0] == 1)) > 0.9
    (explained,) = made.explain(["the film is the plot"])
    assert max(explained.words, key=lambda word: word[1])[0] == "film"
    with pytest.raises(ConfigError, match="it must be a list of one name or more, all different"):
        make_learner(TEXTS, [], task="multilabel")
    with pytest.raises(ConfigError, match="it must be a list of two names or more"):
        make_learner(TEXTS, ["looks"])


@pytest.mark.parametrize("strategy", ["cvirs", "lci", "badge", "dami", "egl-word"])
def test_a_learner_that_was_saved_asks_for_what_it_would_have_asked_for(strategy, tmp_path):
    made = learner(model="cnn", word_vectors="random", steps=20, strategy=strategy)
    query = made.ask(4)
    made.tell(query.rows, [LABELS[row] for row in query.rows])
    made.add_texts(["a new film", "new music"], [["looks"], None])
    made.save(tmp_path / "kept")
    assert json.loads((tmp_path / "kept" / "learner.json").read_text())["events"][0]["labels"][0] == LABELS[0]
    again = load_learner(tmp_path / "kept")
    assert again.core.labels.tolist() == made.core.labels.tolist()
    assert again.ask(4).rows.tolist() == made.ask(4).rows.tolist()


def test_what_is_explained_is_the_most_probable_label():
    made = learner(100)
    (found,) = made.explain(["the music is film"])
    p = made.predict_proba(["the music is film"])[0]
    assert (found.label, found.probability) == (NAMES[int(p.argmax())], pytest.approx(float(p.max())))
    heaviest = max(found.words, key=lambda word: word[1])[0]
    assert heaviest in WORDS[found.label]


def test_a_classifier_of_ones_own_is_refused():
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    with pytest.raises(ConfigError, match="model is a classifier of your own, for one class a text; with task multi"):
        make_learner(TEXTS, NAMES, model=model, task="multilabel")


# Thresholds -------------------------------------------------------------------------------------------------------


def test_thresholds_decide_predictions_and_what_is_saved_but_not_what_is_asked(tmp_path):
    options = {"model": "linear", "n": 40}
    plain, moved = learner(**options), learner(**options, threshold="f1")
    assert plain.ask(20).rows.tolist() == moved.ask(20).rows.tolist()
    assert "moved_thresholds" not in vars(moved.model.config)
    with moved.predicting() as model:
        thresholds = model.config.moved_thresholds
        assert model is moved.model
    assert set(thresholds) == set(NAMES)
    before, after = plain.predict_proba(TEXTS), moved.predict_proba(TEXTS)
    cut = np.array([thresholds[name] for name in NAMES])
    assert (after > 0.5).tolist() == (before > cut).tolist()
    assert (after > 0.5).sum() != (before > 0.5).sum()
    assert plain.predict_proba(TEXTS).tolist() == before.tolist()
    moved.save_pretrained(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["moved_thresholds"] == pytest.approx(thresholds)


def test_a_pipeline_of_transformers_predicts_by_them(tmp_path):
    encoder = save_encoder(tmp_path / "encoder")
    made = learner(40, model=str(encoder), freeze_encoder=True, strategy="random", threshold="f1")
    made.save_pretrained(tmp_path / "model")
    (found,) = pipeline("text-classification", str(tmp_path / "model"), top_k=None)([TEXTS[50]])
    expected = dict(zip(NAMES, made.predict_proba([TEXTS[50]])[0].tolist(), strict=True))
    assert {each["label"]: each["score"] for each in found} == pytest.approx(expected, abs=1e-4)
    with made.predicting() as model:
        assert model.config.moved_thresholds


def test_where_there_are_no_thresholds_the_option_is_refused():
    with pytest.raises(ConfigError, match="threshold is for linear and for frozen encoders, and model is cnn"):
        learner(model="cnn", threshold="f1")
    with pytest.raises(ConfigError, match="threshold is for two classes, or for any number of labels with task multi"):
        make_learner(TEXTS, ["a", "b", "c"], model="linear", threshold="f1")
