import asyncio
import re
import socket
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from labeling_cases import CLASSES, label_some, make_session, texts_without_labels

from dami_text.errors import ConfigError
from dami_text.labeling.page.accounts import (
    Attempts,
    ask_for_passwords,
    hash_password,
    password_fits,
    read_passwords,
    set_passwords,
)
from dami_text.labeling.page.desk import Desk
from dami_text.labeling.page.server import OPEN_PATHS, Guard, free_port
from dami_text.labeling.page.view import WORD, curve_svg, one_line, panel_html, shaded, visible, why
from dami_text.labeling.progress import Gain, Progress, Proportion
from dami_text.labeling.rounds import train_round
from dami_text.labeling.store.events import Store
from dami_text.labeling.store.queues import QueueItem, RoundRecord
from dami_text.labeling.trainer import TrainerState


@pytest.fixture
def truth(tmp_path, reviews):
    return texts_without_labels(reviews, tmp_path)[1]


@pytest.fixture
def desk(tmp_path, truth, monkeypatch):
    """A desk whose trainer never starts."""
    desk = Desk(make_session(tmp_path / "texts.csv", tmp_path / "reviews.dami"))
    monkeypatch.setattr(desk.trainer, "start_if_due", lambda exhausted=False: None)
    return desk


def row_of(screen):
    return int(screen.token.partition(".")[0])


def labels_of(desk):
    return {row["row"]: row["label"] for row in desk.session.store.labels()}


# The desk -------------------------------------------------------------------------------------------------------


def test_a_label_goes_to_the_text_on_the_screen_and_the_next_one_comes(desk):
    first = desk.next("ann")
    assert "".join(text for text, _ in first.text) == desk.session.text(row_of(first))
    second = desk.label("ann", first.token, 1)
    assert row_of(second) != row_of(first)
    assert (labels_of(desk), second.notice) == ({row_of(first): 1}, "")


def test_ten_keys_for_one_screen_count_once(desk):
    token = desk.next("ann").token
    screens = [desk.label("ann", token, i % 2) for i in range(10)]
    assert len(labels_of(desk)) == 1
    assert screens[0].notice == ""
    assert all(screen.notice.startswith("Not counted:") for screen in screens[1:])
    assert len({screen.token for screen in screens}) == 1


def test_undo_shows_the_text_again_and_a_second_undo_the_one_before(desk):
    first = desk.next("ann")
    second = desk.label("ann", first.token, 1)
    third = desk.skip("ann", second.token)
    back = desk.undo("ann", third.token)
    assert (row_of(back), labels_of(desk), desk.session.store.skipped()) == (row_of(second), {row_of(first): 1}, [])
    back = desk.undo("ann", back.token)
    assert (row_of(back), labels_of(desk), back.again) == (row_of(first), {}, False)
    assert desk.undo("ann", back.token).notice == "Not undone: there is nothing to undo."


def test_undo_of_what_no_queue_holds_does_not_say_that_it_is_here(desk):
    shown, _ = desk.session.store.shown(250, "ann")
    desk.session.store.decide(shown, "ann", "label", 1)
    queue = {item.row for item in desk.session.store.queue(0)}
    assert 250 not in queue
    screen = desk.undo("ann", desk.next("ann").token)
    assert (labels_of(desk), screen.notice, row_of(screen) in queue) == ({}, "Undone.", True)


def test_undo_takes_back_what_was_done_on_the_page_last_be_it_a_flag_and_no_import(desk):
    store = desk.session.store
    first = desk.next("ann")
    second = desk.label("ann", first.token, 1)
    flagged = desk.flag("ann", second.token)
    store.add_labels([(250, 0, "ann"), (251, None, "ann")])
    back = desk.undo("ann", flagged.token)
    assert (row_of(back), back.flagged, back.notice) == (row_of(second), False, "Undone: the flag is gone.")
    assert (store.flags(), labels_of(desk)) == ({}, {row_of(first): 1, 250: 0})
    back = desk.undo("ann", back.token)
    assert (row_of(back), back.notice) == (row_of(first), "Undone. Here it is again.")
    assert (labels_of(desk), store.skipped()) == ({250: 0}, [251])
    assert desk.undo("ann", back.token).notice == "Not undone: there is nothing to undo."
    again = desk.flag("ann", desk.flag("ann", back.token).token)
    back = desk.undo("ann", again.token)
    assert (back.flagged, back.notice) == (True, "Undone: flagged.")


def test_an_undo_that_was_sent_twice_undoes_once(desk):
    first = desk.next("ann")
    second = desk.label("ann", first.token, 1)
    third = desk.label("ann", second.token, 1)
    desk.undo("ann", third.token)
    assert desk.undo("ann", third.token).notice.startswith("Not undone:")
    assert labels_of(desk) == {row_of(first): 1}


def test_a_decision_can_be_looked_at_again_and_changed(desk):
    first = desk.next("ann")
    second = desk.label("ann", first.token, 0)
    number = desk.session.store.decisions("ann")[0]["number"]
    again = desk.again("ann", number)
    assert (row_of(again), again.label, again.again) == (row_of(first), 0, True)
    after = desk.label("ann", again.token, 1)
    assert (row_of(after), labels_of(desk)) == (row_of(second), {row_of(first): 1})
    assert desk.again("bob", number).notice == "That decision was changed meanwhile."


def test_notes_are_each_annotators_own_and_the_latest_counts(desk):
    screen = desk.next("ann")
    row = row_of(screen)
    assert desk.note("ann", screen.token, " first ") == "Note saved."
    assert desk.note("ann", screen.token, "first") == ""
    assert desk.note("ann", screen.token, "second") == "Note saved."
    desk.session.store.set_note(row, "bob", "x" * 5000)
    assert desk.session.store.notes() == {row: {"ann": "second", "bob": "x" * 2000}}
    assert desk.next("ann").note == "second"
    assert desk.note("ann", screen.token, "  ") == "Note removed."
    assert (desk.next("ann").note, list(desk.session.store.notes()[row])) == ("", ["bob"])
    assert desk.note("ann", "-", "of no text") == ""


def test_a_guess_is_accepted_only_where_there_is_one(desk):
    first = desk.next("ann")
    refused = desk.accept("ann", first.token)
    assert (refused.token, labels_of(desk)) == (first.token, {})
    assert refused.notice.startswith("There is no guess")
    row = row_of(first)
    desk.session.store.finish_round(
        RoundRecord(number=0, through=0, n_labeled=0, time="now", details={}, predictions=b""),
        [QueueItem(row, "asked", {"guess": 1, "probability": 0.9})],
    )
    desk.accept("ann", desk.next("ann").token)
    assert labels_of(desk) == {row: 1}


def test_a_flag_stays_with_the_text_while_it_is_labelled(desk):
    first = desk.next("ann")
    flagged = desk.flag("ann", first.token)
    assert (flagged.flagged, flagged.notice, row_of(flagged)) == (True, "Flagged.", row_of(first))
    assert desk.flag("ann", first.token).notice.startswith("Not flagged:")
    desk.label("ann", flagged.token, 1)
    assert desk.session.store.flags() == {row_of(first): ["ann"]}


@pytest.mark.parametrize("token", ["-", "", "x", "1.2", "1.2.3.4", "99999.0.0", "-1.0.0", "9" * 40 + ".0.0", "1.0.0\n"])
def test_a_forged_token_changes_nothing(desk, token):
    desk.next("ann")
    for screen in (desk.label("ann", token, 0), desk.skip("ann", token), desk.flag("ann", token)):
        assert row_of(screen) >= 0
    desk.undo("ann", token)
    desk.guess(token)
    assert desk.session.store.events() == []


def test_two_annotators_never_have_the_same_text(desk):
    a, b = desk.next("ann"), desk.next("bob")
    seen = []
    for i in range(20):
        assert row_of(a) != row_of(b)
        seen.append(row_of(a if i % 2 else b))
        a, b = (desk.label("ann", a.token, 0), b) if i % 2 else (a, desk.label("bob", b.token, 0))
    assert len(set(seen)) == 20


def test_when_the_queue_is_empty_the_page_says_why_or_draws_more(desk, monkeypatch):
    rows = label_some(desk.session, [0] * 300, 20)
    screen = desk.next("ann")
    assert row_of(screen) not in rows  # drawn at random: there is no training
    for _ in range(4):
        screen = desk.label("ann", screen.token, 0)
    monkeypatch.setattr(desk.trainer, "state", lambda: TrainerState("encoding", "encoding texts: 0 of 9"))
    for _ in range(10):  # the first model may take minutes: labelling goes on
        screen = desk.label("ann", screen.token, 0)
        assert row_of(screen) not in rows
    monkeypatch.setattr(desk.trainer, "state", lambda: TrainerState("training"))
    while desk._leased("ann") and screen.token != "-":
        screen = desk.label("ann", screen.token, 0)
    assert screen.token == "-"
    assert screen.text[0][0].startswith("The model is training on your labels.")
    assert desk.label("ann", screen.token, 0).notice == "There was no text on the screen."


def test_skipped_texts_are_offered_once_more_at_the_end_and_never_called_labelled(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("text\n" + "".join(f"text {i}\n" for i in range(5)))
    desk = Desk(make_session(tmp_path / "a.csv", tmp_path / "a.dami", initial_size=5, query_size=5))
    monkeypatch.setattr(desk.trainer, "start_if_due", lambda exhausted=False: None)
    screen, order = desk.next("ann"), []
    for _ in range(5):
        order.append(row_of(screen))
        screen = desk.skip("ann", screen.token)
    assert screen.notice == "You skipped this text: label it now, or skip it."
    assert row_of(screen) == order[0]
    screen = desk.label("ann", screen.token, 1)
    for row in order[1:]:
        assert row_of(screen) == row
        screen = desk.skip("ann", screen.token)
    assert screen.text[0][0] == "4 texts were skipped, and all others are labelled. Thank you!"
    assert labels_of(desk) == {order[0]: 1}


def test_a_budget_ends_the_labelling(tmp_path, truth):
    desk = Desk(make_session(tmp_path / "texts.csv", tmp_path / "budget.dami", budget=3))
    screen = desk.next("ann")
    for _ in range(3):
        screen = desk.label("ann", screen.token, 0)
    assert (screen.token, screen.text) == ("-", [("All 3 labels of the budget are given. Thank you!", None)])


def test_leases_count_towards_the_budget(tmp_path, truth):
    desk = Desk(make_session(tmp_path / "texts.csv", tmp_path / "budget.dami", budget=2))
    queue = desk.session.store.queue(0)
    a, b, c = (desk.next(name) for name in ("ann", "bob", "cy"))
    assert (c.token, c.text) == ("-", [("The last texts of the budget are with others.", None)])
    assert desk.next("ann").token == a.token
    b = desk.skip("bob", b.token)
    assert row_of(b) not in (row_of(a), *labels_of(desk)), "a skipped text is none of the budget"
    for name, screen in (("ann", a), ("bob", b)):
        assert desk.label(name, screen.token, 0).token == "-"
    assert desk.next("cy").text == [("All 2 labels of the budget are given. Thank you!", None)]
    assert (len(labels_of(desk)), desk.session.store.queue(0)) == (2, queue)


def test_texts_that_lack_a_second_label_are_still_there_when_the_budget_is_spent(tmp_path, truth):
    options = {"budget": 3, "overlap": 2, "overlap_share": 1.0, "validation_share": 0.0}
    desk = Desk(make_session(tmp_path / "texts.csv", tmp_path / "overlap.dami", **options))
    a, b = desk.next("ann"), desk.next("bob")
    for _ in range(2):
        a = desk.label("ann", a.token, 0)
    assert a.text == [("The last texts of the budget are with others.", None)]
    for _ in range(3):
        b = desk.label("bob", b.token, 1)
    assert b.text == [("All 3 labels of the budget are given. Thank you!", None)]
    assert desk.label("ann", desk.next("ann").token, 0).token == "-"
    given = [(row["annotator"], row["row"]) for row in desk.session.store.decisions()]
    assert sorted(given) == [(name, row) for name in ("ann", "bob") for row in sorted(labels_of(desk))]
    assert len(given) == 6


def test_the_guess_is_the_models_and_told_when_asked(desk, truth):
    screen = desk.next("ann")
    assert desk.guess(screen.token) == "There is no guess for this text."
    label_some(desk.session, truth, 12)
    train_round(desk.session)
    desk.session.store.next("bob", 60)
    screen = desk.next("cy")
    item = desk.session.store.shown(row_of(screen), "cy")[1]
    assert (
        desk.guess(screen.token)
        == f"The model's guess: {CLASSES[item.reason['guess']]}, {item.reason['probability']:.0%}"
    )
    everything = repr((screen.text, screen.why, screen.notice))
    assert "guess" not in everything


# What is shown --------------------------------------------------------------------------------------------------


def test_invisible_characters_are_written_out_and_others_stay():
    assert visible("a\x00b\x1b[31m\u202ec\u2066d\u200be") == "a⟨U+0000⟩b⟨U+001B⟩[31m⟨U+202E⟩c⟨U+2066⟩d⟨U+200B⟩e"
    plain = "naïve 好\tשלום\u200f \U0001f469\u200d\U0001f680\nnext"  # noqa: RUF001
    assert visible(plain) == plain
    assert visible("a\r\nb\rc") == "a\nb\nc"


def test_words_are_shaded_by_their_deviation_and_the_largest_is_the_informative_one():
    shades = [[0, 3, 0.0], [4, 8, 0.5], [9, 11, 1.0], [12, 17, 0.25]]
    tokens = shaded("the film is fresh", {"shades": shades})
    assert tokens == [
        *[("the", None), (" ", None), ("film", "2"), (" ", None)],
        *[("is", WORD), (" ", None), ("fresh", "1")],
    ]


def test_equal_deviations_mark_the_first_word_only():
    tokens = shaded("a b", {"shades": [[0, 1, 0.5], [2, 3, 0.5]]})
    assert tokens == [("a", WORD), (" ", None), ("b", None)]


def test_a_text_is_shown_whole_whatever_is_shaded():
    text = "  x, y\u202e <b>z</b>" + "long " * 100_000
    shades = [[2, 3, 0.1], [5, 6, 0.2]]
    assert "".join(token for token, _ in shaded(text, {"shades": shades})) == visible(text)
    assert shaded(text, {}) == [(visible(text), None)]


@pytest.mark.parametrize(
    ("kind", "reason", "sentence"),
    [
        ("start", {}, "One of the first texts, drawn at random: there is no model yet."),
        ("held-out", {"guess": 1}, "Drawn at random to measure the accuracy: the model never trains on it."),
        (
            "asked",
            {"strategy": "dami", "word": "dull", "deviation": 0.3, "cluster_size": 39},
            "The model turns on dull here. This text stands for 38 similar texts.",
        ),
        ("asked", {"strategy": "dami", "word": None, "cluster_size": 1}, "This text is like no other."),
        (
            "asked",
            {"strategy": "dami", "word": "a", "cluster_size": 2},
            "The model turns on a here. This text stands for 1 similar text.",
        ),
        ("asked", {"strategy": "margin", "score": -0.125}, "Asked for by margin, score -0.125."),
        (
            "asked",
            {"strategy": "expected-errors", "score": 0.421, "cluster_size": 4},
            "The model may be wrong here: 42%. This text stands for 3 similar texts.",
        ),
        ("reserve", {"strategy": "random"}, "Drawn at random."),
        (
            "similar",
            {"strategy": "similar", "similarity": 0.834},
            "You asked for texts like another one (similarity 0.83).",
        ),
        (
            "likely",
            {"strategy": "likely", "class": 1, "chance": 0.07},
            "You asked for texts that may be pos; the model says 7%.",
        ),
    ],
)
def test_the_reason_is_a_sentence(kind, reason, sentence):
    assert "".join(text for text, _ in why(QueueItem(1, kind, reason), CLASSES)) == sentence


def test_the_reason_says_how_many_texts_of_a_batch_are_left():
    item = QueueItem(1, "similar", {"similarity": 0.5})
    assert why(item, CLASSES, 1)[0][0].endswith("(similarity 0.50). 1 more comes after it.")
    assert why(item, CLASSES, 12)[0][0].endswith("(similarity 0.50). 12 more come after it.")


def test_a_long_text_has_a_beginning_of_one_line():
    assert one_line("a\n b\t\tc") == "a b c"
    long = one_line("word " * 100)
    assert (len(long) <= 70, long[-1]) == (True, "…")


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def progress(**changes):
    facts = {
        **{"n_texts": 4000, "n_labeled": 60, "n_skipped": 0, "n_flagged": 0, "by_class": {"neg": 20, "pos": 40}},
        **{"by_annotator": {"ann": 60}, "rounds": 3, "n_since_round": 5, "query_size": 20},
        **{"curve": [(20, 0.5), (40, 0.75), (60, 0.8)], "accuracy": Proportion(0.8, 0.62, 0.9, 25)},
        "gain": Gain(100, 0.031, 0.004, 0.06),
    }
    return Progress(**facts | changes)


def panel_text(*arguments):
    parser = Tags()
    parser.feed(panel_html(*arguments))
    return parser.text, parser.tags


def test_the_panel_has_the_numbers():
    text, _ = panel_text(progress(), TrainerState("idle"))
    for part in (
        "60 of 4,000",
        "5 of 20",
        "80%",
        "62% to 90% on 25 held-out texts",
        "3.1",
        "0.4 to 6.0",
        "3 models so far",
    ):
        assert part in text
    said = TrainerState("encoding", "encoding texts: 200 of 1,000, about 70 s left")
    assert "Encoding texts: 200 of 1,000, about 70 s left." in panel_text(progress(), said)[0]
    assert "The last training failed: no room" in panel_text(progress(), TrainerState("failed", "no room"))[0]
    assert "of 100 in the budget" in panel_text(progress(), TrainerState("idle"), 100)[0]


def test_names_of_classes_and_messages_are_no_html_in_the_panel():
    hostile = "<img src=x onerror=alert(1)> {{this}} ${value}"
    classes = {hostile: 60, f"no {hostile}": 0}
    text, tags = panel_text(progress(by_class=classes), TrainerState("failed", hostile))
    assert (text.count(hostile), "img" in tags) == (4, False)
    assert not re.search(
        "[{}$]", panel_html(progress(by_class=classes), TrainerState("idle"))
    )  # gradio reads templates


def test_the_panel_has_each_classs_recall_and_warns_of_classes_without_a_label():
    recall = {"neg": Proportion.of(3, 4)}
    text, _ = panel_text(progress(recall=recall), TrainerState("idle"))
    assert "negfinds 3 of 420pos40" in text
    assert "No label yet" not in text
    classes = {"neg": 1, **{f"class {i}": 0 for i in range(8)}}
    text, _ = panel_text(progress(by_class=classes), TrainerState("idle"))
    assert "No label yet: class 0, class 1, class 2, class 3, class 4 and 3 others" in text
    assert (
        "No label yet"
        not in panel_text(progress(by_class=dict.fromkeys(classes, 0), n_labeled=0), TrainerState("idle"))[0]
    )


def test_the_curve_goes_through_its_points():
    points = re.search(r'points="([^"]*)"', curve_svg([(20, 0.5), (40, 1.0), (60, 0.75)], width=100, height=100))[1]
    xy = [tuple(map(float, point.split(","))) for point in points.split()]
    assert [x for x, _ in xy] == pytest.approx([34, 63, 92])
    assert xy[1][1] < xy[2][1] < xy[0][1]
    assert xy[2][1] == pytest.approx((xy[0][1] + xy[1][1]) / 2, abs=0.1)
    assert curve_svg([(20, 0.5)]) == ""


@pytest.mark.parametrize("state", [["x"], 5, None, {"path": "/etc/passwd"}, "<span>", True])
def test_a_state_that_is_no_screens_is_none(desk, state):
    page = pytest.importorskip("dami_text.labeling.page.handlers", reason="needs gradio", exc_type=ImportError)
    on = page.Handlers(desk, "me")
    request = SimpleNamespace(username="ann")
    screens = [
        on.label(0)(state, request),
        on.skip(state, request),
        on.undo(state, request),
        on.back(state, request),
        on.similar(state, request),
        on.again(state, request),
        on.correct(state, request),
        on.choose(state, state, request),
        on.likely(state, request),
    ]
    assert all("data-token" in screen[0] for screen in screens[:6])
    assert all(value == on.choose("", "", request)[0] for screen in screens[6:] for value in screen)  # nothing changes
    assert "No text to show" in on.table(state, request)
    assert on.guess(state) == [("There is no guess for this text.", None)]
    assert desk.session.store.events() == []


# Accounts -------------------------------------------------------------------------------------------------------


def test_passwords_are_kept_as_salted_hashes(tmp_path):
    store = Store(tmp_path / "labels.sqlite", create=True)
    file = tmp_path / "passwords"
    file.write_text("ann:correct horse\nbob:a:b\n")
    set_passwords(store, read_passwords(str(file), ["ann", "bob"]))
    assert [password_fits(store, *pair) for pair in [("ann", "correct horse"), ("bob", "a:b")]] == [True, True]
    wrong = [("ann", "wrong"), ("bob", "a"), ("cy", ""), ("cy", "x"), ("ann", "")]
    assert [password_fits(store, *pair) for pair in wrong] == [False] * 5
    assert b"correct horse" not in (tmp_path / "labels.sqlite").read_bytes()
    assert hash_password("x") != hash_password("x")


def test_spaces_and_a_byte_order_mark_are_no_part_of_a_password(tmp_path):
    (tmp_path / "passwords").write_bytes(b"\xef\xbb\xbfann: correct horse \r\n bob :b\r\n")
    assert read_passwords(str(tmp_path / "passwords"), ["ann", "bob"]) == {"ann": "correct horse", "bob": "b"}


def test_only_those_without_a_password_are_asked_for_one(tmp_path):
    store = Store(tmp_path / "labels.sqlite", create=True)
    asked = []
    for name, annotators in (("one", ["ann"]), ("two", ["ann", "bob"])):
        set_passwords(store, ask_for_passwords(store, annotators, lambda prompt: asked.append(prompt) or name))  # noqa: B023
    assert asked == ["Password for ann: ", "Password for bob: "]
    assert (password_fits(store, "ann", "one"), password_fits(store, "bob", "two")) == (True, True)
    with pytest.raises(ConfigError, match="the password of cy is empty"):
        ask_for_passwords(store, ["cy"], lambda prompt: "")


@pytest.mark.parametrize("content", ["ann:x\n", "ann:x\nbob:\n", ""])
def test_missing_passwords_are_an_error(tmp_path, content):
    (tmp_path / "passwords").write_text(content)
    with pytest.raises(ConfigError, match=r"lacks (ann, )?bob; wanted a line NAME:PASSWORD for each"):
        read_passwords(str(tmp_path / "passwords"), ["ann", "bob"])


# The guard ------------------------------------------------------------------------------------------------------


def answer(path="/", headers=None, kind="http", method="GET"):
    """The status and the headers that the guard, or an app behind it that answers 200, gives a request."""
    messages = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"the app"})

    async def send(message):
        messages.append(message)

    pairs = {"host": "127.0.0.1:7860"} | (headers or {})
    scope = {
        "type": kind,
        "path": path,
        "method": method,
        "headers": [(k.encode(), v.encode()) for k, v in pairs.items() if v is not None],
    }
    asyncio.run(Guard(app, 7860)(scope, None, send))
    start = messages[0]
    return start.get("status", start["type"]), dict(start.get("headers", []))


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860"])
def test_this_machine_is_served_with_a_policy_against_everything_from_elsewhere(host):
    status, headers = answer(headers={"host": host})
    assert status == 200
    policy = headers[b"content-security-policy"].decode()
    assert "default-src 'self'" in policy
    assert "http" not in policy.replace("https:", "http:").replace("'self'", "")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1", "127.0.0.1:1", "127.0.0.1:7860.evil.example", "", None]
)
def test_other_hosts_get_400(host):
    status, headers = answer(headers={"host": host})
    assert (status, headers[b"content-type"]) == (400, b"text/plain")


def test_a_tunnel_from_another_port_is_told_the_remedy():
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": "/", "method": "GET", "headers": [(b"host", b"localhost:9000")]}
    asyncio.run(Guard(None, 7860)(scope, None, send))
    assert b"open http://127.0.0.1:7860/. Where a tunnel leads here (ssh -L), give it" in sent[1]["body"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://localhost:1"},
    ],
)
def test_requests_that_another_page_makes_get_403(headers):
    assert answer("/gradio_api/run/label_1", headers)[0] == 403
    assert answer("/", headers)[0] == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_link_from_another_page_opens_this_one_and_does_nothing_else(site):
    visit = {"sec-fetch-site": site, "sec-fetch-mode": "navigate"}
    assert answer("/", visit)[0] == 200
    assert answer("/", visit, method="POST")[0] == 403
    assert answer("/", visit | {"origin": "http://evil.example"})[0] == 403
    assert answer("/", visit | {"sec-fetch-mode": "no-cors"})[0] == 403
    assert answer("/gradio_api/run/label_1", visit)[0] == 403
    assert answer("/logout", visit)[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/gradio_api/file=/etc/passwd",
            "/file=/etc/passwd",
            "/gradio_api/upload",
            "/upload",
            "/gradio_api/proxy=http://x",
        ),
        *("/monitoring", "/gradio_api/stream/1/2/3/playlist.m3u8", "/gradio_api/vibe-edit/", "/custom_component/x"),
        *("/gradio_api/openapi.json", "/gradio_api/call/next", "/gradio_api/component_server", "/docs"),
    ],
)
def test_what_reads_files_or_takes_uploads_is_closed(path):
    assert answer(path)[0] == 404


def test_the_pages_own_paths_are_open_and_websockets_are_not():
    assert {answer(path)[0] for path in (*OPEN_PATHS, "/assets/index.js", "/gradio_api/run/label_1")} == {200}
    assert answer(kind="websocket")[0] == "websocket.close"


def test_a_port_that_is_taken_is_left_alone():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) > port


def served_at(headers, path="/", **options):
    """The status of a request, and the path that the app behind the guard sees."""
    statuses, paths = [], []

    async def app(scope, receive, send):
        paths.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        statuses.append(message.get("status"))

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "path": path, "method": "GET", "headers": pairs}
    asyncio.run(Guard(app, 7860, **options)(scope, None, send))
    return statuses[0], *paths


@pytest.mark.parametrize("host", ["192.168.1.5:7860", "localhost:8080", "[fe80::1]:7860", "this machine:7860"])
def test_other_machines_may_use_numbers_and_this_machines_name(host):
    host = host.replace("this machine", socket.gethostname())
    assert served_at({"host": host}, host="0.0.0.0") == (200, "/")
    assert served_at({"host": host, "origin": f"http://{host}"}, host="0.0.0.0") == (200, "/")
    assert served_at({"host": host, "origin": "http://evil.example"}, host="0.0.0.0") == (403,)
    assert served_at({"host": host, "origin": "http://10.0.0.9:7860"}, host="0.0.0.0") == (403,)
    assert served_at({"host": host}) == (400,), "by default nobody else is served"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "192.168.1.5.evil.example", "", "1.2.3:7860x"])
def test_a_name_that_is_not_this_machines_is_refused_on_a_server_too(host):
    assert served_at({"host": host}, host="0.0.0.0") == (400,)


def test_a_proxys_address_is_served_and_its_folder_taken_away():
    at = {"public_url": "https://lab.example/labels"}
    for path, seen in (("/config", "/config"), ("/labels/config", "/config"), ("/labels", "/"), ("/labels/", "/")):
        assert served_at({"host": "lab.example", "origin": "https://lab.example"}, path, **at) == (200, seen)
        assert served_at({"host": "127.0.0.1:7860", "origin": "https://lab.example"}, path, **at) == (200, seen)
    assert served_at({"host": "lab.example"}, "/labelsconfig", **at) == (404,)
    assert served_at({"host": "lab.example"}, "/labels/gradio_api/file=/etc/passwd", **at) == (404,)
    assert served_at({"host": "other.example"}, **at) == (400,)
    assert served_at({"host": "lab.example", "origin": "http://lab.example"}, **at) == (403,), "another scheme"
    assert served_at({"host": "192.168.1.5:7860"}, **at) == (400,), "this machine listens to itself alone"


# Guessing passwords -------------------------------------------------------------------------------------------------


def test_after_five_wrong_passwords_a_name_waits_longer_each_time_and_others_do_not(caplog):
    now = [0.0]
    attempts = Attempts(lambda: now[0])
    for _ in range(5):
        assert not attempts.must_wait("ann")
        attempts.was_wrong("ann")
    assert attempts.must_wait("ann")
    assert not attempts.must_wait("bob")
    waits = []
    for _ in range(9):
        start = now[0]
        while attempts.must_wait("ann"):
            now[0] += 0.5
        waits.append(now[0] - start)
        attempts.was_wrong("ann")
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert len(caplog.records) == 1
    assert "5 wrong passwords in a row for 'ann'" in caplog.text
    attempts.was_right("ann")
    assert not attempts.must_wait("ann")


def test_what_is_remembered_of_guesses_is_bounded():
    attempts = Attempts(lambda: 0.0)
    for number in range(Attempts.MOST + 50):
        attempts.was_wrong(str(number))
    assert len(attempts._wrong) == Attempts.MOST


def login(guard, status, client="10.0.0.1", **headers):
    """The status and the cookies that a login gets which the app answers with `status`."""
    sent = []

    async def app(scope, receive, send):
        cookies = [
            (b"set-cookie", b"a=1; HttpOnly; Path=/; SameSite=lax"),
            (b"set-cookie", b"b=2; SameSite=none; Secure"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": cookies})

    async def send(message):
        sent.append(message)

    guard.app = app
    pairs = [
        (b"host", b"127.0.0.1:7860"),
        *((name.replace("_", "-").encode(), v.encode()) for name, v in headers.items()),
    ]
    scope = {"type": "http", "path": "/login", "method": "POST", "headers": pairs, "client": (client, 1)}
    asyncio.run(guard(scope, None, send))
    return sent[0]["status"], [value for name, value in sent[0]["headers"] if name == b"set-cookie"]


def test_an_address_that_guesses_waits_and_others_do_not():
    guard = Guard(None, 7860)
    assert [login(guard, 400)[0] for _ in range(6)] == [400] * 5 + [429]
    assert login(guard, 200, "10.0.0.2")[0] == 200
    assert login(guard, 200)[0] == 429


def test_behind_a_proxy_the_address_is_the_one_that_the_proxy_names():
    guard = Guard(None, 7860, public_url="https://lab.example/labels")
    for _ in range(5):
        login(guard, 400, x_forwarded_for="1.1.1.1, 10.9.9.9")
    assert login(guard, 200, x_forwarded_for="10.9.9.9")[0] == 429
    assert login(guard, 200, x_forwarded_for="10.8.8.8")[0] == 200
    without = Guard(None, 7860)
    for number in range(5):
        login(without, 400, x_forwarded_for=f"10.9.9.{number}")
    assert login(without, 200, x_forwarded_for="10.7.7.7")[0] == 429, "without a proxy nobody is believed"


def test_cookies_are_for_this_page_alone_and_for_tls_where_it_is_there():
    assert login(Guard(None, 7860), 200)[1] == [
        b"a=1; HttpOnly; Path=/; SameSite=Strict",
        b"b=2; Secure; SameSite=Strict",
    ]
    public = Guard(None, 7860, public_url="https://lab.example")
    assert login(public, 200)[1] == [
        b"a=1; HttpOnly; Path=/; SameSite=Strict; Secure",
        b"b=2; Secure; SameSite=Strict",
    ]
