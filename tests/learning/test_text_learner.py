"""The learner for scripts and notebooks: what people give it, what it gives back, and how it says what is wrong."""

import datasets
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from dami_text import DamiError, Query, RunConfig, load_learner, make_learner
from dami_text.config.registry import STRATEGIES
from dami_text.errors import ColumnError, ConfigError, DataError, DataTypeError, QueryError, RecordError, TrainingError
from dami_text.models.text_cnn import TextCNNForSequenceClassification
from dami_text.models.unseen import UNSEEN  # what a class without a label has

WORDS = ("good", "great", "lively", "bad", "dull", "stale")
TEXTS = [f"the {noun} is {word}" for word in WORDS for noun in ("plot", "cast", "film", "music", "end")]
LABELS = [("pos", "neg")[i // 15] for i in range(30)]
FIRST = [0, 15, 1, 16]


def learner(**options):
    return make_learner(TEXTS, ["neg", "pos"], **{"model": "linear", **options})


def told(**options):
    made = learner(**options)
    made.tell(FIRST, [LABELS[row] for row in FIRST])
    return made


# the table of what was tried --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["badge", "margin", "random", "coreset"])
def test_a_strategy_by_its_name(name):
    assert len(told(strategy=name).ask(3)) == 3


def test_a_wrong_strategy_is_refused_at_once_as_by_the_command_line():
    with pytest.raises(ConfigError) as here:
        learner(strategy="bagde")
    with pytest.raises(ConfigError) as there:
        RunConfig.of_options({"strategy": "bagde"})
    assert str(here.value) == str(there.value).replace("--strategy", "strategy")
    assert isinstance(here.value, ValueError)


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        (["neg", "pos"], [0, 1]),
        ([0, 1], [0, 1]),
        (np.array([0, 1]), [0, 1]),
        (np.array(["neg", "pos"]), [0, 1]),
        (pd.Series(["neg", "pos"], index=[7, 3]), [0, 1]),
        (pd.Series([0.0, 1.0]), [0, 1]),
        (pd.Categorical(["neg", "pos"]), [0, 1]),
        ((name for name in ("pos", "neg")), [1, 0]),
    ],
)
def test_labels_are_names_or_numbers(labels, wanted):
    made = learner()
    made.tell(pd.Series([3, 5]), labels)
    np.testing.assert_array_equal(made.core.labels, wanted)
    assert made.labels[["row", "label"]].values.tolist() == [
        [3, made.class_names[wanted[0]]],
        [5, made.class_names[wanted[1]]],
    ]


def test_booleans_are_labels_of_classes_that_are_called_so():
    made = make_learner(TEXTS, ["False", "True"], model="linear")
    made.tell([2, 3], [True, np.False_])
    np.testing.assert_array_equal(made.core.labels, [1, 0])
    with pytest.raises(
        DataTypeError, match="row 2 has the label True, and the classes are not two named true and false"
    ):
        learner().tell([2], [True])


def test_names_that_are_numbers_are_not_taken_for_other_numbers():
    made = make_learner(TEXTS, ["1", "2", "3"], model="linear")
    made.tell([0], ["2"])
    np.testing.assert_array_equal(made.core.labels, [1])
    for label in (1, 3):
        with pytest.raises(
            DataError, match=f"row 1 has the label {label}, which is the name of one class and the number"
        ):
            made.tell([1], [label])
    made = make_learner(TEXTS, ["0", "1"], model="linear")
    made.tell([0, 1], [0, "1"])
    np.testing.assert_array_equal(made.core.labels, [0, 1])


def test_a_row_that_is_told_again_is_corrected_and_that_is_recorded():
    made = told()
    made.tell([1, 2], ["neg", "pos"])
    assert made.round == 1
    np.testing.assert_array_equal(made.pool.labeled, [0, 1, 2, 15, 16])
    events = made.history
    assert events["event"].tolist() == ["told", "told", "corrected"]
    assert events.iloc[2][["rows", "labels", "before"]].tolist() == [[1], ["neg"], ["pos"]]
    made.tell([1, 2], ["neg", "pos"])
    assert (made.round, len(made.history)) == (1, 3), "the same labels again change nothing"


@pytest.mark.parametrize(
    ("rows", "labels", "error", "message"),
    [
        ([5, 60], ["neg", "pos"], DataError, "row 60 is not in the pool; rows are from 0 to 29"),
        ([-1], ["neg"], DataError, "row -1 is not in the pool"),
        ([5, 6, 5], ["neg"] * 3, DataError, "row 5 is there twice; give each row once"),
        ([5, 6], ["neg"], DataError, "got 2 rows and 1 labels; give one label for each row"),
        ([], [], DataError, "got 0 rows and 0 labels"),
        ([5, 6], ["neg", "good"], DataError, "row 6 has the label 'good', which is no class; labels are"),
        ([5, 6], ["neg", 2], DataError, "row 6 has the label 2, which is no class"),
        ([5, 6], ["neg", 0.5], DataTypeError, "row 6 has the label 0.5, which is no class"),
        ([5, 6], [0, float("inf")], DataTypeError, "row 6 has the label inf"),
        ([5, 6], ["neg", None], DataError, "row 6 has no label"),
        ([5, 6], ["neg", float("nan")], DataError, "row 6 has no label"),
        ([5, 6], ["neg", pd.NA], DataError, "row 6 has no label"),
        ([5, 6], "neg", DataTypeError, "labels is 'neg'; it must be a list"),
        (5, ["neg"], DataTypeError, "rows is 5; it must be a list"),
        ([5.5], ["neg"], DataTypeError, "row 5.5 is no integer"),
        (["5"], ["neg"], DataTypeError, "row '5' is no integer"),
        ([True], ["neg"], DataTypeError, "row True is no integer"),
        (None, None, DataTypeError, "rows is None; it must be a list"),
        ([5], [["neg"]], DataTypeError, "row 5 has the label"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_own_message_and_nothing_is_taken(rows, labels, error, message):
    made = told()
    model, events = made.trained_model(), len(made.history)
    with pytest.raises(error, match=message):
        made.tell(rows, labels)
    assert (made.round, made.model is model, len(made.history)) == (0, True, events)
    np.testing.assert_array_equal(made.pool.labeled, sorted(FIRST))


def test_predictions_probabilities_and_a_score_are_those_of_the_model():
    made = told()
    new = ["a good and lively night", "stale and dull"]
    probabilities = made.predict_proba(new)
    assert probabilities.shape == (2, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert made.predict(pd.Series(new)).tolist() == [made.class_names[i] for i in probabilities.argmax(axis=1)]
    np.testing.assert_allclose(made.predict_proba(TEXTS)[4], made.predict_proba([TEXTS[4]])[0], atol=1e-6)
    share = np.mean(made.predict(TEXTS) == np.array(LABELS))
    assert made.score(TEXTS, LABELS) == pytest.approx(share)
    assert made.history.iloc[-1][["event", "metric"]].tolist() == ["scored", "accuracy"]
    assert made.predict([]).tolist() == []
    assert made.predict_proba([]).shape == (0, 2)
    with pytest.raises(ConfigError, match="metric is 'acuracy'; it must be one of accuracy, "):
        made.score(TEXTS, LABELS, metric="acuracy")
    with pytest.raises(DataError, match="got 30 texts and 2 labels"):
        made.score(TEXTS, ["pos", "neg"])
    with pytest.raises(DataTypeError, match="texts is one string, 'good'"):
        made.predict("good")
    with pytest.raises(DataError, match="nothing is labelled yet; tell labels first"):
        learner().predict(["good"])


def test_texts_are_added_and_a_wrong_one_adds_nothing():
    made = told()
    made.exclude([20])
    rows = made.add_texts(["a new one", "the plot is new"], labels=["pos", None])
    assert rows.tolist() == [30, 31]
    assert made.pool.labeled.tolist() == [*sorted(FIRST), 30]
    assert 20 not in made.ask(32).rows
    assert made.pool.texts.text(31) == "the plot is new"
    with pytest.raises(DataError):
        made.add_texts(["one", None])
    with pytest.raises(DataError):
        made.add_texts(["one"], labels=["good"])
    assert len(made.pool) == 32


@pytest.mark.parametrize(
    "options", [{}, {"strategy": "badge"}, {"model": "cnn", "steps": 20, "word_vectors": "random"}]
)
def test_a_learner_that_was_saved_asks_for_what_it_would_have_asked_for(options, tmp_path):
    made = told(seed=5, **options)
    made.exclude([20])
    query = made.ask(4)
    made.tell(query.rows, [LABELS[row] for row in query.rows])
    made.tell([0], ["neg"])
    made.save(tmp_path / "saved")
    again = load_learner(tmp_path / "saved")
    first, second = made.ask(6), again.ask(6)
    np.testing.assert_array_equal(first.rows, second.rows)
    assert first.reasons == second.reasons
    assert (again.round, repr(again)) == (made.round, repr(made))
    pd.testing.assert_frame_equal(again.history, made.history)
    pd.testing.assert_frame_equal(again.labels, made.labels)
    np.testing.assert_array_equal(made.predict_proba(TEXTS), again.predict_proba(TEXTS))
    made.save(tmp_path / "saved")  # over itself
    assert sorted(file.name for file in (tmp_path / "saved").iterdir()) == ["learner.json", "texts.parquet"]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(RecordError, match="holds no learner; choose another folder"):
        told().save(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(RecordError, match="holds no learner that can be read"):
        load_learner(tmp_path)
    told().save(tmp_path / "saved")
    state = tmp_path / "saved" / "learner.json"
    for damaged in (
        "{",
        "[]",
        '{"format": 1}',
        '{"format": 2}',
        state.read_text(encoding="utf-8").replace("[0, 15", "[0, 99"),
    ):
        state.write_text(damaged, encoding="utf-8")
        with pytest.raises(DamiError):
            load_learner(tmp_path / "saved")


def test_every_option_of_the_command_line_is_an_argument():
    made = learner(model="cnn", seed=7, query_size=3, steps=11, learning_rate=1e-2, word_vectors="random")
    assert (made.config.loop.seed, made.config.training.steps, made.query_size) == (7, 11, 3)
    made.tell(FIRST, [LABELS[row] for row in FIRST])
    assert len(made.ask()) == 3
    assert learner(query_size=0.1).query_size == 3
    for options, message in [
        ({"stepz": 3}, r"unknown options \['stepz'\]"),
        ({"seed": -1}, "seed is -1; it must be from 0 to"),
        ({"steps": 10}, "steps has no effect on model linear"),
        ({"epochs": 3}, "epochs has no effect on a learner of your own texts"),
        ({"dataset": "mr"}, "dataset has no effect on a learner of your own texts"),
        ({"query_size": "ten"}, "query_size is 'ten'; it must be a count"),
        ({"strategy": "dami"}, "strategy dami needs .* works with it: random, .*margin"),
        ({"model": 3}, "model is int, without fit and predict_proba"),
        ({"strategy": 3}, "strategy is 3; it must be a name, a function"),
        ({"config": RunConfig()}, "config and model are given"),
        ({"config": {}}, "config is {}; it must be a RunConfig"),
        ({"model": "own-classifier"}, "is no name to choose; give the object itself"),
    ]:
        with pytest.raises(ConfigError, match=message):
            learner(**options)


def test_a_config_in_place_of_options():
    made = make_learner(TEXTS, ["neg", "pos"], RunConfig.of(model="linear", strategy="entropy", seed=3))
    assert (made.config.strategy.strategy, made.config.loop.seed, made.query_size) == ("entropy", 3, 10)
    assert make_learner(TEXTS, ["neg", "pos"], RunConfig.of(model="linear"), lambda m, p, n, r: p.unlabeled[:n])


def test_the_default_strategy_follows_the_model():
    assert learner().config.strategy.strategy == "margin"
    assert learner(model="cnn", word_vectors="random").config.strategy.strategy == "dami"


# texts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "texts",
    [
        TEXTS,
        tuple(TEXTS),
        np.array(TEXTS),
        pd.Series(TEXTS, index=range(100, 130)),
        iter(TEXTS),
        pd.DataFrame({"text": TEXTS, "n": range(30)}),
        datasets.Dataset.from_dict({"text": TEXTS, "n": range(30)}),
        datasets.Dataset.from_dict({"text": TEXTS})["text"],
    ],
    ids=lambda texts: type(texts).__name__,
)
def test_texts_in_the_forms_that_people_have_them_in(texts):
    made = make_learner(texts, ["neg", "pos"], model="linear")
    assert [made.pool.texts.text(row) for row in (0, 29)] == [TEXTS[0], TEXTS[29]]


def test_labels_that_are_there_already_are_told_at_once():
    known = ["pos", None, float("nan"), "", -1, "neg", *[None] * 24]
    frame = pd.DataFrame({"body": TEXTS, "title": ["", None, *["t"] * 28], "stars": known})
    made = make_learner(frame, ["neg", "pos"], model="linear", text_column="title + body", labels="stars")
    assert made.pool.labeled.tolist() == [0, 5]
    assert [made.pool.texts.text(row) for row in (0, 1, 2)] == [TEXTS[0], TEXTS[1], f"t\n{TEXTS[2]}"]
    classes = datasets.ClassLabel(names=["pos", "neg"])
    data = datasets.Dataset.from_dict({"text": TEXTS, "y": [0, 1, -1, *[None] * 27]})
    made = make_learner(data.cast_column("y", classes), ["neg", "pos"], model="linear", labels="y")
    assert made.labels["label"].tolist() == ["pos", "neg"], "by name, not by number"
    with pytest.raises(DataError, match="got 30 texts and 3 labels"):
        learner(labels=["pos", None, "neg"])
    with pytest.raises(ColumnError, match="labels is 'y', which is no column among 'body', 'title', 'stars'"):
        make_learner(frame, ["neg", "pos"], model="linear", text_column="body", labels="y")
    with pytest.raises(
        ColumnError, match="no column 'text' among 'body', 'title', 'stars'; name the texts' with text_column"
    ):
        make_learner(frame, ["neg", "pos"], model="linear")


# what is shown ----------------------------------------------------------------------------------------------------


def test_a_query_and_an_explanation_show_untrusted_text_and_do_nothing_with_it():
    evil = "<script>alert(1)</script> \x1b[31mred\u202e good"
    made = make_learner([*TEXTS, evil], ["neg", "pos"], model="linear")
    made.tell(FIRST, [LABELS[row] for row in FIRST])
    query = made.ask(31)
    assert len(query) == 27, "all that are left"
    assert set(query.to_pandas().columns) == {"row", "text", "score"}
    assert query.texts[query.rows.tolist().index(30)] == evil
    short = made.ask(27)
    for shown in (repr(short), repr(made.explain([evil]))):
        assert not any(c in shown for c in "\x1b\u202e")
    assert "&lt;script&gt;alert" in query._repr_html_()
    for html in (query._repr_html_(), made.explain([evil])._repr_html_()):
        assert "<script>" not in html
        assert "⟨U+202E⟩" in html
        assert not any(c in html for c in "\x1b\u202e")


def test_the_word_that_decides_weighs_most():
    (found,) = told().explain(["the show is stale"])
    words = dict(found.words)
    assert list(words) == ["the", "show", "is", "stale"]
    assert [found.text[start:end] for start, end in found.places] == list(words)
    assert min(words.values()) >= 0
    assert told().explain([]) == []


# a model and a strategy of one's own ------------------------------------------------------------------------------


class Embedding(ClassifierMixin, BaseEstimator):
    """Nearest class mean on counts of letters, with what `embed` gives."""

    def __init__(self, random_state=None, scale=1.0):
        self.random_state, self.scale = random_state, scale

    def embed(self, texts):
        return np.array([[text.count(letter) * self.scale for letter in "abcdefg"] for text in texts])

    def fit(self, texts, labels):
        self.classes_ = np.unique(labels)
        features = self.embed(texts)
        self.means_ = np.array([features[labels == name].mean(axis=0) for name in self.classes_])
        return self

    def predict_proba(self, texts):
        distances = np.linalg.norm(self.embed(texts)[:, None] - self.means_, axis=2)
        p = np.exp(-distances)
        return p / p.sum(axis=1, keepdims=True)


def pipeline():
    return make_pipeline(TfidfVectorizer(), LogisticRegression(C=10))


def test_a_pipeline_of_scikit_learn_predicts_what_it_predicts_alone():
    mine = pipeline()
    made = make_learner(TEXTS, ["neg", "never", "pos"], model=mine)
    made.tell(FIRST, [LABELS[row] for row in FIRST])
    alone = pipeline().fit([TEXTS[row] for row in FIRST], [LABELS[row] for row in FIRST])
    found = made.predict_proba(TEXTS)
    np.testing.assert_allclose(found[:, [0, 2]], alone.predict_proba(TEXTS), atol=1e-6)
    np.testing.assert_array_equal(found[:, 1], 0)
    assert not hasattr(mine[-1], "coef_"), "what was given is cloned"
    margins = np.sort(alone.predict_proba(TEXTS), axis=1)
    left = [row for row in range(30) if row not in FIRST]
    closest = min(left, key=lambda row: margins[row, 1] - margins[row, 0])
    assert margins[made.ask(1).rows[0]] == pytest.approx(margins[closest], abs=1e-6)
    assert UNSEEN < -100


def test_an_own_model_is_asked_by_every_strategy_that_can_and_refused_by_the_others():
    by_probabilities = {"random", "least-confidence", "margin", "entropy", "positives"}
    by_features = {"coreset", "kmeans-features", "badge", "cluster-margin", "typiclust", "probcover", "cal"}
    by_features.add("expected-errors")
    for model, works in [
        (pipeline(), by_probabilities | by_features),
        (Embedding(), by_probabilities | by_features),
        (make_pipeline(TfidfVectorizer(), MultinomialNB()), by_probabilities),
    ]:
        for name in STRATEGIES:
            if name in works:
                made = told(model=model, strategy=name)
                assert len(set(made.ask(5).rows.tolist())) == 5
                made.tell([2], ["pos"])
                assert len(made.ask(3)) == 3
            else:
                with pytest.raises(ConfigError) as error:
                    learner(model=model, strategy=name)
                named = str(error.value).rpartition("works with it: ")[2].split(", ")
                assert set(named) == works


def test_features_are_what_embed_gives():
    made = told(model=Embedding(scale=2.0), strategy="coreset")
    letters = np.array([[2.0 * text.count(letter) for letter in "abcdefg"] for text in TEXTS])
    left = np.array([row for row in range(30) if row not in FIRST])
    farthest = np.linalg.norm(letters[left][:, None] - letters[FIRST], axis=2).min(axis=1)
    query = made.ask(1)
    assert query.reasons[0]["distance"] == pytest.approx(farthest.max(), rel=1e-5)


def test_random_states_that_are_left_open_depend_on_seed_and_round_alone():
    def states(seed, given=None):
        made = told(model=Embedding(given), seed=seed)
        found = [made.trained_model().estimator.random_state]
        made.tell([2], ["pos"])
        return [*found, made.trained_model().estimator.random_state]

    assert states(0) == states(0)
    assert len({*states(0), *states(1)}) == 4
    assert states(0, 11) == [11, 11]


def test_labels_of_one_class_are_predicted_and_an_own_model_says_what_failed(caplog):
    made = learner(model=pipeline())
    made.tell([0, 1], ["pos", "pos"])
    assert made.predict(["whatever"]).tolist() == ["pos"]
    assert len(made.ask(2)) == 2
    made = told(model=LogisticRegression())
    with pytest.raises(
        TrainingError, match=r"fit of the model failed \(ValueError: .*\); it must take a list of texts"
    ):
        made.ask(1)
    with pytest.raises(ConfigError, match="model is LogisticRegression, a class"):
        learner(model=LogisticRegression)
    (words,) = told(model=pipeline()).explain(["so good"])
    assert dict(words.words)["good"] > dict(words.words)["so"] == 0


def test_an_own_classifier_and_strategy_are_given_again_after_loading(tmp_path):
    def lowest(model, pool, n, rng):
        return pool.unlabeled[:n]

    made = told(model=pipeline(), strategy=lowest)
    assert made.ask(3).rows.tolist() == [2, 3, 4]
    made.save(tmp_path / "saved")
    with pytest.raises(ConfigError, match=r"had a model of your own; give it again, as model=\.\.\."):
        load_learner(tmp_path / "saved", strategy=lowest)
    again = load_learner(tmp_path / "saved", model=pipeline(), strategy=lowest)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), made.predict_proba(TEXTS))
    assert again.ask(3).rows.tolist() == [2, 3, 4]
    with pytest.raises(ConfigError, match="a classifier of your own is no model of transformers"):
        made.save_pretrained(tmp_path / "model")


@pytest.mark.parametrize("strategy", ["dami", "badge", "egl", "margin", "bald"])
def test_an_own_class_of_networks_is_trained_and_asked(strategy):
    made = told(model=TextCNNForSequenceClassification, strategy=strategy, steps=5)
    assert len(made.ask(4)) == 4
    assert made.config.training.steps == 5
    with pytest.raises(ConfigError, match="word_vectors has no effect on model own-network"):
        learner(model=TextCNNForSequenceClassification, word_vectors="random")


class Mine:
    def query(self, model, pool, n, rng):
        return Query.of(pool.unlabeled[-n:], [{"why": "last"}] * n)


@pytest.mark.parametrize(
    "strategy",
    [Mine(), lambda model, pool, n, rng: pool.unlabeled[-n:], lambda m, p, n, r: list(map(int, p.unlabeled[-n:]))],
)
def test_a_strategy_is_a_function_or_an_object(strategy):
    assert told(strategy=strategy).ask(2).rows.tolist() == [28, 29]


@pytest.mark.parametrize("found", [None, "ab", [1.5, 2.0], [[2, 3]], [None, 2]])
def test_a_function_that_returns_no_rows_is_told_so(found):
    with pytest.raises(QueryError, match="it must be a list of rows"):
        told(strategy=lambda model, pool, n, rng: found).ask(2)


@pytest.mark.parametrize(
    ("n", "error"),
    [(0, QueryError), (-3, QueryError), ("5", DataTypeError), (2.5, DataTypeError), (True, DataTypeError)],
)
def test_a_number_to_ask_for_is_a_number(n, error):
    with pytest.raises(error):
        told().ask(n)
