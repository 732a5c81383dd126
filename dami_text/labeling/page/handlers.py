"""What the page's events do: values of components in, values of components out. A request may hold anything."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import gradio as gr

from dami_text.labeling.labels import Label, numbers_of
from dami_text.labeling.page.desk import NOTHING, Desk, Screen
from dami_text.labeling.page.table import Find, table, table_html
from dami_text.labeling.page.view import html_text

SCREEN_PARTS = 5  # components that a screen fills


class Handlers:
    """The events' handlers, around the desk's methods."""

    def __init__(self, desk: Desk, me: str) -> None:
        self._desk, self._me = desk, me

    def annotator(self, request: gr.Request) -> str:
        """Who sends the request: who logged in, or the one who started the page."""
        return str(request.username or self._me)

    def first(self, request: gr.Request) -> list[Any]:
        """The screen at the start."""
        return _screen(self._desk.first(self.annotator(request)))

    def review(self, before: str, request: gr.Request) -> list[Any]:
        """Begin a second look at labels, or end it."""
        return _screen(self._desk.review(self.annotator(request), _token(before)))

    def confirm(self, before: str, request: gr.Request) -> list[Any]:
        """Confirm a label in a second look."""
        return _screen(self._desk.confirm(self.annotator(request), _token(before)))

    def back(self, before: str, request: gr.Request) -> list[Any]:
        """The screen on the way back to the queue."""
        return _screen(self._desk.back(self.annotator(request), _token(before)))

    def label(self, label: int) -> Callable[..., list[Any]]:
        """The handler of a label's button."""

        def handler(before: str, request: gr.Request) -> list[Any]:
            return _screen(self._desk.label(self.annotator(request), _token(before), label))

        return handler

    def choose(self, before: str, asked: str, request: gr.Request) -> list[Any]:
        """The list of labels, where there are too many for buttons; or any number of labels."""
        label = self._label(_asked(asked))
        if label is None:
            return [gr.skip()] * SCREEN_PARTS
        return _screen(self._desk.label(self.annotator(request), _token(before), label))

    def skip(self, before: str, request: gr.Request) -> list[Any]:
        """Skip."""
        return _screen(self._desk.skip(self.annotator(request), _token(before)))

    def undo(self, before: str, request: gr.Request) -> list[Any]:
        """Undo."""
        return _screen(self._desk.undo(self.annotator(request), _token(before)))

    def flag(self, before: str, request: gr.Request) -> list[Any]:
        """Flag, or take the flag away."""
        return _screen(self._desk.flag(self.annotator(request), _token(before)))

    def guess(self, before: str) -> list[tuple[str, None]]:
        """The model's guess."""
        return [(self._desk.guess(_token(before)), None)]

    def suggestion(self, before: str) -> list[tuple[str, None]]:
        """The suggestion that the text came with."""
        return [(self._desk.suggestion(_token(before)), None)]

    def accept(self, before: str, request: gr.Request) -> list[Any]:
        """Label the text with the model's guess."""
        return _screen(self._desk.accept(self.annotator(request), _token(before)))

    def similar(self, before: str, request: gr.Request) -> list[Any]:
        """Ask for texts like the one on the screen."""
        return _screen(self._desk.similar(self.annotator(request), _token(before)))

    def likely(self, asked: str, request: gr.Request) -> list[Any]:
        """Ask for texts that the model takes for a class."""
        label = self._class(_asked(asked))
        if label is None:
            return [gr.skip()] * SCREEN_PARTS
        return _screen(self._desk.likely(self.annotator(request), label))

    def note(self, before: str, text: str, request: gr.Request) -> str:
        """Write a note; returns what became of it."""
        return self._desk.note(self.annotator(request), _token(before), text if isinstance(text, str) else "")

    def panel(self) -> str:
        """The side panel."""
        return self._desk.panel()

    def tick(self, before: str, request: gr.Request) -> list[Any]:
        """The panel every few seconds, and a text as soon as there is one again."""
        waiting = _token(before) == NOTHING
        screen = _screen(self._desk.next(self.annotator(request))) if waiting else [gr.skip()] * SCREEN_PARTS
        return [*screen, self.panel()]

    # The table --------------------------------------------------------------------------------------------------

    def table(self, asked: str, request: gr.Request) -> str:
        """The page of the table that is looked for."""
        return self._table(_asked(asked), request)

    def correct(self, asked: str, request: gr.Request) -> list[Any]:
        """Another label for a text of the table; the screen is sent anew, since undo takes the correction back."""
        given = _asked(asked)
        given = given if isinstance(given, dict) else {}
        row, version, label = _number(given.get("row")), _number(given.get("version")), self._label(given.get("label"))
        if row is None or version is None or label is None:
            return [*[gr.skip()] * SCREEN_PARTS, gr.skip()]
        notice = self._desk.correct(self.annotator(request), row, version, label)
        screen = _screen(self._desk.next(self.annotator(request)))
        return [*screen, self._table(given.get("find"), request, notice)]

    def again(self, asked: str, request: gr.Request) -> list[Any]:
        """Show one of the annotator's decisions on the screen, to change it."""
        return _screen(self._desk.again(self.annotator(request), _number(_asked(asked)) or 0))

    def _table(self, asked: Any, request: gr.Request, notice: str = "") -> str:
        session = self._desk.session
        page = table(session, self.annotator(request), Find.of(asked))
        return table_html(page, session.class_names, notice, multilabel=session.multilabel)

    def _label(self, asked: Any) -> Label | None:
        """The label that a request gives: the number of a class, or a list of those of any number of labels."""
        if not self._desk.session.multilabel:
            return self._class(asked)
        numbers = [self._class(number) for number in asked] if isinstance(asked, list) else [None]
        found = {number for number in numbers if number is not None}
        return tuple(sorted(found)) if len(found) == len(numbers) else None

    def _class(self, asked: Any) -> int | None:
        """The class that a request names by its number."""
        number = _number(asked)
        return number if number is not None and number < len(self._desk.session.class_names) else None


def _screen(screen: Screen) -> list[Any]:
    """A screen as the values of its components; the guess is hidden again."""
    return [state_html(screen), screen.text, screen.why, [], screen.note]


def state_html(screen: Screen) -> str:
    """What page.js and the handlers need to know of a screen, in attributes; every answer has a number of its own."""
    values = {
        "token": screen.token,
        "label": "" if screen.label is None else ",".join(map(str, numbers_of(screen.label))),
        "flagged": str(screen.flagged).lower(),
        "again": str(screen.again).lower(),
        "review": str(screen.review).lower(),
        "batch": screen.batch,
        "likeliest": ",".join(map(str, screen.likeliest)),
        "notice": screen.notice,
        "n": time.time_ns(),
    }
    attributes = " ".join(f'data-{name}="{html_text(str(value))}"' for name, value in values.items())
    return f"<span {attributes}></span>"


def _token(state: Any) -> str:
    """The token in what `state_html` made."""
    match = re.search(r'data-token="([^"]*)"', state) if isinstance(state, str) else None
    return match[1] if match else NOTHING


def _asked(asked: Any) -> Any:
    """What page.js has sent as JSON; None for what is none, or is too long for a question."""
    try:
        return json.loads(asked) if isinstance(asked, str) and len(asked) < 10_000 else None
    except (ValueError, RecursionError):
        return None


def _number(value: Any) -> int | None:
    """A whole number from 0 on that SQLite can hold, or None."""
    return value if type(value) is int and 0 <= value < 2**63 else None
