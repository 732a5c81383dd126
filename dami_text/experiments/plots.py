"""Figures, drawn by matplotlib without a display."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dami_text.experiments.comparison import LearningCurve

#: Okabe and Ito's colours, which colour-blind readers can tell apart; the markers repeat what they say.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX*"


def plot_learning_curve(
    path: Path, n_labeled: Sequence[int], scores: Sequence[float], n: int, title: str, metric: str = "accuracy"
) -> None:
    """Write the test scores (rounds,) against the number of labelled texts (rounds,) out of n, as a PNG."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(n_labeled, scores, marker="o", markersize=4, color="#0072B2")
    axes.set_xlabel("labelled texts")
    axes.set_ylabel(f"test {metric}", parse_math=False)
    axes.set_title(title, parse_math=False)
    shares = axes.secondary_xaxis("top", functions=(partial(np.multiply, 100 / n), partial(np.multiply, n / 100)))
    shares.set_xlabel("% of the training set")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150, format="png", metadata={"Software": None})


def plot_curves(path: Path, curves: Sequence[LearningCurve], title: str) -> None:
    """Write mean accuracy against the labelled share, with 95% intervals as bands, as the path's suffix says."""
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    for i, curve in enumerate(curves):
        x, mean, half = 100 * curve.share, 100 * curve.mean(), 100 * curve.half_interval()
        color, marker = PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]
        axes.plot(x, mean, marker=marker, markersize=4, color=color, label=curve.strategy)
        axes.fill_between(x, mean - half, mean + half, color=color, alpha=0.15, linewidth=0)
    axes.set(xlabel="labelled texts, % of the training set", ylabel="test accuracy, %")
    axes.set_title(title, parse_math=False)
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
