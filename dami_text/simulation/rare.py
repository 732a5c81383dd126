"""The report's part on one class, such as a rare one: how many of its texts are found, and how well it is predicted."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dami_text.config.fields import listed
from dami_text.errors import ConfigError
from dami_text.simulation.by_class import MEASURES, found_of
from dami_text.simulation.comparison import LearningCurve, area_p_values, labels_needed, mean_interval
from dami_text.simulation.plots import plot_class
from dami_text.simulation.results import Comparison, RecordedRun, curve_of
from dami_text.simulation.tables import curve_rows, interval, p_value_cell, pictures, table, write_csv

#: Shares of a class's texts, for each of which it is told how many labels find it.
SHARES = (0.5, 0.8, 0.95)

#: Parts of the labels with which it is shown how many texts were found.
SHOWN = (1 / 3, 2 / 3, 1.0)

FOUND = "share found"


def class_shown(comparison: Comparison, named: str | None) -> str | None:
    """The class that a comparison's part is on: the one that is named, or the one that all runs made rare; or None.

    Raises:
        ConfigError: the runs have no records of the class that is named.
    """
    runs = [run for found in comparison.runs.values() for run in found]
    if not runs:
        return None
    rarefied = {str(run.options.get("rarefy") or "").rpartition("=")[0] for run in runs}
    class_name = named or (rarefied.pop() if len(rarefied) == 1 else None)
    if not class_name:
        return None
    unknown = next((run for run in runs if any(found_of(line, class_name) is None for line in run.rounds)), None)
    if unknown is None:
        return class_name
    if named is None:  # runs of versions that did not record it
        return None
    names = list(unknown.rounds[0].get("class_counts", ()))
    wanted = f"it has {listed(names)}" if class_name not in names else "it was made before classes were recorded"
    raise ConfigError(f"--positive-class is {class_name!r}, of which {unknown.name} has no records; {wanted}")


def part_on_class(
    comparison: Comparison, class_name: str, figures: Path, name: str, *, baseline: str
) -> dict[str, Any]:
    """What the templates show of a class; the figure `name`-class and its data are written into `figures`."""
    found = [_found_curve(curve, comparison.runs[curve.strategy], class_name) for curve in comparison.curves]
    scores = {shown: _curves(comparison, class_name, measure) for measure, shown in MEASURES.items()}
    figure = f"{name}-class"
    panels = scores | {FOUND: found}
    caption = f"The class {class_name!r}, {comparison.dataset}, {comparison.model}"
    plot_class(pictures(figures, figure), panels, caption)
    header, _ = curve_rows(found)
    rows = [[measure, *row] for measure, curves in panels.items() for row in curve_rows(curves)[1]]
    write_csv(figures / f"{figure}.csv", ["measure", *header], rows)
    totals = _totals(comparison.runs[comparison.curves[0].strategy], class_name)
    several = "" if totals.min() == totals.max() else f"{totals.min():,} to "
    told = {
        "title": f"The class {class_name!r}",
        "figure": figure,
        "caption": caption,
        "found_text": (
            f"The pool has {several}{totals.max():,} texts of the class. Found are those among the labelled texts; to "
            "find a share of all, a strategy needs as many labels as the last columns say, interpolated between rounds."
            f" {_interval_method(len(found[0].seeds))}"
        ),
        "found": _found_table(found, totals),
        "scores_text": "How well the class is predicted on the test split: means over the curve, in per cent.",
        "scores": _scores_table(scores),
    }
    if len(found) > 1 and any(curve.strategy == baseline for curve in found):
        told["differences_text"] = _differences_method(baseline, len(found[0].seeds))
        told["differences"] = _differences_table(panels, baseline)
    return told


def _interval_method(seeds: int) -> str:
    if seeds < 2:
        return "One seed alone gives no interval."
    return "In brackets are 95% intervals of the means over seeds, by Student's t."


def _differences_method(baseline: str, seeds: int) -> str:
    text = f"The differences to {baseline}, by seed, in points"
    if seeds < 2:
        return f"{text}."
    return f"{text}. In each column p is corrected by Holm over all strategies, and not over the columns."


def _curves(comparison: Comparison, class_name: str, measure: str) -> list[LearningCurve]:
    return [
        curve_of(comparison.dataset, comparison.model, label, runs=runs, on="test", metric=f"{measure}:{class_name}")
        for label, runs in comparison.runs.items()
    ]


def _totals(runs: Sequence[RecordedRun], class_name: str) -> NDArray[np.int64]:
    """The texts of the class in the pool of each seed (S,)."""
    return np.array([found[1] for run in runs if (found := found_of(run.rounds[0], class_name)) is not None])


def _found_curve(curve: LearningCurve, runs: Sequence[RecordedRun], class_name: str) -> LearningCurve:
    """The share of the pool's texts of the class that is labelled, as a learning curve."""
    pairs = [[found_of(line, class_name) or (0, 0) for line in run.rounds] for run in runs]
    return replace(curve, scores=np.array([[n / max(1, total) for n, total in found] for found in pairs]))


def labels_to_find(curve: LearningCurve, share: float) -> list[float]:
    """How many labels each seed (S,) needs to find a share of the class, linear between rounds.

    Infinite are more labels than there were; a seed that begins with that share needs as many as it begins with.
    """
    needed = [labels_needed(curve.n_labeled, found, share) for found in curve.scores]
    return [max(n, float(curve.n_labeled[0])) for n in needed]


def _found_table(curves: Sequence[LearningCurve], totals: NDArray[np.int64]) -> Any:
    n = curves[0].n_labeled
    shown = sorted({int(np.abs(n - part * n[-1]).argmin()) for part in SHOWN})
    rows = []
    for curve in sorted(curves, key=lambda curve: -float(curve.area().mean())):
        counts = [_number(curve.scores[:, r] * totals, digits=1) for r in shown]
        needed = [_needed(labels_to_find(curve, share), int(n[-1])) for share in SHARES]
        rows.append([curve.strategy, *counts, *needed])
    of = [f"found with {n[r]:,} labels" for r in shown]
    return table(["strategy", *of, *(f"labels to find {share:.0%}" for share in SHARES)], rows)


def _needed(labels: Sequence[float], most: int) -> str:
    reached = [value for value in labels if math.isfinite(value)]
    if not reached:
        return f"more than {most:,}"
    if len(reached) == len(labels):
        return _number(np.array(reached), digits=0)
    ends = f"{round(min(reached)):,} to {round(max(reached)):,}" if len(reached) > 1 else f"{round(reached[0]):,}"
    return f"more than {most:,}; {len(reached)} of {len(labels)} seeds need {ends}"


def _number(values: NDArray[np.float64], digits: int) -> str:
    """The mean of values (S,), none of them negative, with its interval."""
    mean, low, high = mean_interval(values)
    text = f"{mean:,.{digits}f}"
    return text if math.isnan(low) else f"{text} ({max(low, 0):,.{digits}f} to {high:,.{digits}f})"


def _scores_table(scores: dict[str, list[LearningCurve]]) -> Any:
    first = next(iter(scores.values()))
    ranked = sorted(range(len(first)), key=lambda i: -float(first[i].area().mean()))
    rows = [
        [first[i].strategy, *(interval(mean_interval(curves[i].area())) for curves in scores.values())] for i in ranked
    ]
    return table(["strategy", *scores], rows)


def _differences_table(scores: dict[str, list[LearningCurve]], baseline: str) -> Any:
    cells: dict[str, list[str]] = {}
    for curves in scores.values():
        base = next(curve for curve in curves if curve.strategy == baseline)
        others = [curve for curve in curves if curve is not base]
        for curve, p_value in zip(others, area_p_values(others, base), strict=True):
            difference = interval(mean_interval(curve.area() - base.area()), signed=True)
            p = f", p {text}" if (text := p_value_cell(p_value)) else ""
            cells.setdefault(curve.strategy, []).append(f"{difference}{p}")
    return table(["strategy", *scores], [[strategy, *row] for strategy, row in cells.items()])
