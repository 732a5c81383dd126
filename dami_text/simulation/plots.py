"""Figures, drawn by matplotlib without a display."""

import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dami_text.publishing.cards import IN_ALL
from dami_text.simulation.comparison import LearningCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Okabe and Ito's colours, which colour-blind readers can tell apart; the markers repeat what they say.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX*"
LINES = ("-", "--", ":")

PANELS = 3  # side by side


def plot_learning_curve(
    path: Path,
    n_labeled: Sequence[int],
    scores: Sequence[float],
    n: int,
    title: str,
    *,
    metric: str = "accuracy",
    counted: str = IN_ALL,
) -> None:
    """Write the test scores (rounds,) against the number of labelled texts (rounds,) out of n, as a PNG.

    `counted` names what these numbers count, see `cards.labels_counted`.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(n_labeled, scores, marker="o", markersize=4, color="#0072B2")
    axes.set_xlabel(counted)
    axes.set_ylabel(f"test {metric}", parse_math=False)
    axes.set_title(title, parse_math=False)
    shares = axes.secondary_xaxis("top", functions=(partial(np.multiply, 100 / n), partial(np.multiply, n / 100)))
    shares.set_xlabel("% of the training set")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150, format="png", metadata={"Software": None})


def plot_curves(paths: Sequence[Path], curves: Sequence[LearningCurve], title: str, label: str) -> None:
    """Write `curves_figure` to each path as its suffix says."""
    _save(curves_figure(curves, title, label), paths)


def curves_figure(curves: Sequence[LearningCurve], title: str, label: str) -> Figure:
    """Mean scores against the labelled share, with 95% intervals as bands."""
    names = [textwrap.fill(curve.strategy, 80, break_on_hyphens=False) for curve in curves]
    lines = [line for name in names for line in name.splitlines()]
    columns = max(1, 88 // (max(map(len, lines)) + 8))
    figure = Figure(figsize=(6.5, 3.75 + 0.25 * -(-len(lines) // columns)), layout="constrained")
    axes = figure.subplots()
    _draw(axes, curves)
    counted = sorted({curve.counted for curve in curves})
    axes.set(xlabel=f"{' or '.join(counted)}, % of the training set")
    axes.set_ylabel(f"{label}, %", parse_math=False)
    axes.set_title(title, parse_math=False)
    _add_legend(figure, axes, names, columns)
    return figure


def plot_class(paths: Sequence[Path], panels: Mapping[str, Sequence[LearningCurve]], title: str) -> None:
    """Write a figure of several learning curves of the same strategies, a panel each, as `plot_curves` does.

    `panels` are the curves by what they measure.
    """
    names = [textwrap.fill(curve.strategy, 80, break_on_hyphens=False) for curve in next(iter(panels.values()))]
    lines = [line for name in names for line in name.splitlines()]
    columns = max(1, 130 // (max(map(len, lines)) + 8))
    rows = -(-len(panels) // PANELS)
    figure = Figure(figsize=(3.3 * PANELS, 2.8 * rows + 0.25 * -(-len(lines) // columns)), layout="constrained")
    places = figure.subplots(rows, PANELS, squeeze=False, sharex=True).ravel()
    for axes, (label, curves) in zip(places, panels.items(), strict=False):
        _draw(axes, curves)
        axes.set_ylabel(f"{label}, %", parse_math=False)
        axes.xaxis.set_tick_params(labelbottom=True)
    for axes in places[max(0, len(panels) - PANELS) : len(panels)]:
        axes.set_xlabel("% of the training set labelled")
    for axes in places[len(panels) :]:
        axes.remove()
    figure.suptitle(title, parse_math=False, fontsize="medium")
    _add_legend(figure, places[0], names, columns)
    _save(figure, paths)


def _draw(axes: "Axes", curves: Sequence[LearningCurve]) -> None:
    """Draw mean scores against the labelled share, with 95% intervals as bands."""
    for i, curve in enumerate(curves):
        x, mean, half = 100 * curve.share, 100 * curve.mean(), 100 * curve.half_interval()
        color, marker, line = (
            PALETTE[i % len(PALETTE)],
            MARKERS[i % len(MARKERS)],
            LINES[i // len(PALETTE) % len(LINES)],
        )
        axes.plot(x, mean, line, marker=marker, markersize=4, color=color)
        lowest = -100 if mean.min() < 0 else 0  # of a correlation
        axes.fill_between(x, *np.clip((mean - half, mean + half), lowest, 100), color=color, alpha=0.1, linewidth=0)
    axes.grid(alpha=0.3)


def _add_legend(figure: Figure, axes: "Axes", names: Sequence[str], columns: int) -> None:
    """Name the lines of these axes below all of the figure."""
    legend = figure.legend(axes.lines, names, loc="outside lower center", ncols=columns, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)


def plot_tradeoffs(
    paths: Sequence[Path],
    lines: Mapping[str, NDArray[np.float64]],
    marked: Mapping[str, tuple[float, float]],
    measure: str,
) -> None:
    """Write what stopping criteria spend and lose: lines (T, 2) of shares and points, and a mark on some of them."""
    figure = Figure(figsize=(6.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for i, (name, line) in enumerate(lines.items()):
        color = PALETTE[i % len(PALETTE)] if name in marked else "#999999"
        axes.plot(100 * line[:, 0], line[:, 1], LINES[0 if name in marked else 1], color=color, linewidth=1, alpha=0.7)
        if name in marked:
            x, y = marked[name]
            axes.plot([100 * x], [y], MARKERS[i % len(MARKERS)], color=color, markersize=8, label=name)
        else:
            axes.lines[-1].set_label(name)
    axes.set_xlabel("labels spent, % of the run's")
    axes.set_ylabel(f"points of {measure} lost against going on", parse_math=False)
    axes.grid(alpha=0.3)
    for text in figure.legend(loc="outside lower center", ncols=3, frameon=False).get_texts():
        text.set_parse_math(False)
    _save(figure, paths)


def plot_ranks(
    paths: Sequence[Path],
    mean_ranks: Mapping[str, float],
    bars: Sequence[tuple[float, float]],
    difference: float,
    title: str,
) -> None:
    """Write `ranks_figure` to each path as its suffix says."""
    _save(ranks_figure(mean_ranks, bars, difference, title), paths)


def ranks_figure(
    mean_ranks: Mapping[str, float], bars: Sequence[tuple[float, float]], difference: float, title: str
) -> Figure:
    """A critical-difference diagram: mean ranks, by strategy, on an axis that begins with the best, 1.

    A bar joins the strategies of a span of ranks; `difference` is the critical one. Source: Demsar 2006, Figure 1.
    """
    ranked = sorted(mean_ranks.items(), key=lambda item: item[1])
    k, half = len(ranked), -(-len(ranked) // 2)
    # Names stand at both sides, the ranks nearest to an end of the axis on top, so that no two lines to them cross.
    sides = ((0.6, "right", ranked[:half]), (k + 0.4, "left", ranked[half:][::-1]))
    height = 1.0 + 0.4 * len(bars)  # of all bars; the unit of heights is a line of text
    rows: list[tuple[float, str, float, float, str]] = []
    bottom = height
    for edge, align, side in sides:
        y = height
        for name, rank in side:
            text = textwrap.fill(f"{name}  {rank:.2f}", 34, break_on_hyphens=False)
            lines = text.count("\n") + 1
            rows.append((edge, align, rank, y + lines / 2, text))
            y += lines + 0.2
        bottom = max(bottom, y)
    figure = Figure(figsize=(8, 0.9 + 0.19 * (bottom + 2)), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0.6, k + 0.4), ylim=(bottom, 0), xticks=range(1, k + 1, -(-k // 20)))
    axes.yaxis.set_visible(False)
    axes.spines[["left", "right", "bottom"]].set_visible(False)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel(f"mean rank, 1 is best; critical difference {difference:.2f}")
    for edge, align, rank, y, text in rows:
        axes.plot([rank, rank, edge], [0, y, y], color="#999999", linewidth=0.8)
        axes.plot([rank], [0], "o", color="black", markersize=4, clip_on=False)
        shift = -4 if align == "right" else 4
        axes.annotate(
            text, (edge, y), (shift, 0), textcoords="offset points", ha=align, va="center", fontsize=9, parse_math=False
        )
    for i, (low, high) in enumerate(bars):
        y = 0.6 + 0.4 * i
        axes.plot([low - 0.004 * k, high + 0.004 * k], [y, y], color=PALETTE[0], linewidth=3, solid_capstyle="butt")
    axes.set_title(title, parse_math=False, fontsize="medium")
    return figure


def plot_matrix(paths: Sequence[Path], names: Sequence[str], shares: NDArray[np.float64], title: str) -> None:
    """Write a pairwise matrix (n, n) of shares, the row's strategy against the column's, as `plot_curves` does."""
    names = [textwrap.fill(name, 27, break_on_hyphens=False) for name in names]
    size = 1.5 + 0.5 * len(names)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, vmin=0, vmax=1, cmap="PuOr")
    for (row, column), share in np.ndenumerate(shares):
        if not np.isnan(share):
            color = "white" if abs(share - 0.5) > 0.3 else "black"
            axes.text(column, row, f"{share:.2f}", ha="center", va="center", color=color, fontsize=9)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", parse_math=False)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_xlabel("share of comparisons that the row wins against the column")
    axes.set_title(title, parse_math=False, fontsize=10)
    _save(figure, paths)


def _save(figure: Figure, paths: Sequence[Path]) -> None:
    """Write the figure, the same bytes for the same figure."""
    with mpl.rc_context({"svg.hashsalt": "dami_text"}):
        for path in paths:
            figure.savefig(path, dpi=150, metadata={"Date" if path.suffix == ".svg" else "Software": None})
