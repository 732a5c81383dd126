import hashlib
import json
import shutil
from collections import Counter

import numpy as np
import pytest
import yaml
from labeling_cases import CLASSES, label_some, make_session, texts_without_labels

from dami_text.cli.main import main
from dami_text.config.run import LabelingConfig, RunConfig
from dami_text.errors import ColumnError, ConfigError, DataError, RecordError
from dami_text.labeling.exchange.formats import FORMATS, read_decisions, write_records
from dami_text.labeling.exchange.matching import Imported, import_decisions, records_of
from dami_text.labeling.exchange.records import Decision, Record
from dami_text.labeling.exchange.selection import selected_records
from dami_text.labeling.progress import agreements
from dami_text.labeling.rounds import create_session
from dami_text.labeling.session import Session, SessionConfig, interleaved
from dami_text.labeling.store.queues import QueueItem
from dami_text.learning.learner import ActiveLearner


@pytest.fixture
def session(tmp_path, reviews):
    file, _ = texts_without_labels(reviews, tmp_path)
    return make_session(file, tmp_path / "reviews.dami")


@pytest.fixture
def truth(tmp_path, reviews):
    return texts_without_labels(reviews, tmp_path)[1]


def labels_of(session):
    return {row["row"]: row["label"] for row in session.store.labels()}


# The folder -----------------------------------------------------------------------------------------------------


def test_a_session_holds_the_texts_in_their_order_with_ids_by_content(session, tmp_path):
    lines = (tmp_path / "texts.csv").read_text().splitlines()[1:]
    assert [session.text(row) for row in range(len(session))] == lines
    digest = hashlib.blake2b(lines[7].encode(), digest_size=8).hexdigest()
    assert session.id(7) == f"{digest}-0"
    assert session.rows_by_id[session.id(7)] == 7


def test_duplicates_have_ids_of_their_own(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("text\nsame\nother\nsame\n")
    session = make_session(file, tmp_path / "a.dami")
    assert [session.id(row)[-2:] for row in range(3)] == ["-0", "-0", "-1"]
    assert session.id(0)[:-2] == session.id(2)[:-2]


def test_a_session_can_be_moved_whole(session, truth, tmp_path):
    rows = label_some(session, truth, 4)
    session.store.close()
    shutil.move(session.folder, tmp_path / "elsewhere.dami")
    moved = Session(tmp_path / "elsewhere.dami")
    assert labels_of(moved) == {row: truth[row] for row in rows}
    assert label_some(moved, truth, 1)[0] not in rows


def test_the_options_come_back(tmp_path, reviews):
    file, _ = texts_without_labels(reviews, tmp_path)
    session = make_session(file, tmp_path / "a.dami", strategy="margin", query_size=0.05, seed=3, overlap=2)
    again = Session(tmp_path / "a.dami")
    assert again.config == session.config
    assert (again.query_size(), again.initial_size(), again.seed, again.class_names) == (15, 10, 3, CLASSES)


def test_other_texts_than_the_labels_were_given_to_are_refused(session, tmp_path, reviews):
    other = make_session(texts_without_labels(reviews, tmp_path, 100)[0], tmp_path / "other.dami")
    shutil.rmtree(session.folder / "pool")
    shutil.copytree(other.folder / "pool", session.folder / "pool")
    with pytest.raises(RecordError, match="changed after labelling began"):
        Session(session.folder)


def test_a_folder_without_a_session_is_an_error(tmp_path):
    with pytest.raises(RecordError, match="holds no session"):
        Session(tmp_path)


def test_a_damaged_config_is_an_error(session):
    (session.folder / "config.yaml").write_text("- 1")
    with pytest.raises(RecordError, match="holds no session"):
        Session(session.folder)


@pytest.mark.parametrize(
    ("content", "labels", "error", "message"),
    [
        ("text\na\nb\n", None, DataError, "classes are not known; name two or more with --labels"),
        ("text\na\n", ["x", "y"], DataError, "has 1 texts; wanted two or more"),
        ("text,label\na,x\nb,z\n", ["x", "y"], DataError, r"holds the labels \['z'\], but --labels names \['x', 'y'\]"),
        ("one,two\na,b\nc,d\n", ["x", "y"], ColumnError, "no column 'text'"),
    ],
)
def test_bad_input_is_an_error_and_leaves_nothing_behind(tmp_path, content, labels, error, message):
    (tmp_path / "a.csv").write_text(content)
    config = SessionConfig(RunConfig.of(dataset=str(tmp_path / "a.csv")), LabelingConfig(labels=labels))
    with pytest.raises(error, match=message):
        create_session(tmp_path / "a.dami", config)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_labels_that_the_file_has_already_count(tmp_path):
    rows = [("a", "x"), ("b", ""), ("c", "y"), ("d", "-1"), ("e", "x")]
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    config = SessionConfig(RunConfig.of(dataset=str(tmp_path / "a.csv"), initial_size=2), LabelingConfig())
    session = create_session(tmp_path / "a.dami", config)
    assert session.class_names == ["x", "y"]
    assert labels_of(session) == {0: 0, 2: 1, 4: 0}
    assert {item.row for item in session.store.queue(0)} == {1, 3}


# The start and what is held out ---------------------------------------------------------------------------------


def test_the_start_has_a_tenth_that_is_held_out_and_no_row_twice(session):
    queue = session.store.queue(0)
    assert len(session.held_out) == 30
    assert len({item.row for item in queue}) == len(queue) == 10 + 2 * 5
    kinds = Counter(item.kind for item in queue[:10])
    assert kinds == {"start": 9, "held-out": 1}
    held_out = set(session.held_out.tolist())
    assert all((item.row in held_out) == (item.kind == "held-out") for item in queue)


def test_held_out_texts_keep_their_share_of_the_labels(session, truth):
    for _ in range(12):
        labeled = {row["row"] for row in session.store.labels()}
        n = session.query_size()
        held_out = session.to_hold_out(n)
        rest = [r for r in range(300) if r not in labeled and r not in session.held_out][: n - len(held_out)]
        session.store.add_labels((row, truth[row], "ann") for row in [*held_out, *rest])
    labeled = set(labels_of(session))
    assert (len(labeled), len(labeled & set(session.held_out.tolist()))) == (60, 6)


def test_without_a_share_nothing_is_held_out(tmp_path, reviews):
    session = make_session(texts_without_labels(reviews, tmp_path)[0], tmp_path / "a.dami", validation_share=0.0)
    assert len(session.held_out) == 0
    assert {item.kind for item in session.store.queue(0)} == {"start"}


def test_a_share_of_the_texts_goes_to_several_annotators(tmp_path, reviews):
    session = make_session(
        texts_without_labels(reviews, tmp_path)[0], tmp_path / "a.dami", overlap=3, overlap_share=0.5
    )
    assert set(session.wanted) == {1, 3}
    assert 0.4 < np.mean(session.wanted == 3) < 0.6
    assert all(item.wanted == session.wanted[item.row] for item in session.store.queue(0))


def test_what_is_interleaved_keeps_its_order_and_is_spread():
    items = [QueueItem(row, "asked", {}) for row in range(18)]
    others = [QueueItem(row, "held-out", {}) for row in (100, 101)]
    rows = [item.row for item in interleaved(items, others)]
    assert [row for row in rows if row < 100] == list(range(18))
    assert [rows.index(row) for row in (100, 101)] == [5, 15]


# Out and in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_brings_the_same_labels_into_another_session(session, truth, tmp_path, name):
    rows = label_some(session, truth, 6)
    shown, _ = session.store.next("ann", 60)
    session.store.decide(shown, "ann", "skip")
    content = write_records(name, records_of(session), session.class_names, safe_csv=True)
    other = make_session(tmp_path / "texts.csv", tmp_path / "other.dami")
    done = import_decisions(other, read_decisions(name, content, other.class_names), "import")
    assert labels_of(other) == {row: truth[row] for row in rows}
    assert other.store.skipped() == ([] if name == "doccano" else [shown.row])
    assert done == Imported(added=6 if name == "doccano" else 7, known=0, unmatched=0, ambiguous=0)


@pytest.mark.parametrize("name", [*FORMATS, "events"])
def test_second_opinions_skips_flags_and_notes_survive_export_and_import(session, truth, tmp_path, capsys, name):
    if name == "doccano":
        pytest.skip("doccano has one label a text, no skip and no flag")
    store = session.store
    store.add_labels([(1, 0, "ann"), (1, 1, "bob"), (1, 1, "cy"), (2, 1, "bob"), (3, None, "ann"), (4, 0, "ann")])
    store.add_flags([(1, "bob"), (4, "ann"), (7, "cy")])
    if name != "events":
        store.set_note(1, "ann", "why?")
        store.set_note(8, "bob", "=1+1, see page 2")
    out = tmp_path / ("out.json" if name in ("label-studio", "argilla") else f"out.{name}")
    assert main(["export", str(session.folder), str(out), "--format", name]) == 0
    other = make_session(tmp_path / "texts.csv", tmp_path / "other.dami")
    for _ in range(2):  # the second time, everything is known
        assert main(["import", str(other.folder), str(out), "--format", name]) == 0

    def told(of):
        decisions = {(d["row"], d["annotator"]): d["label"] for d in of.store.decisions()}
        return decisions, labels_of(of), of.store.flags(), of.store.notes(), of.store.skipped()

    assert told(other) == told(session)
    assert len(other.store.events()) == len(session.store.events())


@pytest.mark.parametrize("name", FORMATS)
def test_an_own_export_that_nobody_touched_is_known(session, truth, name):
    label_some(session, truth, 4)
    label_some(session, truth, 2, "bob")
    shown, _ = session.store.next("bob", 60)
    session.store.decide(shown, "bob", "skip")
    before = session.store.last_event()
    content = write_records(name, records_of(session), session.class_names)
    done = import_decisions(session, read_decisions(name, content, session.class_names))
    assert done == Imported(added=0, known=6 if name == "doccano" else 7, unmatched=0, ambiguous=0)
    assert session.store.last_event() == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("doccano", b'"label": ["neg"]', b'"label": ["pos"]'),
        ("label-studio", b'"choices": ["neg"]', b'"choices": ["pos"]'),
        ("jsonl", b'"label": "neg"', b'"label": "pos"'),
    ],
)
def test_corrections_that_another_tool_brings_back_count_and_are_no_second_opinion(session, name, old, new):
    rows = label_some(session, [0] * 300, 3) + label_some(session, [0] * 300, 1, "bob")
    content = write_records(name, records_of(session), session.class_names)
    assert content.count(old) == 4
    done = import_decisions(session, read_decisions(name, content.replace(old, new), session.class_names))
    assert done == Imported(added=4, known=0, unmatched=0, ambiguous=0, changed=4)
    assert labels_of(session) == dict.fromkeys(rows, 1)
    assert agreements(session) == []
    assert Counter(event["annotator"] for event in session.store.events()) == {"ann": 6, "bob": 2}


def test_a_label_of_nobody_is_about_the_one_that_the_text_has(session):
    session.store.add_labels([(1, 0, "ann"), (2, 0, "ann"), (3, None, "bob"), (4, 0, "ann")])
    labels = {1: "neg", 2: "pos", 3: "pos", 9: "pos"}
    decisions = [Decision(id=session.id(row), text=None, label=label) for row, label in labels.items()]
    assert import_decisions(session, decisions) == Imported(added=3, known=1, unmatched=0, ambiguous=0, changed=2)
    assert {row: (it["annotator"], it["label"]) for row, it in session.store.decided().items()} == {
        **{1: ("ann", 0), 2: ("ann", 1), 3: ("bob", 1), 4: ("ann", 0)},
        9: ("import", 1),
    }
    assert import_decisions(session, [Decision(id=session.id(4), text=None, label="pos")], "cy") == Imported(
        added=1, known=0, unmatched=0, ambiguous=0
    )
    assert len(agreements(session)) == 1, "who is named has an opinion of their own"


def test_labels_are_matched_by_id_or_text_never_by_place(session):
    decisions = [
        Decision(id=session.id(5), text=session.text(5), label="pos"),
        Decision(id=None, text=session.text(3), label="neg"),
        Decision(id=session.id(9), text=None, label="pos"),
        Decision(id=None, text="a text that is not there", label="pos"),
        Decision(id="0000000000000000-0", text="another", label="pos"),
    ]
    assert import_decisions(session, decisions, "bob") == Imported(added=3, known=0, unmatched=2, ambiguous=0)
    assert labels_of(session) == {3: 0, 5: 1, 9: 1}
    assert import_decisions(session, decisions, "bob") == Imported(added=0, known=3, unmatched=2, ambiguous=0)


def test_equal_duplicates_count_once_and_contradictory_ones_not_at_all(session):
    given = [(1, "neg", "ann"), (1, "neg", "ann"), (2, "neg", "ann"), (2, "pos", "ann"), (2, "pos", "bob")]
    decisions = [
        Decision(id=session.id(row), text=None, label=label, annotator=who)
        for row, label, who in [*given, (3, None, "bob")]
    ]
    decisions += [
        Decision(id=session.id(3), text=None, label="pos", annotator="bob"),
        Decision(id=session.id(4), text=None, label="pos", annotator="ann"),
    ]
    assert import_decisions(session, decisions) == Imported(added=3, known=0, unmatched=0, ambiguous=0, contradictory=2)
    assert labels_of(session) == {1: 0, 2: 1, 4: 1}
    assert import_decisions(session, decisions) == Imported(added=0, known=3, unmatched=0, ambiguous=0, contradictory=2)
    assert len(session.store.events()) == 3


def test_an_id_with_another_text_is_refused_and_changes_nothing(session):
    decisions = [
        Decision(id=session.id(1), text=session.text(1), label="pos"),
        Decision(id=session.id(5), text=session.text(6), label="pos"),
    ]
    with pytest.raises(DataError, match="ids and texts were mixed up"):
        import_decisions(session, decisions, "bob")
    assert labels_of(session) == {}


def test_a_label_without_an_id_is_of_all_copies_of_a_text_but_those_that_have_one(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("text\nsame\nother\nsame\n")
    session = make_session(file, tmp_path / "a.dami", duplicates="anywhere")
    decisions = [Decision(id=None, text="same", label="pos"), Decision(id=session.id(2), text="same", label="neg")]
    assert import_decisions(session, decisions, "bob") == Imported(added=2, known=0, unmatched=0, ambiguous=0)
    assert labels_of(session) == {0: 1, 2: 0}


def test_an_apostrophe_is_part_of_a_text_but_where_safe_csv_puts_one(tmp_path):
    texts = ["good film", "=1+1", "'=2+2", "+3", "'+3"]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    session = make_session(tmp_path / "a.jsonl", tmp_path / "a.dami", duplicates="anywhere")

    def read(name, *texts):
        record = [Record(id=None, text=text, label="pos", status="labelled") for text in texts]
        return read_decisions(name, write_records(name, record, session.class_names), session.class_names)

    for name in ("csv", "jsonl", "parquet"):
        assert import_decisions(session, read(name, "'good film")) == Imported(
            added=0, known=0, unmatched=1, ambiguous=0
        )
    for name in ("jsonl", "parquet"):
        assert import_decisions(session, read(name, "'=1+1")) == Imported(added=0, known=0, unmatched=1, ambiguous=0)
    assert import_decisions(session, read("csv", "'=1+1", "'=2+2", "'+3")) == Imported(
        added=2, known=0, unmatched=0, ambiguous=1
    )
    assert labels_of(session) == {1: 1, 2: 1}

    session.store.add_labels((row, row % 2, "ann") for row in range(5))
    for safe in (True, False):
        content = write_records("csv", records_of(session), session.class_names, safe_csv=safe)
        again = make_session(tmp_path / "a.jsonl", tmp_path / f"again-{safe}.dami", duplicates="anywhere")
        import_decisions(again, read_decisions("csv", content, session.class_names))
        assert labels_of(again) == labels_of(session)


def test_no_import_passes_as_the_labels_that_the_texts_came_with(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\na,neg\nb,\nc,pos\n")
    session = make_session(tmp_path / "a.csv", tmp_path / "a.dami", initial_size=1)
    content = write_records("csv", records_of(session), session.class_names)
    assert content.count(b"file") == 2
    assert import_decisions(session, read_decisions("csv", content, session.class_names)) == Imported(
        added=0, known=2, unmatched=0, ambiguous=0
    )
    decision = Decision(id=session.id(1), text="b", label="pos", annotator="file")
    assert import_decisions(session, [decision]) == Imported(added=1, known=0, unmatched=0, ambiguous=0)
    assert session.store.decided()[1]["annotator"] == "import"
    for name in ("file", "", " ", "\x1b[31m", "a\nb"):
        with pytest.raises(ConfigError, match="it must be a name that can be shown, other than file"):
            import_decisions(session, [decision], name)
    assert len(session.store.events()) == 3


def test_labels_of_other_classes_are_refused(session):
    with pytest.raises(DataError, match=r"holds the labels \['great'\]; the session's classes are"):
        import_decisions(session, [Decision(id=session.id(1), text=None, label="great")], "bob")


def test_before_the_first_label_texts_are_selected_at_random(session):
    records = selected_records(session, 40)
    assert len({record.id for record in records}) == 40
    rows = {session.rows_by_id[record.id] for record in records}
    assert rows.isdisjoint(session.held_out.tolist())


def test_before_the_first_label_the_cold_starts_texts_are_selected_and_no_skipped_one(tmp_path, truth):
    session = make_session(tmp_path / "texts.csv", tmp_path / "means.dami", cold_start="kmeans-features")
    asked = [item.row for item in session.store.queue(0) if item.kind == "asked"]
    assert len(asked) == 9
    session.store.add_labels([(asked[0], None, "ann"), (int(session.held_out[0]), 1, "ann")])
    records = selected_records(session, 12)
    rows = [session.rows_by_id[record.id] for record in records]
    assert rows[:8] == asked[1:]
    assert all(record.reason["strategy"] == "kmeans-features" for record in records[:8])
    assert len(set(rows)) == 12
    assert set(rows).isdisjoint([asked[0], *session.held_out.tolist()])
    rest = set(range(300)) - set(session.held_out.tolist())
    session.store.add_labels((row, None, "ann") for row in rest)
    with pytest.raises(DataError, match="there is nothing to select"):
        selected_records(session, 40)


def test_where_nothing_is_left_to_select_no_model_is_trained(session, truth, monkeypatch):
    session.store.add_labels((row, truth[row], "ann") for row in range(299) if row not in session.held_out)
    session.store.add_labels([(299, None, "ann")])
    monkeypatch.setattr(ActiveLearner, "train", lambda self: pytest.fail("a model is trained"))
    with pytest.raises(DataError, match="there is nothing to select"):
        selected_records(session, 5)


def test_texts_are_selected_with_reasons_and_guesses(session, truth):
    labeled = label_some(session, truth, 12)
    records = selected_records(session, 7)
    rows = [session.rows_by_id[record.id] for record in records]
    assert len(set(rows)) == 7
    assert set(rows).isdisjoint([*labeled, *session.held_out.tolist()])
    assert all(r.guess in CLASSES and 0.5 <= r.score <= 1 and r.reason["cluster_size"] >= 1 for r in records)
    sizes = [record.reason["cluster_size"] for record in records]
    assert sizes == sorted(sizes, reverse=True)
    assert records[0].reason["word"].lower() in records[0].text.lower()


def test_the_config_is_readable(session):
    options = yaml.safe_load((session.folder / "config.yaml").read_text())
    assert (options["labels"], options["query_size"], options["strategy"]) == (CLASSES, 5, "dami")


def test_a_session_that_was_made_with_an_option_that_is_gone_is_opened(session):
    file = session.folder / "config.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"bald_dropout": 0.5}))
    assert Session(session.folder).config == session.config
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"no_such_option": 1}))
    with pytest.raises(ConfigError, match="no_such_option"):
        Session(session.folder)
