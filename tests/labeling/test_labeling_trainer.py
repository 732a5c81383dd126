"""The trainer's process: what it keeps, when it works, and what becomes of it where it or its page is killed."""

import io
import os
import queue
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from encoder_cases import save_encoder
from filelock import FileLock
from labeling_cases import label_some, make_session, texts_without_labels

from dami_text.cli.main import main
from dami_text.data import cache
from dami_text.labeling import rounds as rounds_module
from dami_text.labeling import trainer as trainer_module
from dami_text.labeling import worker
from dami_text.labeling.creation import add_texts
from dami_text.labeling.encoding import Encoding, teller
from dami_text.labeling.lock import LOCK, locked
from dami_text.labeling.rounds import train_round
from dami_text.labeling.session import Session
from dami_text.labeling.trainer import Trainer, TrainerState
from dami_text.progress import progress_told, tell_progress


@pytest.fixture
def truth(tmp_path, reviews):
    return texts_without_labels(reviews, tmp_path)[1]


@pytest.fixture
def session(tmp_path, truth):
    return make_session(tmp_path / "texts.csv", tmp_path / "reviews.dami")


@pytest.fixture
def trainer(session):
    made = Trainer(session)
    yield made
    process = made._process
    made.close()
    if process is not None:
        process.kill()
        process.wait(30)


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setattr(cache, "HF_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def what_was_asked(session):
    """All queues and rounds of a session but for the times that they took."""
    rounds = session.store.rounds()
    queues = [session.store.queue(number) for number in range(len(rounds) + 1)]
    details = [{**record.details, "seconds": None} for record in rounds]
    return queues, details, [(record.through, record.n_labeled, record.predictions) for record in rounds]


class Waiting:
    """The lines of a page's input, as a page writes them."""

    def __init__(self):
        self.lines = queue.Queue()

    def __iter__(self):
        return iter(self.lines.get, None)


# What is kept between rounds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cnn", "linear", "frozen encoder"])
def test_rounds_over_kept_texts_are_those_that_new_processes_would_do(tmp_path, truth, kind, own_cache):
    options = {"model": kind}
    if kind == "frozen encoder":
        plain = {"word_vectors": "auto", "word_vector_dim": 100, "steps": 400, "train_batch_size": 25}
        options = {"model": str(save_encoder(tmp_path / "encoder")), "freeze_encoder": True, **plain}
        options["near_duplicates"] = 1.0  # the features of an encoder that knows nothing are nearly all the same
    elif kind == "linear":
        options |= {"strategy": "margin", "word_vectors": "auto", "word_vector_dim": 100, "steps": 400}
        options |= {"train_batch_size": 25}
    warm = make_session(tmp_path / "texts.csv", tmp_path / "warm.dami", **options)
    cold = make_session(tmp_path / "texts.csv", tmp_path / "cold.dami", **options)
    texts = worker.Texts(worker.Page(Waiting()))
    kept = texts.of(warm)
    for _ in range(3):
        for each in (warm, cold):
            label_some(each, truth, 12)
        with Session(warm.folder) as again:
            assert texts.of(again) is kept
            train_round(again, kept)
        train_round(cold)
    assert what_was_asked(warm) == what_was_asked(cold)


def test_texts_are_encoded_again_where_texts_or_options_changed(session, tmp_path):
    texts = worker.Texts(worker.Page(Waiting()))
    first = texts.of(session)
    (tmp_path / "more.csv").write_text("text\na new text of some words\n")
    add_texts(session, str(tmp_path / "more.csv"))
    second = texts.of(session)
    assert (len(first.texts), len(second.texts)) == (300, 301)
    session.rename_class("pos", "good")
    assert texts.of(session).class_names == ["neg", "good"]


def test_what_is_encoded_survives_a_kill_in_parts(own_cache):
    parts = [np.array([3, 1]), np.array([0]), np.array([2, 4])]
    made, told = [], []

    def make(rows):
        made.append(rows.tolist())
        if len(made) == 2:
            raise KeyboardInterrupt
        return np.stack([rows, rows**2], axis=1)

    with progress_told(lambda work, *far: told.append(far)):
        with pytest.raises(KeyboardInterrupt):
            cache.cached_rows("kind", "key", parts, [1, 1, 2], make)
        found = cache.cached_rows("kind", "key", parts, [1, 1, 2], make)
    assert found.tolist() == [[row, row**2] for row in range(5)]
    assert made == [[3, 1], [0], [0], [2, 4]]
    assert told == [(0, 5, 0), (2, 5, 0.25), (2, 5, 0.25), (3, 5, 0.5)]
    assert [file.name for file in own_cache.rglob("*") if file.is_file()] == ["key.npy"]
    assert np.array_equal(cache.cached_rows("kind", "key", parts, [1, 1, 2], make), found)
    assert len(made) == 4


def test_who_waits_for_what_another_process_has_made_takes_that(own_cache, monkeypatch):
    class TakenAway:
        def __init__(self, place):
            self.folder = place.parent

        def acquire(self):
            np.save(self.folder.with_name("key.npy"), np.array([[7]]))
            shutil.rmtree(self.folder)
            raise FileNotFoundError

    monkeypatch.setattr(cache, "FileLock", TakenAway)
    found = cache.cached_rows("kind", "key", [np.array([0])], [1], lambda rows: pytest.fail("it is there"))
    assert found.tolist() == [[7]]


def test_the_progress_is_told_with_an_estimate_by_the_work_done(session, monkeypatch, capsys):
    now = [1000.0]
    monkeypatch.setattr("dami_text.labeling.encoding.time.time", lambda: now[0])
    assert Encoding.of(session) is None
    tell = teller(session.store)
    tell("encoding texts", 200, 1000, 0.1)
    assert str(Encoding.of(session)) == "encoding texts: 200 of 1,000"
    now[0] += 20
    tell("encoding texts", 500, 1000, 0.3)  # a fifth in 20 s: seven tenths take 70 s
    assert str(Encoding.of(session)) == "encoding texts: 500 of 1,000, about 70 s left"
    assert Trainer(session).state() == TrainerState("encoding", str(Encoding.of(session)))
    assert main(["status", str(session.folder)]) == 0
    assert "trainer    encoding texts: 500 of 1,000, about 70 s left\n" in capsys.readouterr().out
    now[0] += 180
    assert Encoding.of(session) is None  # who told it is dead
    tell("encoding texts", 600, 1000, 0.4)
    assert str(Encoding.of(session)) == "encoding texts: 600 of 1,000, about 7 min left"


# The process and its page ---------------------------------------------------------------------------------------


def test_the_page_is_heard_and_its_end_noticed():
    lines = Waiting()
    page = worker.Page(lines)
    page.require()
    lines.lines.put("3\n")
    assert page.next_round() == 3
    lines.lines.put("4\n")
    lines.lines.put(None)
    assert page.next_round() == 4  # what was asked for is still done
    with pytest.raises(worker.PageGone):
        page.next_round()
    with pytest.raises(worker.PageGone):
        page.require()
    with pytest.raises(worker.PageGone):
        worker.Page(io.StringIO("")).next_round()


def test_a_page_that_goes_ends_the_encoding_unless_a_round_is_asked_for(session, truth, monkeypatch):
    encoded = rounds_module.encoded_texts

    def slowly(session):
        time.sleep(0.2)  # until the input has been read
        tell_progress("encoding texts", 0, 300)
        return encoded(session)

    monkeypatch.setattr(worker, "encoded_texts", slowly)
    label_some(session, truth, 10)
    with pytest.raises(worker.PageGone):
        worker.work(session.folder, worker.Page(io.StringIO("")))
    assert (session.store.rounds(), session.store.meta("encoding")) == ([], None)
    with pytest.raises(worker.PageGone):
        worker.work(session.folder, worker.Page(io.StringIO("0\n")))
    assert len(session.store.rounds()) == 1


def test_one_process_does_many_rounds_and_holds_the_lock_only_while_it_trains(session, truth, trainer):
    trainer.stay()
    process = trainer._process
    for number in range(1, 4):
        label_some(session, truth, 10)
        trainer.start_if_due()
        assert trainer.state() == TrainerState("training")
        wait_until(lambda number=number: len(session.store.rounds()) == number)
        wait_until(lambda: trainer.state() == TrainerState("idle"))
        with locked(session):  # as add and rename do
            assert process.poll() is None
    assert trainer._process is process
    trainer.close()
    assert process.wait(30) == 0


def test_two_pages_do_a_round_once(session, truth):
    trainers = [Trainer(session), Trainer(session)]
    label_some(session, truth, 10)
    for each in trainers:
        each.stay()
    processes = [each._process for each in trainers]
    wait_until(lambda: len(session.store.rounds()) == 1 and all(each.state().kind == "idle" for each in trainers))
    for each in trainers:
        each.close()
    assert [process.wait(60) for process in processes] == [0, 0]
    assert len(session.store.rounds()) == 1


def test_a_round_that_was_asked_for_is_done_though_the_page_has_gone(session, truth, trainer):
    label_some(session, truth, 10)
    trainer.start_if_due()
    process = trainer._process
    trainer.close()
    assert process.wait(120) == 0
    assert len(session.store.rounds()) == 1


def test_a_killed_trainer_is_told_loses_no_label_and_starts_again_by_itself(session, truth, trainer, monkeypatch):
    rows = label_some(session, truth, 9)
    trainer.start_if_due()
    assert trainer.state() == TrainerState("idle")
    rows += label_some(session, truth, 1)
    trainer.start_if_due()
    assert trainer.state() == TrainerState("training")
    killed = trainer._process
    os.kill(killed.pid, signal.SIGKILL)
    wait_until(lambda: trainer.state().kind == "failed")
    assert trainer.state().message == "it was ended by signal 9"
    assert {row["row"] for row in session.store.labels()} == set(rows)
    now = time.monotonic()
    monkeypatch.setattr(trainer_module.time, "monotonic", lambda: now - 10)
    trainer.start_if_due()
    assert trainer.state().kind == "failed"  # not at once
    monkeypatch.setattr(trainer_module.time, "monotonic", lambda: now + 10)
    trainer.start_if_due()
    monkeypatch.undo()
    label_some(session, truth, 2)  # labelling goes on meanwhile
    wait_until(lambda: trainer.state().kind != "training")
    assert (trainer.state(), len(session.store.rounds())) == (TrainerState("idle"), 1)


def test_one_that_is_killed_again_and_again_waits_longer_each_time(session, trainer, monkeypatch):
    now, started = [0.0], []
    monkeypatch.setattr(trainer_module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(trainer_module.subprocess, "Popen", lambda *a, **k: started.append(now[0]) or Dead())
    trainer.stay()
    while now[0] < 3000:
        now[0] += 0.5
        trainer.start_if_due()
    waits = np.diff(started).tolist()
    assert waits[:5] == [1.5, 2.5, 4.5, 8.5, 16.5]  # its end is seen at the next look
    assert waits[-1] == 600.5


class Dead:
    pid, returncode, stdin = 1, -9, None

    def poll(self):
        return self.returncode

    def kill(self):
        pass

    def wait(self, seconds):
        pass


def test_what_a_trainer_said_last_is_told_and_it_waits_for_more_labels(session, truth, trainer, monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'Traceback: many lines'\necho 'error: no room on the disk' >&2\nexit 1\n")
    python.chmod(0o700)
    monkeypatch.setattr(trainer_module.sys, "executable", str(python))
    label_some(session, truth, 10)
    trainer.stay()
    wait_until(lambda: trainer.state().kind == "failed")
    assert trainer.state() == TrainerState("failed", "error: no room on the disk")
    label_some(session, truth, 4)
    trainer.start_if_due()
    assert trainer._process is None
    label_some(session, truth, 1)
    trainer.start_if_due()
    assert trainer._process is not None


def test_a_training_that_cannot_start_is_told_and_labelling_goes_on(session, truth, trainer):
    label_some(session, truth, 10)
    (session.folder / "trainer.log").mkdir()  # which a file cannot be written over
    trainer.start_if_due()
    assert trainer.state().kind == "failed"
    assert "trainer.log" in trainer.state().message
    assert len(label_some(session, truth, 1)) == 1


def test_a_trainer_whose_folder_is_gone_makes_none_and_its_end_is_told(session, truth, trainer):
    label_some(session, truth, 10)
    trainer._process = subprocess.Popen([sys.executable, "-c", "import sys; sys.exit(3)"])
    trainer._process.wait(30)
    session.folder.rename(session.folder.with_name("elsewhere.dami"))
    assert trainer.state() == TrainerState("failed", "exit status 3")
    trainer.start_if_due()
    assert not session.folder.exists()


def test_what_a_killed_training_left_is_cleared_by_the_next(session, truth):
    label_some(session, truth, 10)
    left = session.folder / ".model.123.unfinished"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    with pytest.raises(worker.PageGone):
        worker.work(session.folder, worker.Page(io.StringIO("1\n")))  # round 0 is next: another process is to do it
    assert left.exists(), "another training may be writing it"
    with pytest.raises(worker.PageGone):
        worker.work(session.folder, worker.Page(io.StringIO("0\n")))
    assert (left.exists(), len(session.store.rounds())) == (False, 1)


def test_while_another_process_has_the_lock_a_round_waits(session, truth, trainer):
    label_some(session, truth, 10)
    with FileLock(session.folder / LOCK):  # as another page's trainer holds it
        assert trainer.state() == TrainerState("training")
        trainer.start_if_due()
        time.sleep(0.5)
        assert session.store.rounds() == []
    wait_until(lambda: trainer.state() == TrainerState("idle"))
    assert len(session.store.rounds()) == 1


def test_an_empty_queue_asks_for_a_round_early(session, truth, trainer):
    trainer.start_if_due(exhausted=True)
    assert trainer._process is None  # nothing is labelled
    label_some(session, truth, 3)
    trainer.start_if_due(exhausted=True)
    assert trainer.state() == TrainerState("training")


def test_what_the_session_became_meanwhile_is_what_a_round_is_of(session, truth, tmp_path):
    """A worker that began before the texts were added and the class was named anew does the round of a new one."""
    label_some(session, truth, 12)
    shutil.copytree(session.folder, tmp_path / "cold.dami")
    lines = Waiting()
    page = worker.Page(lines)
    texts = worker.Texts(page)
    texts.of(session)
    (tmp_path / "more.csv").write_text("text\na new text of some words\n")
    with Session(tmp_path / "cold.dami") as cold:
        for each in (session, cold):
            add_texts(each, str(tmp_path / "more.csv"))
            each.rename_class("pos", "good")
        train_round(cold)
        train_round(session, texts.of(session))
        assert what_was_asked(session) == what_was_asked(cold)
