"""The page, in gradio: components around a `Desk`, whose handlers send what was on the screen with every decision.

What gradio has no component for is HTML of our own, with what it does in the scripts beside this module. These
ask the server by pressing a hidden button: `dami.ask(id, value)` sends the value as JSON with the button's event.
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import gradio as gr

from dami_text.escaping import visible
from dami_text.labeling.page.desk import NOTHING, Desk, Screen
from dami_text.labeling.page.handlers import Handlers, state_html
from dami_text.labeling.page.table import FILTERS, WITHOUT_LABEL
from dami_text.labeling.page.view import LEVELS, WORD, html_text
from dami_text.labeling.pool_scores import LIKELIEST, MOST_KEYS
from dami_text.labeling.store.notes import LONGEST

TOOLS = {"skip": "Skip", "undo": "Undo", "flag": "Flag", "accept": "Accept guess", "confirm": "Confirm label"}
SCRIPTS = ("page.js", "toggles.js", "labels.js", "table.js")
STYLES = ("page.css", "panels.css")

HELP = """
<h2>Keys</h2>
<table>
{labels}
<tr><td><kbd>space</kbd></td><td>skip it</td></tr>
<tr><td><kbd>⌫</kbd></td><td>undo what you did last</td></tr>
<tr><td><kbd>f</kbd></td><td>flag it, to find it again in the export</td></tr>
<tr><td><kbd>n</kbd></td><td>write a note on it; esc leaves the note and saves it</td></tr>
<tr><td><kbd>m</kbd></td><td>see the model's guess; decide first, it is persuasive</td></tr>
<tr><td><kbd>s</kbd></td><td>see the suggestion that the text came with, where the file has some</td></tr>
<tr><td><kbd>a</kbd></td><td>accept the guess, while a button under the text shows every guess</td></tr>
<tr><td><kbd>l</kbd></td><td>more like this: the 20 most similar texts come next</td></tr>
<tr><td><kbd>c</kbd></td><td>ask for texts that the model takes for a class</td></tr>
<tr><td><kbd>r</kbd></td><td>look again at labels, the most doubtful first, and back to the queue</td></tr>
<tr><td><kbd>y</kbd></td><td>confirm the label that is looked at again; another label's key corrects it</td></tr>
<tr><td><kbd>t</kbd></td><td>table of all labels, to find and correct them</td></tr>
<tr><td><kbd>g</kbd></td><td>guidelines</td></tr>
<tr><td><kbd>esc</kbd></td><td>close what is open, go back to the queue</td></tr>
</table>
<p>A label is on disk before the next text shows. Close the page at any time; it goes on where you were.</p>
<p>The darker a word, the more it counts for the model; the framed one decided that the text was asked.</p>
"""

#: The keys that label, for one class a text and for any number of labels.
LABEL_KEYS = "<tr><td><kbd>1</kbd> to <kbd>9</kbd></td><td>label the text</td></tr>"
TOGGLE_KEYS = (
    "<tr><td><kbd>1</kbd> to <kbd>9</kbd></td><td>choose a label, or take it back</td></tr>"
    "<tr><td><kbd>enter</kbd></td><td>done: the text has the chosen labels, and no other</td></tr>"
)

#: The value that a script sends with a hidden button's event, after the values of all components but the last.
SENT = "(...given) => [...given.slice(0, -1), window.dami.sent['{name}'] ?? '']"


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
        state = gr.HTML(state_html(Screen(token=NOTHING, text=[], why=[])), elem_id="state", elem_classes="hidden")
        sent = gr.Textbox(visible="hidden")
        multilabel = desk.session.multilabel
        rows = _table(names, multilabel)
        with gr.Row(elem_id="body"):
            with gr.Column(elem_id="main"):
                _drawers(guidelines, names, multilabel)
                gr.HTML('<p id="notice" role="status" aria-live="polite"></p>')
                text, why, guess = _text()
                buttons = _labels(names, multilabel)
                with gr.Row(elem_id="tools"):
                    tools = {name: _button(name, word, "act") for name, word in TOOLS.items()}
                    ask = _button("guess-button", "Model's guess")
                    has_suggestions = desk.session.suggestions is not None
                    suggest = _button("suggestion-button", "Suggestion") if has_suggestions else None
                    _button("accept-toggle", "Show every guess")
                    similar = _button("similar", "More like this", "act")
                    _button("classes-button", "Ask for a class")
                    back = _button("back", "Back to the queue", "act")
                note, noted = _note()
            with gr.Column(elem_id="side"):
                side = gr.HTML("")
        screen = [state, text, why, guess, note]

        def then_panel(event: Any, **options: Any) -> None:
            event.then(on.panel, None, side, **options, **quick)

        def hidden(name: str, handler: Any, inputs: list[Any], outputs: Any) -> Any:
            button = gr.Button(elem_id=name, elem_classes=["for-scripts", *["act"] * (outputs is not rows)])
            return button.click(handler, [*inputs, sent], outputs, js=SENT.format(name=name), api_name=name, **quick)

        then_panel(page.load(on.first, None, screen, api_name="next", **quick), api_name="progress")
        for i, button in enumerate(buttons):
            then_panel(button.click(on.label(i), state, screen, api_name=f"label_{i + 1}", **quick))
        then_panel(hidden("choose", on.choose, [state], screen))
        for name, button in {**tools, "similar": similar, "back": back}.items():
            then_panel(button.click(getattr(on, name), state, screen, api_name=name, **quick))
        ask.click(on.guess, state, guess, api_name="guess", **quick)
        if suggest is not None:
            suggest.click(on.suggestion, state, guess, api_name="suggestion", **quick)
        then_panel(again.click(on.review, state, screen, api_name="review", **quick))
        note.blur(on.note, [state, note], noted, api_name="note", **quick)
        note.submit(on.note, [state, note], noted, **quick)
        hidden("likely", on.likely, [], screen)
        hidden("find", on.table, [], rows)
        then_panel(hidden("correct", on.correct, [], [*screen, rows]))
        hidden("again", on.again, [], screen)
        gr.Timer(2).tick(on.tick, state, [*screen, side], **quick | {"trigger_mode": "once"})
    return page


def _button(name: str, text: str, *classes: str) -> gr.Button:
    return gr.Button(text, elem_id=name, elem_classes=[*classes, "key"], size="sm")


def _top(title: str, n_texts: int, has_guidelines: bool) -> gr.Button:
    """The heading, and the buttons that open drawers; returns that of the second look."""
    with gr.Row(elem_id="top"):
        gr.HTML(f"<h1>{html_text(title)}<span>{n_texts:,} texts</span></h1>")
        with gr.Row():
            if has_guidelines:
                _button("guidelines-button", "Guidelines")
            review = _button("review", "Second look", "act")
            _button("table-button", "All labels")
            _button("help-button", "Help")
    return review


def _table(names: Sequence[str], multilabel: bool) -> gr.HTML:
    """The view of all labels, in place of the text while it is open; returns the component of the table itself."""
    kinds = [*(FILTERS | (WITHOUT_LABEL if multilabel else {})).items()]
    kinds += [(str(i), name) for i, name in enumerate(names)]
    options = "".join(f'<option value="{kind}">{html_text(name)}</option>' for kind, name in kinds)
    with gr.Column(elem_id="table", elem_classes="drawer"):
        gr.HTML(
            '<h2 id="table-title">All labels, the latest first</h2><form id="table-find" role="search">'
            '<label>Search texts and notes<input id="table-words" type="search" autocomplete="off"></label>'
            f'<label>Show<select id="table-kind">{options}</select></label>'
            '<label>Given by<select id="table-who"><option value="">Everybody</option></select></label></form>'
            '<p id="table-notice" role="status"></p>'
        )
        rows = gr.HTML("", elem_id="table-rows")
        gr.HTML(
            '<div id="table-turn"><button type="button" id="newer">Newer</button>'
            '<span id="table-place" role="status"></span><button type="button" id="older">Older</button></div>'
        )
    return rows


def _drawers(guidelines: str | None, names: Sequence[str], multilabel: bool) -> None:
    """What keys open above the text."""
    if guidelines is not None:
        with gr.Column(elem_id="guidelines", elem_classes="drawer"):
            gr.Markdown(guidelines)
    with gr.Column(elem_id="help", elem_classes="drawer"):
        gr.HTML(HELP.replace("{labels}", TOGGLE_KEYS if multilabel else LABEL_KEYS))
    with gr.Column(elem_id="classes", elem_classes="drawer"):
        buttons = "".join(
            f'<button type="button" data-label="{i}">{html_text(name)}</button>' for i, name in enumerate(names)
        )
        gr.HTML(
            "<h2>Texts that the model takes for a class come now, the likeliest first</h2>"
            f'<div class="ask">{buttons}</div>'
            '<p class="small">Their labels train the model and are never used to measure it.</p>'
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


def _labels(names: Sequence[str], multilabel: bool) -> list[gr.Button]:
    """A button for each label or, where there are more than keys, a list that typing filters, and no button.

    Any number of labels are chosen on the page, and sent by one button, so that there is none of gradio's.
    """
    with gr.Row(elem_id="labels"):
        if len(names) > MOST_KEYS:
            gr.HTML(_chooser(names, multilabel))
        elif not multilabel:
            return [
                gr.Button(name, elem_id=f"label-{i + 1}", elem_classes=["act", "label", "key"])
                for i, name in enumerate(names)
            ]
        else:
            buttons = "".join(
                f'<button type="button" class="label key" id="label-{i + 1}" data-label="{i}" aria-pressed="false">'
                f"{html_text(name)}</button>"
                for i, name in enumerate(names)
            )
            gr.HTML(f'<div id="toggles" role="group" aria-label="Labels">{buttons}</div>{DONE}')
    return []


#: What says that the chosen labels are all.
DONE = '<button type="button" id="done" class="key" aria-keyshortcuts="Enter">None of these</button>'


def _chooser(names: Sequence[str], multilabel: bool) -> str:
    """The list of labels that typing filters."""
    options = "".join(
        f'<li role="option" id="class-{i}" data-label="{i}" aria-selected="false">{html_text(name)}</li>'
        for i, name in enumerate(names)
    )
    likeliest = "".join(
        f'<button type="button" class="likeliest" id="likeliest-{i}" aria-keyshortcuts="{i}" hidden></button>'
        for i in range(1, LIKELIEST + 1)
    )
    told = "Labels: type to find one, Enter to choose it, Enter again when done" if multilabel else TYPE_TO_FIND
    chosen = '<div id="chosen" role="group" aria-label="Chosen labels"></div>' if multilabel else ""
    several = ' aria-multiselectable="true"' if multilabel else ""
    return (
        '<div id="chooser"><div class="line">'
        f'<label for="class-words">{told}</label>'
        '<button type="button" id="likeliest-toggle" aria-pressed="false">Likeliest on keys 1 to 5</button></div>'
        f'{chosen}<div id="likeliest">{likeliest}</div>'
        '<input id="class-words" role="combobox" aria-expanded="true" aria-controls="class-list" autocomplete="off"'
        ' aria-autocomplete="list" spellcheck="false" maxlength="200">'
        f'<ul id="class-list" role="listbox" aria-label="Classes"{several}>{options}</ul>'
        f'<p id="class-count" class="small" role="status"></p>{DONE if multilabel else ""}</div>'
    )


TYPE_TO_FIND = "Label: type to find it, Enter to choose it"


def launch_options() -> dict[str, Any]:
    """What makes the page look and answer keys as it does: arguments of gr.Blocks.launch."""
    here = files("dami_text.labeling.page")
    parts = [f"<style>{(here / name).read_text(encoding='utf-8')}</style>" for name in STYLES]
    parts += [f"<script>{(here / name).read_text(encoding='utf-8')}</script>" for name in SCRIPTS]
    fonts = ["system-ui", "sans-serif"]
    return {
        "theme": gr.themes.Base(font=fonts, font_mono=["ui-monospace", "monospace"]),
        "head": "".join(parts),
    }


def _shade(level: int) -> str:
    """The colour by which page.css knows a level; HighlightedText can say it in no other way."""
    return f"#fac8{10 + level:02x}"
