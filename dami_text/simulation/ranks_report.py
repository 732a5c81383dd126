"""The report's part on ranks over data sets: what the tests say, a table, and a critical-difference diagram."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dami_text.simulation.plots import plot_ranks
from dami_text.simulation.ranks import ALPHA, FEWEST, Against, Ranking, against, joined
from dami_text.simulation.results import Comparison
from dami_text.simulation.tables import Table, file_name, number, p_value_cell, pictures, table, write_csv

#: Up to so many data sets Friedman's p-value is rough, and the tests find large differences alone.
FEW = 10

METHOD = (
    "On each data set the strategies are ranked by their mean score over the curve, 1 for the best; equal scores share "
    "the mean of their ranks. Friedman's test asks whether the mean ranks differ by more than chance, and Nemenyi's "
    "which of them do: those further apart than the critical difference (Demsar 2006), both at 5%. A bar in the figure "
    "joins strategies that are not so far apart; that does not show that they are equally good."
)
BY_DATA = "The mean score over the curve, in per cent, and in brackets the rank:"

#: By data set, in the ranking's order, what each strategy gains on the baseline.
Gains = Sequence[Mapping[str, Against]]


def ranks_part(ranking: Ranking, comparisons: Sequence[Comparison], figures: Path, baseline: str) -> dict[str, Any]:
    """What the templates show of a ranking; its figure and data are written into `figures`.

    `comparisons` are all of the report's.
    """
    n, k = ranking.scores.shape
    title = f"Ranks over {n} data sets, {ranking.model}"
    told: dict[str, Any] = {"title": title, "notes": _left_out(ranking)}
    if not ranking.enough:
        told["notes"].append(f"There are no ranks: {k} strategies are on all data sets, and the tests need {FEWEST}.")
        return told
    gains = _gains(ranking, comparisons, baseline)
    statistic, p_value = ranking.friedman()
    name = f"ranks-{file_name(ranking.model)}"
    difference = ranking.critical_difference
    mean_ranks = dict(zip(ranking.strategies, ranking.mean_ranks.tolist(), strict=True))
    caption = f"{title}; Friedman's test: p {_p(p_value)}"
    plot_ranks(pictures(figures, name), mean_ranks, joined(ranking.mean_ranks, difference), difference, caption)
    _write_csv(figures / f"{name}.csv", ranking, gains, baseline)
    found = f"Friedman's test: chi square {statistic:.2f} with {k - 1} degrees of freedom, p {_p(p_value)}."
    notes = [METHOD, f"{found} {_nemenyi(mean_ranks, difference, baseline, p_value)}"]
    if n <= FEW:
        notes.append(_little(n, k, difference))
    notes.append(
        _baseline_method(gains, baseline) if gains else f"{baseline} is not on all data sets: no differences to it."
    )
    told["notes"] += notes
    return told | {
        "figure": name,
        "caption": caption,
        "table": _summary(ranking, gains, baseline),
        "by_data_text": BY_DATA,
        "by_data": _by_data(ranking),
    }


def _left_out(ranking: Ranking) -> list[str]:
    names_by_data: dict[tuple[str, ...], list[str]] = {}
    for name, data in ranking.left_out.items():
        names_by_data.setdefault(data, []).append(name)
    told = [
        f"Left out of the ranks, as there are no finished runs on {', '.join(data)}: {', '.join(names)}."
        for data, names in names_by_data.items()
    ]
    if ranking.skipped:
        told.append(f"Nothing can be compared yet on {', '.join(ranking.skipped)}.")
    return told


def _gains(ranking: Ranking, comparisons: Sequence[Comparison], baseline: str) -> Gains:
    """What strategies gain on the baseline; empty where it is not among those ranked."""
    if baseline not in ranking.strategies:
        return []
    by_dataset = {comparison.dataset: comparison for comparison in comparisons if comparison.model == ranking.model}
    found = []
    for dataset in ranking.datasets:
        curves = by_dataset[dataset].curves
        found.append(against(curves, next(curve for curve in curves if curve.strategy == baseline)))
    return found


def _p(value: float) -> str:
    text = p_value_cell(value)
    return text if text.startswith("<") else f"= {text}"


def _nemenyi(mean_ranks: Mapping[str, float], difference: float, baseline: str, p_value: float) -> str:
    """What follows from Friedman's test for the pairs with the baseline."""
    if p_value >= ALPHA:
        return "It does not tell the strategies apart: their ranks may differ by chance, whatever the bars show."
    text = f"The critical difference is {difference:.2f}."
    if baseline not in mean_ranks:
        return text
    base = mean_ranks[baseline]
    better = [name for name, rank in mean_ranks.items() if base - rank > difference]
    worse = [name for name, rank in mean_ranks.items() if rank - base > difference]
    found = (("better", better), ("worse", worse))
    told = [f"{what} than {baseline}: {', '.join(names)}" for what, names in found if names]
    return f"{text} By Nemenyi's test, {'; '.join(told) or f'no strategy is told apart from {baseline}'}."


def _little(n: int, k: int, difference: float) -> str:
    return (
        f"With {n} data sets these tests can tell little: mean ranks of {k} strategies differ by {k - 1} at most, and "
        f"only those that differ by more than {difference:.2f} are told apart. Friedman's p-value is approximate."
    )


def _baseline_method(gains: Gains, baseline: str) -> str:
    text = (
        f"The difference to {baseline} is a mean over data sets, in points. Better and worse count the data sets on "
        "which it is significant at 5%: t-tests paired by seed, corrected by Holm over all strategies compared with "
        f"{baseline} on a data set, and not over data sets."
    )
    untested = any(math.isnan(gain.p_value) for found in gains for gain in found.values())
    return f"{text} A data set with one seed has no test." if untested else text


def _summary(ranking: Ranking, gains: Gains, baseline: str) -> Table:
    rows = []
    for i in np.argsort(ranking.mean_ranks, kind="stable"):
        name = ranking.strategies[i]
        row = [name, f"{ranking.mean_ranks[i]:.2f}"]
        if gains:
            row += ["", "", "", ""] if name == baseline else _gain_cells([on_data[name] for on_data in gains])
        rows.append(row)
    compared = [f"difference to {baseline}", "lowest to highest", "better on", "worse on"] if gains else []
    return table(["strategy", "mean rank", *compared], rows)


def _gain_cells(found: Sequence[Against]) -> list[str]:
    """The mean difference, its extremes, and on how many data sets the strategy is better and worse."""
    points = [100 * gain.difference for gain in found]
    tested = sum(not math.isnan(gain.p_value) for gain in found)
    counts = [f"{sum(gain.sign == sign for gain in found)} of {tested}" if tested else "" for sign in (1, -1)]
    return [f"{np.mean(points):+.2f}", f"{min(points):+.2f} to {max(points):+.2f}", *counts]


def _by_data(ranking: Ranking) -> Table:
    rows = [
        [
            ranking.strategies[i],
            *(
                f"{100 * score:.2f} ({rank:g})"
                for score, rank in zip(ranking.scores[:, i], ranking.ranks[:, i], strict=True)
            ),
        ]
        for i in np.argsort(ranking.mean_ranks, kind="stable")
    ]
    return table(["strategy", *ranking.datasets], rows)


def _write_csv(file: Path, ranking: Ranking, gains: Gains, baseline: str) -> None:
    """A line for each strategy and data set."""
    unknown = Against(math.nan, math.nan)
    rows = []
    for (d, i), score in np.ndenumerate(ranking.scores):
        name = ranking.strategies[i]
        gain = gains[d].get(name, unknown) if gains else unknown
        cells = [float(score), float(ranking.ranks[d, i]), gain.difference, gain.p_value]
        rows.append([name, ranking.datasets[d], *map(number, cells)])
    write_csv(file, ["strategy", "dataset", "mean score", "rank", f"difference to {baseline}", "p, corrected"], rows)
