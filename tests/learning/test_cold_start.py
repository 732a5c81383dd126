"""The first query: at random, spread over features, by class, or by a model that was trained before."""

import json
import shutil

import numpy as np
import pytest
from accelerate.state import AcceleratorState
from conftest import make_texts, small_model
from encoder_cases import save_encoder, tiny_model, tiny_tokenizer
from strategy_cases import pool_of

from dami_text.cli import run as cli
from dami_text.config.run import RunConfig
from dami_text.data.pool import Pool
from dami_text.errors import ConfigError
from dami_text.learning.cold_start import balanced_rows, build_first_query, random_rows
from dami_text.learning.learner import ActiveLearner
from dami_text.models.inference import predict_probabilities
from dami_text.models.loading import load_classifier
from dami_text.strategies import KMeansFeatures, Query, RandomSampling, Uncertainty

NAMES = ["neg", "pos"]


def first_query(model=None, strategy=None, labels=None, **options):
    return build_first_query(RunConfig.of(**options), strategy or RandomSampling(), lambda: model, NAMES, labels)


def test_at_random_the_rows_are_the_generators():
    pool = pool_of(make_texts(50))
    rows = first_query()(pool, 7, np.random.default_rng(3)).rows
    assert rows.tolist() == np.random.default_rng(3).choice(50, 7, replace=False).tolist()


def test_spread_over_the_features_of_the_untrained_model():
    pool = pool_of(make_texts(50))
    model = small_model("cnn", len(pool.texts.tokenizer))
    query = first_query(model, cold_start="kmeans-features")(pool, 6, np.random.default_rng(0))
    expected = KMeansFeatures().query(model, pool, 6, np.random.default_rng(0))
    assert query.rows.tolist() == expected.rows.tolist()
    assert [reason["cluster_size"] for reason in query.reasons] == [r["cluster_size"] for r in expected.reasons]


@pytest.mark.parametrize(
    ("counts", "n", "wanted"),
    [([90, 10], 10, [5, 5]), ([97, 3], 10, [7, 3]), ([40, 40, 20], 9, [3, 3, 3]), ([50, 50], 100, [50, 50])],
)
def test_balanced_takes_as_many_of_each_class_as_far_as_there_are(counts, n, wanted):
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    rows = balanced_rows(labels, n, np.random.default_rng(0))
    assert len(set(rows.tolist())) == n
    assert np.bincount(labels[rows], minlength=len(counts)).tolist() == wanted
    others = balanced_rows(labels, n, np.random.default_rng(1))
    assert n == len(labels) or set(rows.tolist()) != set(others.tolist())


def test_what_balanced_leaves_over_goes_to_classes_at_random():
    labels = np.arange(40) % 4
    picked = [np.bincount(labels[balanced_rows(labels, 6, np.random.default_rng(i))]) for i in range(40)]
    assert all(sorted(counts.tolist()) == [1, 1, 2, 2] for counts in picked)
    assert (np.sum(picked, axis=0) > 40).all(), "no class is left out every time"


def test_balanced_needs_labels():
    with pytest.raises(ConfigError, match="needs the labels of all texts, which a simulation alone has"):
        first_query(cold_start="balanced")


@pytest.mark.parametrize("kind", ["cnn", "bert"])
def test_a_trained_model_chooses_with_its_own_tokenizer(kind, tmp_path):
    """A pool encoded for a CNN is asked of a model with another vocabulary, which reads the texts itself."""
    texts, folder = make_texts(40), tmp_path / "run" / "model"
    own = pool_of(texts, kind=kind)
    named = {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}
    model = tiny_model(**named) if kind == "bert" else small_model("cnn", len(own.texts.tokenizer), **named)
    model.save_pretrained(folder)
    own.texts.tokenizer.save_pretrained(folder)
    pool = pool_of([f"w39 {text}"[4:] for text in texts])
    for given in (folder, folder.parent):
        query = first_query(strategy=Uncertainty("margin"), init_model=str(given))(pool, 5, np.random.default_rng(0))
        probabilities = predict_probabilities(model, own.texts, np.arange(40))
        gaps = np.abs(probabilities[:, 0] - probabilities[:, 1])
        assert query.rows.tolist() == np.argsort(gaps, kind="stable")[:5].tolist()


def test_a_trained_model_whose_tokenizer_knows_no_limit_reads_what_the_model_takes(tmp_path):
    tiny_model(id2label=dict(enumerate(NAMES)), label2id={"neg": 0, "pos": 1}).save_pretrained(tmp_path)
    tiny_tokenizer(int(1e30)).save_pretrained(tmp_path)
    assert load_classifier(tmp_path, 512)[1].model_max_length == 32, "the model's positions"
    assert load_classifier(tmp_path, 9)[1].model_max_length == 9
    pool = pool_of(["w1 " * 100, *make_texts(9)])
    query = first_query(strategy=Uncertainty("margin"), init_model=str(tmp_path))(pool, 10, np.random.default_rng(0))
    assert sorted(query.rows.tolist()) == list(range(10))


def test_a_trained_model_chooses_among_the_rows_on_offer_and_a_subsample_of_them(tmp_path):
    save_encoder(tmp_path, id2label=dict(enumerate(NAMES)), label2id={"neg": 0, "pos": 1})
    pool = pool_of(make_texts(30)).without(np.arange(10))
    considered = []

    class Lowest:
        def query(self, model, pool, n, rng):
            considered.append(set(pool.unlabeled.tolist()))
            return Query.of(pool.unlabeled[:n])

    for subsample in (None, 8, 2):
        query = first_query(strategy=Lowest(), init_model=str(tmp_path), pool_subsample=subsample)
        query(pool, 4, np.random.default_rng(0))
    assert considered[0] == set(range(10, 30)), "what is held out is not on offer"
    assert [len(rows) for rows in considered] == [20, 8, 4], "at least as many as are asked for"
    assert all(rows < considered[0] for rows in considered[1:])


def test_a_trained_model_of_other_classes(tmp_path):
    save_encoder(tmp_path)
    with pytest.raises(ConfigError, match=r"has the classes \['LABEL_0', 'LABEL_1'\], the data set \['neg', 'pos'\]"):
        first_query(init_model=str(tmp_path))(pool_of(make_texts(2)), 1, np.random.default_rng(0))


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no model \(no config.json\); give a run's folder model/"):
        first_query(init_model=str(tmp_path))(pool_of(make_texts(2)), 1, np.random.default_rng(0))


def test_one_first_query_only():
    with pytest.raises(ConfigError, match="cold_start is 'balanced'; it must be left out where init_model"):
        RunConfig.of(init_model="somewhere", cold_start="balanced")


def test_a_learner_asks_before_anything_is_labelled():
    pool = pool_of(make_texts(30))
    learner = ActiveLearner(pool.texts, lambda: None, RandomSampling(), 2, seed=5)
    query = learner.ask(6)
    assert learner.model is None
    assert learner.ask(6).rows.tolist() == query.rows.tolist()
    other = ActiveLearner(pool.texts, lambda: None, RandomSampling(), 2, seed=6)
    assert other.ask(6).rows.tolist() != query.rows.tolist()
    assert set(random_rows(Pool(pool.texts, [1, 2]), 28, np.random.default_rng(0)).rows) == {0, *range(3, 30)}


@pytest.fixture
def own_precision():
    """A process has one precision: forget that of the tests before, and this one's after it."""
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


def test_a_run_starts_from_another_runs_model(reviews, tmp_path, own_precision):
    options = ["--word-vectors", "random", "--word-vector-dim", "4", "--epochs", "1", "--epoch-steps", "2"]
    sizes = ["--initial-size", "10", "--query-size", "5", "--budget", "15", "--mixed-precision", "bf16"]
    command = ["--dataset", str(reviews), *options, *sizes, "--output-dir"]
    assert cli.run_al([*command, str(tmp_path / "first")]) == 0
    again = [*command, str(tmp_path / "second"), "--init-model", str(tmp_path / "first" / "model")]
    assert cli.run_al(again) == 0
    lines = (tmp_path / "second" / "rounds.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "second" / "rounds.jsonl").write_text(lines[0])
    before = (tmp_path / "second" / "queries.jsonl").read_bytes()
    shutil.rmtree(tmp_path / "first")
    assert cli.run_al(again) == 0
    assert (tmp_path / "second" / "queries.jsonl").read_bytes() == before
    asked = [json.loads(line) for line in before.splitlines()]
    assert [line["round"] for line in asked] == [-1] * 10 + [0] * 5
    assert all(line["cluster_size"] >= 1 for line in asked), "the start's rows have reasons too"
