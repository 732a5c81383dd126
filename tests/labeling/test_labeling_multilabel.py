"""Sessions whose texts have any number of labels."""

import json
from contextlib import closing

import pytest
import yaml
from label_cases import NAMES, labeled_texts

from dami_text.config.run import LabelingConfig, RunConfig
from dami_text.errors import RecordError
from dami_text.labeling.class_numbers import ClassNumbers
from dami_text.labeling.exchange.matching import import_decisions, records_of
from dami_text.labeling.exchange.records import Decision
from dami_text.labeling.rounds import create_session
from dami_text.labeling.session import Session, SessionConfig
from dami_text.labeling.store.events import Store
from dami_text.labeling.store.queues import QueueItem

LEASE = 60.0
LINEAR = {"model": "linear", "task": "multilabel", "initial_size": 10, "query_size": 5}


def make_session(file, folder, labels=None, **options):
    """A session of a linear model over a file's texts."""
    own = {name: options.pop(name) for name in [*options] if name in LabelingConfig.__dataclass_fields__}
    run = RunConfig.of(**{"dataset": str(file), **LINEAR, **options})
    return create_session(folder, SessionConfig(run, LabelingConfig(labels=labels, **own)))


@pytest.fixture
def truth():
    """The right labels of the texts of `session`."""
    return [tuple(int(i) for i in row.nonzero()[0]) for row in labeled_texts(300)[1]]


@pytest.fixture
def session(tmp_path):
    """A session of texts without labels."""
    file = tmp_path / "texts.jsonl"
    file.write_text("\n".join(json.dumps({"text": text}) for text in labeled_texts(300)[0]), encoding="utf-8")
    with make_session(file, tmp_path / "texts.dami", NAMES) as session:
        yield session


# The file of labels ---------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    with closing(Store(tmp_path / "labels.sqlite", create=True, multilabel=True)) as store:
        store.extend_queue(0, [QueueItem(row, "start", {}) for row in range(5)])
        yield store


def label_next(store, annotator, label):
    shown, _ = store.next(annotator, LEASE)
    store.decide(shown, annotator, "label", label)
    return shown.row


def labels_of(store):
    return {row["row"]: row["label"] for row in store.labels()}


def test_labels_are_tuples_and_none_of_them_is_an_answer_other_than_a_skip(store):
    for label in ((0, 2), (), (1,)):
        label_next(store, "ann", label)
    store.decide(store.next("ann", LEASE)[0], "ann", "skip")
    assert labels_of(store) == {0: (0, 2), 1: (), 2: (1,)}
    assert store.skipped() == [3]
    assert [event["label"] for event in store.events()] == [(0, 2), (), (1,), None]
    with closing(Store(store.path)) as other:
        assert other.multilabel
        assert labels_of(other) == labels_of(store)


def test_the_same_labels_again_are_no_news_and_others_are(store):
    row = label_next(store, "ann", (0, 2))
    assert store.add_labels([(row, (0, 2), "ann")]) == (0, 0)
    assert store.add_labels([(row, (0,), "ann")]) == (1, 1)
    shown, _ = store.shown(row, "ann")
    store.decide(shown, "ann", "label", ())
    assert labels_of(store) == {row: ()}
    store.undo("ann", store.last_act("ann"), LEASE)
    assert labels_of(store) == {row: (0,)}


def test_of_several_annotators_labels_those_of_most_count(store):
    store.extend_queue(0, [QueueItem(9, "start", {}, wanted=3)])
    for _ in range(5):
        label_next(store, "ann", ())
    labels = {"ann": (0,), "bob": (0, 1), "eve": (0, 1)}
    for name, label in labels.items():
        while label_next(store, name, label) != 9:
            pass
    assert labels_of(store)[9] == (0, 1)


def test_a_session_is_of_the_task_that_it_was_made_with(session):
    assert (session.multilabel, session.store.multilabel) == (True, True)
    options = yaml.safe_load((session.folder / "config.yaml").read_text())
    changed = {**options, "task": "text", "strategy": "dami", "metric": "accuracy"}
    (session.folder / "config.yaml").write_text(yaml.safe_dump(changed))
    with pytest.raises(
        RecordError, match=r"config.yaml has --task text, and the labels in labels.sqlite are of another"
    ):
        Session(session.folder)


# Names and back -------------------------------------------------------------------------------------------------


def test_names_become_numbers_in_order_and_what_is_wrong_is_said():
    numbers = ClassNumbers(["food", "price", "place"], {"cost": "price"}, multilabel=True)
    assert numbers.label(["place", "cost"]) == (1, 2)
    assert numbers.label([]) == ()
    for given, told in {
        ("food", "service"): "the label 'service' is no class of the session",
        ("food", "food"): "the label 'food' is there twice; give each label once",
        ("cost", "price"): "the label 'cost' is there twice; give each label once",
        ("food", None): "a null is among the labels; leave it out",
    }.items():
        with pytest.raises(ValueError, match=f"^{told}$"):
            numbers.label(list(given))
    with pytest.raises(ValueError, match="wanted a list of them"):
        numbers.label("food")
    with pytest.raises(ValueError, match="a text has one class here"):
        ClassNumbers(["food", "price"], {}).label(["food"])


def test_records_have_lists_of_names_and_come_back(session):
    label_next(session.store, "ann", (0, 3))
    label_next(session.store, "ann", ())
    session.store.decide(session.store.next("ann", LEASE)[0], "ann", "skip")
    records = records_of(session)
    assert [(r.status, r.label) for r in sorted(records, key=lambda r: r.time)] == [
        ("labelled", ["looks", "story"]),
        ("labelled", []),
        ("skipped", None),
    ]
    decisions = [Decision(id=r.id, text=r.text, label=r.label, annotator="bob") for r in records]
    imported = import_decisions(
        session, [*decisions, Decision(id=None, text=session.text(7), label=["looks", "looks"])]
    )
    assert imported.added == 3
    assert imported.unusable == ("the label 'looks' is there twice; give each label once",)
    given = [{row["row"]: row["label"] for row in session.store.decisions(name)} for name in ("ann", "bob")]
    assert given[0] == given[1]


# Making a session -----------------------------------------------------------------------------------------------


def test_labels_that_the_file_has_count_whichever_way_they_are_written(tmp_path, truth):
    texts = labeled_texts(40)[0]
    names = [[NAMES[i] for i in label] for label in truth[:40]]
    (tmp_path / "b.jsonl").write_text(
        "\n".join(
            json.dumps({"text": text, "label": row if i else None})
            for i, (text, row) in enumerate(zip(texts, names, strict=True))
        )
    )
    (tmp_path / "c.csv").write_text(
        "text,label\n" + "".join(f"{text},{'; '.join(row)}\n" for text, row in zip(texts, names, strict=True))
    )
    (tmp_path / "d.csv").write_text(
        f"text,{','.join(NAMES)}\n"
        + "".join(
            ",".join([text, *(str(int(name in row)) for name in NAMES)]) + "\n"
            for text, row in zip(texts, names, strict=True)
        )
    )
    right = dict(enumerate(truth[:40]))
    with make_session(tmp_path / "b.jsonl", tmp_path / "b.dami") as session:
        assert session.class_names == NAMES
        assert labels_of(session.store) == {row: label for row, label in right.items() if row}
    with make_session(tmp_path / "c.csv", tmp_path / "c.dami", label_separator=";") as session:
        assert labels_of(session.store) == right
    with make_session(tmp_path / "d.csv", tmp_path / "d.dami", label_columns=NAMES) as session:
        assert (session.class_names, labels_of(session.store)) == (NAMES, right)
        assert session.own_columns([0]) == [{}]
