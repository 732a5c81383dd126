"""Labels in all: runs without a validation split, and what runs, reports and cards say that their numbers count."""

import json

import numpy as np
import pytest
import yaml
from datasets import Dataset
from encoder_cases import save_encoder
from test_results import write_run
from test_run import command, read_lines

from dami_text.cli.main import main
from dami_text.cli.report import make_report
from dami_text.cli.run import run_al
from dami_text.config.registry import MODELS
from dami_text.config.run import RunConfig
from dami_text.data.splits import Splits, split_source
from dami_text.errors import ConfigError
from dami_text.learning.preparation import prepare
from dami_text.publishing.cards import labels_counted
from dami_text.simulation.report import VALIDATION

BESIDE = "labels beside those of a validation split"


def without(reviews, output_dir, **options):
    """The arguments of a short run without a validation split."""
    arguments = [a for a in command(reviews, output_dir, **options) if not a.startswith("--epoch")]
    return [*arguments, "--validation=none"]


# The data ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["resplit", "stratified"])
@pytest.mark.parametrize("model", ["cnn", "linear"])
def test_the_validation_texts_join_the_training_texts_and_the_test_texts_stay(reviews, model, how):
    word_vectors = {} if model == "linear" else {"word_vectors": "random"}
    options = {"dataset": str(reviews), "model": model, "strategy": "margin", "splits": how, **word_vectors}
    split, whole = (prepare(RunConfig.of(**options, validation=value)) for value in ("split", "none"))

    def ids(part):
        return [part.texts.stable_id(row) for row in part.rows]

    assert whole.validation is None
    assert ids(whole.test) == ids(split.test)
    assert ids(whole.train) == [*ids(split.train), *ids(split.validation)]
    assert whole.train.labels.tolist() == [*split.train.labels, *split.validation.labels]
    assert len(whole.train.rows) + len(whole.test.rows) == 300


def test_a_data_sets_own_validation_split_joins_too_and_where_there_is_none_nothing_changes():
    part = Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]})
    own = split_source({"train": part, "valid": part.select([1]), "test": part.select([0])}, "keep", 0)
    assert own.without_validation().train["text"][:] == ["a", "b", "b"]
    assert own.without_validation().test["text"][:] == ["a"]
    none = Splits(part, None, part)
    assert none.without_validation() is none


# Options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 3}, "--patience has no effect without a validation split; leave it out: --steps ends training"),
        ({"epochs": 3}, "--epochs has no effect without a validation split"),
        ({"epoch_steps": 3}, "--epoch-steps has no effect without a validation split"),
        ({"task": "tabular", "epochs": 7}, "--epochs has no effect without a validation split"),
        ({"model": "linear", "strategy": "margin", "steps": 7}, "--steps has no effect on --model linear"),
    ],
)
def test_what_has_no_effect_without_a_validation_split_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        RunConfig.of_options({**options, "validation": "none"})


@pytest.mark.parametrize("model", [name for name in MODELS if name not in ("auto", "mlp")])
def test_every_model_trains_without_a_validation_split(model, reviews, tmp_path):
    options = {"model": model, "strategy": "margin", "budget": 28}
    arguments = without(reviews, tmp_path / "run", **options, **({} if model == "linear" else {"steps": 6}))
    if model == "linear":
        arguments = [a for a in arguments if not a.startswith("--word-vector")]
    assert run_al(arguments) == 0
    lines = read_lines(tmp_path / "run" / "rounds.jsonl")
    assert [(line["n_labeled"], line["validation"], line["n_validation"]) for line in lines] == [
        (20, None, 0),
        (28, None, 0),
    ]
    assert [line["labeled_fraction"] for line in lines] == [20 / 240, 28 / 240]
    if model != "linear":
        assert [line["steps"] for line in lines] == [6, 6]


def test_tables_and_frozen_encoders_do_too(tmp_path, reviews):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    rows = [f"{a:.3f},{b:.3f},{c:.3f},{'yes' if a * b > 0 else 'no'}" for a, b, c in x]
    (tmp_path / "table.csv").write_text("a,b,c,label\n" + "\n".join(rows) + "\n")
    table = ["--dataset", str(tmp_path / "table.csv"), "--task=tabular"]
    encoder = ["--dataset", str(reviews), "--model", str(save_encoder(tmp_path / "bert")), "--freeze-encoder"]
    common = ["--validation=none", "--initial-size=20", "--query-size=20", "--budget=40"]
    for name, arguments in (("table", [*table, "--steps=5"]), ("encoder", [*encoder, "--strategy=margin"])):
        assert run_al([*arguments, *common, "--output-dir", str(tmp_path / name)]) == 0
        lines = read_lines(tmp_path / name / "rounds.jsonl")
        assert [line["n_validation"] for line in lines] == [0, 0]
        assert [line["steps"] == 5 for line in lines] == [name == "table"] * 2


def test_steps_without_effect_are_refused_where_a_run_begins_and_not_where_it_goes_on(reviews, tmp_path, capsys):
    run = tmp_path / "run"
    assert run_al(command(reviews, run, steps=7)) == 1
    message = "error: --steps has no effect where a validation split stops training; leave it out, or use --validation"
    assert message in capsys.readouterr().err
    assert not run.exists()
    assert run_al(command(reviews, run, budget=28)) == 0
    written = yaml.safe_load((run / "config.yaml").read_text())
    del written["validation"]
    (run / "config.yaml").write_text(yaml.safe_dump(written | {"steps": 7}))
    assert run_al(command(reviews, run, budget=36, steps=7)) == 0


def test_labelling_offers_no_option_of_a_validation_split(reviews, tmp_path, capsys):
    for option in ("--validation=none", "--epochs=3", "--epoch-steps=3", "--patience=3"):
        assert main(["label", str(reviews), "--session", str(tmp_path / "s.dami"), option]) == 1
        assert f"unrecognized arguments: {option}" in capsys.readouterr().err


# What is said ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "counted"),
    [
        ([0, 0], "labels in all"),
        ([900], "labels beside 900 validation labels"),
        ([1066, 1066], "labels beside 1,066 validation labels"),
        ([9, 12, 11], "labels beside 9 to 12 validation labels"),
        ([None, 12], BESIDE),
    ],
)
def test_what_numbers_of_labels_count(numbers, counted):
    assert labels_counted(numbers) == counted


@pytest.mark.parametrize(
    ("options", "counted"),
    [
        (["--word-vectors=random", "--epochs=2"], "labels beside 30 validation labels"),
        (["--word-vectors=random", "--validation=none", "--steps=5"], "labels in all"),
        (["--model=linear"], "labels in all"),  # it fits itself
        (["--model=linear", "--validation=none"], "labels in all"),
    ],
)
def test_a_run_its_card_and_its_report_say_what_its_numbers_count(options, counted, reviews, tmp_path, capsys):
    run = tmp_path / "run"
    sizes = ["--initial-size=20", "--query-size=10", "--budget=30", "--strategy=margin"]
    assert run_al(["--dataset", str(reviews), *sizes, *options, "--output-dir", str(run)]) == 0
    assert f"\ncounted  {counted}\n" in capsys.readouterr().out
    card = (run / "model" / "README.md").read_text(encoding="utf-8")
    assert f"These are {counted}." in card
    assert f"| {counted} | share | Accuracy |" in card
    assert ("It was chosen among the\nevaluations" in card) == (counted != "labels in all")
    assert ("for validation" in card) == ("--validation=none" not in options)
    assert make_report([str(run)]) == 0
    for name in ("report.md", "report.html"):
        assert f"The curve counts {counted}." in (run / name).read_text(encoding="utf-8")
    (figure,) = (run / "figures").glob("*-curves.svg")
    assert f"<!-- {counted}, % of the training set -->" in figure.read_text(encoding="utf-8")


def add_counts(folder, n):
    """The number of validation labels in the lines of a hand-made run."""
    file = folder / "rounds.jsonl"
    lines = [json.loads(line) | {"n_validation": n} for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_report_tells_curves_apart_that_count_otherwise(tmp_path):
    add_counts(write_run(tmp_path, "random", 0, validation="none"), 0)
    for seed in (0, 1):
        add_counts(write_run(tmp_path, "margin", seed), 30 + seed)
    write_run(tmp_path, "dami", 0)  # of a version that did not count them
    add_counts(write_run(tmp_path, "random", 1, validation="none"), 0)
    write_run(tmp_path, "dami", 1)
    assert make_report([str(tmp_path), "--on", "validation"]) == 0
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert VALIDATION in text
    assert f"The curve of dami counts {BESIDE}." in text
    assert "The curve of margin counts labels beside 30 to 31 validation labels." in text
    assert "The runs differ in --validation: split for dami, split for margin, none for random." in text


def test_a_run_of_a_version_without_the_option_goes_on_and_is_reported_as_before(reviews, tmp_path, capsys):
    run = tmp_path / "run"
    assert run_al(command(reviews, run, budget=28)) == 0
    written = yaml.safe_load((run / "config.yaml").read_text())
    del written["validation"]
    (run / "config.yaml").write_text(yaml.safe_dump(written))
    lines = read_lines(run / "rounds.jsonl")
    for line in lines:
        del line["n_validation"]
    (run / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert make_report([str(run)]) == 0
    assert f"The curve counts {BESIDE}." in (run / "report.md").read_text(encoding="utf-8")
    assert run_al(command(reviews, run, budget=36)) == 0
    capsys.readouterr()
    assert run_al(command(reviews, run, budget=36, validation="none")) == 1
    assert "--epochs has no effect without a validation split" in capsys.readouterr().err
    assert run_al(without(reviews, run, budget=36)) == 1
    assert "--validation split there, none now" in capsys.readouterr().err
