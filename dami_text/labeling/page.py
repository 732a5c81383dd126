"""The page, in gradio: components around a `Desk`, whose handlers send what was on the screen with every decision."""

import re
import time
from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import gradio as gr

from dami_text.labeling.desk import LAST, NOTHING, Desk, Panel, Screen
from dami_text.labeling.view import LEVELS, WORD, visible

MOST_BUTTONS = 9
SCREEN_PARTS = 4  # components that a screen fills

TOOLS = {"skip": "Skip", "undo": "Undo", "flag": "Flag"}

HELP = """
<h2>Keys</h2>
<table>
<tr><td><kbd>1</kbd> to <kbd>9</kbd></td><td>label the text</td></tr>
<tr><td><kbd>space</kbd></td><td>skip it</td></tr>
<tr><td><kbd>⌫</kbd></td><td>undo what you did last</td></tr>
<tr><td><kbd>f</kbd></td><td>flag it, to find it again in the export</td></tr>
<tr><td><kbd>m</kbd></td><td>see the model's guess; decide first, it is persuasive</td></tr>
<tr><td><kbd>g</kbd></td><td>guidelines</td></tr>
<tr><td><kbd>h</kbd></td><td>your last decisions, to change them</td></tr>
<tr><td><kbd>esc</kbd></td><td>close what is open, go back to the queue</td></tr>
</table>
<p>A label is on disk before the next text shows. Close the page at any time; it goes on where you were.</p>
<p>The darker a word, the more it sets the text apart for the model; the framed one decided that it was asked.</p>
"""


class Handlers:
    """What the page's events do, with the desk's methods: components' values in, components' values out."""

    def __init__(self, desk: Desk, me: str) -> None:
        self._desk, self._me = desk, me

    def annotator(self, request: gr.Request) -> str:
        """Who sends the request: who logged in, or the one who started the page."""
        return str(request.username or self._me)

    def next(self, request: gr.Request) -> list[Any]:
        """The screen at the start and on the way back to the queue."""
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

    def again(self, place: int) -> Callable[..., list[Any]]:
        """The handler of a button of the history."""

        def handler(listed: Any, request: gr.Request) -> list[Any]:
            numbers = [int(number) for number in re.findall(r"\d{1,18}", listed if isinstance(listed, str) else "")]
            return _screen(self._desk.again(self.annotator(request), [*numbers, *[0] * LAST][place]))

        return handler

    def panel(self, request: gr.Request) -> list[Any]:
        """The side panel and the history."""
        return _panel(self._desk.panel(self.annotator(request)))

    def tick(self, before: str, request: gr.Request) -> list[Any]:
        """The panel every few seconds, and a text as soon as there is one again."""
        waiting = _token(before) == NOTHING
        screen = _screen(self._desk.next(self.annotator(request))) if waiting else [gr.skip()] * SCREEN_PARTS
        return [*screen, *self.panel(request)]


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
        _top(visible(desk.session.folder.name.removesuffix(".dami")), len(desk.session), guidelines is not None)
        state = gr.HTML(_state_html(Screen(NOTHING, [], [])), elem_id="state", elem_classes="hidden")
        with gr.Row(elem_id="body"):
            with gr.Column(elem_id="main"):
                numbers, history = _drawers(guidelines)
                gr.HTML('<p id="notice" role="status" aria-live="polite"></p>')
                text, why, guess = _text()
                buttons, choice = _labels(names)
                with gr.Row(elem_id="tools"):
                    tools = {name: _button(name, word, "act") for name, word in TOOLS.items()}
                    ask = _button("guess-button", "Model's guess")
                    back = _button("back", "Back to the queue", "act")
            with gr.Column(elem_id="side"):
                side = gr.HTML("")
        screen, panel = [state, text, why, guess], [side, numbers, *history]

        def then_panel(event: Any, **options: Any) -> None:
            event.then(on.panel, None, panel, **options, **quick)

        then_panel(page.load(on.next, None, screen, api_name="next", **quick), api_name="progress")
        for i, button in enumerate(buttons):
            then_panel(button.click(on.label(i), state, screen, api_name=f"label_{i + 1}", **quick))
        then_panel(choice.input(on.choose, [state, choice], [*screen, choice], api_name="label", **quick))
        for name, button in tools.items():
            then_panel(button.click(getattr(on, name), state, screen, api_name=name, **quick))
        ask.click(on.guess, state, guess, api_name="guess", **quick)
        back.click(on.next, None, screen, **quick)
        for i, button in enumerate(history):
            button.click(on.again(i), numbers, screen, **quick)
        gr.Timer(2).tick(on.tick, state, [*screen, *panel], **quick | {"trigger_mode": "once"})
    return page


def _button(name: str, text: str, *classes: str) -> gr.Button:
    return gr.Button(text, elem_id=name, elem_classes=[*classes, "key"], size="sm")


def _top(title: str, n_texts: int, has_guidelines: bool) -> None:
    """The heading, and the buttons that open drawers."""
    with gr.Row(elem_id="top"):
        gr.HTML(f"<h1>{escape(title)}<span>{n_texts:,} texts</span></h1>")
        with gr.Row():
            if has_guidelines:
                _button("guidelines-button", "Guidelines")
            _button("history-button", "History")
            _button("help-button", "Help")


def _drawers(guidelines: str | None) -> tuple[gr.HTML, list[gr.Button]]:
    """What keys open above the text; returns the decisions' numbers and buttons."""
    if guidelines is not None:
        with gr.Column(elem_id="guidelines", elem_classes="drawer"):
            gr.Markdown(guidelines)
    with gr.Column(elem_id="help", elem_classes="drawer"):
        gr.HTML(HELP)
    with gr.Column(elem_id="history", elem_classes="drawer"):
        gr.HTML("<h2>Your last decisions: choose one to change it</h2>")
        numbers = gr.HTML("", elem_classes="hidden")
        return numbers, [gr.Button("", visible=False, elem_classes="act", size="sm") for _ in range(LAST)]


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
    here = files("dami_text.labeling")
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
    return [_state_html(screen), screen.text, screen.why, []]


def _panel(panel: Panel) -> list[Any]:
    """A panel as the values of its components."""
    listed = ",".join(str(number) for number, _ in panel.decisions)
    shown = [gr.Button(line, visible=True) for _, line in panel.decisions]
    hidden = [gr.Button(visible=False)] * (LAST - len(shown))
    return [panel.html, f'<span data-numbers="{listed}"></span>', *shown, *hidden]


def _state_html(screen: Screen) -> str:
    """What page.js and the handlers need to know of a screen, in attributes; every answer has a number of its own."""
    values = {
        "token": screen.token,
        "label": "" if screen.label is None else screen.label,
        "flagged": str(screen.flagged).lower(),
        "again": str(screen.again).lower(),
        "notice": screen.notice,
        "n": time.time_ns(),
    }
    attributes = " ".join(f'data-{name}="{escape(str(value))}"' for name, value in values.items())
    return f"<span {attributes}></span>"


def _token(state: Any) -> str:
    """The token in what `_state_html` made; a request may hold anything."""
    match = re.search(r'data-token="([^"]*)"', state) if isinstance(state, str) else None
    return match[1] if match else NOTHING
