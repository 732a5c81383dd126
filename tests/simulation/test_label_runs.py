"""Runs on texts with any number of labels, by the command that users give."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, List
from encoder_cases import save_encoder
from label_cases import NAMES, labeled_texts, write_labeled

from dami_text import compare
from dami_text.cli.grid import run_grid
from dami_text.cli.main import main
from dami_text.cli.run import run_al
from dami_text.config.metrics import MULTILABEL
from dami_text.config.run import RunConfig
from dami_text.errors import RecordError
from dami_text.simulation.run import Run

SIZES = {"initial_size": 20, "query_size": 10, "budget": 40}
TASK = {"task": "multilabel", "model": "linear", "splits": "stratified"}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_labeled(tmp_path_factory.mktemp("labels") / "texts.jsonl")


def command(file, folder, **options):
    options = {"dataset": file, "output_dir": folder, **TASK, **SIZES, **options}
    return [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]


def lines(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def content(folder):
    """Every file of a run's folder by its name, but archives, which hold the time, and the rounds without seconds."""
    files = [each for each in folder.rglob("*") if each.is_file() and each.suffix != ".skops"]
    found = {str(each.relative_to(folder)): each.read_bytes() for each in files}
    rounds = [line | {"seconds": sorted(line["seconds"])} for line in lines(folder / "rounds.jsonl")]
    return found | {"rounds.jsonl": json.dumps(rounds).encode()}


@pytest.fixture(scope="module")
def finished(file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert run_al(command(file, folder)) == 0
    return folder


def test_what_a_run_records(finished):
    rounds, queries = lines(finished / "rounds.jsonl"), lines(finished / "queries.jsonl")
    texts, labels = labeled_texts(300)
    known = {
        text: [name for name, holds in zip(NAMES, row, strict=True) if holds]
        for text, row in zip(texts, labels, strict=True)
    }
    assert [line["n_labeled"] for line in rounds] == [20, 30, 40]
    asked = [query["label"] for query in queries if query["round"] < 2]
    for query in queries:
        assert query["label"] == known[query["text"]]
    for line in rounds:
        assert line["metrics"].keys() == set(MULTILABEL)
        assert line["test"] is None
        told = asked[: line["n_labeled"]]
        assert line["class_counts"] == {name: sum(name in row for row in told) for name in NAMES}
        assert line["n_without_label"] == sum(not row for row in told)
        by_label = line["by_class"]
        f1 = [
            2 * right / max(1, present + predicted)
            for right, present, predicted in zip(*(by_label[n] for n in ("right", "present", "predicted")), strict=True)
        ]
        assert line["metrics"]["macro_f1"] == pytest.approx(np.mean(f1))
        assert line["metrics"]["average_precision"] == pytest.approx(np.mean(by_label["average_precision"]), abs=1e-4)
    assert rounds[-1]["metrics"]["micro_f1"] > 0.9


def test_what_the_command_prints(file, tmp_path, capsys):
    assert run_al(command(file, tmp_path / "run", budget=20)) == 0
    head, line = capsys.readouterr().out.splitlines()[:2]
    assert head.split() == ["labelled", "share", "micro_f1", "macro", "F1", "subset", "accuracy", "seconds"]
    assert len(line.split()) == 6


def test_the_card(finished):
    card = (finished / "model" / "README.md").read_text()
    assert "says which of the labels looks, people, sound, story a text has" in " ".join(card.split())
    assert "- **Labels**: 40 of 210 texts" in card
    counts = lines(finished / "rounds.jsonl")[-1]
    told = ", ".join(f"{name} {n}" for name, n in counts["class_counts"].items())
    assert f"- **Texts with each label**: {told}; {counts['n_without_label']} texts have none." in card
    assert "| Samples F1 |" in card
    assert "pipeline_tag: text-classification" in card
    assert "multi-label-classification" in card


def test_the_card_of_an_encoder_shows_how_to_get_all_scores(file, tmp_path):
    encoder = save_encoder(tmp_path / "encoder")
    assert run_al(command(file, tmp_path / "run", model=encoder, steps=5, validation="none", budget=20)) == 0
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert 'model="PATH OR HUB ID OF THIS MODEL", top_k=None)' in card
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"


@pytest.mark.parametrize(
    "options",
    [
        {"model": "cnn", "word_vectors": "random", "epochs": 2},
        {"model": "ENCODER", "freeze_encoder": True, "strategy": "typiclust", "cold_start": "typical"},
        {"model": "ENCODER", "lora": 2, "epochs": 1},
        {"strategy": "coreset", "cold_start": "balanced", "class_weights": "balanced", "metric": "f1:story"},
        {"cold_start": "kmeans-features", "strategy": "kmeans-features", "pool_subsample": 50, "splits": "resplit"},
        {"stop": "budget:30", "strategy": "entropy", "label_aggregation": "max"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_runs_of_all_kinds(file, tmp_path, options):
    if options.get("model") == "ENCODER":
        options = options | {"model": str(save_encoder(tmp_path / "encoder"))}
    if "lora" in options:
        pytest.importorskip("peft", reason="no adapters: pip install 'dami_text[peft]'")
    assert run_al(command(file, tmp_path / "run", **options)) == 0
    assert len(lines(tmp_path / "run" / "rounds.jsonl")) == (2 if "stop" in options else 3)
    run = Run(RunConfig.of(dataset=str(file), **TASK | SIZES | options), tmp_path / "run")
    labeled = run.labeled_dataset()
    assert labeled.features["label"] == List(ClassLabel(names=NAMES))
    assert labeled[0]["label"] == [NAMES.index(name) for name in lines(tmp_path / "run" / "queries.jsonl")[0]["label"]]


DIES = """
import os, signal, sys
from dami_text.cli.run import run_al
from dami_text.learning.learner import ActiveLearner
train = ActiveLearner.training_jobs
def train_or_die(self):
    if self.round == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return train(self)
ActiveLearner.training_jobs = train_or_die
run_al(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_run_ends_as_one_that_was_not(finished, file, tmp_path):
    arguments = command(file, tmp_path / "run")
    died = subprocess.run([sys.executable, "-c", DIES, *arguments], env=os.environ, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL
    assert len(lines(tmp_path / "run" / "rounds.jsonl")) == 1
    assert run_al(arguments) == 0
    assert content(tmp_path / "run") == content(finished)


def test_the_forms_of_labels_give_the_same_run(finished, tmp_path):
    texts, labels = labeled_texts(300)
    joined = [" ; ".join(np.array(NAMES)[row == 1]) for row in labels]
    (tmp_path / "a.csv").write_text(
        "\n".join(["text,label", *(f"{t},{j}" for t, j in zip(texts, joined, strict=True))])
    )
    columns = [",".join(map(str, row)) for row in labels]
    head = ",".join(["text", *NAMES])
    (tmp_path / "b.csv").write_text("\n".join([head, *(f"{t},{row}" for t, row in zip(texts, columns, strict=True))]))
    assert run_al(command(tmp_path / "a.csv", tmp_path / "one", label_separator=";")) == 0
    several = [*command(tmp_path / "b.csv", tmp_path / "two"), "--label-columns", *NAMES]
    assert run_al(several) == 0
    for name in ("one", "two"):
        assert lines(tmp_path / name / "queries.jsonl") == lines(finished / "queries.jsonl")


def test_other_labels_are_other_data(tmp_path):
    file = write_labeled(tmp_path / "texts.jsonl")
    config = RunConfig.of(dataset=str(file), **TASK | SIZES | {"budget": 20, "splits": "resplit"})
    list(Run(config, tmp_path / "run").rounds())
    file.write_text("\n".join(json.dumps(row | {"label": ["looks", "story"]}) for row in lines(file)))
    with pytest.raises(RecordError, match=r"holds a run on other data: its row .* labelled \["):
        Run(config, tmp_path / "run")


def test_a_grid_and_its_report(file, tmp_path, capsys):
    options = {"dataset": file, "output_dir": tmp_path / "grid", **TASK, **SIZES}
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    assert run_grid([*arguments, "--strategies", "random", "margin", "--seeds", "0-1"]) == 0
    for metric in ("micro_f1", "f1:story"):
        assert main(["report", str(tmp_path / "grid"), "--metric", metric]) == 0
    assert "test f1 of story" in (tmp_path / "grid" / "report.md").read_text()
    assert run_grid([*arguments, "--strategies", "strategy_cases:Longest"]) == 1
    told = "Longest is for one class a text, and --task is multilabel; give it a member multilabel = True if it works"
    assert told in capsys.readouterr().err


def test_a_comparison_in_python(file, tmp_path):
    options = {"task": "multilabel", "model": "linear", "output_dir": tmp_path, "quiet": True, **SIZES}
    found = compare(pd.DataFrame(lines(file)), ["random", "cvirs"], seeds=1, **options)
    table = found.to_pandas()
    assert table.columns.tolist() == ["strategy", "seed", "n_labeled", "share", "micro_f1"]
    assert sorted(table["n_labeled"]) == [20, 20, 30, 30, 40, 40]


def test_predictions_of_a_file(finished, tmp_path, capsys):
    texts, labels = labeled_texts(40, seed=1)
    (tmp_path / "new.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in [*texts, " "]))
    assert main(["predict", str(finished), str(tmp_path / "new.jsonl"), str(tmp_path / "out.jsonl")]) == 0
    found = lines(tmp_path / "out.jsonl")
    for line in found[:-1]:
        over = [name for name in NAMES if line[f"probability_{name}"] > 0.5]
        assert line["predicted_labels"] == over
    assert found[-1]["predicted_labels"] is None
    right = [
        set(line["predicted_labels"]) == set(np.array(NAMES)[row == 1])
        for line, row in zip(found[:-1], labels, strict=True)
    ]
    assert np.mean(right) > 0.7
    assert main(["predict", str(finished), str(tmp_path / "new.jsonl"), str(tmp_path / "out.csv")]) == 0
    assert "predicted_labels" in (tmp_path / "out.csv").read_text()


def test_thresholds_change_what_is_predicted_and_not_what_is_asked(finished, file, tmp_path):
    assert run_al(command(file, tmp_path / "run", threshold="f1")) == 0
    assert lines(tmp_path / "run" / "queries.jsonl") == lines(finished / "queries.jsonl")
    before, after = (lines(folder / "rounds.jsonl") for folder in (finished, tmp_path / "run"))
    for name in ("average_precision", "macro_f1"):
        same = [one["metrics"][name] == other["metrics"][name] for one, other in zip(before, after, strict=True)]
        assert all(same) == (name == "average_precision"), "the ranking of each label's texts stays"
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    told = ", ".join(f"{name} {value:.2g}" for name, value in config["moved_thresholds"].items())
    assert f"- **Thresholds**, in place of one half: {told}. They" in (tmp_path / "run/model/README.md").read_text()
    texts = [f"{word} {i}" for i, word in enumerate(["film", "cast", "music", "plot", "the", "film music"] * 5)]
    (tmp_path / "new.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    found = {}
    for folder in (finished, tmp_path / "run"):
        assert main(["predict", str(folder), str(tmp_path / "new.jsonl"), str(tmp_path / "out.jsonl")]) == 0
        found[folder] = lines(tmp_path / "out.jsonl")
    for plain, moved in zip(found[finished], found[tmp_path / "run"], strict=True):
        over = [name for name in NAMES if plain[f"probability_{name}"] > config["moved_thresholds"].get(name, 0.5)]
        assert moved["predicted_labels"] == over


def test_a_grids_first_models_have_the_thresholds_of_a_run(file, tmp_path):
    """Cells of one grid share a model, also of a classifier into two classes."""
    texts, labels = labeled_texts(300)
    rare = [{"text": text, "label": "yes" if row[2] else "no"} for text, row in zip(texts, labels, strict=True)]
    (tmp_path / "two.jsonl").write_text("\n".join(map(json.dumps, rare)))
    for dataset, task in ((file, TASK), (tmp_path / "two.jsonl", {"model": "linear", "validation": "none"})):
        options = {"dataset": dataset, "threshold": "f1", **task, **SIZES}
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        folder = tmp_path / dataset.stem
        assert run_grid([*arguments, f"--output-dir={folder}", "--strategies", "random", "margin", "--seeds", "0"]) == 0
        assert run_al([*arguments, f"--output-dir={folder}-run", "--strategy=margin"]) == 0
        alone = lines(tmp_path / f"{dataset.stem}-run" / "rounds.jsonl")
        cells = [lines(each) for each in folder.rglob("rounds.jsonl")]
        assert len(cells) == 2
        assert [cell[0]["metrics"] for cell in cells] == [alone[0]["metrics"]] * 2


# What does not take part ------------------------------------------------------------------------------------------


def error_of(capsys, arguments):
    assert main(list(map(str, arguments))) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    return line


def test_a_session_of_one_class_a_text_refuses_lists(file, tmp_path, capsys):
    pytest.importorskip("gradio", reason="the page comes before the file: pip install 'dami_text[ui]'")
    told = error_of(capsys, ["label", file, "--session", tmp_path / "s", "--labels", "a", "b"])
    assert "column 'label' holds lists of labels, and a text has one class here" in told


def test_a_model_of_labels_begins_no_other_run(finished, file, tmp_path, capsys):
    (tmp_path / "single.csv").write_text("\n".join(["text,label", *(f"t {i},{NAMES[i % 4]}" for i in range(40))]))
    options = ["--dataset", tmp_path / "single.csv", "--model", "linear", "--init-model", finished / "model"]
    told = error_of(capsys, ["run", *options, "--output-dir", tmp_path / "run"])
    assert "predicts any number of labels, and a text has one class here" in told
