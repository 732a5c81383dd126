"""The report on a grid: report.md, report.html in one file, and the figures with their data as CSV."""

import base64
import csv
import html
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dami_text.escaping import markdown, no_formula
from dami_text.simulation.comparison import (
    EqualLabels,
    Interval,
    LearningCurve,
    area_p_values,
    equal_labels,
    matrix,
    mean_interval,
    share_won,
    significantly_better,
)
from dami_text.simulation.plots import plot_curves, plot_matrix
from dami_text.simulation.results import Comparison, Split, spans

FIGURES = "figures"
VALIDATION = (
    "Training stopped early by the validation split: a score on it is the best of its epochs, and so higher than on "
    "texts that chose nothing."
)
SECONDS = "Means, as the clock showed them: runs that shared a machine waited for each other."


@dataclass(frozen=True)
class Heading:
    """A heading of level 1, 2 or 3."""

    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of cells below a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Image:
    """A figure's files: path with .svg, .png and .csv."""

    path: Path
    text: str


Block = Heading | Paragraph | Table | Image


def write_report(
    comparisons: Sequence[Comparison],
    folder: Path,
    split: Split,
    metric: str,
    baseline: str,
    failed: Sequence[str] = (),
) -> None:
    """Write report.md, report.html and the figures into `folder`.

    `split` and `metric` say what was measured, `baseline` is the strategy that others are compared with, `failed` names
    the runs that failed.
    """
    (folder / FIGURES).mkdir(parents=True, exist_ok=True)
    measure = f"{split} {metric.replace('_', ' ')}"
    blocks: list[Block] = [Heading(1, "Active learning: what each strategy saves"), Paragraph(_method(measure))]
    if split == "validation":
        blocks.append(Paragraph(VALIDATION))
    if failed:
        blocks += [Paragraph("Runs that failed:"), Table(["run and error"], [[line] for line in failed])]
    for comparison in comparisons:
        blocks += _blocks(comparison, folder / FIGURES, measure, baseline)
    (folder / "report.md").write_text(to_markdown(blocks, folder), encoding="utf-8")
    (folder / "report.html").write_text(to_html(blocks), encoding="utf-8")


def _method(measure: str) -> str:
    return (
        f"The measure is {measure}, in per cent. A value is a mean over seeds, with its 95% interval by Student's t. "
        "Runs of one seed are compared in pairs: they start from the same labelled texts and the same first model, "
        "where their first scores are the same. An interval is of one comparison: of twenty that show nothing, one "
        "excludes 0. The p-values of the differences are corrected for the number of strategies (Holm)."
    )


def _blocks(comparison: Comparison, figures: Path, measure: str, baseline: str) -> list[Block]:
    curves = comparison.curves
    title = f"{comparison.dataset}, {comparison.model}"
    blocks: list[Block] = [Heading(2, title), *map(Paragraph, comparison.notes)]
    if not curves:
        return blocks
    seeds = curves[0].seeds
    stem = figures / re.sub(r"[^A-Za-z0-9._-]+", "-", f"{comparison.dataset}-{comparison.model}")
    label = f"{title}, {len(seeds)} seed{'s' * (len(seeds) > 1)} ({spans(seeds)})"
    curves_image = Image(stem.with_name(stem.name + "-curves"), f"Learning curves, {label}")
    plot_curves(_files(curves_image), curves, label, measure)
    _write_csv(curves_image.path, *_curve_rows(curves))
    blocks += [curves_image, _curves_table(curves)]
    if len(curves) > 1:
        blocks += [Heading(3, "Area under the learning curve"), *_areas(curves, baseline)]
        blocks += _savings(curves, baseline, stem)
        blocks += [Heading(3, "Each strategy against each other"), *_matrices(curves, stem, label)]
    return [*blocks, Heading(3, "Seconds a round"), Paragraph(SECONDS), _seconds(curves)]


def _curves_table(curves: Sequence[LearningCurve]) -> Table:
    rows = []
    for r, (n, share) in enumerate(zip(curves[0].n_labeled, curves[0].share, strict=True)):
        cells = [plus_minus(100 * curve.mean()[r], 100 * curve.half_interval()[r]) for curve in curves]
        rows.append([f"{n:,} ({share:.0%})", *cells])
    return Table(["labelled", *(curve.strategy for curve in curves)], rows)


def plus_minus(mean: float, half: float) -> str:
    """A mean and half its interval, which is left out where it is unknown."""
    return f"{mean:.1f}" if math.isnan(half) else f"{mean:.1f} ± {half:.1f}"


def _areas(curves: Sequence[LearningCurve], baseline: str) -> list[Block]:
    base = next((curve for curve in curves if curve.strategy == baseline), None)
    others = [curve for curve in curves if curve is not base]
    p_values = dict(zip((c.strategy for c in others), area_p_values(others, base), strict=True)) if base else {}
    rows = []
    for curve in sorted(curves, key=lambda curve: -float(curve.area().mean())):
        cells = [curve.strategy, _interval(mean_interval(curve.area()))]
        if curve is base:
            cells += ["", ""]
        elif base is not None:
            difference = _interval(mean_interval(curve.area() - base.area()), signed=True)
            cells += [difference, _p_value(p_values[curve.strategy])]
        rows.append(cells)
    compared = [f"difference to {baseline}, by seed", "p, corrected"] if base else []
    return [Table(["strategy", "mean score over the curve", *compared], rows)]


def _p_value(value: float) -> str:
    if math.isnan(value):
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _interval(value: Interval, signed: bool = False) -> str:
    sign = "+" if signed else ""
    text = f"{100 * value.estimate:{sign}.2f}"
    return text if math.isnan(value.low) else f"{text} ({100 * value.low:{sign}.2f} to {100 * value.high:{sign}.2f})"


def _savings(curves: Sequence[LearningCurve], baseline: str, stem: Path) -> list[Block]:
    base = next((curve for curve in curves if curve.strategy == baseline), None)
    if base is None:
        return [Paragraph(f"There is no strategy {baseline} here that labels could be saved against.")]
    others = [curve for curve in curves if curve is not base]
    n = base.n_labeled
    if len(n) == 1:
        return []
    shown = sorted({int(np.abs(n - part * n[-1]).argmin()) for part in (0.25, 0.5, 0.75)} - {0}) or [len(n) - 1]
    found = {(c.strategy, r): equal_labels(c, base, r) for c in others for r in range(1, len(n))}
    rows = [
        [c.strategy, *(f"{n[r]:,} = {baseline} with {_labels(found[c.strategy, r], n)}" for r in shown)] for c in others
    ]
    header = ["strategy", "labels", f"labels that {baseline} needs", "low", "high"]
    data = [
        [name, n[r], _number(value.estimate), _number(low), _number(high)]
        for (name, r), value in found.items()
        for low, high in value.ranges or [(math.nan, math.nan)]
    ]
    _write_csv(stem.with_name(stem.name + "-savings"), header, data)
    return [
        Heading(3, "Label savings"),
        Paragraph(
            f"How many labels {baseline} needs for the mean score that a strategy has: linear interpolation on the "
            f"running maximum of its mean curve. {_range_method(len(base.seeds))}"
        ),
        Table(["strategy", *(f"at {n[r]:,}" for r in shown)], rows),
    ]


def _range_method(seeds: int) -> str:
    if seeds < 2:
        return "One seed alone gives no interval."
    alike = "the numbers of labels at which its score does not differ from the strategy's by a paired t-test at 5%"
    return f"In brackets {alike}; where the curves meet more than once, these are several ranges."


def _labels(value: EqualLabels, n: NDArray[np.int64]) -> str:
    def written(number: float) -> str:
        if math.isinf(number):
            return f"more than {n[-1]:,}" if number > 0 else f"{n[0]:,} or fewer"
        return f"{round(number):,}"

    if not value.ranges or value.ranges in (((-math.inf, -math.inf),), ((math.inf, math.inf),)):
        return written(value.estimate)
    ranges = [written(low) if low == high else f"{written(low)} to {written(high)}" for low, high in value.ranges]
    return f"{written(value.estimate)} ({', or '.join(ranges)})"


def _matrices(curves: Sequence[LearningCurve], stem: Path, label: str) -> list[Block]:
    names = [curve.strategy for curve in curves]
    won, tests = matrix(curves, share_won), matrix(curves, significantly_better)
    image = Image(stem.with_name(stem.name + "-matrix"), f"Share of comparisons that the row wins, {label}")
    plot_matrix(_files(image), names, won, label)
    pairs = [(i, j) for i in range(len(names)) for j in range(len(names)) if i != j]
    _write_csv(
        image.path,
        ["strategy", "against", "share won", "share of tests won"],
        [[names[i], names[j], _number(won[i, j]), _number(tests[i, j])] for i, j in pairs],
    )
    text = (
        "The share of comparisons (seed by round, without a first that both share) in which the row's strategy scores "
        "higher than the column's, ties counted half"
    )
    blocks: list[Block] = [Paragraph(text + "."), image, Table(["", *names], _matrix_rows(names, won))]
    if len(curves[0].seeds) > 1:
        text = (
            "The share of rounds in which the row's strategy is significantly better than the column's: t-tests paired "
            "by seed, two-sided at 5%, Holm-corrected over the rounds of a pair, and not over the pairs."
        )
        blocks += [Paragraph(text), Table(["", *names], _matrix_rows(names, tests))]
    return blocks


def _matrix_rows(names: Sequence[str], values: NDArray[np.float64]) -> list[list[str]]:
    return [
        [name, *("" if math.isnan(value) else f"{value:.2f}" for value in row)]
        for name, row in zip(names, values, strict=True)
    ]


def _seconds(curves: Sequence[LearningCurve]) -> Table:
    rows = [
        [curve.strategy, *(f"{curve.seconds[what][:, part].mean():.1f}" for what, part in parts)]
        for curve in curves
        if (parts := (("train", slice(None)), ("query", slice(0, max(1, len(curve.n_labeled) - 1)))))
    ]
    return Table(["strategy", "training", "querying"], rows)


def _files(image: Image) -> list[Path]:
    return [image.path.with_name(f"{image.path.name}.{suffix}") for suffix in ("svg", "png")]


def _curve_rows(curves: Sequence[LearningCurve]) -> tuple[list[str], list[list[object]]]:
    header = ["strategy", "labelled", "share", "mean", "half interval", *(f"seed {s}" for s in curves[0].seeds)]
    rows: list[list[object]] = []
    for curve in curves:
        mean, half = curve.mean(), curve.half_interval()
        for r, (n, share) in enumerate(zip(curve.n_labeled, curve.share, strict=True)):
            seeds = [_number(score) for score in curve.scores[:, r]]
            rows.append([curve.strategy, n, _number(share), _number(mean[r]), _number(half[r]), *seeds])
    return header, rows


def _number(value: float) -> str:
    """A number as a CSV cell; empty where it is unknown."""
    return "" if math.isnan(value) else f"{value:.6g}"


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.with_name(path.name + ".csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([[no_formula(cell) for cell in row] for row in (header, *rows)])


def to_markdown(blocks: Sequence[Block], folder: Path) -> str:
    """The blocks as Markdown, in which what they say is text and no markup; figures by paths from `folder`."""
    parts = []
    for block in blocks:
        if isinstance(block, Heading):
            parts.append(f"{'#' * block.level} {markdown(block.text)}")
        elif isinstance(block, Paragraph):
            parts.append(markdown(block.text))
        elif isinstance(block, Table):
            rows = [block.header, ["---"] * len(block.header), *block.rows]
            lines = [" | ".join(cell if row is rows[1] else markdown(cell) for cell in row) for row in rows]
            parts.append("\n".join(f"| {line} |" for line in lines))
        else:
            parts.append(f"![{markdown(block.text)}]({block.path.relative_to(folder).as_posix()}.png)")
    return "\n\n".join(parts) + "\n"


STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}"
    "td,th{border:1px solid #ccc;padding:.2em .6em;text-align:right}td:first-child,th:first-child{text-align:left}"
    "img{max-width:100%}.wide{overflow-x:auto}"
)


def to_html(blocks: Sequence[Block]) -> str:
    """The blocks as one page that needs no other file."""
    parts = []
    for block in blocks:
        if isinstance(block, Heading):
            parts.append(f"<h{block.level}>{html.escape(block.text)}</h{block.level}>")
        elif isinstance(block, Paragraph):
            parts.append(f"<p>{html.escape(block.text)}</p>")
        elif isinstance(block, Table):
            rows = [("th", block.header), *(("td", row) for row in block.rows)]
            lines = ["".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) for tag, row in rows]
            parts.append("<div class=wide><table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table></div>")
        else:
            data = base64.b64encode(_files(block)[0].read_bytes()).decode()
            parts.append(f'<p><img alt="{html.escape(block.text)}" src="data:image/svg+xml;base64,{data}"></p>')
    title = html.escape(next((block.text for block in blocks if isinstance(block, Heading)), "report"))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</html>\n"
    )
