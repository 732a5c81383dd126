"""The table of all labels: what is found in it, how it is shown, and what a correction of a label does."""

import json
from html.parser import HTMLParser

import pytest
from labeling_cases import CLASSES, make_session, texts_without_labels

from dami_text.labeling.exchange.events import read, write_events
from dami_text.labeling.exchange.matching import import_decisions
from dami_text.labeling.page.desk import Desk
from dami_text.labeling.page.table import Find, table, table_html
from dami_text.labeling.progress import agreements
from dami_text.labeling.store.events import Refused, Shown

FILE = "file"


@pytest.fixture
def desk(tmp_path, reviews, monkeypatch):
    texts_without_labels(reviews, tmp_path)
    desk = Desk(make_session(tmp_path / "texts.csv", tmp_path / "reviews.dami", validation_share=0.0))
    monkeypatch.setattr(desk.trainer, "start_if_due", lambda exhausted=False: None)
    return desk


def labels_of(desk):
    return {row["row"]: row["label"] for row in desk.session.store.labels()}


def found(desk, annotator="ann", **find):
    return [line.row for line in table(desk.session, annotator, Find(**find)).lines]


def version(desk, row):
    (line,) = [line for line in table(desk.session, "ann", Find()).lines if line.row == row]
    return line.version


def row_of(screen):
    return int(screen.token.partition(".")[0])


# What is found ---------------------------------------------------------------------------------------------------


def test_all_labels_are_there_a_page_at_a_time_the_latest_first(desk):
    desk.session.store.add_labels([(row, 1, FILE) for row in range(200, 233)])
    screen, rows = desk.next("ann"), []
    for _ in range(10):
        rows.insert(0, row_of(screen))
        screen = desk.label("ann", screen.token, 0)
    pages = [table(desk.session, "ann", Find(page=page)) for page in range(3)]
    assert [page.place for page in pages] == ["1 to 20 of 43", "21 to 40 of 43", "41 to 43 of 43"]
    assert [line.row for page in pages for line in page.lines] == [*rows, *range(232, 199, -1)]
    assert table(desk.session, "ann", Find(page=99)) == pages[2]
    assert pages[0].names == ["ann", FILE]
    assert [line.text for line in pages[0].lines] == [desk.session.text(line.row) for line in pages[0].lines]
    own = {line.row for page in pages for line in page.lines if line.own}
    assert own == set(rows)
    assert not any(line.own for line in table(desk.session, "bob", Find()).lines)


def test_the_table_is_searched_and_filtered(desk):
    store = desk.session.store
    screens = [desk.next("ann")]
    desk.note("ann", screens[0].token, "unclear IRONY")
    for label in (0, 1):
        screens.append(desk.label("ann", screens[-1].token, label))
    desk.flag("ann", screens[-1].token)
    desk.skip("ann", desk.next("ann").token)
    rows = [row_of(screen) for screen in screens]
    store.add_labels([(rows[0], 1, "bob"), (250, 0, "bob")])
    everything = [250, rows[0], rows[2], rows[1]]  # by the latest decision of anybody
    assert found(desk) == everything
    assert (found(desk, kind="0"), found(desk, kind="1")) == ([250, rows[0]], [rows[1]])
    assert (found(desk, kind="skipped"), found(desk, kind="flagged")) == ([rows[2]], [rows[2]])
    assert (found(desk, kind="noted"), found(desk, kind="disputed")) == ([rows[0]], [rows[0]])
    assert (found(desk, who="bob"), found(desk, who="ann")) == ([250, rows[0]], [rows[0], rows[2], rows[1]])
    texts = {row: desk.session.text(row) for row in everything}
    for words in {word for text in texts.values() for word in text.split()}:
        assert found(desk, words=words.upper()) == [row for row in everything if words in texts[row]]
    assert (found(desk, words="irony"), found(desk, words="irony", kind="1")) == ([rows[0]], [])


@pytest.mark.parametrize(
    "asked", [None, 5, [], "x", {"page": -1}, {"page": True}, {"page": 1e99, "who": None, "words": {}}]
)
def test_what_a_request_looks_for_may_be_anything(desk, asked):
    find = Find.of(asked)
    assert (find.page, len(table(desk.session, "ann", find).lines)) == (0, 0)


# How it is shown -------------------------------------------------------------------------------------------------


class Rows(HTMLParser):
    """The tags, the text of all cells, and the attributes of rows."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.selected, self.notice = [], "", [], None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.notice = dict(attrs).get("data-notice", self.notice)
        if tag == "option" and "selected" in dict(attrs):
            self.selected.append(dict(attrs)["value"])

    def handle_data(self, data):
        self.text += data


def test_texts_notes_and_names_are_shown_as_they_are(tmp_path):
    hostile = "<img src=x onerror=alert(1)> {{constructor}} ${value} `x` @children \\u0041"
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in (hostile, "x " * 5000 + hostile, "plain")))
    session = make_session(file, tmp_path / "s.dami", labels=[hostile, "other"])
    session.store.add_labels([(0, 0, hostile), (1, None, "ann"), (0, 1, "bob")])
    session.store.set_note(0, hostile, hostile)
    html = table_html(table(session, "ann", Find()), session.class_names, hostile)
    rows = Rows(html)
    assert "img" not in rows.tags
    assert not any(mark in html for mark in ("{", "}", "$", "`", "\\", "@"))
    # the text, who gave the note and the note, who gave the label; the name of the class in both lists
    assert rows.text.count(hostile) == 6
    assert rows.notice == hostile
    assert rows.selected == ["0", ""]  # the first label counts; a text that was skipped has none
    assert "bob: other" in rows.text
    assert rows.text.count("x ") < 3000  # a long text is cut
    assert rows.text.count("skipped") == 1


# Corrections -----------------------------------------------------------------------------------------------------


def test_a_correction_of_a_files_label_counts_and_both_are_kept(desk):
    store = desk.session.store
    store.add_labels([(250, 0, FILE)])
    assert desk.correct("ann", 250, version(desk, 250), 1) == "Changed to pos."
    assert labels_of(desk) == {250: 1}
    assert [(row["annotator"], row["action"], row["label"], row["review"]) for row in store.events()] == [
        (FILE, "label", 0, 0),
        ("ann", "label", 1, 1),
    ]
    assert desk.correct("ann", 250, version(desk, 250), 1) == "It is pos already."
    assert desk.correct("bob", 250, version(desk, 250), 0) == "Changed to neg."  # the latest correction counts
    assert labels_of(desk) == {250: 0}
    assert len(store.events()) == 3


def test_a_correction_is_undone_like_any_label(desk):
    store = desk.session.store
    store.add_labels([(250, 0, FILE)])
    desk.correct("ann", 250, version(desk, 250), 1)
    screen = desk.undo("ann", desk.next("ann").token)
    assert (labels_of(desk), screen.notice) == ({250: 0}, "Undone.")


def test_a_correction_of_what_one_has_labelled_alone_is_a_relabelling(desk):
    screen = desk.next("ann")
    row = row_of(screen)
    desk.label("ann", screen.token, 0)
    assert desk.correct("ann", row, version(desk, row), 1) == "Changed to pos."
    last = desk.session.store.events()[-1]
    assert (last["action"], last["review"], labels_of(desk)) == ("relabel", 0, {row: 1})


def test_what_was_changed_since_it_was_shown_is_not_corrected(desk):
    store = desk.session.store
    store.add_labels([(250, 0, FILE)])
    seen = version(desk, 250)
    store.add_labels([(250, 1, "bob")])
    assert desk.correct("ann", 250, seen, 1).startswith("Not changed: somebody has changed")
    assert desk.correct("ann", 251, 0, 1).startswith("Not changed:")  # nobody has labelled it
    assert desk.correct("ann", 10**6, 1, 1) == "There is no such text."
    with pytest.raises(Refused):
        store.correct(Shown(250, seen), "ann", 1)
    assert len(store.events()) == 2


def test_a_correction_stands_before_votes_and_is_nobodys_independent_label(tmp_path, reviews, monkeypatch):
    file, _ = texts_without_labels(reviews, tmp_path, n=30)
    shared = {"overlap": 2, "overlap_share": 1.0, "validation_share": 0.0, "initial_size": 30}
    desk = Desk(make_session(file, tmp_path / "reviews.dami", **shared))
    monkeypatch.setattr(desk.trainer, "start_if_due", lambda exhausted=False: None)
    store = desk.session.store
    screen = desk.next("ann")
    row = row_of(screen)
    desk.label("ann", screen.token, 0)
    desk.correct("cy", row, version(desk, row), 1)
    assert labels_of(desk) == {row: 1}
    screen = desk.next("bob")
    assert row_of(screen) == row  # it still lacks a second annotator, who has not seen the first one's label
    desk.label("bob", screen.token, 0)
    assert labels_of(desk) == {row: 1}  # two votes to one, and the correction counts
    (agreement,) = agreements(desk.session)
    assert (agreement.first, agreement.second, agreement.n) == ("ann", "bob", 1)
    again = desk.again("cy", store.decisions("cy")[0]["number"])
    desk.label("cy", again.token, 0)
    desk.correct("cy", row, version(desk, row), 1)
    again = desk.again("cy", store.decisions("cy")[0]["number"])
    assert labels_of(desk) == {row: 1}
    desk.label("cy", again.token, 0)  # changed on the screen: still a correction
    assert store.decisions("cy")[0]["review"] == 1
    assert CLASSES[labels_of(desk)[row]] == "neg"


def test_a_correction_is_one_in_another_session_that_imports_the_events(desk, tmp_path):
    desk.session.store.add_labels([(250, 0, FILE), (251, 0, FILE)])
    desk.correct("ann", 250, version(desk, 250), 1)
    content, _ = write_events(desk.session)
    other = make_session(tmp_path / "texts.csv", tmp_path / "other.dami", validation_share=0.0)
    other.store.add_labels([(250, 0, FILE), (251, 0, FILE)])
    import_decisions(other, list(read(content, CLASSES)))
    assert {row["row"]: row["label"] for row in other.store.labels()} == {250: 1, 251: 0}
