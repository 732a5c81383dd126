"""Whole runs: what they write, and that they survive being killed at any moment.

Runs that are killed live in processes of their own, forked from a server that has imported the package once.
"""

import contextlib
import gc
import io
import json
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import time
from collections import Counter
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from encoder_cases import save_encoder
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dami_text import environment as environment_module
from dami_text.cli.run import run_al
from dami_text.config.run import RunConfig
from dami_text.errors import RecordError
from dami_text.learning import preparation
from dami_text.learning.learner import ActiveLearner
from dami_text.simulation import plots, records
from dami_text.simulation.by_class import class_score
from dami_text.simulation.records import RunFolder
from dami_text.simulation.run import Run

SCRIPT = Path(__file__).parents[2] / "scripts" / "run_al.py"

OPTIONS = {
    "word_vectors": "random",
    "word_vector_dim": 8,
    "epochs": 3,
    "epoch_steps": 3,
    "initial_size": 20,
    "query_size": 8,
    "budget": 40,
}
SIZES = [20, 28, 36, 40]

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["dami_text.cli.run", "dami_text.models.metrics", "dami_text.simulation.plots"])


def command(reviews, output_dir, **options):
    """The arguments of a run over `reviews`."""
    options = {"dataset": reviews, "output_dir": output_dir, **OPTIONS, **options}
    return [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]


def config(reviews, **options):
    return RunConfig.of(**{"dataset": str(reviews), **OPTIONS, **options})


def read_lines(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def content(path):
    """Every file of a run's folder by its name, and the rounds without their seconds."""
    found = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    rounds = [{**line, "seconds": sorted(line["seconds"])} for line in read_lines(path / "rounds.jsonl")]
    return found | {"rounds.jsonl": json.dumps(rounds).encode()}


@pytest.fixture(scope="module")
def finished(reviews, tmp_path_factory):
    """The folder of an uninterrupted run, and what it printed."""
    path, printed = tmp_path_factory.mktemp("finished") / "run", io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert run_al(command(reviews, path)) == 0
    return path, printed.getvalue()


# What a run writes ------------------------------------------------------------------------------------------------


def test_a_run_writes_config_records_curve_and_model(finished, reviews):
    path, _ = finished
    assert sorted(file.name for file in path.iterdir()) == [
        "config.yaml",
        "learning_curve.png",
        "model",
        "queries.jsonl",
        "rounds.jsonl",
    ]
    assert RunFolder(path, config(reviews)).has_model()
    assert (path / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


def test_the_round_lines_say_what_happened(finished):
    path, _ = finished
    rounds, queries = read_lines(path / "rounds.jsonl"), read_lines(path / "queries.jsonl")
    assert [line["round"] for line in rounds] == [0, 1, 2, 3]
    assert [line["n_labeled"] for line in rounds] == SIZES
    assert [line["labeled_fraction"] for line in rounds] == [20 / 210, 28 / 210, 36 / 210, 40 / 210]
    for line in rounds:
        assert line["metrics"].keys() == {"accuracy", "macro_f1", "micro_f1", "roc_auc"}
        assert round(60 * line["metrics"]["accuracy"], 9).is_integer()
        assert round(30 * line["validation"]["accuracy"], 9).is_integer()
        assert line["n_validation"] == 30
        assert line["seconds"].keys() == {"train", "query", "evaluate"}
        assert 1 <= line["epochs"] <= 3
        assert line["class_counts"].keys() == {"neg", "pos"}
        assert sum(line["class_counts"].values()) == line["n_labeled"]
        by_class = line["by_class"]
        assert sum(by_class["pool"]) == 210
        assert sum(by_class["present"]) == sum(by_class["predicted"]) == 60
        assert sum(by_class["right"]) / 60 == pytest.approx(line["metrics"]["accuracy"])
        f1 = [class_score(line, f"f1:{name}") for name in line["class_counts"]]
        assert np.mean(f1) == pytest.approx(line["metrics"]["macro_f1"])
    for before, after in pairwise(rounds):
        added = Counter(query["label"] for query in queries if query["round"] == before["round"])
        assert after["class_counts"] == {name: n + added[name] for name, n in before["class_counts"].items()}
    assert [line["query"] is None for line in rounds] == [False, False, False, True]


def test_the_query_lines_say_which_rows_and_why(finished, reviews):
    path, _ = finished
    queries = read_lines(path / "queries.jsonl")
    assert [(query["round"], query["rank"]) for query in queries] == [
        *((-1, rank) for rank in range(20)),
        *((0, rank) for rank in range(8)),
        *((1, rank) for rank in range(8)),
        *((2, rank) for rank in range(4)),
    ]
    assert len({query["row"] for query in queries}) == len({query["id"] for query in queries}) == 40
    assert all(0 <= query["row"] < 210 for query in queries)
    labels = dict(line.rsplit(",", 1) for line in reviews.read_text().splitlines()[1:])
    assert all(labels[query["text"]] == query["label"] for query in queries)
    start, queries = queries[:20], queries[20:]
    assert all(query.keys() == {"round", "rank", "row", "id", "text", "label"} for query in start), "drawn at random"
    assert Counter(query["label"] for query in start) == read_lines(path / "rounds.jsonl")[0]["class_counts"]
    assert all(query["word"] in query["text"].split() for query in queries)
    assert all(query["deviation"] >= 0 for query in queries)
    # Every unlabelled text belongs to one cluster.
    sizes = [sum(query["cluster_size"] for query in queries if query["round"] == number) for number in range(3)]
    assert sizes == [210 - 20, 210 - 28, 210 - 36]


def test_a_run_ends_with_a_table_and_where_everything_is(finished):
    path, printed = finished
    header, *rows, counted, curve, rounds, queries, model = printed.splitlines()
    assert header == "labelled   share  accuracy  macro F1  largest class  seconds"
    assert [row.split()[:2] for row in rows] == [["20", "9.5%"], ["28", "13.3%"], ["36", "17.1%"], ["40", "19.0%"]]
    accuracies = [f"{line['metrics']['accuracy']:.4f}" for line in read_lines(path / "rounds.jsonl")]
    assert [row.split()[2] for row in rows] == accuracies
    assert (counted, curve, rounds, queries, model) == (
        "counted  labels beside 30 validation labels",
        f"curve    {path}/learning_curve.png",
        f"records  {path}/rounds.jsonl",
        f"queries  {path}/queries.jsonl",
        f"model    {path}/model",
    )


@pytest.mark.parametrize("metric", ["f1", "average_precision", "recall:neg"])
def test_the_metric_that_was_asked_for_is_recorded_drawn_and_resumed(
    reviews, tmp_path, capsys, caplog, monkeypatch, metric
):
    drawn = []
    monkeypatch.setattr(plots, "plot_learning_curve", lambda *args, metric, **_: drawn.append(metric))
    caplog.set_level("INFO")
    assert run_al(command(reviews, tmp_path, metric=metric, budget=28)) == 0
    rounds = read_lines(tmp_path / "rounds.jsonl")
    for line in rounds:
        assert line["metrics"].keys() == {"accuracy", "macro_f1", "micro_f1", "roc_auc", metric}
        assert line["validation"].keys() == {metric}
        assert 0 <= line["metrics"][metric] <= 1
    header, *rows, _, _, _, _, _ = capsys.readouterr().out.splitlines()
    assert header.split() == ["labelled", "share", metric, "seconds"]
    assert [row.split()[2] for row in rows] == [f"{line['metrics'][metric]:.4f}" for line in rounds]
    assert drawn == [{"f1": "f1", "recall:neg": "recall of neg"}.get(metric, "average precision")]
    assert ("--metric f1 is that of the class 'pos'; f1:neg is that of the other" in caplog.text) is (metric == "f1")
    assert run_al(command(reviews, tmp_path, metric=metric)) == 0
    assert read_lines(tmp_path / "rounds.jsonl")[:1] == rounds[:1]


def test_a_metric_of_a_class_that_the_data_do_not_have_is_one_line_before_anything_is_trained(
    reviews, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(preparation, "build_strategy", None)  # and so nothing comes after the splits
    assert run_al(command(reviews, tmp_path / "run", metric="f1:positive")) == 1
    message = "error: --metric f1:positive: the data have no class 'positive'; choose one of ['neg', 'pos']\n"
    assert capsys.readouterr().err.endswith(message)
    assert not (tmp_path / "run").exists()


def test_a_larger_budget_goes_on_from_a_finished_run(finished, reviews, copy, tmp_path):
    before = read_lines(copy / "rounds.jsonl")
    assert run_al(command(reviews, copy, budget=60)) == 0
    assert run_al(command(reviews, tmp_path / "whole", budget=60)) == 0
    assert content(copy) == content(tmp_path / "whole")
    after = read_lines(copy / "rounds.jsonl")
    assert [line["n_labeled"] for line in after] == [20, 28, 36, 44, 52, 60]
    assert after[:2] == before[:2], "these rounds are not trained again"
    assert run_al(command(reviews, copy, budget=40)) == 1, "a smaller budget would lose rounds"
    assert read_lines(copy / "rounds.jsonl") == after


def test_a_larger_budget_may_be_of_the_other_kind(reviews, copy, tmp_path):
    assert run_al(command(reviews, copy, budget=0.25)) == 0
    assert run_al(command(reviews, tmp_path / "whole", budget=0.25)) == 0
    assert content(copy) == content(tmp_path / "whole")
    assert read_lines(copy / "rounds.jsonl")[-1]["n_labeled"] == 52
    assert run_al(command(reviews, copy, budget=50)) == 1


def test_a_larger_budget_goes_on_where_the_last_query_was_whole(reviews, tmp_path):
    assert run_al(command(reviews, tmp_path / "a", budget=36)) == 0
    before = read_lines(tmp_path / "a" / "rounds.jsonl")
    assert run_al(command(reviews, tmp_path / "a", budget=44)) == 0
    assert run_al(command(reviews, tmp_path / "b", budget=44)) == 0
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert read_lines(tmp_path / "a" / "rounds.jsonl")[:2] == before[:2]


def test_a_run_that_grows_may_be_killed(finished, reviews, copy, tmp_path):
    assert run_apart(command(reviews, copy, budget=60), (die_in_training, 3)) == -signal.SIGKILL
    assert run_apart(command(reviews, copy, budget=60)) == 0
    assert run_al(command(reviews, tmp_path / "whole", budget=60)) == 0
    assert content(copy) == content(tmp_path / "whole")


def test_a_run_of_a_version_without_the_newer_options_goes_on_as_it_was(finished, reviews, copy):
    options = yaml.safe_load((copy / "config.yaml").read_text())
    assert (options.pop("duplicates"), options.pop("min_document_frequency")) == ("auto", 2)
    assert options.pop("validation") == "split"
    (copy / "config.yaml").write_text(yaml.safe_dump(options))
    run = Run(config(reviews), copy)
    assert (run.config.data.duplicates, run.config.tokenization.min_document_frequency) == ("anywhere", 1)
    given = config(reviews, min_document_frequency=3)
    with pytest.raises(RecordError, match="--min-document-frequency 1 there, 3 now"):
        Run(given, copy)


def test_every_round_says_where_it_was_made(finished, monkeypatch):
    path, _ = finished
    for line in read_lines(path / "rounds.jsonl"):
        found = line["environment"]
        assert (found["threads"], found["python"]) == (torch.get_num_threads(), platform.python_version())
        assert found["torch"] == version("torch")
        assert found["cpu"].endswith(torch.backends.cpu.get_cpu_capability())
    card = (path / "model" / "README.md").read_text()
    assert f"Made on {found['cpu']}, 1 thread; python {found['python']}, dami_text" in card
    monkeypatch.setattr(environment_module, "LIBRARIES", ("torch", "no-such-library"))
    assert environment_module.environment().keys() == {"cpu", "threads", "device", "python", "torch"}


def test_the_seconds_of_all_rounds_are_not_more_than_have_passed(reviews, tmp_path):
    start = time.perf_counter()
    assert run_al(command(reviews, tmp_path / "run")) == 0
    passed = time.perf_counter() - start
    seconds = [value for line in read_lines(tmp_path / "run" / "rounds.jsonl") for value in line["seconds"].values()]
    assert min(seconds) >= 0
    assert 0 < sum(seconds) <= passed


def test_the_model_is_in_the_hugging_face_layout_and_as_good_as_recorded(finished, reviews):
    path, _ = finished
    model = AutoModelForSequenceClassification.from_pretrained(path / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(path / "model")
    assert model.config.id2label == {0: "neg", 1: "pos"}
    run = Run(config(reviews), path)
    rows, labels = run.data.test.rows, run.data.test.labels
    inputs = tokenizer([run.data.test.texts.text(row) for row in rows], padding=True, return_tensors="pt")
    logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    accuracy = float((logits.argmax(dim=1).numpy() == labels).mean())
    assert accuracy == read_lines(path / "rounds.jsonl")[-1]["metrics"]["accuracy"]


def test_the_written_config_gives_the_same_run_as_config(finished, reviews, tmp_path):
    path, _ = finished
    assert run_al([f"--config={path / 'config.yaml'}", f"--output-dir={tmp_path / 'again'}"]) == 0
    assert content(tmp_path / "again") == content(path)


def test_another_seed_and_another_strategy_give_another_run(finished, reviews, tmp_path):
    path, _ = finished
    reference = [query["id"] for query in read_lines(path / "queries.jsonl")]
    for name, value in (("seed", 1), ("strategy", "random")):
        assert run_al(command(reviews, tmp_path / name, epochs=1, **{name: value})) == 0
        assert [query["id"] for query in read_lines(tmp_path / name / "queries.jsonl")] != reference


def test_all_texts_labelled_at_once_is_a_run_of_one_round(reviews, tmp_path):
    assert run_al(command(reviews, tmp_path, initial_size=1.0, budget=1.0, query_size=0.1, epochs=1)) == 0
    assert [line["n_labeled"] for line in read_lines(tmp_path / "rounds.jsonl")] == [210]
    assert [line["round"] for line in read_lines(tmp_path / "queries.jsonl")] == [-1] * 210


# Finished runs and damaged ones -----------------------------------------------------------------------------------


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished run's folder."""
    path = tmp_path / "copy"
    for name, data in {str(f.relative_to(finished[0])): f.read_bytes() for f in finished[0].rglob("*.*")}.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def test_a_finished_run_given_again_trains_nothing_changes_nothing_and_prints_the_table(
    finished, reviews, copy, capsys, monkeypatch
):
    monkeypatch.setattr(ActiveLearner, "training_jobs", None)
    before = content(copy), (copy / "rounds.jsonl").read_bytes()
    assert run_al(command(reviews, copy)) == 0
    assert (content(copy), (copy / "rounds.jsonl").read_bytes()) == before
    assert capsys.readouterr().out == finished[1].replace(str(finished[0]), str(copy))


def test_a_deleted_model_is_made_again(finished, reviews, copy):
    for file in (copy / "model").iterdir():
        file.unlink()
    (copy / "model").rmdir()
    (copy / "learning_curve.png").unlink()
    rounds = (copy / "rounds.jsonl").read_bytes()
    assert run_al(command(reviews, copy)) == 0
    assert content(copy) == content(finished[0])
    assert (copy / "rounds.jsonl").read_bytes() == rounds


def test_overwrite_runs_again(finished, reviews, copy):
    assert run_al([*command(reviews, copy), "--overwrite"]) == 0
    assert content(copy) == content(finished[0])
    assert (copy / "rounds.jsonl").read_bytes() != (finished[0] / "rounds.jsonl").read_bytes()


def test_another_config_is_refused_and_changes_nothing(reviews, copy, capsys):
    before = content(copy)
    assert run_al(command(reviews, copy, budget=60, seed=3)) == 1
    assert capsys.readouterr().err == (
        f"error: {copy} holds a run with other options: --seed 0 there, 3 now; --budget 40 there, 60 now; give the "
        "same options to resume it, another --output-dir, or --overwrite to replace it\n"
    )
    assert content(copy) == before


@pytest.mark.parametrize(("old", "new"), [("good", "fine"), (",neg", ",bad")])
def test_other_data_under_the_same_name_is_refused(reviews, tmp_path, old, new):
    data = tmp_path / "reviews.csv"
    data.write_bytes(reviews.read_bytes())
    next(Run(config(data), tmp_path / "run").rounds())
    assert Run(config(data), tmp_path / "run").learner.round == 1
    data.write_text(data.read_text().replace(old, new))
    refused = r"holds a run on other data: its row .*, labelled '(neg|pos)'; give the same data to resume it"
    with pytest.raises(RecordError, match=refused):
        Run(config(data), tmp_path / "run")


@pytest.mark.parametrize(("lost", "left"), [(0, "19, 8, 8, 4, 0"), (20, "20, 7, 8, 4, 0"), (39, "20, 8, 8, 3, 0")])
def test_records_that_lack_queries_are_refused(reviews, copy, lost, left):
    file = copy / "queries.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:lost] + lines[lost + 1 :]))
    with pytest.raises(
        RecordError, match=rf"its start and finished rounds asked for \[{left}\] rows, not \[20, 8, 8, 4, 0\];"
    ):
        Run(config(reviews), copy)


def test_the_rows_of_the_start_are_replayed_not_chosen_again(finished, reviews, copy, monkeypatch):
    (copy / "rounds.jsonl").write_text((copy / "rounds.jsonl").read_text().splitlines(keepends=True)[0])
    monkeypatch.setattr(preparation, "build_first_query", lambda *_, **__: None)
    assert run_al(command(reviews, copy)) == 0
    assert content(copy) == content(finished[0])


def test_a_folder_of_a_version_that_did_not_record_the_start_goes_on(finished, reviews, copy):
    rounds, queries = (copy / name for name in ("rounds.jsonl", "queries.jsonl"))
    rounds.write_text("".join(rounds.read_text().splitlines(keepends=True)[:2]))
    queries.write_text("".join(queries.read_text().splitlines(keepends=True)[20:]))
    assert run_al(command(reviews, copy)) == 0
    assert read_lines(queries) == read_lines(finished[0] / "queries.jsonl")[20:]
    assert content(copy)["rounds.jsonl"] == content(finished[0])["rounds.jsonl"]
    assert Run(config(reviews), copy).labeled_dataset()[:] == Run(config(reviews), finished[0]).labeled_dataset()[:]


def test_a_query_that_is_there_twice_is_refused(reviews, copy):
    file = copy / "queries.jsonl"
    first, _, *others = file.read_text().splitlines(keepends=True)
    file.write_text("".join([first, first, *others]))
    with pytest.raises(RecordError, match=r"asked for \[19, 8, 8, 4, 0\] rows, not \[20, 8, 8, 4, 0\];"):
        Run(config(reviews), copy)


# Killed runs ------------------------------------------------------------------------------------------------------


def kill_now():
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_training(number):
    train = ActiveLearner.training_jobs

    def train_or_die(self):
        if self.round == number:
            kill_now()
        return train(self)

    ActiveLearner.training_jobs = train_or_die


def die_in_append(name, number, share):
    """Die when `share` of what round `number` appends to a file is written."""
    write = records._write

    def write_or_die(file, lines, mode="w"):
        if mode == "a" and file.name == name and len(read_lines(file.with_name("rounds.jsonl"))) == number:
            data = "".join(records.to_json(line) + "\n" for line in lines).encode()
            with file.open("ab") as stream:
                stream.write(data[: round(share * len(data))])
            kill_now()
        write(file, lines, mode)

    records._write = write_or_die


def die_in_start(step):
    """Die while the folder is cleaned up, after `step` files."""
    replace, done = Path.replace, []

    def replace_or_die(self, target):
        if self.name.endswith(".unfinished"):
            if len(done) == step:
                kill_now()
            done.append(self)
        return replace(self, target)

    Path.replace = replace_or_die


def die_in_model(_):
    """Die when the model's weights are saved and its tokenizer is not."""
    save = RunFolder.save_model

    def save_and_die(self, write):
        def write_and_die(path):
            write(path)
            (path / "tokenizer.json").unlink()
            kill_now()

        save(self, write_and_die)

    RunFolder.save_model = save_and_die


def die_in_plot(_):
    plots.plot_learning_curve = lambda *_, **__: kill_now()


MOMENTS = [
    (die_in_training, 0),
    (die_in_start, 0),
    (die_in_start, 2),
    (die_in_append, "queries.jsonl", 0, 0.6),
    (die_in_append, "queries.jsonl", 0, 1),
    (die_in_append, "rounds.jsonl", 0, 0.5),
    (die_in_append, "rounds.jsonl", 0, 1),
    (die_in_append, "queries.jsonl", 1, 0.3),
    (die_in_start, 1),
    (die_in_append, "rounds.jsonl", 1, 0.9),
    (die_in_append, "rounds.jsonl", 1, 1),
    (die_in_training, 2),
    (die_in_append, "rounds.jsonl", 2, 1),
    (die_in_model, None),
    (die_in_append, "queries.jsonl", 3, 1),
    (die_in_append, "rounds.jsonl", 3, 0.5),
    (die_in_append, "rounds.jsonl", 3, 1),
    (die_in_plot, None),
]


def run_and_die(arguments, moment):
    """In a process of its own: run, and die at a moment."""
    gc.freeze()
    if moment is not None:
        arrange, *at = moment
        arrange(*at)
    sys.exit(run_al(arguments))


def run_apart(arguments, moment=None, seconds=None):
    """Run in another process, which is killed after some seconds, and return its exit code."""
    process = SERVER.Process(target=run_and_die, args=(arguments, moment))
    process.start()
    process.join(seconds)
    if seconds is not None:
        process.kill()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(finished, reviews, tmp_path):
    arguments = command(reviews, tmp_path / "run")
    for moment in MOMENTS:
        assert run_apart(arguments, moment) == -signal.SIGKILL, moment
    assert run_apart(arguments) == 0
    assert content(tmp_path / "run") == content(finished[0])


def test_a_run_that_is_killed_at_random_moments_ends_as_one_that_was_not(finished, reviews, tmp_path):
    rng = np.random.default_rng()
    seconds = []
    arguments = command(reviews, tmp_path / "run")
    for _ in range(4):
        seconds.append(float(rng.uniform(0.1, 2)))
        run_apart(arguments, seconds=seconds[-1])
    assert run_apart(arguments) == 0
    assert content(tmp_path / "run") == content(finished[0]), f"killed after {seconds} seconds"


def test_a_killed_run_with_an_adapter_ends_as_one_that_was_not(reviews, tmp_path):
    pytest.importorskip("peft", reason="no adapters: pip install 'dami_text[peft]'")
    encoder = save_encoder(tmp_path / "encoder")
    options = {"model": encoder, "lora": 2, "epochs": 1, "learning_rate": 0.05, "budget": 36}
    assert run_apart(command(reviews, tmp_path / "whole", **options)) == 0
    arguments = command(reviews, tmp_path / "run", **options)
    for moment in ((die_in_training, 1), (die_in_model, None)):
        assert run_apart(arguments, moment) == -signal.SIGKILL, moment
    assert run_apart(arguments) == 0
    assert content(tmp_path / "run") == content(tmp_path / "whole")


def test_an_overwriting_run_that_is_killed_ends_as_one_that_was_not(finished, reviews, copy):
    arguments = [*command(reviews, copy, seed=0), "--overwrite"]
    old = copy / "model" / "model.safetensors"
    old.write_bytes(b"old")
    assert run_apart(arguments, (die_in_training, 0)) == -signal.SIGKILL
    assert old.read_bytes() == b"old", "nothing is replaced before there is something to put in its place"
    assert run_apart(arguments, (die_in_start, 1)) == -signal.SIGKILL
    assert run_apart(arguments) == 0
    assert content(copy) == content(finished[0])


def test_the_script_goes_on_after_sigkill(finished, reviews, tmp_path):
    arguments = [sys.executable, str(SCRIPT), *command(reviews, tmp_path / "run")]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    rounds = tmp_path / "run" / "rounds.jsonl"
    deadline = time.monotonic() + 120
    while not (rounds.exists() and rounds.read_bytes()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(read_lines(rounds)) < 4
    again = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert (again.returncode, "Traceback" in again.stderr) == (0, False)
    assert again.stdout.splitlines()[0] == "labelled   share  accuracy  macro F1  largest class  seconds"
    assert content(tmp_path / "run") == content(finished[0])
