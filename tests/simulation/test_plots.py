import struct

import numpy as np
import pytest

from dami_text.simulation.comparison import LearningCurve
from dami_text.simulation.plots import plot_curves, plot_learning_curve, plot_matrix


def size(png):
    """Width and height, which stand behind the signature and the first chunk's length and name."""
    data = png.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


@pytest.mark.parametrize(
    ("n_labeled", "accuracy"), [([20, 28, 36], [0.5, 0.75, 0.7]), ([20], [0.5]), ([1, 7000], [0.0, 1.0])]
)
def test_a_learning_curve_is_a_png_of_900_by_600(tmp_path, n_labeled, accuracy):
    file = tmp_path / "curve.png"
    plot_learning_curve(file, n_labeled, accuracy, 7000, "dami on demo, cnn, seed 0")
    assert size(file) == (900, 600)


def test_the_same_run_gives_the_same_bytes_and_another_accuracy_others(tmp_path):
    files = [tmp_path / f"{i}.unusual" for i in range(3)]
    for file, accuracy in zip(files, (0.75, 0.75, 0.25), strict=True):
        plot_learning_curve(file, [20, 28], [0.5, accuracy], 210, "title")
    first, second, third = [file.read_bytes() for file in files]
    assert first == second != third


def test_a_title_is_text_and_no_formula(tmp_path):
    file = tmp_path / "curve.png"
    plot_learning_curve(file, [20, 28], [0.5, 0.75], 210, r"dami on a_b$x^{$ \frac 100%.csv, cnn")
    assert size(file) == (900, 600)


@pytest.fixture
def curves():
    scores = np.array([[0.5, 0.7], [0.6, 0.8]])
    return [
        LearningCurve(
            dataset="demo",
            model="cnn",
            strategy=strategy,
            seeds=(0, 1),
            n_labeled=np.array([20, 40]),
            share=np.array([0.1, 0.2]),
            scores=scores,
        )
        for strategy in ("dami", "random", r"_$x^{$")
    ]


def test_curves_of_several_strategies_are_drawn(tmp_path, curves):
    files = [tmp_path / "curves.png", tmp_path / "curves.svg"]
    plot_curves(files, curves, "demo, cnn", "test accuracy")
    assert size(files[0]) == (975, 600)
    assert files[1].read_text().startswith("<?xml")


def test_a_matrix_is_drawn_the_same_each_time(tmp_path):
    shares = np.array([[np.nan, 0.9], [0.1, np.nan]])
    for name in ("a", "b"):
        plot_matrix([tmp_path / f"{name}.png", tmp_path / f"{name}.svg"], ["dami", r"_$x^{$"], shares, "demo")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
