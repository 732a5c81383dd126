"""What a run may not know: it is told something else, and what it does must be the same."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import encode_texts, small_model

from dami_text.config.options import STRATEGIES, StrategyConfig, TrainingConfig
from dami_text.config.run import RunConfig
from dami_text.data.pool import Oracle, Pool
from dami_text.data.texts import LabeledTexts
from dami_text.learning.cold_start import build_first_query
from dami_text.learning.jobs import in_turn, result_of
from dami_text.learning.preparation import learner_of, prepare
from dami_text.models.training import train
from dami_text.processes import make_accelerator
from dami_text.randomness import numpy_stream, torch_stream
from dami_text.simulation.cells import _first_round
from dami_text.simulation.run import Run
from dami_text.strategies import KMeansFeatures, build_strategy

N = 150
FAST = {"word_vector_dim": 6, "epochs": 8, "epoch_steps": 4, "learning_rate": 1e-2, "min_document_frequency": 1}
WORDS = {"pos": ["good", "great", "lively", "fresh"], "neg": ["bad", "dull", "boring", "stale"]}


def write(file, rows):
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    return str(file)


def rows_of_texts():
    """Rows of text and label, each text with a word that is its own."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(N):
        label = ("neg", "pos")[i % 2]
        first, second = rng.choice(WORDS[label], 2)
        rows.append([f"own{i} the film is {first} and the plot {second}", label])
    return rows


def places(data):
    """The rows in the file that are in each split, by the word that is a text's own."""
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    return {
        name: [int(part.texts.text(row).split()[0].removeprefix("own")) for row in part.rows]
        for name, part in parts.items()
    }


def first_model(config, data):
    """What the model of the first round learns, as its weights, and what it asks for."""
    learner = learner_of(config, data.train.texts, data.class_names, data.source, validation=data.validation)
    query = learner.ask(20)
    learner.tell(query.rows, Oracle(data.train.labels).reveal(query.rows))
    learner.train()
    weights = {name: weight.clone() for name, weight in learner.trained_model().state_dict().items()}
    return weights, learner.ask(10).rows.tolist()


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A run's options, its data, and the same data with other texts and labels in the test split."""
    folder = tmp_path_factory.mktemp("texts")
    rows = rows_of_texts()
    config = RunConfig.of(dataset=write(folder / "a.csv", [["text", "label"], *rows]), **FAST)
    data = prepare(config)
    for place in places(data)["test"]:
        text, label = rows[place]
        rows[place] = [f"{text.split()[0]} unheard words and good stale noise", {"pos": "neg", "neg": "pos"}[label]]
    other = RunConfig.of(dataset=write(folder / "b.csv", [["text", "label"], *rows]), **FAST)
    return config, data, prepare(other)


def test_the_vocabulary_is_of_the_training_split_alone(texts):
    _, data, _ = texts
    words = {word for row in data.train.rows for word in data.train.texts.text(row).lower().split()}
    assert data.source.preprocessor.get_vocab().keys() == words | {"[PAD]", "[UNK]"}


def test_vocabulary_and_word_vectors_know_nothing_of_the_test_split(texts):
    _, data, other = texts
    assert places(data) == places(other)
    assert data.test.texts.text(0) != other.test.texts.text(0)
    assert data.source.preprocessor.get_vocab() == other.source.preprocessor.get_vocab()
    assert np.array_equal(data.source.vectors, other.source.vectors)


def test_training_and_query_know_nothing_of_the_test_split(texts):
    config, data, other = texts
    weights, rows = first_model(config, data)
    weights_other, rows_other = first_model(config, other)
    assert same(weights, weights_other)
    assert rows == rows_other


def test_a_run_stops_its_training_by_the_validation_split_alone(texts, tmp_path):
    config, data, other = texts
    config = config.changed(budget=40, initial_size=20, query_size=20)
    records = []
    for name, found in (("a", data), ("b", other)):
        run = Run(config, tmp_path / name, data=found, save_model=False)
        records.append([(line["epochs"], line["steps"], line["validation"]) for line in run.rounds()])
    assert records[0] == records[1]


def test_a_validation_split_does_decide(texts):
    config, data, _ = texts
    flipped = replace(data.validation, labels=1 - data.validation.labels)
    assert not same(first_model(config, data)[0], first_model(config, replace(data, validation=flipped))[0])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_strategy_knows_the_labels_of_texts_that_it_may_ask_for(texts, strategy):
    config, data, _ = texts
    config = config.changed(strategy=strategy)
    queries = []
    for flip in (False, True):
        learner = learner_of(config, data.train.texts, data.class_names, data.source, validation=data.validation)
        rows = learner.ask(20).rows
        labels = data.train.labels.copy()
        unasked = np.setdiff1d(np.arange(len(labels)), rows)
        labels[unasked] = 1 - labels[unasked] if flip else labels[unasked]
        learner = learner_of(
            config, data.train.texts, data.class_names, data.source, validation=data.validation, labels=labels
        )
        learner.tell(rows, labels[rows])
        queries.append(learner.ask(8).rows.tolist())
    assert queries[0] == queries[1]


def test_a_pool_carries_no_labels_but_those_that_were_told(texts):
    config, data, _ = texts
    assert data.train.texts.as_dataset().column_names == ["text"]
    known = ("labeled", "unlabeled", "labels")
    assert not any("label" in name for name in vars(Pool(data.train.texts)) if name not in known)
    learner = learner_of(config, data.train.texts, data.class_names, data.source, labels=data.train.labels)
    assert learner.pool.labels.tolist() == []
    learner.tell([7, 3], data.train.labels[[7, 3]])
    assert learner.pool.labels.tolist() == data.train.labels[[3, 7]].tolist(), "those that were told"


def test_the_encoder_of_tables_is_fitted_on_the_training_split_alone(tmp_path):
    rng = np.random.default_rng(0)
    rows = [[i, rng.normal(), "abc"[i % 3], i % 2] for i in range(N)]
    header = ["n", "x", "kind", "label"]
    options = {"task": "tabular", "model": "mlp"}
    data = prepare(RunConfig.of(dataset=write(tmp_path / "a.csv", [header, *rows]), **options))
    test = [int(number) for number in _first_column(data.test)]
    assert len(test) == 30
    for place in test:
        rows[place][1:3] = [1e6 * rng.normal(), f"new{place}"]
    other = prepare(RunConfig.of(dataset=write(tmp_path / "b.csv", [header, *rows]), **options))
    assert _first_column(other.test) == _first_column(data.test)
    assert np.array_equal(data.train.texts.matrix, other.train.texts.matrix)
    assert not np.array_equal(data.test.texts.matrix, other.test.texts.matrix)


def _first_column(part):
    """The column n of a split of a table, whose rows are shown as the values of their columns."""
    return [part.texts.text(row).split("n=")[1].split(",")[0].split(";")[0] for row in part.rows]


# Streams and defaults ---------------------------------------------------------------------------------------------


def test_the_untrained_model_of_the_start_is_drawn_from_its_own_stream(texts):
    config, data, _ = texts
    config = config.changed(cold_start="kmeans-features", seed=5)
    pool = Pool(data.train.texts)
    learner = learner_of(config, data.train.texts, data.class_names, data.source)
    torch.manual_seed(77)
    found = learner.ask(9).rows
    with torch_stream(5, 0, "cold start"):
        model = learner._new_model()
    expected = KMeansFeatures().query(model.eval(), pool, 9, numpy_stream(5, 0, "initial rows")).rows
    assert found.tolist() == expected.tolist()
    first = build_first_query(config, build_strategy(config.strategy), learner._new_model, data.class_names)
    torch.manual_seed(78)
    assert first(pool, 9, numpy_stream(5, 0, "initial rows")).rows.tolist() == found.tolist()


def test_a_grids_first_model_is_never_that_of_another_seed(texts, tmp_path):
    config, data, _ = texts
    rows = np.arange(20)
    weights = []
    for seed in (0, 1, 0):
        seeded = config.changed(seed=seed)
        learner = learner_of(seeded, data.train.texts, data.class_names, data.source, validation=data.validation)
        learner.tell(rows, data.train.labels[rows])
        result_of(in_turn(_first_round(learner, seeded, data, tmp_path), learner.train_job))
        weights.append({name: weight.clone() for name, weight in learner.trained_model().state_dict().items()})
    assert not same(weights[0], weights[1])
    assert same(weights[0], weights[2])
    assert len(list(tmp_path.glob("*.pt"))) == 2


def trained(**options):
    """How a training with the default options, but for these, goes on texts that can be learned slowly."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    encoded = encode_texts([f"word{label} filler" for label in labels])
    data = LabeledTexts(encoded, np.arange(40), labels[:40])
    validation = LabeledTexts(encoded, np.arange(40, 60), labels[40:])
    model = small_model("cnn", len(encoded.tokenizer), dropout=0.0)
    return train(
        model,
        data,
        validation,
        config=TrainingConfig(**options),
        accelerator=make_accelerator("no"),
        rng=np.random.default_rng(0),
    )


def test_a_training_that_gets_no_better_stops_after_five_epochs_more():
    assert trained(learning_rate=1e-30).epochs == 6


def test_a_training_that_gets_better_all_the_time_takes_all_25_epochs_of_ten_steps():
    done = trained(learning_rate=1e-5)
    assert done.epochs == 25
    assert done.steps == 25 * 10


def test_bald_has_ten_samples_to_disagree_by_default():
    encoded = encode_texts([f"w{i} w{i + 1} w{i * 7 % 11}" for i in range(40)])
    model = small_model("cnn", len(encoded.tokenizer))
    one = build_strategy(StrategyConfig(strategy="bald", bald_samples=1))
    none = [reason["score"] for reason in one.query(model, Pool(encoded), 40, np.random.default_rng(0)).reasons]
    assert none == pytest.approx(np.zeros(40), abs=1e-9), "one sample cannot disagree with itself"
    ten = build_strategy(StrategyConfig(strategy="bald"))
    scores = [reason["score"] for reason in ten.query(model, Pool(encoded), 40, np.random.default_rng(0)).reasons]
    assert min(scores) > 1e-6
    # The scatter between seeds falls with the number of samples: that of ten is far below that of two or three.
    default, few = (_scatter(StrategyConfig(strategy="bald", **n), model, encoded) for n in ({}, {"bald_samples": 3}))
    assert default < 0.75 * few


def _scatter(config, model, encoded):
    """How much the scores of the texts differ between seeds."""
    strategy = build_strategy(config)
    by_row = []
    for seed in range(12):
        query = strategy.query(model, Pool(encoded), 40, np.random.default_rng(seed))
        by_row.append([score for _, score in sorted(zip(query.rows, (r["score"] for r in query.reasons), strict=True))])
    return float(np.std(by_row, axis=0).mean())
