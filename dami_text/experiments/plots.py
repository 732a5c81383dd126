"""Figures, drawn by matplotlib without a display."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure


def plot_learning_curve(path: Path, n_labeled: Sequence[int], accuracy: Sequence[float], n: int, title: str) -> None:
    """Write the accuracy (rounds,) against the number of labelled texts (rounds,) out of n, as a PNG."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(n_labeled, accuracy, marker="o", markersize=4, color="#0072B2")
    axes.set(xlabel="labelled texts", ylabel="test accuracy")
    axes.set_title(title, parse_math=False)
    shares = axes.secondary_xaxis("top", functions=(partial(np.multiply, 100 / n), partial(np.multiply, n / 100)))
    shares.set_xlabel("% of the training set")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150, format="png", metadata={"Software": None})
