"""The figures of the documentation: the loop of active learning, and DAMI from a sentence to a cluster.

python scripts/docs_figures.py docs/images
"""

import argparse
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from dami_text import RunConfig, make_learner
from dami_text.clustering import KMedoids
from dami_text.data.demo import demo_dataset
from dami_text.strategies import Dami

matplotlib.use("svg")
matplotlib.rcParams |= {"svg.hashsalt": "dami_text", "svg.fonttype": "none", "font.family": "sans-serif"}

BLUE, ORANGE, GREY = "#2a6fbb", "#d9730d", "#8a8f98"
N_LABELED, N_CLUSTERS = 200, 6


def draw_loop(file: Path) -> None:
    """Four boxes in a circle, with arrows between them."""
    figure, axes = plt.subplots(figsize=(7.6, 3.4))
    boxes = [
        (0.0, 1.0, "train a new model\non all labelled texts"),
        (1.0, 1.0, "the strategy asks for the texts\nthat would teach most"),
        (1.0, 0.0, "they are labelled\n(by a person, or an oracle)"),
        (0.0, 0.0, "more texts\nare labelled"),
    ]
    for x, y, text in boxes:
        shape = FancyBboxPatch((x - 0.34, y - 0.2), 0.68, 0.4, boxstyle="round,pad=0.02", fc="white", ec=BLUE, lw=1.5)
        axes.add_patch(shape)
        axes.text(x, y, text, ha="center", va="center", fontsize=9.5)
    for start, end in (((0.37, 1), (0.63, 1)), ((1, 0.77), (1, 0.23)), ((0.63, 0), (0.37, 0)), ((0, 0.23), (0, 0.77))):
        axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=16, color=ORANGE, lw=2))
    axes.set(xlim=(-0.4, 1.4), ylim=(-0.3, 1.3))
    axes.axis("off")
    _save(figure, file)


def draw_dami(file: Path) -> None:
    """A sentence's words by their deviations, and its representation among those of all texts, in clusters."""
    data = demo_dataset()
    texts, labels = list(data["text"]), list(data["label"])
    learner = make_learner(texts, ["negative", "positive"], RunConfig.of(word_vectors="random"))
    learner.tell(range(N_LABELED), labels[:N_LABELED])
    strategy = learner.strategy
    assert isinstance(strategy, Dami)
    row = int(learner.ask(N_CLUSTERS).rows[2])
    model, pool = learner.trained_model(), learner.pool
    (deviations,) = strategy.explain(model, pool.texts, np.array([row]))
    found = strategy.representation.of_unlabeled(model, pool, np.random.default_rng(0))
    clusters = KMedoids(N_CLUSTERS, random_state=0).fit(found.representations)
    words = [texts[row][start:end] for start, end in pool.texts.word_places(row)]

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), width_ratios=(1, 1.2))
    _draw_words(left, words, deviations[: len(words)])
    _draw_clusters(right, found.representations, clusters.labels_, clusters.medoid_indices_)
    own = int(np.flatnonzero(pool.unlabeled == row)[0])
    point = PCA(2, random_state=0).fit(found.representations).transform(found.representations[own : own + 1])[0]
    right.annotate(f"“{texts[row]}”", point, (0.02, 0.96), textcoords="axes fraction", fontsize=9, va="top",
                   arrowprops={"arrowstyle": "->", "color": ORANGE, "lw": 1.5})  # fmt: skip
    figure.tight_layout()
    _save(figure, file)


def _draw_words(axes: plt.Axes, words: list[str], deviations: NDArray[np.float64]) -> None:
    best = int(deviations.argmax())
    colors = [ORANGE if i == best else BLUE for i in range(len(words))]
    axes.barh(range(len(words)), deviations / deviations.max(), color=colors)
    axes.set_yticks(range(len(words)), words)
    axes.invert_yaxis()
    axes.set_xlabel(
        "deviation of each word from the mean interpretation,\nrelative to the largest: that of the informative word"
    )
    axes.spines[["top", "right"]].set_visible(False)


def _draw_clusters(
    axes: plt.Axes, vectors: NDArray[np.float32], labels: NDArray[np.int64], medoids: NDArray[np.int64]
) -> None:
    places = PCA(2, random_state=0).fit_transform(vectors)
    axes.scatter(*places.T, c=labels, cmap="tab10", s=5, alpha=0.5, linewidths=0, rasterized=True)
    axes.scatter(*places[medoids].T, c="black", s=60, marker="X")
    told = f"all texts, by the interpretation of their informative\nword; {len(medoids)} clusters, medoids as crosses"
    axes.set(xticks=[], yticks=[], xlabel=told)
    axes.spines[["top", "right"]].set_visible(False)


def _save(figure: plt.Figure, file: Path) -> None:
    figure.savefig(file, bbox_inches="tight", metadata={"Date": None}, dpi=150)
    plt.close(figure)


def main() -> None:
    """Draw both figures into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where loop.svg and dami.svg go")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    draw_loop(folder / "loop.svg")
    draw_dami(folder / "dami.svg")


if __name__ == "__main__":
    main()
