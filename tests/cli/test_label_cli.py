import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from encoder_cases import save_encoder
from labeling_cases import label_some, texts_without_labels
from transformers import pipeline

import dami_text
import dami_text.labeling.page.server
from dami_text.cli.main import main
from dami_text.config.fields import Size
from dami_text.errors import ConfigError
from dami_text.labeling.opening import session_folder
from dami_text.labeling.progress import Agreement, Gain, Progress, Proportion
from dami_text.labeling.session import Session
from dami_text.labeling.status import status_text

FAST = ("--model", "cnn", "--word-vectors", "random", "--word-vector-dim", "4", "--steps", "10")


@pytest.fixture
def folder(tmp_path, monkeypatch, reviews):
    """The current folder, with texts.csv of 300 reviews without labels."""
    monkeypatch.chdir(tmp_path)
    texts_without_labels(reviews, tmp_path)
    return tmp_path


@pytest.fixture
def served(folder, monkeypatch):
    """What the page would be served with; it is not."""
    calls = []

    def serve(session, page, guidelines, review):
        where = [] if (page.host, page.public_url) == ("127.0.0.1", None) else [page.host, page.public_url]
        where += ["review"] if review else []
        own = Session(session.folder)  # the command closes its own
        calls.append((own, page.annotators or [], guidelines, page.port, page.browser, *where))

    monkeypatch.setattr(dami_text.labeling.page.server, "serve", serve)
    monkeypatch.setattr(dami_text.labeling.page.server, "require_gradio", lambda: None)
    return calls


@pytest.fixture
def truth(reviews, tmp_path):
    return texts_without_labels(reviews, tmp_path)[1]


def run(*arguments):
    assert main(arguments) == 0


def test_a_file_becomes_a_session_and_the_same_command_goes_on(served, truth, capsys):
    command = ("label", "texts.csv", "--labels", "neg", "pos", "--query-size", "7", *FAST)
    run(*command)
    assert capsys.readouterr().out == "session  texts.dami: 300 texts; classes neg, pos\nmodel    cnn\n"
    label_some(served[0][0], truth, 3)
    left_open = ("label", "texts.csv", "--model", "auto", "--cold-start", "auto")
    for again in (
        command,
        ("label", "texts.csv"),
        left_open,
        ("label", "texts.dami", "--port", "9000", "--no-browser"),
    ):
        run(*again)
    sessions = [call[0] for call in served]
    assert [len(session.store.labels()) for session in sessions] == [3] * 5
    assert (sessions[1].query_size(), sessions[1].config) == (7, sessions[0].config)
    assert sessions[0].config.run.strategy.clustering_seconds == 0.1, "a person waits; a run has 60"
    assert [call[1:] for call in served] == [([], None, 7860, True)] * 4 + [([], None, 9000, False)]


def test_review_opens_the_page_with_what_is_doubtful(served, truth):
    run("label", "texts.csv", "--labels", "neg", "pos", "--model", "linear", "--strategy", "margin")
    label_some(served[0][0], truth, 15)
    run("review", "texts.dami", "--port", "9000", "--no-browser")
    assert served[1][1:] == ([], None, 9000, False, "review")
    assert len(served[0][0].store.doubts()) == 15


def test_an_encoder_is_trained_as_encoders_are(served, folder):
    save_encoder(folder / "encoder")
    command = ("label", "texts.csv", "--labels", "neg", "pos", "--model", "./encoder", "--max-length", "32")
    run(*command, "--train-batch-size", "4")
    run("label", "texts.csv")
    for session, *_ in served:
        training = session.config.run.training
        assert (training.optimizer, training.learning_rate, training.train_batch_size) == ("adamw", 5e-5, 4)


def test_other_options_for_the_same_session_are_refused(served, capsys):
    run("label", "texts.csv", "--labels", "neg", "pos")
    capsys.readouterr()
    assert main(["label", "texts.csv", "--labels", "neg", "pos", "other", "--query-size", "9"]) == 1
    assert capsys.readouterr().err == (
        "error: texts.dami was made with other options: "
        "--query-size 10 there, 9 now; leave them out to go on, or make another session with --session\n"
    )


def test_budget_and_lease_can_be_changed_later_and_stay_so(served, folder, capsys):
    run("label", "texts.csv", "--labels", "neg", "pos", "--budget", "5", *FAST)
    run("label", "texts.csv", "--budget", "0.5", "--lease-minutes", "2.5")
    run("label", "texts.dami")
    before = (folder / "texts.dami" / "config.yaml").read_bytes()
    assert main(["label", "texts.dami", "--budget", "50", "--query-size", "9"]) == 1
    assert "--query-size 20 there, 9 now; leave" in capsys.readouterr().err
    assert main(["label", "texts.dami", "--budget", "0"]) == 1
    assert (folder / "texts.dami" / "config.yaml").read_bytes() == before
    found = [(session.config.run.loop.budget, session.config.labeling.lease_minutes) for session, *_ in served]
    assert found == [(Size(5), 10.0), (Size(0.5), 2.5), (Size(0.5), 2.5)]
    assert not list((folder / "texts.dami").glob(".config*"))


def test_another_file_does_not_open_a_session_and_neither_does_one_that_has_grown(served, folder, capsys):
    command = ("--labels", "neg", "pos", *FAST)
    run("label", "texts.csv", *command)
    texts = (folder / "texts.csv").read_text().splitlines()[1:]
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (folder / "elsewhere").mkdir()
    shutil.copy("texts.csv", "elsewhere")
    capsys.readouterr()
    remedy = "make another session with --session NAME, or name texts.dami itself to go on with its texts"
    assert main(["label", "texts.jsonl", *command]) == 1
    assert capsys.readouterr().err == (
        f"error: texts.dami was made of {folder / 'texts.csv'}, not of texts.jsonl; {remedy}\n"
    )
    with (folder / "texts.csv").open("a") as file:
        file.write("one more\n")
    for arguments in (["texts.csv"], ["texts.csv", "--session", "./texts.dami"]):
        assert main(["label", *arguments]) == 1
        assert capsys.readouterr().err == f"error: texts.csv has other texts than texts.dami was made of; {remedy}\n"
    assert len(served) == 1
    run("label", "texts.dami")
    run("label", "elsewhere/texts.csv", "--session", "texts.dami")
    assert [len(session) for session, *_ in served] == [300] * 3
    run("label", "texts.csv", "--session", "more.dami", *command)
    assert len(served[-1][0]) == 301


def test_guidelines_and_annotators_reach_the_page(served, folder):
    (folder / "guide.md").write_text("# Be fair")
    (folder / "passwords").write_text("ann:a\nbob:b\n")
    run(
        *("label", "texts.csv", "--labels", "a", "b", "--annotators", "ann", "bob", "--passwords", "passwords"),
        *("--guidelines", "guide.md"),
    )
    assert served[0][1:] == (["ann", "bob"], "# Be fair", 7860, True)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["label"], "the following arguments are required: file; dami-text label --help lists the options"),
        (["label", "no.csv"], "'no.csv' is no file or folder here"),
        (["label", "texts.csv"], "the classes are not known; name two or more with --labels NAME NAME ..."),
        (["label", "texts.csv", "--labels", "a", "a"], "--labels is ['a', 'a']; it must be two names or more"),
        (
            ["label", "texts.csv", "--labels", "a", "b", "--validation-share", "2"],
            "--validation-share is 2.0; it must be",
        ),
        (["label", "texts.csv", "--labels", "a", "b", "--guidelines", "no.md"], "cannot read --guidelines no.md"),
        (["label", "texts.csv", "--labels", "a", "b", "--annotators", "x y"], "--annotators is ['x y']; it must be"),
        (["label", "texts.csv", "--labels", "a", "b", "--passwords", "p"], "--passwords is 'p'; it must be given with"),
        (["label", "texts.csv", "--labels", "a", "b", "--session", "there"], "there is there and holds no session"),
        (
            ["label", "texts.csv", "--labels", "a", "b", "--strategy", "no:X"],
            "cannot make --strategy no:X: No module named",
        ),
        (
            ["label", "texts.csv", "--labels", "a", "b", "--model", "./gone"],
            "--model './gone' is no folder here, and no Hub id",
        ),
        (
            ["label", "texts.csv", "--labels", "a", "b", "--model", "cnn", "--word-vectors", "gone.txt"],
            "--word-vectors is 'gone.txt'; it must be auto, word2vec, ppmi, random or an existing file",
        ),
        (
            ["label", "texts.csv", "--labels", "a", "b", "--cold-start", "balanced"],
            "--cold-start balanced needs the labels",
        ),
        (
            ["label", "texts.csv", "--labels", "a", "b", "--task", "tabular"],
            "--task is tabular, and people label texts, not rows of a table; leave --task out, and name the column to "
            "read with --text-column",
        ),
        (["label", "telescope"], "telescope is a table, and people label texts, not rows of a table; give a file"),
        (
            ["label", "texts.csv", "--drop-columns", "a"],
            "unrecognized arguments: --drop-columns a; dami-text label --help lists",
        ),
        (["status", "no.dami"], "no.dami holds no session"),
        (["status"], "the following arguments are required: session; dami-text status --help lists the options"),
        (["export", "no.dami", "out.csv"], "no.dami holds no session"),
        (["export", "no.dami", "out.csv", "--format", "docx"], "argument --format: invalid choice: 'docx'"),
        (
            ["export", "no.dami", "out", "--format", "jsonl", "--safe-csv"],
            "--safe-csv is about csv, and --format is jsonl; leave it out",
        ),
        (
            ["select", "no.dami", "out", "--format", "prodigy", "--safe-csv"],
            "--safe-csv is about csv, and --format is prodigy; leave it out",
        ),
        (
            ["export", "no.dami", "out", "--format", "events", "--all"],
            "--all adds texts without labels, and --format events is of events; leave one of them out",
        ),
        (
            ["label", "texts.csv", "--labels", "a", "b", "--overlap", "3"],
            "--overlap is 3, and only you label; name all with --annotators NAME ...",
        ),
        (
            ["label", "texts.csv", "--labels", "a,b"],
            "--labels is 'a,b'; it must be names with blanks between them: --la",
        ),
        (["label", "--labels", "a", "b", "texts.csv"], "texts.csv was taken for one of --labels; write it first"),
        (["label", "texts.csv", "--labels", "a", "a "], "--labels is ['a', 'a ']; it must be names that differ"),
        (["select", "no.dami", "out", "--n", "0"], "--n is 0; it must be at least 1"),
        (["train", "no.dami"], "the following arguments are required: --output-dir"),
        (["train", "no.dami", "--output-dir", "m"], "no.dami holds no session"),
        (["train", "no.dami", "--output-dir", "m", "--private"], "--private has no effect without --push-to-hub"),
        (
            ["labl"],
            "'labl' is no command; wanted one of label, status, review, export, import, add, rename, select, train, ",
        ),
    ],
)
def test_bad_input_is_one_line(served, folder, capsys, arguments, line):
    (folder / "there").mkdir()
    assert main(arguments) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith(f"error: {line}")
    assert served == []
    assert sorted(path.name for path in folder.iterdir()) == ["texts.csv", "there"]


def test_without_gradio_nothing_is_written(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["label", "texts.csv", "--labels", "neg", "pos"]) == 1
    assert capsys.readouterr().err == 'error: the page needs gradio: pip install "dami_text[ui]"\n'
    assert [path.name for path in folder.iterdir()] == ["texts.csv"]


def test_debug_shows_the_traceback(served):
    with pytest.raises(ConfigError):
        main(["label", "texts.csv", "--labels", "a", "--debug"])


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_without_a_command_the_commands_are_listed(arguments, capsys):
    run(*arguments)
    out = capsys.readouterr().out
    assert all(
        re.search(rf"^  {name} .*[a-z]", out, re.M) for name in ("label", "status", "export", "import", "select")
    )


@pytest.mark.parametrize("name", ["label", "status", "review", "export", "import", "select", "train"])
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: dami-text {name}")


def test_labels_go_out_and_in_and_a_model_comes_of_them(served, truth, folder, capsys):
    run("label", "texts.csv", "--labels", "neg", "pos", "--initial-size", "10", *FAST)
    rows = label_some(served[0][0], truth, 12)
    run("status", "texts.dami")
    assert capsys.readouterr().out.splitlines()[2] == "labelled   12 of 300 texts; 0 skipped, 0 flagged"

    run("export", "texts.dami", "labels.csv")
    run("export", "texts.dami", "tasks.json", "--format", "label-studio")
    out = capsys.readouterr().out
    assert out.startswith("12 texts in labels.csv\n12 texts in tasks.json\nlabelling interface: <View>")
    run("label", "texts.csv", "--session", "other.dami", "--labels", "neg", "pos", *FAST)
    run("import", "other.dami", "labels.csv")
    run("import", "other.dami", "tasks.json")
    assert "12 labels and skips added, 0 were known\n" in capsys.readouterr().out
    other = {row["row"]: row["label"] for row in Session(folder / "other.dami").store.labels()}
    assert other == {row: truth[row] for row in rows}

    run("export", "texts.dami", "events.jsonl", "--format", "events")
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [(event["action"], event["row"]) for event in events] == [("label", row) for row in rows]

    run("select", "texts.dami", "next.jsonl", "--n", "5", "--format", "jsonl")
    lines = [json.loads(line) for line in (folder / "next.jsonl").read_text().splitlines()]
    assert (len(lines), all(line["label"] is None and line["reason"]["word"] for line in lines)) == (5, True)

    capsys.readouterr()
    train = ("train", "texts.dami", "--output-dir", "model")
    run(*train)
    told = capsys.readouterr().out
    assert re.match(r"labelled 12 of 300 texts; \d+ trained the model\naccuracy .*\nmodel    model\n$", told)
    classify = pipeline("text-classification", model=str(folder / "model"), device="cpu")
    assert classify("a dull film")[0]["label"] in ("neg", "pos")

    made = (folder / "model" / "model.safetensors").stat().st_mtime_ns
    run(*train)
    assert capsys.readouterr().out == told, "the same labels again: what is there is the answer"
    assert (folder / "model" / "model.safetensors").stat().st_mtime_ns == made
    store = served[0][0].store
    store.toggle_flag(store.shown(rows[0], "ann")[0], "ann")
    run(*train)
    assert capsys.readouterr().out == told, "a flag is no label"
    label_some(served[0][0], truth, 1)
    assert main(train) == 1
    holds = "error: model is there already and holds"
    assert capsys.readouterr().err == f"{holds} a model of other labels; choose another with --output-dir\n"
    assert main([*train[:-1], "texts.csv"]) == 1
    assert capsys.readouterr().err.startswith("error: texts.csv is there already and holds something else")
    assert main([*train[:-1], "texts.csv/model"]) == 1
    assert capsys.readouterr().err.startswith("error: cannot write texts.csv/model: ")


def test_a_session_is_opened_from_any_folder(served, folder, monkeypatch):
    pytest.importorskip("gensim", reason="it reads files of word vectors")
    (folder / "vectors.txt").write_text("2 3\nfilm 1 2 3\nplot 3 2 1\n")
    command = ("label", "texts.csv", "--labels", "neg", "pos", "--model", "cnn", "--word-vectors", "vectors.txt")
    run(*command)
    run(*command)  # with the same options as before
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    run("label", "../texts.dami")
    config = served[2][0].config.run
    assert (config.data.dataset, config.model.model) == (str(folder / "texts.csv"), "cnn")
    assert config.word_vectors.word_vectors == str(folder / "vectors.txt")


def test_labels_go_into_a_pipe(served, folder):
    run("label", "texts.csv", "--labels", "neg", "pos", *FAST)
    command = [sys.executable, "-m", "dami_text.cli.main", "export", "texts.dami", "/dev/stdout", "--all"]
    environment = os.environ | {"PYTHONPATH": str(Path(dami_text.__file__).parents[1])}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert (lines[0][:14], len(lines), lines[-1]) == ("id,text,label,", 302, "300 texts in /dev/stdout")


def files(folder):
    """The content of each file below a folder; what SQLite keeps of its locks is none."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.match("*-shm")}


def test_nothing_is_written_over_the_labels_or_the_texts(served, folder, capsys):
    run("label", "texts.csv", "--labels", "neg", "pos", *FAST)
    before = files(folder)
    capsys.readouterr()
    for out, what in [
        ("texts.dami/labels.sqlite", "in the session texts.dami"),
        ("texts.dami/pool/x.csv", "in the session texts.dami"),
        ("./texts.dami/../texts.csv", "the file that the texts came from"),
    ]:
        for command in ("export", "select"):
            assert main([command, "texts.dami", out]) == 1
            err = capsys.readouterr().err
            assert err == f"error: {out.removeprefix('./')} is {what}; choose another to write to\n"
    assert files(folder) == before


def test_nothing_is_written_into_a_folder_that_the_texts_came_from(served, folder, capsys):
    (folder / "corpus").mkdir()
    (folder / "texts.csv").rename(folder / "corpus" / "train.csv")
    run("label", "corpus", "--labels", "neg", "pos", *FAST)
    before = files(folder)
    capsys.readouterr()
    for out in ("corpus/train.csv", "corpus/labels.csv"):
        for command in ("export", "select"):
            assert main([command, "corpus.dami", out]) == 1
            err = capsys.readouterr().err
            assert err == f"error: {out} is in the folder that the texts came from; choose another to write to\n"
    assert files(folder) == before
    run("export", "corpus.dami", "labels.csv", "--all")


def test_run_is_the_simulation(capsys):
    assert main(["run", "--epochs", "0"]) == 1
    assert capsys.readouterr().err == "error: --epochs is 0; it must be at least 1\n"


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("reviews.dami", "reviews.dami"),
        ("ORG/NAME", "ORG-NAME.dami"),
        ("demo", "demo.dami"),
        ("gone/a.csv", "gone-a.csv.dami"),
    ],
)
def test_a_session_is_named_by_its_source(file, wanted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(session_folder(file)) == wanted
    (tmp_path / "a.csv.gz").write_text("")
    assert session_folder(str(tmp_path / "a.csv.gz")) == tmp_path / "a.dami"


def test_a_session_under_another_name_goes_on(served, folder):
    run("label", "texts.csv", "--labels", "neg", "pos", *FAST)
    (folder / "texts.dami").rename(folder / "keep")
    run("label", "keep")
    assert [str(session.folder) for session, *_ in served] == ["texts.dami", "keep"]
    assert sorted(path.name for path in folder.iterdir()) == ["keep", "texts.csv"]


def test_the_status_is_lines_that_are_safe_for_a_terminal():
    done = Progress(
        n_texts=4000,
        n_labeled=60,
        n_skipped=2,
        n_flagged=1,
        by_class={"neg": 20, "\x1b[31mpos": 40},
        by_annotator={"ann": 60},
        rounds=3,
        n_since_round=5,
        query_size=20,
        curve=[],
        accuracy=Proportion(0.8, 0.62, 0.9, 25),
        gain=Gain(100, 0.031, -0.004, 0.06),
    )
    assert status_text(
        done,
        [
            Agreement(first="ann", second="bob", n=20, observed=0.7, kappa=0.4),
            Agreement(first="ann", second="cy", n=1, observed=1.0, kappa=None),
        ],
    ).splitlines() == [
        "labelled   60 of 4000 texts; 2 skipped, 1 flagged",
        r"classes    neg 20, \x1b[31mpos 40",
        "annotators ann 60",
        "rounds     3; 5 of 20 labels towards the next",
        "accuracy   80.0% (95% interval 62.0% to 90.0%, 25 texts)",
        "next 100   +3.1 points expected (95% interval -0.4 to +6.0)",
        "agreement  ann and bob: Cohen's kappa 0.40, 70% equal, 20 texts",
        "agreement  ann and cy: Cohen's kappa undefined, 100% equal, 1 text",
    ]
    assert not re.search("[\x00-\x09\x0b-\x1f]", status_text(done, []))


# On a server ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--host", "0.0.0.0"],
            "--host is '0.0.0.0'; it must be given with --annotators, who log in",
        ),
        (
            ["--public-url", "https://a.example/x"],
            "--public-url is 'https://a.example/x'; it must be given with --annot",
        ),
        (["--host", "lab", "--annotators", "ann"], "--host is 'lab'; it must be an IPv4 address, such as 127.0.0.1"),
        (["--public-url", "lab.example/x", "--annotators", "ann"], "it must be the whole address of the page, such as"),
        (
            ["--public-url", "https://a.example/x?y=1", "--annotators", "ann"],
            "it must be the whole address of the page",
        ),
        (["--public-url", "ftp://a.example", "--annotators", "ann"], "it must be the whole address of the page"),
        (["--public-url", "https://a.example:x/", "--annotators", "ann"], "it must be the whole address of the page"),
    ],
)
def test_a_page_for_other_machines_needs_annotators_and_an_address(served, folder, capsys, arguments, told):
    assert main(["label", "texts.csv", "--labels", "neg", "pos", *arguments]) == 1
    assert told in capsys.readouterr().err
    assert not (folder / "texts.dami").exists()
    assert served == []


def test_host_and_public_address_reach_the_server(served, folder):
    (folder / "passwords").write_text("ann:first secret\n")
    who = ("--annotators", "ann", "--passwords", "passwords", "--no-browser")
    run(
        "label", "texts.csv", "--labels", "neg", "pos", *who, "--host", "0.0.0.0", "--public-url", "https://a.example/x"
    )
    assert served[0][1:] == (["ann"], None, 7860, False, "0.0.0.0", "https://a.example/x")


@pytest.mark.parametrize("name", ["run", "grid", "report", "label", "predict", "add", "status"])
def test_help_calls_a_command_by_the_name_it_was_given(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: dami-text {name} ")


def test_commands_close_what_they_open(served, folder, truth, connections, capsys):
    """Also those that end with an error; a page's are those of the test here."""

    def closed_after(*arguments, status=0):
        before = len(connections)
        assert main(arguments) == status, capsys.readouterr().err
        mine = [connection for session, *_ in served for connection in [session.store._connection]]
        left = [c for c in connections[before:] if c not in mine and _is_open(c)]
        assert left == [], arguments

    closed_after("label", "texts.csv", "--labels", "neg", "pos", *FAST)
    session = served[0][0]
    label_some(session, truth, 24)
    closed_after("label", "texts.csv")
    closed_after("status", "texts.dami")
    closed_after("export", "texts.dami", "out.csv")
    closed_after("export", "texts.dami", "events.jsonl", "--format", "events")
    closed_after("import", "texts.dami", "out.csv")
    closed_after("add", "texts.dami", "texts.csv")
    closed_after("rename", "texts.dami", "neg", "bad")
    closed_after("select", "texts.dami", "next.csv", "--n", "3")
    closed_after("train", "texts.dami", "--output-dir", "model")
    closed_after("predict", "texts.dami", "--rest", "predicted.csv")
    closed_after("import", "texts.dami", "no-such-file.csv", status=1)
    closed_after("predict", "texts.dami", "texts.csv", "texts.csv", status=1)
    closed_after("label", "texts.csv", "--labels", "x", "y", status=1)
    (folder / "texts.dami" / "pool").rename(folder / "pool")
    closed_after("status", "texts.dami", status=1)
    (folder / "texts.dami" / "labels.sqlite").write_text("no database")
    closed_after("status", "texts.dami", status=1)


def _is_open(connection):
    try:
        connection.total_changes  # noqa: B018 - which a closed one refuses
    except sqlite3.ProgrammingError:
        return False
    return True
