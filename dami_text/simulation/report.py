"""The report on a grid: report.md, report.html in one file, and the figures with their data as CSV."""

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dami_text.config.metrics import in_words
from dami_text.escaping import markdown
from dami_text.publishing.cards import IN_ALL
from dami_text.simulation.comparison import (
    EqualLabels,
    LearningCurve,
    area_p_values,
    equal_labels,
    matrix,
    mean_interval,
    share_won,
    significant_wins,
)
from dami_text.simulation.plots import plot_curves, plot_matrix
from dami_text.simulation.ranks import rankings
from dami_text.simulation.ranks_report import ranks_part
from dami_text.simulation.rare import class_shown, part_on_class
from dami_text.simulation.results import Comparison, RecordedRun, Split, spans
from dami_text.simulation.stopping_report import judged_runs, judgement
from dami_text.simulation.tables import (
    Table,
    curve_rows,
    file_name,
    interval,
    number,
    p_value_cell,
    pictures,
    plus_minus,
    table,
    write_csv,
)

FIGURES = "figures"
VALIDATION = (
    "Training stopped early by the validation split: a score on it is the best of its evaluations, and so higher than "
    "on texts that chose nothing."
)
SECONDS = "Means, as the clock showed them: runs that shared a machine waited for each other."


def write_report(
    comparisons: Sequence[Comparison],
    folder: Path,
    split: Split,
    metric: str,
    baseline: str,
    *,
    failed: Sequence[str] = (),
    runs: Sequence[RecordedRun] = (),
    positive_class: str | None = None,
) -> None:
    """Write report.md, report.html and the figures into `folder`.

    `split` and `metric` say what was measured, `baseline` is the strategy that others are compared with, `failed` names
    the runs that failed, and by `runs` stopping criteria are judged. How well a class is found and predicted is told of
    `positive_class`, or of the class that the runs made rare.

    Raises:
        ConfigError: a comparison has runs without records of `positive_class`.
    """
    class_names = [class_shown(comparison, positive_class) for comparison in comparisons]
    figures = folder / FIGURES
    figures.mkdir(parents=True, exist_ok=True)
    measure = measured(split, metric)
    in_all = all(curve.counted == IN_ALL for comparison in comparisons for curve in comparison.curves)
    told = {
        "title": "Active learning: what each strategy saves",
        "method": _method(measure),
        "validation": VALIDATION if split == "validation" and not in_all else None,
        "failed": table(["run and error"], [[line] for line in failed]) if failed else None,
        "rankings": [ranks_part(ranking, comparisons, figures, baseline) for ranking in rankings(comparisons)],
        "comparisons": [
            _compared(comparison, figures, measure, baseline, class_name=class_name)
            for comparison, class_name in zip(comparisons, class_names, strict=True)
        ],
        "seconds_text": SECONDS,
        "stopping": judgement(judged_runs(runs, split, metric), figures, measure),
    }
    for name in ("report.md", "report.html"):
        (folder / name).write_text(_render(f"{name}.j2", figures, told), encoding="utf-8")


def measured(split: Split, metric: str) -> str:
    """The measure in words, such as test accuracy."""
    return f"{split} {in_words(metric)}"


def title_of(comparison: Comparison) -> str:
    """What a comparison is of: the data set, the model and, where there are curves, the seeds."""
    title = f"{comparison.dataset}, {comparison.model}"
    if not comparison.curves:
        return title
    seeds = comparison.curves[0].seeds
    return f"{title}, {len(seeds)} seed{'s' * (len(seeds) > 1)} ({spans(seeds)})"


def sentences(comparison: Comparison, measure: str, baseline: str) -> list[str]:
    """What the report says of a comparison, in sentences: each strategy's curve, and the labels that it saves."""
    curves = comparison.curves
    told = [*comparison.notes, *_counted(curves)]
    base = next((curve for curve in curves if curve.strategy == baseline), None)
    others = [curve for curve in curves if curve is not base]
    p_values = dict(zip((c.strategy for c in others), area_p_values(others, base), strict=True)) if base else {}
    for curve in sorted(curves, key=lambda curve: -float(curve.area().mean())):
        line = f"{curve.strategy}: mean {measure} over the curve {interval(mean_interval(curve.area()))}%"
        if base is not None and curve is not base:
            line += f", {interval(mean_interval(curve.area() - base.area()), signed=True)} points against {baseline}"
            line += f", corrected p {value}" if (value := p_value_cell(p_values[curve.strategy])) else ""
            n = base.n_labeled
            if len(n) > 1:
                equal = _labels(equal_labels(curve, base, len(n) // 2), n)
                line += f"; its {n[len(n) // 2]:,} labels are worth {equal} of {baseline}"
        told.append(f"{line}.")
    return told


def _render(template: str, figures: Path, told: Mapping[str, Any]) -> str:
    """The template filled in. In HTML all that is told is escaped; in Markdown the filter `markdown` does it."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("dami_text.simulation"),
        autoescape="html" in template,
        keep_trailing_newline=True,
    )
    environment.filters["markdown"] = markdown
    environment.filters["embedded"] = lambda name: base64.b64encode((figures / f"{name}.svg").read_bytes()).decode()
    return environment.get_template(template).render(told).rstrip() + "\n"


def _method(measure: str) -> str:
    return (
        f"The measure is {measure}, in per cent. A value is a mean over seeds, with its 95% interval by Student's t. "
        "Runs of one seed are compared in pairs: they start from the same labelled texts and the same first model, "
        "where their first scores are the same. An interval is of one comparison: of twenty that show nothing, one "
        "excludes 0. The p-values of the differences are of two-sided t-tests, corrected by Holm over all strategies "
        "that are compared with the baseline on a data set with a model, and not over data sets and models."
    )


def _compared(
    comparison: Comparison, figures: Path, measure: str, baseline: str, *, class_name: str | None
) -> dict[str, Any]:
    """What the templates show of one data set and model; the figures and their data are written."""
    curves = comparison.curves
    title = f"{comparison.dataset}, {comparison.model}"
    told: dict[str, Any] = {"title": title, "notes": [*comparison.notes, *_counted(curves)]}
    if not curves:
        return told
    name = file_name(f"{comparison.dataset}-{comparison.model}")
    label = title_of(comparison)
    told |= {"name": name, "label": label, "curves": _curves_table(curves), "seconds": _seconds(curves)}
    plot_curves(pictures(figures, f"{name}-curves"), curves, label, measure)
    write_csv(figures / f"{name}-curves.csv", *curve_rows(curves))
    if len(curves) > 1:
        base = next((curve for curve in curves if curve.strategy == baseline), None)
        told["areas"] = _areas(curves, base)
        if base is None:
            told["no_baseline"] = f"There is no strategy {baseline} here that labels could be saved against."
        elif len(base.n_labeled) > 1:
            told["savings"] = _savings(curves, base, figures / f"{name}-savings.csv")
        told |= _matrices(curves, figures, name, label)
    if class_name is not None:
        told["of_class"] = part_on_class(comparison, class_name, figures, name, baseline=baseline)
    return told


def _counted(curves: Sequence[LearningCurve]) -> list[str]:
    """What the curves' numbers of labels count, in sentences."""
    if len({curve.counted for curve in curves}) > 1:
        return [f"The curve of {curve.strategy} counts {curve.counted}." for curve in curves]
    subject = "The curve counts" if len(curves) == 1 else "The curves count"
    return [f"{subject} {curve.counted}." for curve in curves[:1]]


def _curves_table(curves: Sequence[LearningCurve]) -> Table:
    rows = []
    for r, (n, share) in enumerate(zip(curves[0].n_labeled, curves[0].share, strict=True)):
        cells = [plus_minus(100 * curve.mean()[r], 100 * curve.half_interval()[r]) for curve in curves]
        rows.append([f"{n:,} ({share:.0%})", *cells])
    return table(["labelled", *(curve.strategy for curve in curves)], rows)


def _areas(curves: Sequence[LearningCurve], base: LearningCurve | None) -> Table:
    others = [curve for curve in curves if curve is not base]
    p_values = dict(zip((c.strategy for c in others), area_p_values(others, base), strict=True)) if base else {}
    rows = []
    for curve in sorted(curves, key=lambda curve: -float(curve.area().mean())):
        cells = [curve.strategy, interval(mean_interval(curve.area()))]
        if curve is base:
            cells += ["", ""]
        elif base is not None:
            difference = interval(mean_interval(curve.area() - base.area()), signed=True)
            cells += [difference, p_value_cell(p_values[curve.strategy])]
        rows.append(cells)
    compared = [f"difference to {base.strategy}, by seed", "p, corrected"] if base else []
    return table(["strategy", "mean score over the curve", *compared], rows)


def _savings(curves: Sequence[LearningCurve], base: LearningCurve, file: Path) -> dict[str, Any]:
    """How many labels of the baseline each strategy's are worth, in a table; in the file all of it."""
    baseline = base.strategy
    others = [curve for curve in curves if curve is not base]
    n = base.n_labeled
    shown = sorted({int(np.abs(n - part * n[-1]).argmin()) for part in (0.25, 0.5, 0.75)} - {0}) or [len(n) - 1]
    found = {(c.strategy, r): equal_labels(c, base, r) for c in others for r in range(1, len(n))}
    rows = [
        [c.strategy, *(f"{n[r]:,} = {baseline} with {_labels(found[c.strategy, r], n)}" for r in shown)] for c in others
    ]
    header = ["strategy", "labels", f"labels that {baseline} needs", "low", "high"]
    data = [
        [name, n[r], number(value.estimate), number(low), number(high)]
        for (name, r), value in found.items()
        for low, high in value.ranges or [(math.nan, math.nan)]
    ]
    write_csv(file, header, data)
    method = (
        f"How many labels {baseline} needs for the mean score that a strategy has: linear interpolation on the "
        f"running maximum of its mean curve. {_range_method(len(base.seeds))}"
    )
    return {"method": method, "table": table(["strategy", *(f"at {n[r]:,}" for r in shown)], rows)}


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


def _matrices(curves: Sequence[LearningCurve], figures: Path, name: str, label: str) -> dict[str, Any]:
    """How often each strategy wins against each other, by comparisons and, of several seeds, by tests."""
    names = [curve.strategy for curve in curves]
    won, tests = matrix(curves, share_won), significant_wins(curves)
    plot_matrix(pictures(figures, f"{name}-matrix"), names, won, label)
    pairs = [(i, j) for i in range(len(names)) for j in range(len(names)) if i != j]
    write_csv(
        figures / f"{name}-matrix.csv",
        ["strategy", "against", "share won", "share of tests won"],
        [[names[i], names[j], number(won[i, j]), number(tests[i, j])] for i, j in pairs],
    )
    text = (
        "The share of comparisons (seed by round, without a first that both share) in which the row's strategy scores "
        "higher than the column's, ties counted half."
    )
    told = {"won": {"text": text, "table": table(["", *names], _matrix_rows(names, won))}}
    if len(curves[0].seeds) > 1:
        text = (
            "The share of rounds in which the row's strategy is significantly better than the column's: t-tests paired "
            "by seed, two-sided at 5%, Holm-corrected over all pairs and rounds of this table."
        )
        told["tests"] = {"text": text, "table": table(["", *names], _matrix_rows(names, tests))}
    return told


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
    return table(["strategy", "training", "querying"], rows)
