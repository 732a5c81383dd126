"""All texts that have been decided on, in a table: searched, filtered, a page at a time, with labels to correct."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dami_text.escaping import to_json
from dami_text.labeling.labels import Label, numbers_of
from dami_text.labeling.page.view import html_text, label_text, one_line
from dami_text.labeling.session import Session

PAGE = 20  # texts on a page
SHORT, LONG = 160, 4000  # characters of a text that are shown, and those that are shown when it is opened
LONGEST_WORDS = 200

#: Filters besides the classes, by what the page calls them.
FILTERS = {
    "all": "All",
    "skipped": "Skipped",
    "flagged": "Flagged",
    "noted": "With a note",
    "disputed": "With different labels",
}

#: One more where a text has any number of labels.
WITHOUT_LABEL = {"none": "None of the labels"}


@dataclass(frozen=True)
class Find:
    """What to look for in the table.

    Attributes:
        words: what the text or a note on it holds, upper and lower case alike; empty for everything.
        kind: a key of FILTERS or WITHOUT_LABEL, or the place of a class as text, such as "0".
        who: the annotator who decided; empty for all.
        page: from 0, the page with the latest decisions.
    """

    words: str = ""
    kind: str = "all"
    who: str = ""
    page: int = 0

    @classmethod
    def of(cls, asked: Any) -> "Find":
        """What a request looks for; it may hold anything."""
        given = asked if isinstance(asked, dict) else {}
        words, kind, who = (str(given.get(name, "")) for name in ("words", "kind", "who"))
        page = given.get("page")
        page = page if type(page) is int and 0 <= page < 10**9 else 0
        return cls(words[:LONGEST_WORDS], kind or "all", who, page)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A text in the table.

    Attributes:
        row, text: of the pool.
        version: the latest decision on it.
        label: the label that counts; None where everybody skipped it.
        given: what each annotator decided, a label or None for a skip.
        notes: by annotator.
        flagged, held_out: whether it is.
        own: the decision of the annotator who looks at the table; 0 without one.
    """

    row: int
    text: str
    version: int
    label: Label | None
    given: dict[str, Label | None]
    notes: dict[str, str]
    flagged: bool
    held_out: bool
    own: int


@dataclass(frozen=True)
class TablePage:
    """A page of the table, the latest decisions first, which of how many texts these are, and all annotators."""

    lines: list[Line]
    page: int
    total: int
    names: list[str]

    @property
    def place(self) -> str:
        """Which texts the page holds, in words."""
        if not self.total:
            return "No text to show."
        first = self.page * PAGE
        return f"{first + 1:,} to {first + len(self.lines):,} of {self.total:,}"


def table(session: Session, annotator: str, find: Find) -> TablePage:
    """The page of the table that `find` asks for, as an annotator sees it; the last where it asks for a later one."""
    store = session.store
    with store.snapshot():
        labels = {row["row"]: row["label"] for row in store.labels()}
        decisions, flags, notes = store.decisions(), store.flags(), store.notes()
    given: dict[int, dict[str, Label | None]] = {}
    versions: dict[int, int] = {}
    own: dict[int, int] = {}
    for decision in decisions:  # the latest first
        row, name = decision["row"], decision["annotator"]
        given.setdefault(row, {})[name] = decision["label"]
        versions.setdefault(row, decision["number"])
        if name == annotator:
            own[row] = decision["number"]

    def fits(row: int) -> bool:
        if find.who and find.who not in given[row]:
            return False
        if find.kind == "disputed":
            return len({label for label in given[row].values() if label is not None}) > 1
        own_filters = {"all": True, "skipped": row not in labels, "flagged": row in flags, "noted": row in notes}
        if find.kind in own_filters:
            return own_filters[find.kind]
        label = labels.get(row)
        if find.kind == "none":
            return label == ()
        return label is not None and find.kind in map(str, numbers_of(label))

    rows = [row for row in given if fits(row)]
    if words := find.words.strip().casefold():
        texts = session.texts[rows]["text"] if rows else []
        rows = [
            row
            for row, text in zip(rows, texts, strict=True)
            if words in text.casefold() or any(words in note.casefold() for note in notes.get(row, {}).values())
        ]
    page = min(find.page, max(0, (len(rows) - 1) // PAGE))
    held_out = set(session.held_out.tolist())
    lines = [
        Line(
            row=row,
            text=session.text(row),
            version=versions[row],
            label=labels.get(row),
            given=given[row],
            notes=notes.get(row, {}),
            flagged=row in flags,
            held_out=row in held_out,
            own=own.get(row, 0),
        )
        for row in rows[page * PAGE : (page + 1) * PAGE]
    ]
    return TablePage(lines, page, len(rows), sorted({name for by_name in given.values() for name in by_name}))


def table_html(page: TablePage, class_names: Sequence[str], notice: str = "", *, multilabel: bool = False) -> str:
    """The page as HTML; texts, notes and names are escaped.

    table.js reads the attributes: of the table a number of its own, which page of how many it is, who the annotators
    are and what became of a correction; of each row which text it is, and its version.
    """
    values = {
        "n": time.time_ns(),
        "page": page.page,
        "last": max(0, (page.total - 1) // PAGE),
        "place": page.place,
        "names": to_json(page.names),
        "notice": notice,
    }
    attributes = " ".join(f'data-{name}="{html_text(str(value))}"' for name, value in values.items())
    header = "".join(f'<th role="columnheader">{name}</th>' for name in ("Text", "Label", "Given by"))
    lines = "".join(_line_html(line, class_names, multilabel) for line in page.lines)
    # Roles are written out, since a narrow window shows the rows as blocks, which would take them away.
    return (
        f'<table role="table" {attributes}><thead role="rowgroup"><tr role="row">{header}</tr></thead>'
        f'<tbody role="rowgroup">{lines}</tbody></table>'
    )


def _line_html(line: Line, class_names: Sequence[str], multilabel: bool) -> str:
    short = one_line(line.text, SHORT)
    shown = html_text(short)
    if short.endswith("…"):
        rest = html_text(line.text[:LONG]) + "…" * (len(line.text) > LONG)
        shown = f"<details><summary>{shown}</summary><div>{rest}</div></details>"
    marks = ["<mark>flagged</mark>"] * line.flagged + ["<mark>held out</mark>"] * line.held_out
    notes = [f"<div>{html_text(name)}: {html_text(one_line(note, 200))}</div>" for name, note in line.notes.items()]
    given = "".join(
        f"<div>{html_text(name)}{_decided(label, line, class_names)}</div>" for name, label in line.given.items()
    )
    open_ = f'<button type="button" class="open" data-number="{line.own}">Open</button>' if line.own else ""
    return (
        f'<tr role="row" data-row="{line.row}" data-version="{line.version}">'
        f'<td role="cell" class="cell-text"><div class="shown" dir="auto">{shown}</div>'
        f'<div class="small">{" ".join(marks)}{"".join(notes)}</div></td>'
        f'<td role="cell">{(_checkboxes if multilabel else _select)(line, class_names)}</td>'
        f'<td role="cell" class="given">{given}{open_}</td></tr>'
    )


def _select(line: Line, class_names: Sequence[str]) -> str:
    """What shows the label of a text, and changes it."""
    options = [f'<option value="{i}"{" selected" * (i == line.label)}>' for i in range(len(class_names))]
    options = [option + html_text(name) + "</option>" for option, name in zip(options, class_names, strict=True)]
    if line.label is None:
        options.insert(0, '<option value="" selected>skipped</option>')
    return (
        f'<select aria-label="Label of: {html_text(one_line(line.text, 60))}">{"".join(options)}</select>'
        '<button type="button" class="save" hidden>Save</button>'
    )


def _checkboxes(line: Line, class_names: Sequence[str]) -> str:
    """What shows any number of labels of a text, and changes them once it is opened."""
    chosen = () if line.label is None else numbers_of(line.label)
    boxes = "".join(
        f'<label><input type="checkbox" value="{i}"{" checked" * (i in chosen)}>{html_text(name)}</label>'
        for i, name in enumerate(class_names)
    )
    shown = "skipped" if line.label is None else html_text(label_text(line.label, class_names))
    return (
        f'<details class="labels"{" data-skipped" * (line.label is None)}><summary>{shown}</summary>'
        f'<div role="group" aria-label="Labels of: {html_text(one_line(line.text, 60))}">{boxes}</div>'
        '<button type="button" class="save" hidden>Save</button></details>'
    )


def _decided(label: Label | None, line: Line, class_names: Sequence[str]) -> str:
    """What an annotator decided, where that is not the label that counts anyway."""
    if label == line.label:
        return ""
    return ": skipped" if label is None else f": {html_text(label_text(label, class_names))}"
