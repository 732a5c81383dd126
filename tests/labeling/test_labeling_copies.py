"""Texts that are the same but for case, spaces and punctuation: asked once, labelled all."""

import csv
import io
import json

import numpy as np
import pytest
from labeling_cases import CLASSES, label_some, make_session

from dami_text.cli.main import main
from dami_text.data.copies import bare_text
from dami_text.labeling.copies import Copies, labels_of_groups
from dami_text.labeling.creation import add_texts
from dami_text.labeling.exchange.formats import FORMATS, read_decisions, write_records
from dami_text.labeling.exchange.matching import import_decisions, records_of
from dami_text.labeling.exchange.records import Decision
from dami_text.labeling.page.desk import Desk
from dami_text.labeling.prediction import rest_of
from dami_text.labeling.progress import progress_of
from dami_text.labeling.rounds import learner_with_labels, train_round
from dami_text.labeling.session import Session
from dami_text.labeling.snapshot import LabelSnapshot


def word(i):
    return f"{'good' if i % 2 else 'dull'} film number {i}"


def variants(i):
    """Four ways to write a text."""
    return [word(i), word(i).upper(), f"  {word(i)}!!", word(i).replace(" ", ", ")]


def file_of(folder, texts, name="a.jsonl", **columns):
    rows = zip(*({"text": texts} | columns).values(), strict=True)
    lines = [json.dumps(dict(zip(["text", *columns], row, strict=True))) + "\n" for row in rows]
    (folder / name).write_text("".join(lines))
    return folder / name


@pytest.fixture
def session(tmp_path):
    """Row i, i + 30, i + 60 and i + 90 are the same text for i below 30."""
    texts = [variants(i)[copy] for copy in range(4) for i in range(30)]
    return make_session(file_of(tmp_path, texts), tmp_path / "a.dami", validation_share=0.2)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("So good!", "so  good"),
        ("Caf\u00e9", "cafe\u0301"),
        ("don't", "don\u2019t"),
        ("a-b", "a b"),
        ("\u201cWell\u201d, he said.", "well he said"),
        ("STRASSE", "stra\u00dfe"),
    ],
)
def test_case_spaces_and_punctuation_make_no_other_text(one, other):
    assert bare_text(one) == bare_text(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("fine :)", "fine :("),
        ("3.5 stars", "35 stars"),
        ("-5 degrees", "5 degrees"),
        ("C#", "C"),
        ("5%", "5"),
        ("!!", "??"),
        ("ok \U0001f600", "ok \U0001f621"),
        ("a+b", "a b"),
        ("10:30", "1030"),
    ],
)
def test_what_means_something_does(one, other):
    assert bare_text(one) != bare_text(other)


def test_a_text_of_a_group_is_asked_once_and_all_of_it_is_exported(session):
    assert len(session) == 120
    assert session.copies.n_different == 30
    truth = [i % 2 for i in range(30)] * 4
    rows = label_some(session, truth, 10)
    train_round(session)
    rows += label_some(session, truth, 5)
    assert max(rows) < 30
    for number in (0, 1):
        asked = [item.row for item in session.store.queue(number)]
        assert max(asked) < 30
        assert len(set(asked)) == len(asked)
    records = records_of(session)
    assert len({record.id for record in records}) == 60
    assert {(record.text, record.label) for record in records} == {
        (text, CLASSES[row % 2]) for row in rows for text in variants(row)
    }
    assert set(rest_of(session)["text"]) == {text for i in range(30) if i not in rows for text in variants(i)}
    done = progress_of(session)
    assert (done.n_texts, done.n_labeled, done.n_copies, done.n_labeled_copies) == (30, 15, 90, 45)


def test_held_out_texts_and_their_copies_never_train(session):
    label_some(session, [i % 2 for i in range(120)], 10)
    now = LabelSnapshot.of(session)
    assert now.held_out
    learner = learner_with_labels(session, now)
    held_out = {bare_text(session.text(row)) for row in session.held_out}
    for rows in (learner.pool.labeled, learner.pool.unlabeled):
        assert held_out.isdisjoint(bare_text(session.text(row)) for row in rows)


def test_undo_correction_skip_and_flag_are_of_all_copies(session):
    desk = Desk(session)
    screen = desk.next("ann")
    row = int(screen.token.partition(".")[0])
    assert "Your label is for this text and 3 copies of it." in "".join(text for text, _ in screen.why)

    def records():
        return {session.rows_by_id[record.id]: record for record in records_of(session, only_decided=False)}

    group = [row, row + 30, row + 60, row + 90]
    desk.label("ann", screen.token, 1)
    assert [records()[r].label for r in group] == ["pos"] * 4
    again = desk.again("ann", session.store.decisions("ann")[0]["number"])
    desk.label("ann", again.token, 0)
    assert [records()[r].label for r in group] == ["neg"] * 4
    desk.undo("ann", "")
    desk.undo("ann", "")
    assert [records()[r].status for r in group] == ["open"] * 4
    flagged = desk.flag("ann", desk.next("ann").token)
    assert all(records()[r].flagged for r in group)
    desk.skip("ann", flagged.token)
    assert [records()[r].status for r in group] == ["skipped"] * 4
    assert desk.label("ann", f"{row + 30}.0.0", 1).notice == "There was no text on the screen.", "a copy is never asked"
    assert int(desk.next("ann").token.partition(".")[0]) not in group


def test_where_all_is_labelled_the_page_says_so(session):
    session.store.add_labels([(row, 0, "ann") for row in range(30)])
    assert Desk(session)._at_the_end("ann", "").text == [("All texts are labelled. Thank you!", None)]


def test_an_option_asks_for_each(tmp_path):
    file = file_of(tmp_path, [text for i in range(10) for text in variants(i)])
    session = make_session(file, tmp_path / "a.dami", duplicates="anywhere")
    assert session.copies.n_different == 40
    assert not len(session.copies.others)


def test_a_session_of_before_asks_for_each_and_goes_on_so_when_it_grows(session, tmp_path):
    with session.store.transaction() as connection:
        connection.execute("DELETE FROM copy")
        connection.execute("DELETE FROM meta WHERE key = 'asks_copies_once'")
    session.store.close()
    older = Session(session.folder)
    assert older.copies.n_different == 120
    add_texts(older, str(file_of(tmp_path, variants(0)[:1] * 2 + [word(77)], "b.jsonl")))
    assert older.copies.n_different == len(older) == 122


def test_new_texts_that_are_copies_get_the_label_of_theirs(session, tmp_path):
    session.store.add_labels([(3, 1, "ann")])
    held_out = session.held_out.tolist()
    new = [f"{word(3)}?", word(40), f"{word(40)}.", *(word(i) for i in range(41, 50)), f"{word(held_out[0])}?"]
    add_texts(session, str(file_of(tmp_path, new, "b.jsonl")))
    assert session.copies.rows(3) == [3, 33, 63, 93, 120]
    assert session.copies.rows(121) == [121, 122]
    assert session.held_out.tolist()[: len(held_out)] == held_out
    assert set(session.held_out[len(held_out) :]).isdisjoint(session.copies.others)
    assert session.text(120) in {record.text for record in records_of(session)}


def test_labels_of_the_file_that_differ_among_copies_are_of_most(tmp_path, caplog):
    texts = ["a film", "A film!", "a film.", "so so", "So so", "other"]
    file = file_of(tmp_path, texts, label=["pos", "neg", "pos", "pos", "neg", ""])
    session = make_session(file, tmp_path / "a.dami")
    assert {row["row"]: row["label"] for row in session.store.labels()} == {0: 1}
    assert "1 texts have copies with other labels, as many of each: they are asked" in caplog.text


def test_groups_and_votes_by_hand():
    copies = Copies.of({2: 0, 3: 0, 5: 4}, 6)
    assert copies.with_all([4, 0, 1]) == [0, 1, 2, 3, 4, 5]
    labels = [(0, 1), (2, 0), (3, 0), (4, 1), (5, 0), (1, 1)]
    assert labels_of_groups(labels, copies.first) == ([(0, 0), (1, 1)], 1)
    assert np.array_equal(copies.others, [2, 3, 5])


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "doccano"])
def test_an_export_comes_back_as_it_went(session, tmp_path, name):
    label_some(session, [i % 2 for i in range(120)], 8)
    content = write_records(name, records_of(session), CLASSES)
    other = make_session(tmp_path / "a.jsonl", tmp_path / "other.dami", validation_share=0.2)
    done = import_decisions(other, read_decisions(name, content, CLASSES))
    assert (done.added, done.contradictory, done.unmatched) == (8, 0, 0)
    assert {row["row"]: row["label"] for row in other.store.labels()} == {
        row["row"]: row["label"] for row in session.store.labels()
    }


def test_a_label_of_one_copy_is_of_all_and_two_that_differ_are_none(session):
    decisions = [
        Decision(id=session.id(33), text=None, label="pos"),
        Decision(id=session.id(4), text=None, label="pos"),
        Decision(id=session.id(64), text=None, label="neg"),
    ]
    assert import_decisions(session, decisions, "bob").contradictory == 1
    assert {row["row"]: row["label"] for row in session.store.labels()} == {3: 1}


def test_status_says_how_many_labels_were_given_and_how_many_texts_have_one(session, capsys):
    label_some(session, [i % 2 for i in range(120)], 10)
    assert main(["status", str(session.folder)]) == 0
    told = capsys.readouterr().out
    assert "labelled   10 of 30 texts" in told
    assert "copies     30 of 90 have the label of their text" in told
    out = session.folder.parent / "out.csv"
    assert main(["export", str(session.folder), str(out)]) == 0
    assert len(list(csv.DictReader(io.StringIO(out.read_text())))) == 40
