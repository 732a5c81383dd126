import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dami_text.config.run import RunConfig
from dami_text.errors import BusyError, RecordError
from dami_text.simulation.records import RunFolder, to_json

CONFIG = RunConfig.of(seed=1)


def round_line(number):
    results = {"labeled_fraction": 0.1, "metrics": {"accuracy": 0.5}, "seconds": {"train": 0.1}, "query": {}}
    return {"round": number, "n_labeled": 10 + 2 * number, **results}


def query_lines(number):
    text = {"text": "ça", "label": "pos"}
    return [{"round": number, "rank": r, "row": 5 * number + r, "id": f"{number}{r}-0", **text} for r in range(2)]


def save_weights(path):
    path.mkdir(exist_ok=True)
    (path / "weights").write_text("new")


@pytest.fixture
def folder(tmp_path):
    """A folder with two finished rounds, two queries each, and a model."""
    folder = RunFolder(tmp_path / "run", CONFIG)
    folder.commit(round_line(0), query_lines(0))
    folder.commit(round_line(1), query_lines(1))
    folder.save_model(save_weights)
    return folder.path


def names(path):
    return sorted(file.name for file in path.iterdir())


def content(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({"text": "naïve 好"}, '{"text": "naïve 好"}'),
        ("\x1b[2J\n", '"\\u001b[2J\\n"'),
        ("\x7f\x80\x9b", '"\\u007f\\u0080\\u009b"'),
        ("\u200e\u200f\u061c", '"\\u200e\\u200f\\u061c"'),
        ("\u202a\u202e\u2066\u2069", '"\\u202a\\u202e\\u2066\\u2069"'),
        ("\u2028\u2029", '"\\u2028\\u2029"'),
    ],
)
def test_to_json_escapes_controls_and_what_turns_text(value, line):
    assert to_json(value) == line
    assert json.loads(line) == value


def test_a_new_folder_is_made_by_the_first_commit(tmp_path):
    path = tmp_path / "runs" / "first"
    folder = RunFolder(path, CONFIG)
    assert not path.parent.exists()
    folder.commit(round_line(0), query_lines(0))
    assert names(path) == ["config.yaml", "queries.jsonl", "rounds.jsonl"]
    assert (path / "rounds.jsonl").read_text(encoding="utf-8") == (
        '{"round": 0, "n_labeled": 10, "labeled_fraction": 0.1, "metrics": {"accuracy": 0.5}, '
        '"seconds": {"train": 0.1}, "query": {}}\n'
    )
    assert (path / "queries.jsonl").read_text(encoding="utf-8") == (
        '{"round": 0, "rank": 0, "row": 0, "id": "00-0", "text": "ça", "label": "pos"}\n'
        '{"round": 0, "rank": 1, "row": 1, "id": "01-0", "text": "ça", "label": "pos"}\n'
    )
    assert yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8")) == CONFIG.options()


def test_what_was_committed_is_read_again(folder):
    again = RunFolder(folder, CONFIG)
    assert again.rounds == [round_line(0), round_line(1)]
    assert again.queries == query_lines(0) + query_lines(1)
    assert again.has_model()


def test_the_rows_of_the_start_count_with_round_0(tmp_path):
    folder = RunFolder(tmp_path, CONFIG)
    start, lines = [{**line, "round": -1} for line in query_lines(3)], query_lines(0)
    folder.commit(round_line(0), start + lines)
    assert RunFolder(tmp_path, CONFIG).queries == start + lines
    (tmp_path / "rounds.jsonl").write_text("")
    assert RunFolder(tmp_path, CONFIG).queries == []


def test_queries_are_on_the_disk_before_the_line_that_makes_the_round_count(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "run", CONFIG)
    folder.commit(round_line(0), query_lines(0))
    synced = []
    sync = os.fsync

    def record(descriptor):
        sync(descriptor)
        lines = {name: (folder.path / f"{name}.jsonl").read_text().count("\n") for name in ("queries", "rounds")}
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, lines))

    monkeypatch.setattr(os, "fsync", record)
    folder.commit(round_line(1), query_lines(1))
    assert synced == [
        ("queries.jsonl", {"queries": 4, "rounds": 1}),
        ("rounds.jsonl", {"queries": 4, "rounds": 2}),
    ]


@pytest.mark.parametrize("file", ["rounds.jsonl", "queries.jsonl"])
def test_a_half_written_last_line_is_dropped_with_a_warning(folder, caplog, file):
    before = content(folder)
    with (folder / file).open("a") as stream:
        stream.write('{"round": 2, "n_lab')
    with caplog.at_level(logging.WARNING):
        again = RunFolder(folder, CONFIG)
    assert caplog.messages == [f"the last line of {folder / file} was not written to its end and is dropped"]
    assert (len(again.rounds), len(again.queries)) == (2, 4)
    again.commit(round_line(2), query_lines(2))
    for name, lines in (("rounds.jsonl", [round_line(2)]), ("queries.jsonl", query_lines(2))):
        assert (folder / name).read_bytes() == before[name] + "".join(to_json(i) + "\n" for i in lines).encode()


def test_a_half_written_last_round_takes_its_queries_with_it(folder):
    text = (folder / "rounds.jsonl").read_bytes()
    (folder / "rounds.jsonl").write_bytes(text[:-1])
    again = RunFolder(folder, CONFIG)
    assert again.rounds == [round_line(0)]
    assert again.queries == query_lines(0)


def test_queries_of_a_round_that_was_not_committed_are_dropped_with_a_warning(folder, caplog):
    before = content(folder)
    with (folder / "queries.jsonl").open("a") as stream:
        stream.write("".join(to_json(line) + "\n" for line in query_lines(2)))
    again = RunFolder(folder, CONFIG)
    assert caplog.messages == [
        f"2 lines of {folder / 'queries.jsonl'} are of a round that was not finished and are dropped"
    ]
    assert again.queries == query_lines(0) + query_lines(1)
    again.commit(round_line(2), [])
    assert (folder / "queries.jsonl").read_bytes() == before["queries.jsonl"]


@pytest.mark.parametrize("lines", [b"{half\n{}\n", b"\xff\xfe\n", b"\n"])
def test_a_damaged_line_is_an_error(folder, lines):
    (folder / "rounds.jsonl").write_bytes(lines)
    before = content(folder)
    with pytest.raises(RecordError, match=r"rounds\.jsonl is damaged \(.*\); restore it, or start again"):
        RunFolder(folder, CONFIG)
    assert content(folder) == before


@pytest.mark.parametrize("name", ["rounds.jsonl", "queries.jsonl"])
@pytest.mark.parametrize(
    "line", ["5", "{}", "null", '{"round": 1}', '{"round": "one", "row": 1, "id": "", "label": ""}']
)
def test_a_line_that_lacks_fields_is_an_error(folder, name, line):
    with (folder / name).open("a") as stream:
        stream.write(line + "\n")
    before = content(folder)
    number = 3 if name == "rounds.jsonl" else 5
    with pytest.raises(RecordError, match=rf"{name} is damaged \(line {number} lacks what it must hold\); restore it"):
        RunFolder(folder, CONFIG)
    assert content(folder) == before


@pytest.mark.parametrize("text", ["seed: [1", "just text", "", "- 1", "\x00"])
def test_a_damaged_config_is_an_error(folder, text):
    (folder / "config.yaml").write_text(text)
    with pytest.raises(RecordError, match=r"config\.yaml is damaged \((.|\n)*\); restore it, or start again"):
        RunFolder(folder, CONFIG)


def test_a_missing_config_is_an_error(folder):
    (folder / "config.yaml").unlink()
    with pytest.raises(RecordError, match=r"config\.yaml is damaged \(.*No such file.*\); restore it, or start again"):
        RunFolder(folder, CONFIG)


def test_a_run_with_other_options_is_refused_with_the_differences_named(folder):
    before = content(folder)
    with pytest.raises(RecordError) as error:
        RunFolder(folder, RunConfig.of(seed=2, budget=0.3))
    assert str(error.value) == (
        f"{folder} holds a run with other options: --seed 1 there, 2 now; --budget 0.2 there, 0.3 now; give the same "
        "options to resume it, another --output-dir, or --overwrite to replace it"
    )
    assert content(folder) == before


def test_one_text_is_not_all_texts(tmp_path):
    RunFolder(tmp_path, RunConfig.of(budget=1.0)).commit(round_line(0), [])
    with pytest.raises(RecordError, match=r"--budget 1\.0 there, 1 now;"):
        RunFolder(tmp_path, RunConfig.of(budget=1))


def test_an_option_that_was_added_since_is_at_its_default(folder):
    options = CONFIG.options()
    del options["patience"]
    (folder / "config.yaml").write_text(yaml.safe_dump(options))
    assert RunFolder(folder, CONFIG).rounds == [round_line(0), round_line(1)]
    with pytest.raises(RecordError, match=r"other options: --patience 5 there, 6 now; give"):
        RunFolder(folder, RunConfig.of(seed=1, patience=6))


def test_an_option_that_is_gone_is_a_difference(folder):
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG.options() | {"colour": "red"}))
    with pytest.raises(RecordError, match="other options: --colour red there, None now;"):
        RunFolder(folder, CONFIG)


# The lock ---------------------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from dami_text.config.run import RunConfig
from dami_text.simulation.records import RunFolder
with RunFolder(Path(sys.argv[1]), RunConfig.of(seed=1)).locked():
    print("locked", flush=True)
    time.sleep(600)
"""


def test_another_process_is_kept_out_until_the_holder_is_dead(folder):
    mine = RunFolder(folder, CONFIG)
    before = content(folder)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "locked\n"
    with pytest.raises(BusyError, match=f"another process is at work in {folder}; wait for its end"), mine.locked():
        pytest.fail("both hold the lock")
    holder.kill()
    holder.communicate()
    with mine.locked():
        mine.commit(round_line(2), query_lines(2))
    assert content(folder).keys() == before.keys(), "the lock of the killed process is gone too"
    assert len(RunFolder(folder, CONFIG).rounds) == 3


def test_rounds_that_another_process_wrote_since_the_folder_was_opened_are_not_lost(folder):
    first, second = RunFolder(folder, CONFIG), RunFolder(folder, CONFIG)
    with first.locked():
        first.commit(round_line(2), query_lines(2))
    before = content(folder)
    with pytest.raises(BusyError, match=r"has been at work in .*; give the command again to go on"), second.locked():
        pytest.fail("the second would write round 2 again")
    assert content(folder) == before


def test_a_lock_under_which_nothing_is_written_leaves_nothing_behind(tmp_path):
    folder = RunFolder(tmp_path / "runs" / "first", CONFIG)
    with folder.locked():
        assert names(folder.path) == [".lock"]
    assert names(tmp_path) == []


def test_overwrite_removes_the_runs_own_files_only(folder):
    (folder / "notes.txt").write_text("mine")
    (folder / "learning_curve.png").write_text("old")
    other = RunFolder(folder, RunConfig.of(seed=2), overwrite=True)
    assert (other.rounds, other.queries) == ([], [])
    assert len(names(folder)) == 6  # nothing is removed before there is something to put in its place
    other.commit(round_line(0), [])
    assert names(folder) == ["config.yaml", "notes.txt", "queries.jsonl", "rounds.jsonl"]
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "queries.jsonl").read_text() == ""
    assert RunFolder(folder, RunConfig.of(seed=2)).rounds == [round_line(0)]


@pytest.mark.parametrize("name", ["config.yaml", "queries.jsonl", "learning_curve.png", "model"])
def test_files_that_are_no_runs_are_not_replaced(tmp_path, name):
    (tmp_path / name).mkdir() if name == "model" else (tmp_path / name).write_text("mine")
    (tmp_path / "notes.txt").write_text("mine too")
    before = content(tmp_path)
    with pytest.raises(RecordError, match=f"holds {name}, but no run .*--output-dir, or give --overwrite"):
        RunFolder(tmp_path, CONFIG)
    assert content(tmp_path) == before
    RunFolder(tmp_path, CONFIG, overwrite=True).commit(round_line(0), [])
    assert names(tmp_path) == ["config.yaml", "notes.txt", "queries.jsonl", "rounds.jsonl"]


def test_a_folder_without_a_finished_round_is_new_whatever_its_options_were(tmp_path):
    RunFolder(tmp_path, RunConfig.of(seed=5)).save_model(save_weights)
    folder = RunFolder(tmp_path, CONFIG)
    folder.commit(round_line(0), [])
    assert names(tmp_path) == ["config.yaml", "queries.jsonl", "rounds.jsonl"]
    assert RunFolder(tmp_path, CONFIG).rounds == [round_line(0)]


def test_a_model_that_cannot_be_saved_leaves_the_old_one(folder):
    def fail(path):
        path.mkdir(exist_ok=True)
        (path / "weights").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(RecordError, match=r"cannot use the output folder .*No space left on device"):
        RunFolder(folder, CONFIG).save_model(fail)
    assert (folder / "model" / "weights").read_text() == "new"
    RunFolder(folder, CONFIG).save_model(save_weights)
    assert names(folder) == ["config.yaml", "model", "queries.jsonl", "rounds.jsonl"]


def test_a_round_that_cannot_be_written_is_an_error_and_does_not_count(folder, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    opened = RunFolder(folder, CONFIG)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordError, match=r"No space left on device; make room or choose another with --output-dir"):
        opened.commit(round_line(2), query_lines(2))
    assert len(opened.rounds) == 2


@pytest.mark.parametrize(
    ("options", "former", "goes_on"),
    [
        ({"strategy": "bald"}, {"bald_dropout": 0.5}, True),
        ({"strategy": "bald"}, {"bald_dropout": 0.2}, False),  # other samples than training's
        ({"strategy": "dami"}, {"bald_dropout": 0.2}, True),
        ({"model": "bilstm", "strategy": "bald", "dropout": 0.2}, {"bald_dropout": 0.2}, True),
        ({"task": "tabular", "strategy": "egl"}, {"bald_dropout": 0.5, "dropout": 0.5}, True),
        ({"task": "tabular", "strategy": "bald"}, {"bald_dropout": 0.5, "dropout": 0.5}, False),
        ({"task": "tabular", "strategy": "bald", "dropout": 0.5}, {"bald_dropout": 0.5}, False),  # trained without
        ({"model": "org/bert", "strategy": "bald"}, {"bald_dropout": 0.5}, False),
        ({"model": "org/bert", "strategy": "badge"}, {"bald_dropout": 0.5}, True),
    ],
)
def test_a_run_goes_on_where_balds_rate_was_an_option_of_its_own(tmp_path, options, former, goes_on):
    config = RunConfig.of(**options)
    RunFolder(tmp_path / "run", config).commit(round_line(0), [])
    file = tmp_path / "run" / "config.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | former))
    if goes_on:
        assert len(RunFolder(tmp_path / "run", config).rounds) == 1
    else:
        with pytest.raises(RecordError, match=f"--bald-dropout {former['bald_dropout']} there, None now"):
            RunFolder(tmp_path / "run", config)


@pytest.mark.parametrize("options", [{}, {"model": "linear", "strategy": "margin"}, {"task": "tabular"}])
def test_a_run_goes_on_with_the_word_vectors_that_were_the_default_once(tmp_path, options):
    config = RunConfig.of(dataset="texts.csv", **options)
    assert config.word_vectors.word_vectors == "auto"
    RunFolder(tmp_path / "run", config).commit(round_line(0), [])
    file = tmp_path / "run" / "config.yaml"
    former = yaml.safe_load(file.read_text()) | {"word_vectors": "word2vec"}
    file.write_text(yaml.safe_dump(former))
    opened = RunFolder(tmp_path / "run", config)
    assert len(opened.rounds) == 1
    assert opened.config.word_vectors.word_vectors == "word2vec"
    assert RunConfig.of_options(former).word_vectors.word_vectors == "word2vec", "its config.yaml is a config still"
    if not options:
        with pytest.raises(RecordError, match="--word-vectors word2vec there, random now"):
            RunFolder(tmp_path / "run", config.changed(word_vectors="random"))


@pytest.mark.parametrize(
    ("options", "former"),
    [
        ({}, 0),
        ({"model": "bilstm"}, 0),
        ({"task": "tabular"}, 0),
        ({"validation": "none"}, None),
        ({"model": "linear", "strategy": "margin"}, None),
    ],
)
def test_a_run_goes_on_with_the_evaluations_and_weights_of_versions_that_had_no_option_for_them(
    tmp_path, options, former
):
    config = RunConfig.of(dataset="texts.csv", **options)
    RunFolder(tmp_path / "run", config).commit(round_line(0), [])
    file = tmp_path / "run" / "config.yaml"
    recorded = yaml.safe_load(file.read_text())
    for name in ("evaluation_steps", "averaging_steps"):
        del recorded[name]
    file.write_text(yaml.safe_dump(recorded))
    opened = RunFolder(tmp_path / "run", config)
    assert len(opened.rounds) == 1
    as_before = config if former is None else config.changed(evaluation_steps=former, averaging_steps=former)
    assert opened.config == as_before


def test_paths_are_recorded_so_that_a_run_is_resumed_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "a.csv"
    file.write_text("text,label\n")
    monkeypatch.chdir(tmp_path)
    RunFolder(tmp_path / "run", RunConfig.of(dataset="data/a.csv")).commit(round_line(0), [])
    recorded = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (recorded["dataset"], recorded["model"]) == (str(file), "cnn")
    monkeypatch.chdir(tmp_path / "data")
    assert len(RunFolder(tmp_path / "run", RunConfig.of(dataset="./a.csv")).rounds) == 1
    recorded["dataset"] = "a.csv"  # as versions before wrote it
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(recorded))
    assert len(RunFolder(tmp_path / "run", RunConfig.of(dataset="./a.csv")).rounds) == 1
