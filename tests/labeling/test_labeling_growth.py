"""A session whose file has columns of its own, copies and empty texts, and that grows by texts and classes."""

import csv
import io
import json
import logging
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from labeling_cases import label_some, make_session

import dami_text.labeling.page.server
from dami_text.cli.main import main
from dami_text.config.run import LabelingConfig
from dami_text.errors import BusyError, ConfigError, DataError
from dami_text.labeling.creation import add_texts, require_source
from dami_text.labeling.exchange.formats import FORMATS, guess_format, read_decisions, write_records
from dami_text.labeling.exchange.matching import import_decisions, records_of
from dami_text.labeling.lock import locked
from dami_text.labeling.progress import held_out_hits, progress_of
from dami_text.labeling.rounds import train_round
from dami_text.labeling.session import Session
from dami_text.labeling.store.queues import RoundRecord


def write(file, rows, header=("text",)):
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return file


def words(i):
    return f"{'good' if i % 2 else 'dull'} film number {i}"


@pytest.fixture
def pages(monkeypatch):
    """The sessions that pages would be served of; they are not."""
    calls = []
    monkeypatch.setattr(
        dami_text.labeling.page.server, "serve", lambda session, *_, **__: calls.append(Session(session.folder))
    )
    monkeypatch.setattr(dami_text.labeling.page.server, "require_gradio", lambda: None)
    return calls


# Copies and empty texts -------------------------------------------------------------------------------------------


def test_copies_of_a_text_are_held_out_together(tmp_path):
    file = write(tmp_path / "a.csv", [[words(i % 100) + " " * (i // 100)] for i in range(200)])
    session = make_session(file, tmp_path / "a.dami", validation_share=0.2)
    held_out = {session.text(row).strip() for row in session.held_out}
    assert len(session.held_out) == len(held_out) == 20, "one of each"
    trainable = np.setdiff1d(np.arange(200), [*session.held_out, *session.copies.others])
    assert held_out.isdisjoint(session.text(row).strip() for row in trainable)


def test_copies_may_be_drawn_apart(tmp_path):
    file = write(tmp_path / "a.csv", [[words(i % 100)] for i in range(200)])
    session = make_session(file, tmp_path / "a.dami", validation_share=0.2, duplicates="anywhere")
    assert len({session.text(row) for row in session.held_out}) > 20


def test_a_session_that_recorded_no_draw_keeps_to_the_one_it_had(tmp_path):
    file = write(tmp_path / "a.csv", [[words(i)] for i in range(200)])
    session = make_session(file, tmp_path / "a.dami")
    recorded = session.held_out.tolist()
    with session.store.transaction() as connection:
        connection.execute("DELETE FROM meta WHERE key IN ('held_out', 'sources')")
    session.store.close()
    again = Session(tmp_path / "a.dami")
    assert again.held_out.tolist() == recorded  # without copies both draws are the same
    require_source(again, str(file))


def test_empty_texts_are_left_out_and_counted(tmp_path, caplog):
    rows = [[words(i), f"n{i}"] for i in range(20)]
    rows[3][0], rows[8][0] = "", "  \t"
    file = write(tmp_path / "a.csv", rows, ["text", "id"])
    with caplog.at_level(logging.WARNING):
        session = make_session(file, tmp_path / "a.dami")
    assert "2 of 20 texts are empty: left out" in caplog.text
    assert len(session) == 18
    assert [own["id"] for own in session.own_columns([2, 3, 7])] == ["n2", "n4", "n9"]
    require_source(session, str(file))


def test_a_text_that_is_there_very_often_is_warned_of(tmp_path, caplog):
    file = write(tmp_path / "a.csv", [["see attachment"]] * 40 + [[words(i)] for i in range(60)])
    with caplog.at_level(logging.WARNING):
        make_session(file, tmp_path / "a.dami")
    assert "39 of 100 texts are copies of others" in caplog.text
    assert "'see attachment' is there 40 times" in caplog.text


# The file's own columns -------------------------------------------------------------------------------------------

HEADER = ["id", "body", "label", "Note", "year", "dami_x"]


@pytest.fixture
def own(tmp_path):
    """A session of a file with an id of its own and columns that have names of ours."""
    rows = [[f"T-{i}", words(i), "", f"=remark {i}", 1990 + i, f"x{i}"] for i in range(30)]
    session = make_session(write(tmp_path / "own.csv", rows, HEADER), tmp_path / "own.dami", text_column="body")
    session.store.add_labels([(3, 1, "ann"), (5, None, "ann"), (3, 0, "bob")])
    return session


def test_a_table_has_the_files_own_columns_and_ids(own):
    content = write_records("csv", records_of(own), own.class_names)
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert [(row["dami_id"], row["id"], row["text"], row["label"], row["annotator"]) for row in rows] == [
        (own.id(3), "T-3", words(3), "pos", "ann"),
        (own.id(3), "T-3", words(3), "neg", "bob"),
        (own.id(5), "T-5", words(5), "", "ann"),
    ]
    assert [(row["own_Note"], row["year"], row["own_dami_x"], row["note"]) for row in rows] == [
        ("=remark 3", "1993", "x3", ""),
        ("=remark 3", "1993", "x3", ""),
        ("=remark 5", "1995", "x5", ""),
    ]
    assert list(rows[0])[-4:] == ["id", "own_Note", "year", "own_dami_x"]
    assert "own_label" not in rows[0], "the labels of the file are the session's"
    safe = write_records("csv", records_of(own), own.class_names, safe_csv=True).decode()
    assert "'=remark 3" in safe


@pytest.mark.parametrize("name", FORMATS)
def test_own_columns_go_out_in_every_format_and_do_not_disturb_what_comes_in(own, name, tmp_path):
    content = write_records(name, records_of(own), own.class_names)
    other = make_session(tmp_path / "own.csv", tmp_path / "other.dami", text_column="body")
    if name != "parquet":
        assert b"T-3" in content
        assert b"1993" in content
    suffix = {"csv": "csv", "parquet": "parquet"}.get(name, "json")
    assert guess_format(f"a.{suffix}", content) == name
    import_decisions(other, read_decisions(name, content, other.class_names))
    labels = {(row["row"], row["annotator"]): row["label"] for row in other.store.decisions()}
    expected = {(3, "ann"): 1, (3, "bob"): 0, (5, "ann"): None}
    if name == "doccano":
        expected.pop((5, "ann"))
    assert labels == expected


def test_own_columns_keep_their_types(tmp_path):
    lines = [{"text": words(i), "when": {"year": i}, "tags": ["a", "b"], "score": i / 2} for i in range(12)]
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    session = make_session(file, tmp_path / "a.dami")
    session.store.add_labels([(1, 0, "ann")])
    (line,) = (json.loads(line) for line in write_records("jsonl", records_of(session), ["neg", "pos"]).splitlines())
    assert (line["when"], line["tags"]) == ({"year": 1}, ["a", "b"])
    assert "score" in line
    assert line["own_score"] == 0.5
    table = pq.read_table(io.BytesIO(write_records("parquet", records_of(session), ["neg", "pos"])))
    assert table["own_score"].to_pylist() == [0.5]
    cells = next(csv.DictReader(io.StringIO(write_records("csv", records_of(session), ["neg", "pos"]).decode())))
    assert cells["when"] == '{"year": 1}'


def test_several_text_columns_are_joined(tmp_path, pages, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.csv", [[f"Title {i}", words(i)] for i in range(12)] + [["", "alone"]], ["title", "body"])
    assert main(["label", "--labels", "neg", "pos", "--text-column", "title", "body", "a.csv"]) == 0
    (session,) = pages
    assert session.text(3) == f"Title 3\n{words(3)}"
    assert session.text(12) == "alone"
    assert session.own_columns([3]) == [{"title": "Title 3", "body": words(3)}]
    again = ["label", "a.csv", "--labels", "neg", "pos", "--text-column"]
    assert main([*again, "title", "body"]) == 0, "the same command goes on"
    assert main(["label", "a.csv"]) == 0
    assert main([*again, "body"]) == 1
    assert "texts from columns 'title', 'body'" in caplog.text


# Growing ------------------------------------------------------------------------------------------------------------


def test_new_rows_of_the_file_come_to_the_pool_and_what_was_held_out_stays(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [[words(i), i] for i in range(100)]
    session = make_session(write(tmp_path / "a.csv", rows, ["text", "n"]), tmp_path / "a.dami", validation_share=0.2)
    label_some(session, [i % 2 for i in range(100)], 12)
    before = {row["row"]: row["label"] for row in session.store.labels()}
    held_out = session.held_out.tolist()
    write(tmp_path / "a.csv", rows + [[words(i), i] for i in range(100, 150)] + [[words(3), 3]], ["text", "n"])
    assert main(["add", "a.dami", "a.csv"]) == 0
    assert "51 texts added, 100 were there; the session has 151" in capsys.readouterr().out
    grown = Session(tmp_path / "a.dami")
    assert [grown.text(row) for row in (0, 99, 100, 149, 150)] == [words(i) for i in (0, 99, 100, 149, 3)]
    assert {row["row"]: row["label"] for row in grown.store.labels()} == before
    assert grown.held_out.tolist()[:20] == held_out
    new = grown.held_out.tolist()[20:]
    assert min(new) >= 100
    assert len([row for row in new if row != 150]) == 10
    assert grown.copies.rows(3) == [3, 150], "a copy is where the text is"
    assert grown.own_columns([120]) == [{"n": "120"}]
    require_source(grown, "a.csv")
    session.refresh()  # as an open page does
    assert len(session) == 151
    assert session.text(120) == words(120)
    assert main(["add", "a.dami", "a.csv"]) == 0
    assert "0 texts added, 151 were there" in capsys.readouterr().out
    assert not (tmp_path / "a.dami" / "pool").exists()


def test_a_session_that_grew_goes_on(tmp_path):
    session = make_session(write(tmp_path / "a.csv", [[words(i)] for i in range(60)]), tmp_path / "a.dami")
    label_some(session, [i % 2 for i in range(60)], 10)
    train_round(session)
    add_texts(session, str(write(tmp_path / "b.csv", [[words(i)] for i in range(50, 120)])))
    assert len(session) == 120
    label_some(session, [i % 2 for i in range(120)], 5)
    train_round(session)
    assert [len(record.predictions) for record in session.store.rounds()] == [2 * 6, 2 * len(session.held_out)]
    progress_of(session)
    assert max(item.row for item in session.store.queue(2)) < 120


def test_curves_compare_rounds_on_the_texts_that_all_have_predicted(tmp_path):
    session = make_session(write(tmp_path / "a.csv", [[words(i)] for i in range(60)]), tmp_path / "a.dami")
    for number, size in enumerate((4, 6)):
        session.store.finish_round(
            RoundRecord(
                number=number,
                through=0,
                n_labeled=number,
                time="",
                details={},
                predictions=np.ones(size, "<u2").tobytes(),
            ),
            [],
        )
    labels = {int(row): int(i < 5) for i, row in enumerate(session.held_out)}
    session.store.add_labels((row, label, "ann") for row, label in labels.items())
    assert held_out_hits(session, labels, session.store.rounds()).tolist() == [[True] * 4] * 2
    done = progress_of(session)
    assert (done.accuracy.n, done.accuracy.value) == (6, 5 / 6)
    assert done.report.never_predicted == ["neg"]


def test_a_file_without_some_of_the_columns_can_be_added_and_labels_of_it_are_taken(tmp_path):
    rows = [[words(i), "", i] for i in range(30)]
    file = write(tmp_path / "a.csv", rows, ["text", "label", "n"])
    session = make_session(file, tmp_path / "a.dami")
    add_texts(session, str(write(tmp_path / "b.csv", [[words(i), "pos"] for i in range(30, 40)], ["text", "label"])))
    assert {row["label"] for row in session.store.labels()} == {1}
    assert len(session.store.labels()) == 10
    assert session.own_columns([0, 35]) == [{"n": "0"}, {"n": None}]


def test_texts_with_other_classes_are_refused_and_nothing_is_changed(tmp_path):
    file = write(tmp_path / "a.csv", [[words(i)] for i in range(30)])
    session = make_session(file, tmp_path / "a.dami")
    with pytest.raises(DataError, match=r"holds the labels \['odd'\], but the classes are \['neg', 'pos'\]"):
        add_texts(session, str(write(tmp_path / "b.csv", [["new", "odd"]], ["text", "label"])))
    assert len(Session(tmp_path / "a.dami")) == 30


def test_a_column_of_another_type_is_refused_and_nothing_is_changed(tmp_path):
    for name, value in (("a", 1), ("b", "one"), ("c", "2")):
        lines = [{"text": f"{name} {words(i)}", "n": value} for i in range(12)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    session = make_session(tmp_path / "a.jsonl", tmp_path / "a.dami")
    with pytest.raises(
        DataError, match=r"column 'n' of .*b\.jsonl holds string, and that of the session int64; convert it"
    ):
        add_texts(session, str(tmp_path / "b.jsonl"))
    assert len(Session(session.folder)) == 12
    assert sorted(file.name for file in session.folder.iterdir() if file.is_dir()) == ["pool"]
    assert add_texts(session, str(tmp_path / "c.jsonl")) == (12, 0)
    assert session.own_columns([0, 20]) == [{"n": 1}, {"n": 2}]


def test_nothing_is_added_while_a_model_is_trained(tmp_path):
    session = make_session(write(tmp_path / "a.csv", [[words(i)] for i in range(30)]), tmp_path / "a.dami")
    with (
        locked(session),
        pytest.raises(BusyError, match="in training; wait for its end"),
        locked(Session(session.folder)),
    ):
        pass
    with locked(session):
        pass


def test_classes_may_be_added_but_not_removed_or_put_in_another_order(tmp_path, pages, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.csv", [[words(i)] for i in range(30)])
    assert main(["label", "a.csv", "--labels", "neg", "pos"]) == 0
    pages[0].store.add_labels([(4, 1, "ann")])
    assert main(["label", "a.csv", "--labels", "other", "neg", "pos"]) == 0
    assert pages[1].class_names == ["neg", "pos", "other"]
    assert "classes neg, pos, other" in capsys.readouterr().out
    assert Session(pages[1].folder).class_names == ["neg", "pos", "other"]
    assert {row["row"]: row["label"] for row in pages[1].store.labels()} == {4: 1}
    for names in (["pos", "neg", "other"], ["neg", "pos"], ["neg", "new"]):
        assert main(["label", "a.csv", "--labels", *names]) == 1
    assert Session(pages[1].folder).class_names == ["neg", "pos", "other"]


def test_a_class_gets_another_name_and_its_labels_stay(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    session = make_session(write(tmp_path / "a.csv", [[words(i)] for i in range(30)]), tmp_path / "a.dami")
    session.store.add_labels([(4, 1, "ann"), (5, 0, "ann")])
    old = write_records("csv", records_of(session), session.class_names)
    assert main(["rename", "a.dami", "pos", "positive"]) == 0
    assert "classes  neg, positive" in capsys.readouterr().out
    renamed = Session(tmp_path / "a.dami")
    assert [record.label for record in records_of(renamed)] == ["positive", "neg"]
    done = import_decisions(renamed, read_decisions("csv", old, renamed.class_names))
    assert (done.added, done.known) == (0, 2), "a file with the old name is read"
    add_texts(renamed, str(write(tmp_path / "b.csv", [["new one", "pos"]], ["text", "label"])))
    assert {row["row"]: row["label"] for row in renamed.store.labels()}[30] == 1


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("bad", "worse", "'bad' is no class of a.dami; its classes are ['neg', 'pos']"),
        ("neg", "pos", "'pos' is a class of a.dami already; classes cannot be joined"),
        ("neg", "  ", "--labels is ['  ', 'pos']; it must be two names or more, all different and none of them empty"),
    ],
)
def test_names_that_cannot_be_given_are_refused(old, new, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_session(write(tmp_path / "a.csv", [[words(i)] for i in range(30)]), tmp_path / "a.dami")
    before = (tmp_path / "a.dami" / "config.yaml").read_bytes()
    assert main(["rename", "a.dami", old, new]) == 1
    assert told in capsys.readouterr().err
    assert (tmp_path / "a.dami" / "config.yaml").read_bytes() == before


def test_a_name_that_was_given_twice_is_read_by_both(tmp_path):
    session = make_session(write(tmp_path / "a.csv", [[words(i)] for i in range(30)]), tmp_path / "a.dami")
    session.rename_class("pos", "good")
    session.rename_class("good", "fine")
    assert session.renamed == {"pos": "fine", "good": "fine"}
    session.rename_class("fine", "pos")
    assert session.renamed == {"good": "pos", "fine": "pos"}
    with pytest.raises(ConfigError):
        session.rename_class("good", "x")
    assert LabelingConfig(labels=session.class_names).labels == ["neg", "pos"]
    shutil.rmtree(session.folder)
