"""What the page shows, as plain data: a text with its shaded words, why it was asked for, the numbers beside it.

The text to label leaves this module as tokens of `HighlightedText`, which the browser shows as text. The HTML made here
holds numbers, and names of classes and annotators, which are escaped.
"""

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from dami_text.escaping import visible
from dami_text.labeling.labels import Label, named, numbers_of
from dami_text.labeling.progress import Progress
from dami_text.labeling.store.doubts import Doubt
from dami_text.labeling.store.queues import QueueItem
from dami_text.labeling.trainer import TrainerState

#: Pieces of text, each with the name of how it is shown, or None.
Tokens = list[tuple[str, str | None]]

WORD = "informative"
LEVELS = 4
MOST_NAMED = 5  # classes that a warning names


def shaded(text: str, reason: dict[str, Any]) -> Tokens:
    """The text with its words in levels of their deviation, 1 to 4, and the informative word under its own name.

    The levels divide the span from the least to the largest deviation of the text's words; the least are not shaded.
    """
    shades = reason.get("shades") or []
    if not shades:
        return [(visible(text), None)]
    deviations = [deviation for _, _, deviation in shades]
    least, most = min(deviations), max(deviations)
    informative = deviations.index(most)
    tokens: Tokens = []
    end = 0
    for i, (start, stop, deviation) in enumerate(shades):
        if start > end:
            tokens.append((visible(text[end:start]), None))
        share = (deviation - least) / (most - least) if most > least else 0.0
        level = min(LEVELS, int(share * (LEVELS + 1)))
        tokens.append((visible(text[start:stop]), WORD if i == informative else str(level) if level else None))
        end = stop
    return [*tokens, (visible(text[end:]), None)] if end < len(text) else tokens


def why(item: QueueItem, class_names: Sequence[str] = (), more: int = 0, n_copies: int = 0) -> Tokens:
    """Why a text was asked for, in words, and how many copies of it get its label, too.

    `more` is how many texts of an annotator's batch come after it.
    """
    tokens = _why(item, class_names, more)
    if n_copies:
        copies = "1 copy" if n_copies == 1 else f"{n_copies:,} copies"
        tokens[-1] = (f"{tokens[-1][0]} Your label is for this text and {copies} of it.", None)
    return tokens


#: Why a text was asked for, by the kind of its place in the queue, or by the strategy.
WHY = {
    "held-out": "Drawn at random to measure the accuracy: the model never trains on it.",
    "start": "One of the first texts, drawn at random: there is no model yet.",
    "random": "Drawn at random.",
    "disagreement": "The model, trained on people's labels, and the suggestion disagree about this text.",
    "described": "One of the first texts, chosen by its likeness to what describes a class.",
}


def _why(item: QueueItem, class_names: Sequence[str], more: int) -> Tokens:
    if item.kind in ("similar", "likely"):
        return [(_why_asked(item, class_names, more), None)]
    reason, strategy = item.reason, item.reason.get("strategy") or "random"
    if told := WHY.get(item.kind) or WHY.get(strategy):
        return [(told, None)]
    tokens: Tokens = []
    if reason.get("word"):
        tokens += [("The model turns on ", None), (visible(str(reason["word"])), WORD), (" here. ", None)]
    if "cluster_size" in reason:
        others = int(reason["cluster_size"]) - 1
        similar = f"stands for {others:,} similar text{'s' * (others != 1)}" if others > 0 else "is like no other"
        tokens.append((f"This text {similar}.", None))
    elif "score" in reason:
        tokens.append((f"Asked for by {strategy}, score {reason['score']:.3g}.", None))
    return tokens or [(f"Asked for by {strategy}.", None)]


def _why_asked(item: QueueItem, class_names: Sequence[str], more: int) -> str:
    """Why a text is one of those that an annotator asked for."""
    after = f" {more} more come{'s' * (more == 1)} after it." if more else ""
    if item.kind == "similar":
        return f"You asked for texts like another one (similarity {item.reason['similarity']:.2f}).{after}"
    name, chance = visible(class_names[item.reason["class"]]), item.reason["chance"]
    return f"You asked for texts that may be {name}; the model says {chance:.0%}.{after}"


def why_again(doubt: Doubt, class_names: Sequence[str], n_left: int | None) -> Tokens:
    """Why a label is looked at again, in words; `n_left` is how many are left, where that is known."""
    name = label_text(doubt.label, class_names)
    if isinstance(doubt.label, tuple):
        told = f"A second look at these labels ({name}): {_other_answer(doubt, class_names)}. "
    else:
        told = f"A second look at the label {name}: a model that did not see it gives it {doubt.quality:.0%}. "
    left = "" if n_left is None else f"{n_left:,} labels are left, the most doubtful first."
    return [((told + left).strip(), None)]


def _other_answer(doubt: Doubt, class_names: Sequence[str]) -> str:
    """What a model that did not see labels would do otherwise, in words."""
    given, guess = set(numbers_of(doubt.label)), set(numbers_of(doubt.guess))
    parts = {"add": guess - given, "leave out": given - guess}
    told = [f"{what} {label_text(tuple(sorted(which)), class_names)}" for what, which in parts.items() if which]
    return f"a model that did not see them would {' and '.join(told) or 'give the same'}"


def label_text(label: Label, class_names: Sequence[str]) -> str:
    """A label in words."""
    names = named(label, class_names)
    return visible(names if isinstance(names, str) else ", ".join(names) or "none of the labels")


def html_text(text: str) -> str:
    """A text as HTML that shows it as it is; gradio's templates, which read braces and the like, find none in it."""
    return re.sub(r"[{}$`\\@]", lambda match: f"&#{ord(match[0])};", escape(visible(text)))


def capitalized(text: str) -> str:
    """A text whose first letter is large; the others stay as they are."""
    return text[:1].upper() + text[1:]


def one_line(text: str, length: int = 70) -> str:
    """The beginning of a text on one line."""
    line = " ".join(visible(text[: 4 * length]).split())
    return line if len(line) <= length and len(text) <= 4 * length else line[: length - 1].rstrip() + "…"


# The side panel -------------------------------------------------------------------------------------------------


def panel_html(done: Progress, trainer: TrainerState, budget: int | None = None) -> str:
    """The side panel's HTML."""
    goal = budget or done.n_texts
    towards = min(done.n_since_round, done.query_size)
    parts = [
        '<dl class="numbers">',
        _number("Labelled", f"{done.n_labeled:,}", f"of {goal:,}" + (" in the budget" if budget else "")),
        _number("This round", f"{towards}", f"of {done.query_size}"),
        "</dl>",
        f'<div class="bar" role="progressbar" aria-label="Labels towards the next training" aria-valuemin="0" '
        f'aria-valuemax="{done.query_size}" aria-valuenow="{towards}">'
        f'<div style="width:{100 * towards / max(1, done.query_size):.0f}%"></div></div>',
        _trainer_html(trainer, done.rounds),
        f"<h3>{capitalized(done.metric)}</h3>",
        *_accuracy_html(done),
        *(f'<p class="small">{html_text(told)}.</p>' for told in done.outlook),
        *_classes_html(done),
    ]
    counts = {"skipped": done.n_skipped, "flagged": done.n_flagged, "copies labelled with them": done.n_labeled_copies}
    aside = [f"{count:,} {what}" for what, count in counts.items() if count]
    if aside:
        parts.append(f'<p class="small">{", ".join(aside)}</p>')
    return "".join(parts)


def _number(name: str, value: str, of: str) -> str:
    return f"<div><dt>{name}</dt><dd><b>{value}</b> <span>{of}</span></dd></div>"


def _trainer_html(trainer: TrainerState, rounds: int) -> str:
    if trainer.kind == "failed":
        return (
            '<p class="trainer failed" role="alert">'
            f"The last training failed: {html_text(trainer.message[:300])} "
            "Every label is safe, and it will be tried again.</p>"
        )
    if trainer.kind == "encoding":
        state = f"{capitalized(html_text(trainer.message))}. Go on: the models come after that."
    elif trainer.kind == "training":
        state = "A new model is training; go on."
    else:
        state = f"{rounds} model{'s' * (rounds != 1)} so far." if rounds else "The first model comes after these."
    return f'<p class="trainer {trainer.kind}">{state}</p>'


def _accuracy_html(done: Progress) -> list[str]:
    if done.accuracy is None:
        return ['<p class="small">Measured on texts that the model never trains on, from the first training on.</p>']
    a = done.accuracy
    parts = [
        f'<p><b class="large">{a.value:.0%}</b> '
        f'<span class="small">{a.low:.0%} to {a.high:.0%} on {a.n} held-out text{"s" * (a.n != 1)}</span></p>',
        curve_svg(done.curve, done.metric),
    ]
    if done.gain is not None:
        g = done.gain
        parts.append(
            f'<p class="small">The next {g.labels} labels may add <b>{100 * g.value:.1f}</b> points '
            f"({100 * g.low:.1f} to {100 * g.high:.1f}).</p>"
        )
    elif len(done.curve) > 1 and done.metric == "accuracy":  # of others nothing is expected
        parts.append('<p class="small">What more labels would add is told after a few more rounds.</p>')
    return parts


def _classes_html(done: Progress) -> list[str]:
    """Each class's labels and recall, and a warning of those that have no label."""
    parts = ["<h3>Labels</h3>"]
    missing = [name for name, count in done.by_class.items() if not count]
    if missing and done.n_labeled:
        names = ", ".join(html_text(name) for name in missing[:MOST_NAMED])
        others = f" and {len(missing) - MOST_NAMED} others" if len(missing) > MOST_NAMED else ""
        parts.append(f'<p class="warning" role="status">No label yet: {names}{others}</p>')
    parts.append('<ul class="classes" tabindex="0" aria-label="Labels of each class">')
    for name, count in done.by_class.items():
        share = 100 * count / max(1, done.n_labeled)
        recall = done.recall.get(name)
        found = "" if recall is None else f"<em>finds {round(recall.value * recall.n)} of {recall.n}</em>"
        line = f'<span>{html_text(name)}</span>{found}<b>{count:,}</b><i style="width:{share:.0f}%"></i>'
        parts.append(f"<li{' class=none' * (not count and bool(done.n_labeled))}>{line}</li>")
    parts.append("</ul>")
    if done.n_without_label is not None:
        n = done.n_without_label
        parts.append(f'<p class="small">{n:,} text{"s" * (n != 1)} with none of the labels</p>')
    if done.recall:
        parts.append('<p class="small">finds: held-out texts of a class that the model recognizes (recall)</p>')
    return parts


def curve_svg(
    curve: Sequence[tuple[int, float]], metric: str = "accuracy", *, width: int = 260, height: int = 110
) -> str:
    """The learning curve as SVG: the metric after so many labels, from the lowest tenth below it to 100%."""
    if len(curve) < 2:
        return ""
    left, right, top, bottom = 34, 8, 8, 18
    low = int(10 * min(accuracy for _, accuracy in curve)) / 10
    low = min(low, 0.9)
    first, last = curve[0][0], curve[-1][0]

    def point(n: int, accuracy: float) -> str:
        x = left + (n - first) / max(1, last - first) * (width - left - right)
        y = top + (1 - accuracy) / (1 - low) * (height - top - bottom)
        return f"{x:.1f},{y:.1f}"

    points = " ".join(point(n, accuracy) for n, accuracy in curve)
    end = point(*curve[-1]).split(",")
    told = f"{capitalized(metric)} after {first} to {last} labels: from {curve[0][1]:.0%} to {curve[-1][1]:.0%}"
    return (
        f'<svg class="curve" viewBox="0 0 {width} {height}" role="img" aria-label="{told}">'
        f'<line x1="{left}" y1="{top}" x2="{width - right}" y2="{top}"/>'
        f'<line x1="{left}" y1="{height - bottom}" x2="{width - right}" y2="{height - bottom}"/>'
        f'<text x="{left - 5}" y="{top + 4}" text-anchor="end">100%</text>'
        f'<text x="{left - 5}" y="{height - bottom + 4}" text-anchor="end">{low:.0%}</text>'
        f'<text x="{left}" y="{height - 4}">{first:,}</text>'
        f'<text x="{width - right}" y="{height - 4}" text-anchor="end">{last:,} labels</text>'
        f'<polyline points="{points}"/><circle cx="{end[0]}" cy="{end[1]}" r="3.5"/></svg>'
    )
