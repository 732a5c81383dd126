"""The page, in gradio: components around a `Desk`, whose handlers send what was on the screen with every decision."""

import re
import time
from functools import partial
from html import escape
from importlib.resources import files
from typing import Any

from dami_text.errors import ConfigError
from dami_text.labeling.desk import LAST, Desk, Panel, Screen
from dami_text.labeling.view import LEVELS, WORD, visible

MOST_BUTTONS = 9

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


def import_gradio() -> Any:
    """The module gradio.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import gradio
    except ImportError as error:
        raise ConfigError('the page needs gradio: pip install "dami_text[ui]"') from error
    return gradio


def build_page(desk: Desk, me: str, guidelines: str | None) -> Any:
    """The page (gr.Blocks). `me` is the annotator where nobody logs in; `guidelines` are Markdown."""
    gr = import_gradio()
    names = desk.session.class_names
    quick = {"queue": False, "show_progress": "hidden", "trigger_mode": "multiple", "api_visibility": "undocumented"}

    def annotator(request: Any) -> str:
        return str(request.username or me)

    with gr.Blocks(title="Label texts", analytics_enabled=False, fill_width=True) as page:
        with gr.Row(elem_id="top"):
            title = escape(visible(desk.session.folder.name.removesuffix(".dami")))
            gr.HTML(f"<h1>{title}<span>{len(desk.session):,} texts</span></h1>")
            with gr.Row():
                if guidelines is not None:
                    gr.Button("Guidelines", elem_id="guidelines-button", elem_classes="key", size="sm")
                gr.Button("History", elem_id="history-button", elem_classes="key", size="sm")
                gr.Button("Help", elem_id="help-button", elem_classes="key", size="sm")
        state = gr.HTML(_state_html(Screen("-", [], [])), elem_id="state", elem_classes="hidden")
        with gr.Row(elem_id="body"):
            with gr.Column(elem_id="main"):
                if guidelines is not None:
                    with gr.Column(elem_id="guidelines", elem_classes="drawer"):
                        gr.Markdown(guidelines)
                with gr.Column(elem_id="help", elem_classes="drawer"):
                    gr.HTML(HELP)
                with gr.Column(elem_id="history", elem_classes="drawer"):
                    gr.HTML("<h2>Your last decisions: choose one to change it</h2>")
                    numbers = gr.HTML("", elem_classes="hidden")
                    history = [gr.Button("", visible=False, elem_classes="act", size="sm") for _ in range(LAST)]
                gr.HTML('<p id="notice" role="status" aria-live="polite"></p>')
                colors = {str(level): _shade(level) for level in range(1, LEVELS + 1)} | {WORD: _shade(LEVELS + 1)}
                plain = {
                    "color_map": colors,
                    "show_inline_category": False,
                    "combine_adjacent": False,
                    "show_label": False,
                    "show_whitespaces": True,
                    "container": False,
                    "interactive": False,
                    "buttons": [],
                }
                text = gr.HighlightedText([], label="The text to label", elem_id="text", **plain)
                with gr.Column(elem_id="why-box"):
                    gr.HTML("<h2>Why this text was asked</h2>")
                    reason = gr.HighlightedText([], label="Why this text was asked", elem_id="why", **plain)
                    guess = gr.HighlightedText([], label="The model's guess", elem_id="guess", **plain)
                with gr.Row(elem_id="labels"):
                    buttons = [
                        gr.Button(visible(name), elem_id=f"label-{i + 1}", elem_classes=["act", "label", "key"])
                        for i, name in enumerate(names)
                        if len(names) <= MOST_BUTTONS
                    ]
                    choice = gr.Dropdown(
                        [(visible(name), i) for i, name in enumerate(names)],
                        value=None,
                        label="Label: type to find it, Enter to choose it",
                        elem_id="label-filter",
                        visible=len(names) > MOST_BUTTONS,
                    )
                with gr.Row(elem_id="tools"):
                    skip = gr.Button("Skip", elem_id="skip", elem_classes=["act", "key"], size="sm")
                    undo = gr.Button("Undo", elem_id="undo", elem_classes=["act", "key"], size="sm")
                    flag = gr.Button("Flag", elem_id="flag", elem_classes=["act", "key"], size="sm")
                    ask = gr.Button("Model's guess", elem_id="guess-button", elem_classes="key", size="sm")
                    back = gr.Button("Back to the queue", elem_id="back", elem_classes=["act", "key"], size="sm")
            with gr.Column(elem_id="side"):
                side = gr.HTML("")
        screen = [state, text, reason, guess]
        panel = [side, numbers, *history]

        def shown(result: Screen) -> list[Any]:
            return [_state_html(result), result.text, result.why, []]

        def beside(result: Panel) -> list[Any]:
            free = [gr.Button(visible=False)] * (LAST - len(result.decisions))
            listed = ",".join(str(number) for number, _ in result.decisions)
            return [
                result.html,
                f'<span data-numbers="{listed}"></span>',
                *(gr.Button(line, visible=True) for _, line in result.decisions),
                *free,
            ]

        def on_next(request: gr.Request) -> list[Any]:
            return shown(desk.next(annotator(request)))

        def on_label(label: int, before: str, request: gr.Request) -> list[Any]:
            return shown(desk.label(annotator(request), _token(before), label))

        def on_choice(before: str, label: int | None, request: gr.Request) -> list[Any]:
            if not isinstance(label, int) or not 0 <= label < len(names):
                return [*[gr.skip()] * len(screen), None]
            return [*shown(desk.label(annotator(request), _token(before), label)), None]

        def on_skip(before: str, request: gr.Request) -> list[Any]:
            return shown(desk.skip(annotator(request), _token(before)))

        def on_undo(before: str, request: gr.Request) -> list[Any]:
            return shown(desk.undo(annotator(request), _token(before)))

        def on_flag(before: str, request: gr.Request) -> list[Any]:
            return shown(desk.flag(annotator(request), _token(before)))

        def on_guess(before: str) -> list[tuple[str, None]]:
            return [(desk.guess(_token(before)), None)]

        def on_again(place: int, listed: str, request: gr.Request) -> list[Any]:
            known = [int(number) for number in re.findall(r"\d+", listed)]
            number = known[place] if place < len(known) else 0
            return shown(desk.again(annotator(request), number))

        def on_panel(request: gr.Request) -> list[Any]:
            return beside(desk.panel(annotator(request)))

        def on_tick(before: str, request: gr.Request) -> list[Any]:
            waiting = _token(before) == "-"
            result = shown(desk.next(annotator(request))) if waiting else [gr.skip()] * len(screen)
            return [*result, *beside(desk.panel(annotator(request)))]

        def then_panel(event: Any) -> None:
            event.then(on_panel, None, panel, **quick)

        then_panel(page.load(on_next, None, screen, api_name="next", **quick))
        for i, button in enumerate(buttons):
            then_panel(button.click(partial(on_label, i), state, screen, api_name=f"label_{i + 1}", **quick))
        then_panel(choice.input(on_choice, [state, choice], [*screen, choice], api_name="label", **quick))
        for button, handler, name in ((skip, on_skip, "skip"), (undo, on_undo, "undo"), (flag, on_flag, "flag")):
            then_panel(button.click(handler, state, screen, api_name=name, **quick))
        ask.click(on_guess, state, guess, api_name="guess", **quick)
        back.click(on_next, None, screen, **quick)
        for i, button in enumerate(history):
            button.click(partial(on_again, i), numbers, screen, **quick)
        gr.Timer(2).tick(on_tick, state, [*screen, *panel], **quick | {"trigger_mode": "once"})
    return page


def launch_options() -> dict[str, Any]:
    """What makes the page look and answer keys as it does: arguments of gr.Blocks.launch."""
    gr = import_gradio()
    here = files("dami_text.labeling")
    fonts = ["system-ui", "sans-serif"]
    return {
        "theme": gr.themes.Base(font=fonts, font_mono=["ui-monospace", "monospace"]),
        "css": (here / "page.css").read_text(encoding="utf-8"),
        "head": f"<script>{(here / 'page.js').read_text(encoding='utf-8')}</script>",
    }


def _shade(level: int) -> str:
    """The colour of a level, which shows in the light and in the dark."""
    return f"rgba(244, 170, 40, {0.13 + 0.13 * level:.2f})"


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


def _token(state: str) -> str:
    """The token in what `_state_html` made."""
    match = re.search(r'data-token="([^"]*)"', state or "")
    return match[1] if match else "-"
