"""A second look at labels: what counts, who sees what, on the page and in a file."""

import csv
from contextlib import closing

import pytest
from labeling_cases import CLASSES, label_some, make_linear_session, make_session, texts_without_labels

from dami_text.cli.main import main
from dami_text.labeling.doubts import doubts_by_words
from dami_text.labeling.exchange.events import read, write_events
from dami_text.labeling.page.desk import Desk
from dami_text.labeling.progress import agreements
from dami_text.labeling.review import Review, doubtful_records, find_doubts
from dami_text.labeling.rounds import train_round
from dami_text.labeling.session import FILE_ANNOTATOR, Session
from dami_text.labeling.snapshot import LabelSnapshot
from dami_text.labeling.store.doubts import Doubt
from dami_text.labeling.store.events import Shown, Store


def doubt(row, label=0, quality=0.1):
    return Doubt(row=row, label=label, quality=quality, guess=1 - label, probability=1 - quality)


@pytest.fixture
def store(tmp_path):
    """A store with the labels of a file: 0 for rows 0 to 3."""
    with closing(Store(tmp_path / "labels.sqlite", create=True)) as store:
        store.add_labels([(row, 0, FILE_ANNOTATOR) for row in range(4)])
        store.set_doubts([doubt(0, quality=0.5), doubt(1, quality=0.2), doubt(2, quality=0.9)], store.last_event())
        yield store


def rows(doubts):
    return [each.row for each in doubts]


def label_of(store, row):
    return {each["row"]: each["label"] for each in store.labels()}[row]


def look_again(store, row, annotator, label):
    shown, _ = store.shown(row, annotator)
    return store.decide(shown, annotator, "label", label, review=True)


# What counts ----------------------------------------------------------------------------------------------------


def test_the_most_doubtful_come_first_and_none_that_was_confirmed_or_corrected(store):
    assert rows(store.doubts()) == [1, 0, 2]
    look_again(store, 1, "ann", 0)
    assert rows(store.doubts()) == [0, 2]
    look_again(store, 0, "ann", 1)
    assert rows(store.doubts()) == [2]
    assert [label_of(store, row) for row in range(4)] == [1, 0, 0, 0]
    assert store.n_reviewed() == 2


def test_an_undone_second_look_is_as_if_it_had_not_been(store):
    number = look_again(store, 1, "ann", 1)
    assert label_of(store, 1) == 1
    store.undo("ann", number, 60)
    assert label_of(store, 1) == 0
    assert rows(store.doubts()) == [1, 0, 2]


def test_a_second_look_decides_against_the_labels_of_several(store):
    store.add_labels([(0, 0, "bob"), (0, 0, "eve")])
    look_again(store, 0, "ann", 1)
    assert label_of(store, 0) == 1


def test_whoever_decides_later_decides_whether_by_history_or_by_import(store):
    look_again(store, 0, "ann", 1)
    shown, _ = store.shown(0, "ann")
    store.decide(shown, "ann", "label", 0)  # the history
    assert label_of(store, 0) == 0
    store.add_labels([(0, 1, FILE_ANNOTATOR)])
    assert label_of(store, 0) == 1
    look_again(store, 0, "bob", 0)
    assert label_of(store, 0) == 0


def test_a_label_that_was_changed_since_is_not_looked_at_by_an_old_doubt(store):
    store.add_labels([(1, 1, FILE_ANNOTATOR)])
    assert rows(store.doubts()) == [0, 2]


def test_a_text_that_waits_for_another_annotator_waits_for_the_second_look(tmp_path, reviews):
    file, truth = texts_without_labels(reviews, tmp_path)
    with make_session(file, tmp_path / "two.dami", overlap=2, overlap_share=1.0) as session:
        row = label_some(session, truth, 1)[0]
        session.store.set_doubts([doubt(row, truth[row])], 0)
        assert session.store.doubts() == []
        label_some(session, truth, 1, "bob")
        assert rows(session.store.doubts()) == [row]
        look_again(session.store, row, "bob", 1 - truth[row])  # knows what ann has said: no second opinion
        assert [(pair.n, pair.observed) for pair in agreements(session)] == [(1, 1.0)]


def test_exported_events_bring_the_label_of_the_second_look_along(tmp_path, reviews):
    file, _truth = texts_without_labels(reviews, tmp_path)
    with make_session(file, tmp_path / "one.dami") as one, make_session(file, tmp_path / "other.dami") as other:
        one.store.add_labels([(0, 0, FILE_ANNOTATOR)])
        look_again(one.store, 0, "ann", 1)
        content, _ = write_events(one)
        from dami_text.labeling.exchange.matching import import_decisions

        import_decisions(other, list(read(content, CLASSES)))
        assert label_of(other.store, 0) == label_of(one.store, 0) == 1


def test_annotators_do_not_get_the_same_text_and_what_is_passed_over_comes_again(tmp_path, reviews):
    file, _ = texts_without_labels(reviews, tmp_path)
    with make_session(file, tmp_path / "s.dami") as session:
        session.store.add_labels([(row, 0, FILE_ANNOTATOR) for row in range(3)])
        session.store.set_doubts([doubt(row, quality=row / 10) for row in range(3)], 0)
        review = Review(session, 60)
        assert [review.next(name)[0].row for name in ("ann", "bob", "ann")] == [0, 1, 0]
        review.pass_over("ann", 0)
        assert review.next("ann")[0].row == 2
        review.begin("ann")
        assert review.next("ann") == (Shown(0, 0), doubt(0, quality=0.0), 3)


# Where doubts come from -------------------------------------------------------------------------------------------


@pytest.fixture
def session(tmp_path, reviews):
    """A session of a linear model whose file has 150 labels, row 5's and a held-out one wrong."""
    file, truth = texts_without_labels(reviews, tmp_path)
    with make_linear_session(file, tmp_path / "s.dami") as session:
        truth[5], held_out = 1 - truth[5], int(session.held_out[0])
        truth[held_out] = 1 - truth[held_out]
        rows = [5, held_out, *range(6, 154)]
        session.store.add_labels([(row, truth[row], FILE_ANNOTATOR) for row in dict.fromkeys(rows)])
        yield session


def test_a_round_finds_the_wrong_labels_those_held_out_too(session):
    train_round(session)
    found = session.store.doubts()
    assert len(found) == len(session.store.labels())
    assert {5, int(session.held_out[0])} <= set(rows(found[:10]))
    assert all(each.quality <= each.probability for each in found)


def test_the_command_judges_labels_that_no_round_knows_once(session, monkeypatch):
    find_doubts(session)
    first = session.store.doubts()
    assert 5 in rows(first[:10])
    monkeypatch.setattr("dami_text.labeling.rounds.learner_with_labels", None)
    find_doubts(session)  # nothing new: nothing is trained
    assert session.store.doubts() == first


def test_a_model_that_is_trained_by_steps_leaves_it_to_the_linear_one(tmp_path, reviews):
    file, truth = texts_without_labels(reviews, tmp_path)
    with make_session(file, tmp_path / "cnn.dami") as session:
        label_some(session, truth, 18)
        train_round(session)
        assert session.store.doubts() == sorted(
            doubts_by_words(session, LabelSnapshot.of(session)), key=lambda each: (each.quality, each.row)
        )
        session.store.set_doubts([], 0)
        find_doubts(session)
        assert len(session.store.doubts()) == 18


def test_labels_of_one_class_leave_nothing_to_doubt(tmp_path, reviews):
    file, _ = texts_without_labels(reviews, tmp_path)
    with make_linear_session(file, tmp_path / "s.dami") as session:
        session.store.add_labels([(row, 0, "ann") for row in range(20) if row not in session.held_out])
        train_round(session)
        assert session.store.doubts() == []


# The page ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def desk(session, monkeypatch):
    desk = Desk(session)
    monkeypatch.setattr(desk.trainer, "start_if_due", lambda exhausted=False: None)
    find_doubts(session)
    return desk


def row_of(screen):
    return int(screen.token.partition(".")[0])


def test_keys_confirm_correct_pass_over_and_undo(desk):
    store = desk.session.store
    order = rows(store.doubts())
    screen = desk.review("ann", desk.next("ann").token)
    assert (row_of(screen), screen.review, screen.label) == (order[0], True, label_of(store, order[0]))
    assert "a model that did not see it gives it" in screen.why[0][0]
    wrong = screen.label
    screen = desk.label("ann", screen.token, 1 - wrong)
    assert screen.notice == f"Changed to {CLASSES[1 - wrong]}."
    assert row_of(screen) == order[1]
    screen = desk.confirm("ann", screen.token)
    assert screen.notice.startswith("Confirmed")
    assert row_of(screen) == order[2]
    passed = desk.skip("ann", screen.token)
    assert row_of(passed) == order[3]
    assert store.decision(order[2], "ann") is None
    screen = desk.undo("ann", passed.token)
    assert row_of(screen) == order[1]
    assert screen.review
    assert "Confirmed" in desk.confirm("ann", screen.token).notice
    assert [label_of(store, row) for row in order[:1]] == [1 - wrong]


def test_the_guess_of_a_second_look_is_that_of_the_model_without_the_label(desk):
    screen = desk.review("ann", "-")
    first = desk.session.store.doubts()[0]
    assert desk.guess(screen.token) == f"The model's guess: {CLASSES[first.guess]}, {first.probability:.0%}"
    desk.accept("ann", screen.token)
    assert label_of(desk.session.store, first.row) == first.guess


def test_a_flag_and_a_note_stay_with_the_second_look(desk):
    screen = desk.review("ann", "-")
    flagged = desk.flag("ann", screen.token)
    assert (flagged.flagged, flagged.review, row_of(flagged)) == (True, True, row_of(screen))
    assert desk.note("ann", flagged.token, "odd") == "Note saved."


def test_the_same_key_goes_back_to_the_queue_and_so_does_the_end(desk):
    queue = desk.next("ann")
    screen = desk.review("ann", queue.token)
    assert desk.review("ann", screen.token).token == desk.next("ann").token
    for _ in range(200):
        screen = desk.review("ann", "-") if not screen.review else desk.confirm("ann", screen.token)
        if "no label to look at again" in screen.notice:
            break
    assert not screen.review
    assert row_of(screen) == row_of(queue)
    assert desk.confirm("ann", screen.token).notice == "There was no label to confirm on the screen."


def test_an_old_screen_decides_nothing(desk):
    screen = desk.review("ann", "-")
    desk.label("ann", screen.token, 1)
    assert desk.label("ann", screen.token, 0).notice.startswith("Not counted")


def test_the_page_of_the_command_opens_with_the_second_look(desk):
    assert Desk(desk.session, begin_with_review=True).first("ann").review
    assert not desk.first("ann").review


# The command ------------------------------------------------------------------------------------------------------


def test_the_table_is_in_order_of_doubt_and_comes_back_corrected(session, tmp_path, capsys):
    folder, out = str(session.folder), tmp_path / "doubtful.csv"
    assert main(["review", folder, "--output", str(out)]) == 0
    assert f"{len(session.store.labels())} labelled texts" in capsys.readouterr().out
    with out.open(encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [line["id"] for line in table] == [record.id for record in doubtful_records(session)]
    (wrong,) = [line for line in table if line["id"] == session.id(5)]
    was = label_of(session.store, 5)
    wrong["label"] = CLASSES[1 - was]
    with out.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    assert main(["import", folder, str(out)]) == 0
    assert label_of(session.store, 5) == 1 - was


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--output", "x.csv", "--port", "99"], "--port has no effect with --output, which opens no page"),
        (["--format", "jsonl"], "--format has no effect without --output FILE"),
        (["--output", "x.jsonl", "--format", "jsonl", "--safe-csv"], "--safe-csv is about csv"),
        (["--passwords", "file"], "--passwords is 'file'; it must be given with --annotators"),
    ],
)
def test_options_without_effect_are_refused(session, options, told, capsys):
    assert main(["review", str(session.folder), *options]) == 1
    assert told in capsys.readouterr().err


def test_without_labels_there_is_nothing_to_review(tmp_path, reviews, capsys):
    file, _ = texts_without_labels(reviews, tmp_path)
    with make_linear_session(file, tmp_path / "s.dami"):
        assert main(["review", str(tmp_path / "s.dami"), "--output", str(tmp_path / "x.csv")]) == 1
    assert "there is no labelled text" in capsys.readouterr().err


def test_a_session_of_an_older_version_keeps_its_labels(tmp_path, reviews, monkeypatch):
    from dami_text.labeling.store import schema

    newest = schema.MIGRATIONS
    monkeypatch.setattr(schema, "MIGRATIONS", newest[:3])
    file = tmp_path / "labels.sqlite"
    with closing(Store(file, create=True)) as old:
        old._connection.execute(
            "INSERT INTO event (action, row, annotator, label, round, time) VALUES ('label', 4, 'ann', 1, 0, '')"
        )
        old._connection.execute("INSERT INTO round VALUES (0, 1, 1, '', '{}', x'0100')")
    monkeypatch.setattr(schema, "MIGRATIONS", newest)
    with closing(Store(file)) as store:
        assert label_of(store, 4) == 1
        assert store.doubts() == []
        assert (store.rounds()[0].predictions, store.rounds()[0].stop_set) == (b"\1\0", b"")


def test_the_folder_of_a_session_is_enough_to_go_on(session):
    find_doubts(session)
    look_again(session.store, 5, "ann", 1)
    with Session(session.folder) as again:
        assert again.store.n_reviewed() == 1
        assert 5 not in rows(again.store.doubts())
