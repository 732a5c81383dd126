"""What the parts of a report are made of: tables, numbers with their intervals, and files of data."""

import csv
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dami_text.escaping import no_formula
from dami_text.simulation.comparison import Interval, LearningCurve

#: A table of a template: `header`, the cells (C,) of its first row, and `rows` of as many cells.
Table = dict[str, Sequence[Any]]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of a template."""
    return {"header": header, "rows": rows}


def plus_minus(mean: float, half: float) -> str:
    """A mean and half its interval, which is left out where it is unknown."""
    return f"{mean:.1f}" if math.isnan(half) else f"{mean:.1f} ± {half:.1f}"


def interval(value: Interval, signed: bool = False) -> str:
    """A score with its interval, in per cent; the interval is left out where it is unknown."""
    sign = "+" if signed else ""
    text = f"{100 * value.estimate:{sign}.2f}"
    return text if math.isnan(value.low) else f"{text} ({100 * value.low:{sign}.2f} to {100 * value.high:{sign}.2f})"


def file_name(name: str) -> str:
    """A name of a data set or model as a part of a file's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


def p_value_cell(value: float) -> str:
    """A p-value; empty where it is unknown."""
    if math.isnan(value):
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def pictures(figures: Path, name: str) -> list[Path]:
    """The files of a figure."""
    return [figures / f"{name}.{suffix}" for suffix in ("svg", "png")]


def curve_rows(curves: Sequence[LearningCurve]) -> tuple[list[str], list[list[object]]]:
    """The header and the rows of learning curves as CSV."""
    header = ["strategy", "labelled", "share", "mean", "half interval", *(f"seed {s}" for s in curves[0].seeds)]
    rows: list[list[object]] = []
    for curve in curves:
        mean, half = curve.mean(), curve.half_interval()
        for r, (n, share) in enumerate(zip(curve.n_labeled, curve.share, strict=True)):
            seeds = [number(score) for score in curve.scores[:, r]]
            rows.append([curve.strategy, n, number(share), number(mean[r]), number(half[r]), *seeds])
    return header, rows


def number(value: float) -> str:
    """A number as a CSV cell; empty where it is unknown."""
    return "" if math.isnan(value) else f"{value:.6g}"


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as CSV in which no cell is a formula."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([[no_formula(cell) for cell in row] for row in (header, *rows)])
