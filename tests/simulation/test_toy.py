"""The toy data: its sectors, its measures, and the clusters that interpretations find."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from dami_text.simulation import toy
from dami_text.simulation.toy import clusters_of, coverage, make_toy, representations, sample, sectors_of

ROOT = Path(__file__).parents[2]


def test_sectors_lie_around_the_half_axes():
    points = np.array([[3, 1], [1, 3], [-3, 1], [1, -3], [-1, -3], [3, -2.9]])
    assert [toy.SECTORS[i] for i in sectors_of(points)] == ["east", "north", "west", "south", "south", "east"]


def test_coverage_by_hand():
    assert coverage(np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])) == (4, pytest.approx(1))
    assert coverage(np.array([[1, 0], [0, 1], [2, 1], [1, 2]])) == (2, pytest.approx(0.5))
    assert coverage(np.array([[1, 0], [2, 0]])) == (1, 0)


def test_classes_follow_the_sigmoid_of_the_product():
    points, labels = sample(40_000, np.random.default_rng(0))
    assert np.abs(points).max() <= 5
    product = points.prod(axis=1)
    for low, high in ((-1, -0.5), (-0.1, 0.1), (0.5, 1), (5, 25)):
        inside = (low < product) & (product < high)
        expected = (1 / (1 + np.exp(-product[inside]))).mean()
        assert abs(labels[inside].mean() - expected) < 4 * 0.5 / inside.sum() ** 0.5


def test_the_true_log_odds_have_the_clusters_of_the_points():
    points, _ = sample(300, np.random.default_rng(0))
    mirrored = np.ascontiguousarray(points[:, ::-1])  # the gradient of x1 x2
    assert adjusted_rand_score(clusters_of(points, "euclidean", 0), clusters_of(mirrored, "euclidean", 0)) > 0.95


def test_interpretations_find_the_sectors_and_features_do_not():
    made = make_toy(toy.LARGE, 0)
    assert len(made.pool.unlabeled) == toy.POOL_SIZE
    vectors = representations(made)
    sectors = sectors_of(made.unlabeled_points)
    found = {name: adjusted_rand_score(sectors, clusters_of(v, "euclidean", 0)) for name, v in vectors.items()}
    assert found["logit"] >= 0.5
    assert found["coreset"] < 0.4
    assert found["badge"] < 0.3
    # BADGE's embeddings of two classes: p - onehot is (a, -a), so the halves of each are opposite.
    first, second = np.split(vectors["badge"], 2, axis=1)
    np.testing.assert_array_equal(first, -second)
    norms = np.linalg.norm(vectors["badge"], axis=1)
    assert (norms <= np.linalg.norm(vectors["coreset"], axis=1) * 2**0.5 / 2 + 1e-5).all()  # |e| <= sqrt(2) / 2


@pytest.mark.slow
def test_the_script_draws_three_figures_and_reaches_what_the_readme_says(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "toy_sigmoid.py"), "--output-dir", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True, cwd=ROOT)
    found = json.loads((tmp_path / "toy.json").read_text())
    assert found["ari.logit.euclidean.mean"] >= 0.6
    assert found["ari.coreset.euclidean.mean"] < 0.35
    assert found["ari.badge.euclidean.mean"] < 0.35
    assert sorted(file.name for file in tmp_path.glob("*.png")) == [
        "figure1_data.png",
        "figure2_clusters.png",
        "figure3_choices.png",
    ]
    assert f"{found['ari.logit.euclidean.mean']:.2f} ±" in ended.stdout
