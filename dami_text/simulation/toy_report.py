"""The figures and tables of the toy data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, confusion_matrix

from dami_text.simulation.plots import MARKERS, PALETTE
from dami_text.simulation.toy import (
    CASES,
    CHOOSERS,
    DISTANCES,
    EDGE,
    REPRESENTATIONS,
    SECTORS,
    Toy,
    choose,
    clusters_of,
    representations,
    sectors_of,
)

REPRESENTATION_NAMES = {
    "logit": "Interpretations, log-odds",
    "probability": "Interpretations, probability",
    "coreset": "CORESET's features",
    "badge": "BADGE's embeddings",
    "inputs": "The points, or the true log-odds' gradient",
}
STRATEGY_NAMES = {
    "random": "Random",
    "egl": "EGL",
    "bald": "BALD",
    "coreset": "CORESET",
    "badge": "BADGE",
    "dami.probability": "DAMI, probability",
    "dami.logit": "DAMI, log-odds",
}
CLASS_COLORS = (PALETTE[0], PALETTE[1])


def draw_data(path: Path, toy: Toy) -> None:
    """Figure 1: the pool's points by class, and the borders of the four sectors."""
    figure = Figure(figsize=(5, 5.5), layout="constrained")
    axes = _square(figure.subplots())
    points, labels = toy.unlabeled_points, toy.labels[toy.pool.unlabeled]
    _scatter_classes(axes, points, labels, size=9)
    for name, at in zip(SECTORS, ((4.1, 0), (0, 4.6), (-4.1, 0), (0, -4.6)), strict=True):
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
        axes.text(*at, name, ha="center", va="center", fontsize=9, bbox=box)
    axes.set_title("$p(y=1) = 1/(1+e^{-x_1 x_2})$; dashed: the sectors", fontsize=11)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, markerscale=2)
    _save(figure, path)


def draw_clusters(path: Path, toy: Toy, seed: int) -> None:
    """Figure 2: four clusters of the pool by features, gradient embeddings and interpretations."""
    figure = Figure(figsize=(8, 8.2), layout="constrained")
    sectors = sectors_of(toy.unlabeled_points)
    vectors = representations(toy)
    for axes, name in zip(figure.subplots(2, 2).flat, ("coreset", "badge", "probability", "logit"), strict=True):
        found = clusters_of(vectors[name], "euclidean", seed)
        ari = adjusted_rand_score(sectors, found)
        for cluster, sector in zip(*linear_sum_assignment(-confusion_matrix(found, sectors)), strict=True):
            members = toy.unlabeled_points[found == cluster]
            axes.scatter(members[:, 0], members[:, 1], s=9, color=PALETTE[sector], marker=MARKERS[sector], linewidths=0)
        _square(axes).set_title(f"{REPRESENTATION_NAMES[name]} (ARI {ari:.2f})", fontsize=11)
    n = len(toy.pool.labeled)
    figure.suptitle(f"Four clusters of K-medoids; model trained on {n:,} points; dashed: the sectors", fontsize=11)
    _save(figure, path)


def draw_choices(path: Path, toy: Toy, seed: int) -> None:
    """Figure 3: what the model was trained on, what it predicts, and the points that each strategy chooses."""
    figure = Figure(figsize=(12, 6.3), layout="constrained")
    grid = np.linspace(-EDGE, EDGE, 201, dtype=np.float32)
    places = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 1, 2)
    with torch.no_grad():
        predicted = torch.softmax(toy.model(input_ids=torch.from_numpy(places)).logits, dim=-1)[:, 1].numpy()
    all_axes = figure.subplots(2, 4).flat
    shown = {"": toy.pool.labeled, **dict(choose(toy, seed))}
    for axes, (name, rows) in zip(all_axes, shown.items(), strict=True):
        field = predicted.reshape(len(grid), -1)
        extent = (-EDGE, EDGE, -EDGE, EDGE)
        image = axes.imshow(field, extent=extent, origin="lower", cmap="cividis", vmin=0, vmax=1, alpha=0.5)
        axes.contour(grid, grid, field, levels=[0.5], colors="black", linewidths=1.2)
        points = toy.points[rows]
        if name:
            style: dict[str, Any] = {"color": "white", "edgecolors": "black", "linewidths": 1.3}
            axes.scatter(points[:, 0], points[:, 1], s=42, zorder=3, clip_on=False, **style)
        else:
            _scatter_classes(axes, points, toy.labels[rows], size=16)
        _square(axes).set_title(STRATEGY_NAMES.get(name, f"The {len(rows)} labelled points"), fontsize=11)
    figure.colorbar(image, ax=figure.axes, label="predicted p(y=1); black line: 0.5", shrink=0.7)
    figure.legend(loc="outside lower left", ncols=2, frameon=False)
    title = f"15 points chosen of {len(toy.pool.unlabeled):,}; model trained on the labelled ones (BALD's with dropout)"
    figure.suptitle(title, fontsize=11)
    _save(figure, path)


def _scatter_classes(axes: Axes, points: NDArray[np.float32], labels: NDArray[np.int64], size: float) -> None:
    for label, (color, marker) in enumerate(zip(CLASS_COLORS, MARKERS, strict=False)):
        of_class = points[labels == label]
        style: dict[str, Any] = {"color": color, "marker": marker, "edgecolors": "white", "linewidths": 0.3}
        axes.scatter(of_class[:, 0], of_class[:, 1], s=size, label=f"class {label}", zorder=3, **style)


def _square(axes: Axes) -> Axes:
    """The plane of the points, with the borders of the sectors."""
    for sign in (1, -1):
        axes.plot([-EDGE, EDGE], [-sign * EDGE, sign * EDGE], color="black", linewidth=0.8, linestyle="--")
    axes.set(xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    return axes


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=150, metadata={"Software": None})


def tables(summary: Mapping[str, float], n_seeds: int) -> str:
    """Two Markdown tables of what `toy.measure` found."""

    def cell(name: str, digits: int = 2) -> str:
        return f"{summary[f'{name}.mean']:.{digits}f} ± {summary[f'{name}.std']:.{digits}f}"

    lines = [
        f"Adjusted Rand index of 4 clusters against the 4 sectors, mean and standard deviation of {n_seeds} seeds",
        "",
        "| clustered | 2,000 labelled, Euclidean | cosine | the same trained longer, Euclidean | cosine "
        "| 100 labelled, Euclidean | cosine |",
        "|---" * 7 + "|",
    ]
    for name in REPRESENTATIONS:
        cells = [cell(f"{title}.{name}.{distance}") for title in CASES for distance in DISTANCES]
        lines.append(f"| {REPRESENTATION_NAMES[name]} | {' | '.join(cells)} |")
    accuracies = [f"{cell(f'accuracy.{title}', 3)} | " for title in CASES]
    lines.append(f"| Accuracy of the model on the pool | {'| '.join(accuracies)}|")
    lines += [
        "",
        "15 points chosen with a model trained on 100: the sectors that they lie in, and how evenly (entropy / log 4)",
        "",
        "| strategy | sectors of 4 | entropy | distance to the nearer axis |",
        "|---|---|---|---|",
    ]
    for name in CHOOSERS:
        cells = [cell(f"sectors.{name}", 1), cell(f"entropy.{name}"), cell(f"boundary.{name}")]
        lines.append(f"| {STRATEGY_NAMES[name]} | {' | '.join(cells)} |")
    return "\n".join(lines)
