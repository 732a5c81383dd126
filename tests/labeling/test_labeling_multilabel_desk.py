"""The page of any number of labels a text without a browser: the desk, requests, the table, the panel."""

import json
import re
from types import SimpleNamespace

import pytest
from label_cases import NAMES
from labeling_cases import make_label_session, texts_with_labels

from dami_text.labeling.page.desk import Desk
from dami_text.labeling.page.table import Find, table, table_html
from dami_text.labeling.page.view import label_text, panel_html, why_again
from dami_text.labeling.progress import progress_of
from dami_text.labeling.rounds import train_round
from dami_text.labeling.store.doubts import Doubt
from dami_text.labeling.store.queues import QueueItem, RoundRecord
from dami_text.labeling.trainer import TrainerState


@pytest.fixture
def truth(tmp_path):
    return texts_with_labels(tmp_path)[1]


@pytest.fixture
def desk(tmp_path, truth, monkeypatch):
    """A desk whose trainer never starts."""
    options = {"validation_share": 0.3, "initial_size": 30}
    desk = Desk(make_label_session(tmp_path / "labels.jsonl", tmp_path / "labels.dami", NAMES, **options))
    monkeypatch.setattr(desk.trainer, "start_if_due", lambda exhausted=False: None)
    return desk


def row_of(screen):
    return int(screen.token.partition(".")[0])


def labels_of(desk):
    return {row["row"]: row["label"] for row in desk.session.store.labels()}


def asked_with_guesses(desk, *rows):
    """A round whose model asks for rows with a guess."""
    reason = {"guess": [0, 2], "probability": 0.56, "likeliest": [2, 0, 1, 3], "probabilities": [0.9, 0.8, 0.2, 0.1]}
    desk.session.store.finish_round(
        RoundRecord(
            number=0, through=0, n_labeled=0, time="", details={"class_counts": [0] * 4}, predictions=b"", stop_set=b""
        ),
        [QueueItem(row, "asked", reason) for row in rows],
    )


def test_labels_go_to_the_text_on_the_screen_and_none_is_an_answer(desk):
    first = desk.next("ann")
    second = desk.label("ann", first.token, (1, 2))
    desk.label("ann", second.token, ())
    assert labels_of(desk) == {row_of(first): (1, 2), row_of(second): ()}
    assert desk.label("ann", first.token, (0,)).notice.startswith("Not counted")


def test_what_was_undone_is_chosen_on_the_screen_and_can_be_mended(desk):
    first = desk.next("ann")
    assert first.label is None
    second = desk.label("ann", first.token, (1, 2))
    back = desk.undo("ann", second.token)
    assert (row_of(back), back.label, labels_of(desk)) == (row_of(first), (1, 2), {})
    desk.label("ann", back.token, (1,))
    assert labels_of(desk) == {row_of(first): (1,)}
    again = desk.again("ann", desk.session.store.decisions("ann")[0]["number"])
    assert (again.again, again.label) == (True, (1,))
    skipped = desk.skip("ann", desk.next("ann").token)
    assert desk.undo("ann", skipped.token).label is None


def test_the_guess_is_shown_for_each_label_and_can_be_accepted(desk):
    asked_with_guesses(desk, 5, 6)
    screen = desk.next("ann")
    assert desk.guess(screen.token) == "The model's guess: looks, sound (sound 90%, looks 80%, people 20%, story 10%)"
    desk.accept("ann", screen.token)
    assert labels_of(desk) == {5: (0, 2)}


def test_a_second_look_says_what_another_answer_would_be(desk):
    screen = desk.next("ann")
    row = row_of(screen)
    screen = desk.label("ann", screen.token, (0, 3))
    doubt = Doubt(row=row, label=(0, 3), quality=0.1, guess=(0, 1), probability=0.7)
    desk.session.store.set_doubts([doubt], desk.session.store.last_event())
    assert desk.session.store.doubts() == [doubt]
    look = desk.review("ann", screen.token)
    assert (look.review, look.label) == (True, (0, 3))
    told = "".join(text for text, _ in look.why)
    assert told.startswith(
        "A second look at these labels (looks, story): a model that did not see them would add people and leave out "
        "story."
    )
    assert desk.label("ann", look.token, ()).notice.startswith("Changed to none of the labels.")
    assert labels_of(desk) == {row: ()}
    assert desk.session.store.doubts() == []
    same = why_again(Doubt(row=0, label=(), quality=0.6, guess=(), probability=0.6), NAMES, 2)
    assert same == [
        (
            "A second look at these labels (none of the labels): a model that did not see them would give the same. "
            "2 labels are left, the most doubtful first.",
            None,
        )
    ]


def test_requests_hold_lists_of_different_labels_or_are_passed_over(desk):
    handlers = pytest.importorskip("dami_text.labeling.page.handlers")
    on, request = handlers.Handlers(desk, "ann"), SimpleNamespace(username=None)
    screen = desk.next("ann")
    state = handlers.state_html(screen)
    no_labels = ("3", "[4]", "[0, 0]", "[-1]", "[true]", '["0"]', "[[0]]", "{}", "null", "[0, null]", "", "[")
    for wrong in (*no_labels, "[0" * 9000):
        on.choose(state, wrong, request)
        assert labels_of(desk) == {}, wrong
    on.choose(state, "[2, 0]", request)
    assert labels_of(desk) == {row_of(screen): (0, 2)}
    on.choose(handlers.state_html(desk.next("ann")), "[]", request)
    assert list(labels_of(desk).values()).count(()) == 1
    version = desk.session.store.latest_decision(row_of(screen))
    for label, kept in (("0", (0, 2)), ("[9]", (0, 2)), ("[3]", (3,))):
        on.correct(f'{{"row": {row_of(screen)}, "version": {version}, "label": {label}}}', request)
        assert labels_of(desk)[row_of(screen)] == kept
    again = desk.again("ann", desk.session.store.decisions("ann")[0]["number"])
    assert 'data-label="3"' in handlers.state_html(again)


def test_the_table_finds_labels_and_shows_boxes(desk):
    given = [(0, 2), (), (2,), None]
    rows = []
    for label in given:
        screen = desk.next("ann")
        rows.append(row_of(screen))
        _ = desk.skip("ann", screen.token) if label is None else desk.label("ann", screen.token, label)

    def found(kind):
        return [line.row for line in table(desk.session, "ann", Find(kind=kind)).lines]

    assert found("2") == [rows[2], rows[0]]
    assert found("none") == [rows[1]]
    assert found("skipped") == [rows[3]]
    assert found("1") == []
    shown = table_html(table(desk.session, "ann", Find()), ["<b>", "{x}", "c", "d"], multilabel=True)
    lines = shown.split("<tr")[2:]
    assert [re.findall(r'value="(\d)" checked', line) for line in lines] == [[], ["2"], [], ["0", "2"]]
    assert [("data-skipped" in line) for line in lines] == [True, False, False, False]
    summaries = [re.search("<summary>([^<]*)</summary>", line)[1] for line in lines]
    assert summaries == ["skipped", "c", "none of the labels", "&lt;b&gt;, c"]
    assert "<b>" not in shown
    version = desk.session.store.latest_decision(rows[0])
    assert desk.correct("bob", rows[0], version, (1,)) == "Changed to people."
    assert "ann: looks, sound" in table_html(table(desk.session, "ann", Find()), NAMES, multilabel=True)
    assert found("disputed") == [rows[0]]


def test_the_panel_counts_each_label_and_measures_micro_f1(desk, truth):
    screen = desk.next("ann")
    for _ in range(30):
        screen = desk.label("ann", screen.token, truth[row_of(screen)])
    train_round(desk.session)
    done = progress_of(desk.session)
    shown = panel_html(done, TrainerState("idle"))
    assert "<h3>Micro F1</h3>" in shown
    assert f"{done.n_without_label} text" in shown
    assert "accuracy" not in shown.lower()
    for name, count in done.by_class.items():
        assert re.search(rf"<span>{name}</span>.*?<b>{count}</b>", shown)
    likely = desk.likely("ann", 1)
    assert likely.batch == "likely"
    assert json.loads(json.dumps(desk.session.store.latest_items()[row_of(likely)].reason))["class"] == 1


def test_labels_in_words():
    assert label_text((0, 2), NAMES) == "looks, sound"
    assert label_text((), NAMES) == "none of the labels"
    assert label_text(3, NAMES) == "story"
