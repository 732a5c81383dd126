"""The page, in gradio: components around a `Desk`, whose handlers send what was on the screen with every decision."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

import gradio as gr

from dami_text.escaping import visible
from dami_text.labeling.page.desk import NOTHING, Desk, Panel, Screen
from dami_text.labeling.page.history import FILTERS, PAGE, Find
from dami_text.labeling.page.view import LEVELS, WORD
from dami_text.labeling.store.notes import LONGEST

MOST_BUTTONS = 9
SCREEN_PARTS = 5  # components that a screen fills

TOOLS = {"skip": "Skip", "undo": "Undo", "flag": "Flag", "accept": "Accept guess", "confirm": "Confirm label"}

HELP = """
<h2>Keys</h2>
<table>
<tr><td><kbd>1</kbd> to <kbd>9</kbd></td><td>label the text</td></tr>
<tr><td><kbd>space</kbd></td><td>skip it</td></tr>
<tr><td><kbd>⌫</kbd></td><td>undo what you did last</td></tr>
<tr><td><kbd>f</kbd></td><td>flag it, to find it again in the export</td></tr>
<tr><td><kbd>n</kbd></td><td>write a note on it; esc leaves the note and saves it</td></tr>
<tr><td><kbd>m</kbd></td><td>see the model's guess; decide first, it is persuasive</td></tr>
<tr><td><kbd>s</kbd></td><td>see the suggestion that the text came with, where the file has some</td></tr>
<tr><td><kbd>a</kbd></td><td>accept the guess, while a button under the text shows every guess</td></tr>
<tr><td><kbd>r</kbd></td><td>look again at labels, the most doubtful first, and back to the queue</td></tr>
<tr><td><kbd>c</kbd></td><td>confirm the label that is looked at again; another label's key corrects it</td></tr>
<tr><td><kbd>g</kbd></td><td>guidelines</td></tr>
<tr><td><kbd>h</kbd></td><td>your decisions, to find and change them</td></tr>
<tr><td><kbd>esc</kbd></td><td>close what is open, go back to the queue</td></tr>
</table>
<p>A label is on disk before the next text shows. Close the page at any time; it goes on where you were.</p>
<p>The darker a word, the more it counts for the model; the framed one decided that the text was asked.</p>
"""


class Handlers:
    """What the page's events do, with the desk's methods: components' values in, components' values out."""

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

    def next(self, request: gr.Request) -> list[Any]:
        """The screen on the way back to the queue."""
        return _screen(self._desk.next(self.annotator(request)))

    def label(self, label: int) -> Callable[..., list[Any]]:
        """The handler of a label's button."""

        def handler(before: str, request: gr.Request) -> list[Any]:
            return _screen(self._desk.label(self.annotator(request), _token(before), label))

        return handler

    def choose(self, before: str, label: int | None, request: gr.Request) -> list[Any]:
        """The list of labels, where there are too many for buttons; it is empty again afterwards."""
        if not isinstance(label, int) or not 0 <= label < len(self._desk.session.class_names):
            return [*[gr.skip()] * SCREEN_PARTS, None]
        return [*_screen(self._desk.label(self.annotator(request), _token(before), label)), None]

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

    def note(self, before: str, text: str, request: gr.Request) -> str:
        """Write a note; returns what became of it."""
        return self._desk.note(self.annotator(request), _token(before), text if isinstance(text, str) else "")

    def again(self, place: int) -> Callable[..., list[Any]]:
        """The handler of a button of the history."""

        def handler(listed: Any, request: gr.Request) -> list[Any]:
            numbers = [int(number) for number in re.findall(r"\d{1,18}", listed if isinstance(listed, str) else "")]
            return _screen(self._desk.again(self.annotator(request), [*numbers, *[0] * PAGE][place]))

        return handler

    def panel(self, words: str, kind: str, page: float, request: gr.Request) -> list[Any]:
        """The side panel and the page of the history that was asked for."""
        return _panel(self._desk.panel(self.annotator(request), _find(words, kind, page)))

    def turn(self, pages: int) -> Callable[..., list[Any]]:
        """The handler that turns pages of the history, forwards to earlier decisions; 0 goes to the first."""

        def handler(words: str, kind: str, page: float, request: gr.Request) -> list[Any]:
            find = _find(words, kind, page)
            return self.panel(words, kind, find.page + pages if pages else 0, request)

        return handler

    def tick(self, before: str, words: str, kind: str, page: float, request: gr.Request) -> list[Any]:
        """The panel every few seconds, and a text as soon as there is one again."""
        waiting = _token(before) == NOTHING
        screen = _screen(self._desk.next(self.annotator(request))) if waiting else [gr.skip()] * SCREEN_PARTS
        return [*screen, *self.panel(words, kind, page, request)]


def build_page(desk: Desk, me: str, guidelines: str | None) -> gr.Blocks:
    """The page. `me` is the annotator where nobody logs in; `guidelines` are Markdown."""
    on = Handlers(desk, me)
    names = [visible(name) for name in desk.session.class_names]
    quick: dict[str, Any] = {
        "queue": False,
        "show_progress": "hidden",
        "trigger_mode": "multiple",
        "api_visibility": "undocumented",
    }
    with gr.Blocks(title="Label texts", analytics_enabled=False, fill_width=True) as page:
        again = _top(visible(desk.session.folder.name.removesuffix(".dami")), len(desk.session), guidelines is not None)
        state = gr.HTML(_state_html(Screen(token=NOTHING, text=[], why=[])), elem_id="state", elem_classes="hidden")
        with gr.Row(elem_id="body"):
            with gr.Column(elem_id="main"):
                drawer = _drawers(guidelines, names)
                gr.HTML('<p id="notice" role="status" aria-live="polite"></p>')
                text, why, guess = _text()
                buttons, choice = _labels(names)
                with gr.Row(elem_id="tools"):
                    tools = {name: _button(name, word, "act") for name, word in TOOLS.items()}
                    ask = _button("guess-button", "Model's guess")
                    has_suggestions = desk.session.suggestions is not None
                    suggest = _button("suggestion-button", "Suggestion") if has_suggestions else None
                    _button("accept-toggle", "Show every guess")
                    back = _button("back", "Back to the queue", "act")
                note, noted = _note()
            with gr.Column(elem_id="side"):
                side = gr.HTML("")
        screen, find = [state, text, why, guess, note], [drawer.words, drawer.kind, drawer.page]
        panel = [side, drawer.page, drawer.place, drawer.numbers, *drawer.decisions]

        def then_panel(event: Any, **options: Any) -> None:
            event.then(on.panel, find, panel, **options, **quick)

        then_panel(page.load(on.first, None, screen, api_name="next", **quick), api_name="progress")
        for i, button in enumerate(buttons):
            then_panel(button.click(on.label(i), state, screen, api_name=f"label_{i + 1}", **quick))
        then_panel(choice.input(on.choose, [state, choice], [*screen, choice], api_name="label", **quick))
        for name, button in tools.items():
            then_panel(button.click(getattr(on, name), state, screen, api_name=name, **quick))
        ask.click(on.guess, state, guess, api_name="guess", **quick)
        if suggest is not None:
            suggest.click(on.suggestion, state, guess, api_name="suggestion", **quick)
        back.click(on.next, None, screen, **quick)
        then_panel(again.click(on.review, state, screen, api_name="review", **quick))
        note.blur(on.note, [state, note], noted, api_name="note", **quick)
        note.submit(on.note, [state, note], noted, **quick)
        for i, button in enumerate(drawer.decisions):
            button.click(on.again(i), drawer.numbers, screen, **quick)
        for turned, pages in ((drawer.words.input, 0), (drawer.kind.input, 0), (drawer.older.click, 1)):
            turned(on.turn(pages), find, panel, **quick)
        drawer.newer.click(on.turn(-1), find, panel, **quick)
        gr.Timer(2).tick(on.tick, [state, *find], [*screen, *panel], **quick | {"trigger_mode": "once"})
    return page


def _button(name: str, text: str, *classes: str) -> gr.Button:
    return gr.Button(text, elem_id=name, elem_classes=[*classes, "key"], size="sm")


def _top(title: str, n_texts: int, has_guidelines: bool) -> gr.Button:
    """The heading, and the buttons that open drawers; returns that of the second look."""
    with gr.Row(elem_id="top"):
        gr.HTML(f"<h1>{escape(title)}<span>{n_texts:,} texts</span></h1>")
        with gr.Row():
            if has_guidelines:
                _button("guidelines-button", "Guidelines")
            review = _button("review", "Second look", "act")
            _button("history-button", "History")
            _button("help-button", "Help")
    return review


@dataclass(frozen=True, kw_only=True)
class _History:
    """The components of the history: what is looked for, and the page of decisions that was found."""

    words: gr.Textbox
    kind: gr.Dropdown
    page: gr.Number
    place: gr.HTML
    numbers: gr.HTML
    decisions: list[gr.Button]
    newer: gr.Button
    older: gr.Button


def _drawers(guidelines: str | None, names: Sequence[str]) -> _History:
    """What keys open above the text; returns the history's components."""
    if guidelines is not None:
        with gr.Column(elem_id="guidelines", elem_classes="drawer"):
            gr.Markdown(guidelines)
    with gr.Column(elem_id="help", elem_classes="drawer"):
        gr.HTML(HELP)
    with gr.Column(elem_id="history", elem_classes="drawer"):
        gr.HTML("<h2>Your decisions, the latest first: choose one to change it</h2>")
        with gr.Row(elem_id="history-find"):
            words = gr.Textbox(label="Search texts and notes", elem_id="history-words")
            kinds = [(word, kind) for kind, word in FILTERS.items()] + [(name, str(i)) for i, name in enumerate(names)]
            kind = gr.Dropdown(kinds, value="all", label="Show", elem_id="history-kind")
        with gr.Column(elem_id="decisions"):
            decisions = [gr.Button("", visible=False, elem_classes="act", size="sm") for _ in range(PAGE)]
        with gr.Row(elem_id="history-turn"):
            newer, place, older = gr.Button("Newer", size="sm"), gr.HTML(""), gr.Button("Older", size="sm")
        page = gr.Number(0, elem_id="history-page")
        return _History(
            words=words,
            kind=kind,
            page=page,
            place=place,
            numbers=gr.HTML("", elem_classes="hidden"),
            decisions=decisions,
            newer=newer,
            older=older,
        )


def _note() -> tuple[gr.Textbox, gr.HTML]:
    """The annotator's note on the text, and what became of it."""
    with gr.Row(elem_id="note-row"):
        name = "Your note on this text"
        options: dict[str, Any] = {"lines": 1, "max_lines": 1, "max_length": LONGEST, "container": False}
        note = gr.Textbox(label=name, show_label=False, placeholder=f"{name} (n)", elem_id="note", **options)
        return note, gr.HTML("", elem_id="noted")


def _text() -> list[gr.HighlightedText]:
    """The text, why it was asked for, and the model's guess."""
    colors = {str(level): _shade(level) for level in range(1, LEVELS + 1)} | {WORD: _shade(LEVELS + 1)}
    plain: dict[str, Any] = {
        "color_map": colors,
        "show_inline_category": False,
        "show_label": False,
        "container": False,
        "interactive": False,
        "buttons": [],
    }
    text = gr.HighlightedText([], label="The text to label", elem_id="text", **plain)
    with gr.Column(elem_id="why-box"):
        gr.HTML("<h2>Why this text was asked</h2>")
        why = gr.HighlightedText([], label="Why this text was asked", elem_id="why", **plain)
        guess = gr.HighlightedText([], label="The model's guess", elem_id="guess", **plain)
    return [text, why, guess]


def _labels(names: Sequence[str]) -> tuple[list[gr.Button], gr.Dropdown]:
    """A button for each label or, where there are more than keys, a list to be filtered by typing."""
    few = len(names) <= MOST_BUTTONS
    with gr.Row(elem_id="labels"):
        buttons = [
            gr.Button(name, elem_id=f"label-{i + 1}", elem_classes=["act", "label", "key"])
            for i, name in enumerate(names if few else [])
        ]
        choice = gr.Dropdown(
            [(name, i) for i, name in enumerate(names)],
            value=None,
            label="Label: type to find it, Enter to choose it",
            elem_id="label-filter",
            visible=not few,
        )
    return buttons, choice


def launch_options() -> dict[str, Any]:
    """What makes the page look and answer keys as it does: arguments of gr.Blocks.launch."""
    here = files("dami_text.labeling.page")
    style, script = ((here / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    fonts = ["system-ui", "sans-serif"]
    return {
        "theme": gr.themes.Base(font=fonts, font_mono=["ui-monospace", "monospace"]),
        "head": f"<style>{style}</style><script>{script}</script>",
    }


def _shade(level: int) -> str:
    """The colour by which page.css knows a level; HighlightedText can say it in no other way."""
    return f"#fac8{10 + level:02x}"


def _screen(screen: Screen) -> list[Any]:
    """A screen as the values of its components; the guess is hidden again."""
    return [_state_html(screen), screen.text, screen.why, [], screen.note]


def _panel(panel: Panel) -> list[Any]:
    """A panel as the values of its components."""
    found = panel.history
    listed = ",".join(str(number) for number, _ in found.decisions)
    shown = [gr.Button(line, visible=True) for _, line in found.decisions]
    hidden = [gr.Button(visible=False)] * (PAGE - len(shown))
    return [panel.html, found.page, found.place, f'<span data-numbers="{listed}"></span>', *shown, *hidden]


def _find(words: Any, kind: Any, page: Any) -> Find:
    """What a request looks for in the history; it may hold anything."""
    number = int(page) if isinstance(page, int | float) and 0 <= page < 1e9 else 0
    return Find(words[:LONGEST] if isinstance(words, str) else "", kind if isinstance(kind, str) else "all", number)


def _state_html(screen: Screen) -> str:
    """What page.js and the handlers need to know of a screen, in attributes; every answer has a number of its own."""
    values = {
        "token": screen.token,
        "label": "" if screen.label is None else screen.label,
        "flagged": str(screen.flagged).lower(),
        "again": str(screen.again).lower(),
        "review": str(screen.review).lower(),
        "notice": screen.notice,
        "n": time.time_ns(),
    }
    attributes = " ".join(f'data-{name}="{escape(str(value))}"' for name, value in values.items())
    return f"<span {attributes}></span>"


def _token(state: Any) -> str:
    """The token in what `_state_html` made; a request may hold anything."""
    match = re.search(r'data-token="([^"]*)"', state) if isinstance(state, str) else None
    return match[1] if match else NOTHING
