import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from dami_text.errors import RecordError
from dami_text.labeling.store import events as store_module
from dami_text.labeling.store import schema
from dami_text.labeling.store.events import Refused, Shown, Store
from dami_text.labeling.store.queues import QueueItem, RoundRecord

LEASE = 60.0


@pytest.fixture
def store(tmp_path):
    """A store whose queue for the start holds rows 10, 11, ... 19 in this order."""
    store = Store(tmp_path / "labels.sqlite", create=True)
    store.extend_queue(0, [QueueItem(row, "start", {}) for row in range(10, 20)])
    yield store
    store.close()


def label_next(store, annotator, label, now=None):
    shown, _ = store.next(annotator, LEASE, now)
    store.decide(shown, annotator, "label", label, now)
    return shown.row


def labels_of(store):
    return {row["row"]: row["label"] for row in store.labels()}


# Decisions ------------------------------------------------------------------------------------------------------


def test_texts_come_in_the_queues_order_and_labels_are_what_was_given(store):
    assert [label_next(store, "ann", i % 2) for i in range(4)] == [10, 11, 12, 13]
    assert labels_of(store) == {10: 0, 11: 1, 12: 0, 13: 1}


def test_the_queue_ends(store):
    for _ in range(10):
        label_next(store, "ann", 0)
    assert store.next("ann", LEASE) is None


def test_a_skipped_text_is_not_shown_again_and_has_no_label(store):
    shown, _ = store.next("ann", LEASE)
    store.decide(shown, "ann", "skip")
    assert store.next("ann", LEASE)[0].row == 11
    assert (store.skipped(), labels_of(store)) == ([10], {})


def test_a_text_stays_on_the_screen_until_it_is_decided_on(store):
    first, _ = store.next("ann", LEASE)
    assert store.next("ann", LEASE)[0] == first


def test_the_same_decision_twice_counts_once(store):
    shown, _ = store.next("ann", LEASE)
    store.decide(shown, "ann", "label", 1)
    with pytest.raises(Refused, match="decided on before"):
        store.decide(shown, "ann", "label", 1)
    with pytest.raises(Refused):
        store.decide(shown, "ann", "skip")
    assert (len(store.events()), labels_of(store)) == (1, {10: 1})


def test_a_relabelling_replaces_the_label_and_keeps_the_history(store):
    label_next(store, "ann", 0)
    shown, _ = store.shown(10, "ann")
    store.decide(shown, "ann", "label", 1)
    assert labels_of(store) == {10: 1}
    assert [(event["action"], event["label"]) for event in store.events()] == [("label", 0), ("relabel", 1)]


def test_undo_brings_the_text_back_and_undoing_goes_back_step_by_step(store):
    label_next(store, "ann", 0)
    label_next(store, "ann", 1)
    shown, _ = store.shown(10, "ann")
    store.decide(shown, "ann", "label", 1)
    undone = []
    for _ in range(3):
        last = store.decisions("ann", 1)[0]["number"]
        row = store.undo("ann", last, LEASE)["row"]
        undone.append((row, labels_of(store)))
        if row not in labels_of(store):
            assert store.next("ann", LEASE)[0].row == row
    assert undone == [(10, {10: 0, 11: 1}), (11, {10: 0}), (10, {})]
    with pytest.raises(Refused, match="nothing to undo"):
        store.undo("ann", 1, LEASE)


def test_undo_of_something_else_than_the_page_showed_is_refused(store):
    label_next(store, "ann", 0)
    number = store.decisions("ann", 1)[0]["number"]
    label_next(store, "ann", 0)
    with pytest.raises(Refused, match="not what the page showed"):
        store.undo("ann", number, LEASE)
    assert len(labels_of(store)) == 2


def test_a_late_repetition_of_an_undone_label_is_refused(store):
    shown, _ = store.next("ann", LEASE)
    number = store.decide(shown, "ann", "label", 0)
    store.undo("ann", number, LEASE)
    with pytest.raises(Refused):
        store.decide(shown, "ann", "label", 0)
    again, _ = store.next("ann", LEASE)
    store.decide(again, "ann", "label", 1)
    assert labels_of(store) == {10: 1}


def test_a_flag_stays_beside_the_label_and_can_be_taken_away(store):
    shown, _ = store.next("ann", LEASE)
    shown = store.toggle_flag(shown, "ann")
    store.decide(shown, "ann", "label", 0)
    assert (store.flags(), labels_of(store)) == ({10: ["ann"]}, {10: 0})
    store.toggle_flag(store.shown(10, "ann")[0], "ann")
    assert store.flags() == {}


def test_events_are_never_changed_or_deleted(store):
    label_next(store, "ann", 0)
    for statement in ("DELETE FROM event", "UPDATE event SET label = 1"):
        with pytest.raises(sqlite3.IntegrityError, match="never"):
            store._connection.execute(statement)


def test_each_event_has_its_time_seconds_and_round(store):
    shown, _ = store.next("ann", LEASE, now=1000.0)
    store.next("ann", LEASE, now=1002.0)  # a reload of the page in the middle
    store.decide(shown, "ann", "label", 0, now=1004.5)
    store.finish_round(
        RoundRecord(number=0, through=1, n_labeled=1, time="", details={}, predictions=b""),
        [QueueItem(3, "asked", {"word": "dull"})],
    )
    label_next(store, "ann", 1, now=2000.0)
    first, second = store.events()
    assert (first["time"], first["seconds"], first["round"]) == ("1970-01-01T00:16:44.500+00:00", 4.5, 0)
    assert (second["row"], second["seconds"], second["round"]) == (3, 0.0, 1)


def test_what_stands_of_a_row_is_its_label_or_its_first_skip(store):
    store.add_labels([(5, None, "ann"), (5, 1, "bob"), (5, None, "cy"), (6, None, "cy"), (6, None, "ann")])
    assert {row: (it["annotator"], it["label"]) for row, it in store.decided().items()} == {
        5: ("bob", 1),
        6: ("cy", None),
    }


# Several annotators ---------------------------------------------------------------------------------------------


def test_a_text_is_leased_to_one_annotator_at_a_time(store):
    assert [store.next(name, LEASE)[0].row for name in ("ann", "bob", "cy")] == [10, 11, 12]


def test_a_lease_ends_and_the_late_answer_is_refused(store):
    late, _ = store.next("ann", 60, now=0)
    assert store.next("bob", 60, now=59)[0].row == 11
    store.decide(store.next("bob", 60, now=59)[0], "bob", "label", 0, now=60)
    assert store.next("bob", 60, now=61)[0].row == 10
    with pytest.raises(Refused, match="given to bob"):
        store.decide(late, "ann", "label", 1, now=62)
    store.decide(store.next("bob", 60, now=63)[0], "bob", "label", 0, now=63)
    with pytest.raises(Refused, match="somebody else has labelled"):
        store.decide(late, "ann", "label", 1, now=64)
    assert labels_of(store) == {10: 0, 11: 0}


def test_seconds_count_from_when_the_text_was_shown_last(store):
    store.next("ann", 60, now=100)
    store.next("ann", 60, now=130)  # a reload while the lease lasts
    first, _ = store.next("ann", 60, now=150)
    store.decide(first, "ann", "label", 0, now=160)
    store.next("ann", 60, now=200)
    second, _ = store.next("ann", 60, now=9_000)  # the next morning
    store.decide(second, "ann", "label", 0, now=9_007)
    assert [event["seconds"] for event in store.events()] == [60, 7]


def test_a_transaction_inside_of_another_is_undone_alone(store, tmp_path):
    other = Store(tmp_path / "labels.sqlite")
    with store.transaction():
        store.set_meta(a=1)
        with pytest.raises(ZeroDivisionError), store.transaction():
            store.set_meta(b=1 / len(store.set_meta(b=2) or ()))
        store.set_meta(c=3)
        assert other.meta("a") is None
    assert [other.meta(key) for key in "abc"] == [1, None, 3]
    with pytest.raises(ZeroDivisionError), store.transaction():
        label_next(store, "ann", 1 / (label_next(store, "ann", 1) - 10))
    assert (labels_of(other), store.next("ann", LEASE)[0].version) == ({}, 0)
    other.close()


def test_a_snapshot_does_not_see_what_others_write_and_does_not_hold_them_up(store, tmp_path):
    other = Store(tmp_path / "labels.sqlite")
    with store.snapshot():
        assert labels_of(store) == {}
        label_next(other, "ann", 1)
        assert labels_of(store) == {}
    assert labels_of(store) == {10: 1}
    other.close()


def test_a_full_disk_refuses_labels_and_takes_them_again_when_there_is_room(store, tmp_path):
    with store.transaction() as connection:
        connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
    with pytest.raises(RecordError, match=r"\(database or disk is full\); make room"):  # noqa: PT012 - as many as fit
        for row in range(2000):
            store.extend_queue(0, [QueueItem(100 + row, "start", {"word": "x" * 500})])
    with store.transaction() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    assert label_next(store, "ann", 1) == 10
    other = Store(tmp_path / "labels.sqlite")
    assert labels_of(other) == {10: 1}
    other.close()


def test_a_late_answer_counts_where_nobody_else_has_the_text(store):
    late, _ = store.next("ann", 60, now=0)
    store.decide(late, "ann", "label", 1, now=1000)
    assert labels_of(store) == {10: 1}


def test_overlapping_texts_go_to_as_many_annotators_as_wanted(tmp_path):
    store = Store(tmp_path / "labels.sqlite", create=True)
    store.extend_queue(0, [QueueItem(1, "start", {}, wanted=2), QueueItem(2, "start", {})])
    assert label_next(store, "ann", 0) == 1
    assert label_next(store, "bob", 1) == 1
    assert label_next(store, "cy", 1) == 2
    assert [store.next(name, LEASE) for name in ("ann", "bob", "cy")] == [None] * 3
    assert labels_of(store) == {1: 0, 2: 1}  # of two labels with a vote each, the first


def test_a_text_that_lacks_a_second_label_outlives_its_queue(tmp_path):
    store = Store(tmp_path / "labels.sqlite", create=True)
    store.extend_queue(0, [QueueItem(1, "start", {}, wanted=2), QueueItem(2, "start", {}, wanted=2)])
    label_next(store, "ann", 0)
    store.finish_round(
        RoundRecord(number=0, through=1, n_labeled=1, time="", details={}, predictions=b""), [QueueItem(7, "asked", {})]
    )
    assert [label_next(store, "bob", 0), label_next(store, "bob", 0)] == [1, 7]  # 2, which nobody began, is dropped


def test_the_label_of_most_annotators_wins(store):
    store.add_labels([(5, 0, "ann"), (5, 1, "bob"), (5, 1, "cy")])
    assert labels_of(store) == {5: 1}


def test_labels_added_again_are_no_news(store):
    labels = [(5, 0, "ann"), (6, None, "ann")]
    again = [(5, 1, "ann"), (7, 1, "ann")]
    assert [store.add_labels(labels), store.add_labels(labels), store.add_labels(again)] == [(2, 0), (0, 0), (2, 1)]
    assert (labels_of(store), store.skipped()) == ({5: 1, 7: 1}, [6])


def test_undo_of_a_text_that_somebody_else_has_now_is_refused(store):
    shown, _ = store.next("ann", LEASE)
    number = store.decide(shown, "ann", "skip")
    assert store.next("bob", LEASE)[0].row == 10  # what one cannot label another may
    with pytest.raises(Refused, match="is with bob"):
        store.undo("ann", number, LEASE)


def test_undo_of_a_text_that_goes_to_several_waits_for_nobody(tmp_path):
    store = Store(tmp_path / "labels.sqlite", create=True)
    store.extend_queue(0, [QueueItem(10, "start", {}, wanted=2), QueueItem(11, "start", {})])
    label_next(store, "ann", 0)
    theirs, _ = store.next("bob", LEASE)
    assert store.undo("ann", store.last_act("ann"), LEASE)["row"] == theirs.row == 10
    assert label_next(store, "ann", 0) == 11
    store.decide(theirs, "bob", "label", 1)
    assert label_next(store, "ann", 0) == 10
    assert [(row["annotator"], row["row"]) for row in store.decisions()] == [("ann", 10), ("bob", 10), ("ann", 11)]


# The file -------------------------------------------------------------------------------------------------------


def test_a_queue_is_replaced_when_its_round_is_done(store):
    assert label_next(store, "ann", 0) == 10
    store.finish_round(
        RoundRecord(number=0, through=1, n_labeled=1, time="now", details={"accuracy": 0.5}, predictions=b"\1"),
        [QueueItem(3, "asked", {"word": "a"})],
    )
    shown, item = store.next("ann", LEASE)
    assert (shown.row, item) == (3, QueueItem(3, "asked", {"word": "a"}))
    assert store.rounds() == [
        RoundRecord(number=0, through=1, n_labeled=1, time="now", details={"accuracy": 0.5}, predictions=b"\1")
    ]
    with pytest.raises(RecordError, match="finished by another process; 1 is next"):
        store.finish_round(
            RoundRecord(number=0, through=1, n_labeled=1, time="", details={}, predictions=b""),
            [QueueItem(4, "asked", {})],
        )
    assert [item.row for item in store.queue(1)] == [3]


def test_a_newer_file_is_refused(store):
    store._connection.execute("PRAGMA user_version = 99")
    with pytest.raises(RecordError, match="of version 99, and this dami_text knows 4 at most; upgrade"):
        Store(store.path)


def test_an_older_file_is_migrated_and_keeps_its_labels(store, monkeypatch):
    label_next(store, "ann", 1)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE extra (x INTEGER);"))
    newer = Store(store.path)
    assert labels_of(newer) == {10: 1}
    assert newer._all("PRAGMA user_version")[0][0] == len(schema.MIGRATIONS)
    assert newer._all("SELECT * FROM extra") == []


def test_a_file_of_the_first_version_keeps_its_labels_and_flags(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
    with closing(Store(tmp_path / "labels.sqlite", create=True)) as old, old.transaction() as connection:
        for action, row, label in (("label", 10, 1), ("flag", 10, None), ("flag", 11, None), ("unflag", 11, None)):
            connection.execute(
                "INSERT INTO event (action, row, annotator, label, round, time) VALUES (?, ?, 'ann', ?, 0, '')",
                (action, row, label),
            )
    monkeypatch.undo()
    with closing(Store(tmp_path / "labels.sqlite")) as store:
        assert (labels_of(store), store.flags()) == ({10: 1}, {10: ["ann"]})
        for flags in ({10: ["ann"], 11: ["ann"]}, {10: ["ann"]}, {}):
            store.undo("ann", store.last_act("ann"), LEASE)
            assert store.flags() == flags
        assert store.undo("ann", store.last_act("ann"), LEASE)["row"] == 10
        assert (labels_of(store), store.last_act("ann")) == ({}, 0)


def test_a_missing_or_foreign_file_is_an_error(tmp_path):
    with pytest.raises(RecordError, match="no labels at"):
        Store(tmp_path / "labels.sqlite")
    (tmp_path / "labels.sqlite").write_text("not a database, but long enough to look at\n" * 50)
    with pytest.raises(RecordError, match=r"cannot be used .* \(file is not a database\); restore it"):
        Store(tmp_path / "labels.sqlite")
    with closing(sqlite3.connect(tmp_path / "foreign.sqlite")) as foreign:
        foreign.execute("CREATE TABLE meta (x)")
    with pytest.raises(RecordError, match=r"\(table meta already exists\); restore it"):
        Store(tmp_path / "foreign.sqlite")


def test_a_file_that_another_process_holds_is_an_error_of_its_own(store, monkeypatch):
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, **options | {"timeout": 0.01}))
    other = Store(store.path)
    with store.transaction(), pytest.raises(RecordError, match=r"\(database is locked\); another process writes to it"):
        label_next(other, "ann", 1)
    assert label_next(other, "ann", 1) == 10


def test_only_who_made_the_file_may_read_it(store):
    assert {file.stat().st_mode & 0o777 for file in store.path.parent.glob("labels.sqlite*")} == {0o600}


def test_no_label_goes_into_a_file_that_was_moved_or_deleted(tmp_path):
    for name in ("moved", "deleted", "replaced"):
        (tmp_path / name).mkdir()
        store = Store(tmp_path / name / "labels.sqlite", create=True)
        store.extend_queue(0, [QueueItem(10, "start", {})])
        shown, _ = store.next("ann", LEASE)
        if name == "deleted":
            shutil.rmtree(tmp_path / name)
        else:
            (tmp_path / name).rename(tmp_path / "elsewhere")
        if name == "replaced":
            shutil.copytree(tmp_path / "elsewhere", tmp_path / name)
        with pytest.raises(RecordError, match="was moved or deleted while it was open; open the session where it is"):
            store.decide(shown, "ann", "label", 1)
        store.close()
        if name != "deleted":
            with closing(Store(tmp_path / "elsewhere" / "labels.sqlite")) as found:
                assert labels_of(found) == {}
            shutil.rmtree(tmp_path / "elsewhere")


@pytest.fixture
def public_folder():
    """A folder that whoever this process becomes can get at."""
    folder = Path(tempfile.mkdtemp())
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def in_a_child(work):
    """What `work` returns in a copy of this process that may write nothing that is not everybody's."""
    receive, send = multiprocessing.Pipe(duplex=False)

    def child():
        if os.geteuid() == 0:
            os.setuid(65534)
        send.send(work())

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    return receive.recv()


@pytest.mark.parametrize("is_open", [False, True])
def test_a_file_that_may_not_be_written_is_read(public_folder, is_open):
    store = Store(public_folder / "labels.sqlite", create=True)
    store.extend_queue(0, [QueueItem(row, "start", {}) for row in range(3)])
    label_next(store, "ann", 1)
    if not is_open:
        store.close()
    for file in public_folder.iterdir():
        file.chmod(0o444)
    public_folder.chmod(0o555)

    def work():
        with closing(Store(public_folder / "labels.sqlite")) as found:
            with found.snapshot():
                labels = labels_of(found)
            with pytest.raises(RecordError, match="readonly"):
                label_next(found, "ann", 0)
            with pytest.raises(RecordError, match=r"readonly database\); make the file and its folder writable"):
                found.require_writable()
        return labels, sorted(file.name for file in public_folder.iterdir())

    beside = ["labels.sqlite-shm", "labels.sqlite-wal"] * is_open
    assert in_a_child(work) == ({0: 1}, ["labels.sqlite", *beside])
    store.close()


def test_a_damaged_file_is_an_error_when_it_is_read(store):
    store.close()
    size = store.path.stat().st_size
    with store.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(RecordError, match=r"malformed\); restore it"):
        Store(store.path).labels()


# At the same time -----------------------------------------------------------------------------------------------

ANNOTATE = """
import sys, time, types
from pathlib import Path
sys.modules["dami_text"] = package = types.ModuleType("dami_text")  # without the seconds that importing torch takes
package.__path__ = [sys.argv[3]]
from dami_text.labeling.store.events import Store

store, name = Store(Path(sys.argv[1])), sys.argv[2]
while (found := store.next(name, 60)) is not None:
    number = store.decide(found[0], name, "label", found[0].row % 3)
    print(number, found[0].row, flush=True)
    time.sleep(0.002)  # or nobody else would get a turn
"""


def annotate(path, name):
    package = str(Path(store_module.__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", ANNOTATE, str(path), name, package], stdout=subprocess.PIPE, text=True
    )


def test_annotators_in_threads_and_processes_never_get_the_same_text(tmp_path):
    store = Store(tmp_path / "labels.sqlite", create=True)
    store.extend_queue(0, [QueueItem(row, "start", {}) for row in range(400)])
    process = annotate(store.path, "zoe")
    process.stdout.readline()

    def work(name):
        while (found := store.next(name, LEASE)) is not None:
            store.decide(found[0], name, "label", found[0].row % 3)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("ann", "bob", "cy")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert process.wait(30) == 0
    process.stdout.close()
    events = store.events()
    assert Counter(event["row"] for event in events) == Counter(range(400))
    assert len({event["annotator"] for event in events}) > 1
    assert labels_of(store) == {row: row % 3 for row in range(400)}


def test_a_killed_process_loses_no_label_and_doubles_none(tmp_path):
    store = Store(tmp_path / "labels.sqlite", create=True)
    store.extend_queue(0, [QueueItem(row, "start", {}) for row in range(500)])
    seen = []
    for n_labels in (20, 35):
        process = annotate(store.path, "zoe")
        seen += [process.stdout.readline() for _ in range(n_labels)]
        os.kill(process.pid, signal.SIGKILL)
        seen += process.stdout.readlines()
        process.wait(30)
        process.stdout.close()
    acknowledged = [tuple(map(int, line.split())) for line in seen if line.endswith("\n")]
    events = [(event["number"], event["row"]) for event in store.events()]
    assert set(acknowledged) <= set(events)
    assert len(events) - len(acknowledged) <= 2  # written, and killed before it could say so
    assert [row for _, row in events] == list(range(len(events)))


def test_a_label_takes_a_few_milliseconds_among_thousands(tmp_path):
    store = Store(tmp_path / "labels.sqlite", create=True)
    store.add_labels((row, row % 2, "import") for row in range(5000))
    store.extend_queue(0, [QueueItem(row, "start", {}) for row in range(5000, 5100)])
    seconds = []
    for _ in range(50):
        start = time.perf_counter()
        label_next(store, "ann", 0)
        seconds.append(time.perf_counter() - start)
    assert sorted(seconds)[25] < 0.05


def test_reasons_and_meta_come_back_as_they_went_in(store):
    reason = {"word": "\u202enaïve<script>", "deviation": 0.25, "cluster_size": 3}
    store.extend_queue(0, [QueueItem(30, "asked", reason)])
    store.set_meta(class_names=["a", "b"], seed=3)
    assert store.queue(0)[-1].reason == json.loads(json.dumps(reason))
    assert (store.meta("class_names"), store.meta("seed"), store.meta("none")) == (["a", "b"], 3, None)
    assert store.shown(30, "ann") == (Shown(30, 0), QueueItem(30, "asked", reason))
