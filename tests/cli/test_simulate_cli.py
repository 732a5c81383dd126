"""`dami-text simulate` as a user has it, on a session and on a file."""

import re

import pytest
from labeling_cases import label_some, make_linear_session, make_session, texts_without_labels

from dami_text.cli.main import main

LINE = re.compile(
    r"margin: [+-]\d+\.\d points of accuracy against random \(95% interval [+-]\d+\.\d to [+-]\d+\.\d\): .+"
)


@pytest.fixture(scope="module")
def session(reviews, tmp_path_factory):
    """A session of the linear model with 60 labels of 120 texts."""
    folder = tmp_path_factory.mktemp("session")
    file, truth = texts_without_labels(reviews, folder, 120)
    with make_linear_session(file, folder / "s.dami") as session:
        label_some(session, truth, 10)
        session.store.extend_queue(0, session.items(list(range(120)), "reserve"))
        label_some(session, truth, 50)
        assert len(session.store.labels()) == 60
    return folder / "s.dami"


def test_it_says_in_a_line_whether_choosing_beat_random(session, capsys):
    before = {file: file.read_bytes() for file in session.rglob("*") if file.is_file()}
    assert main(["simulate", str(session), "--seeds", "1"]) == 0
    first, line = capsys.readouterr().out.splitlines()
    assert first == "60 labelled texts: 6 are tested on, and 7 to 27 of the others have labels"
    assert LINE.fullmatch(line)
    assert before == {file: file.read_bytes() for file in session.rglob("*") if file.is_file()}


def test_a_file_of_labelled_texts_and_another_metric(tmp_path, reviews, capsys):
    file = tmp_path / "labelled.csv"
    file.write_text("\n".join(reviews.read_text(encoding="utf-8").splitlines()[:61]) + "\n", encoding="utf-8")
    arguments = [str(file), "--model", "linear", "--strategies", "entropy", "badge", "--metric", "f1:neg"]
    assert main(["simulate", *arguments, "--seeds", "1"]) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["entropy", "badge"]
    assert all("points of f1 of neg against random" in line for line in lines)


def test_too_few_labels_and_a_model_that_takes_steps(tmp_path, reviews, capsys):
    file, truth = texts_without_labels(reviews, tmp_path, 120)
    with make_session(file, tmp_path / "s.dami", model="cnn", strategy="margin") as session:
        label_some(session, truth, 10)
    assert main(["simulate", str(tmp_path / "s.dami")]) == 1
    assert "error: there are 10 labelled texts; simulate needs 50 or more: label on\n" in capsys.readouterr().err
    with make_session(file, tmp_path / "t.dami", model="cnn", strategy="margin") as session:
        session.store.extend_queue(0, session.items(list(range(120)), "reserve"))
        label_some(session, truth, 60)
    assert main(["simulate", str(tmp_path / "t.dami")]) == 1
    assert "--model cnn takes steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "error: 'nowhere' is no file or folder here"),
        (["SESSION", "--model", "linear"], "--model is about a file, and SESSION is a session; leave it out"),
        (["SESSION", "--seeds", "0"], "--seeds is 0; it must be at least 1"),
        (["SESSION", "--strategies", "random"], "--strategies are compared with random; name one or more others"),
        (["SESSION", "--strategies", "mine"], "--strategy is 'mine'; it must be one of random, "),
        (["SESSION", "--metric", "f2"], "--metric is 'f2'; it must be one of accuracy, "),
        (["SESSION", "--metric", "recall:eggs"], "the data have no class 'eggs'"),
        (["EMPTY"], "EMPTY is empty; name a session or a file of labelled texts"),
    ],
)
def test_what_cannot_work_is_one_line(session, tmp_path, capsys, arguments, message):
    (tmp_path / "empty").mkdir()
    places = {"SESSION": str(session), "EMPTY": str(tmp_path / "empty")}
    for name, place in places.items():
        message = message.replace(name, place)
    assert main(["simulate", *(places.get(argument, argument) for argument in arguments)]) == 1
    error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("INFO", "WARNING"))]
    assert len(error) == 1
    assert message in error[0]
