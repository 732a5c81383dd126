"""ProbCover against loops over all balls, and by hand."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from dami_text.strategies.probcover import cover, neighbourhoods, pure_radius


def slow_cover(near, n_labeled, n):
    """At every step, the newly covered texts of every ball are counted anew."""
    covered = {j for i in range(n_labeled) for j in range(len(near)) if near[i][j]}
    chosen, counts = [], []
    for _ in range(n):
        if len(covered) == len(near):
            covered = set()
        new = {
            i: {j for j in range(len(near)) if near[i][j]} - covered
            for i in range(n_labeled, len(near))
            if i not in chosen
        }
        best = max(new, key=lambda i: len(new[i]))
        chosen.append(best)
        counts.append(len(new[best]))
        covered |= new[best]
    return chosen, counts


@pytest.mark.parametrize("n_labeled", [0, 6])
@pytest.mark.parametrize("radius", [0.3, 0.8, 5.0])
def test_the_greedy_choice_against_loops(n_labeled, radius):
    features = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    near = cdist(features, features) < radius
    np.testing.assert_array_equal(neighbourhoods(features, radius), near)
    for n in (1, 10, 60 - n_labeled):
        chosen, counts = cover(near, n_labeled, n)
        assert (chosen.tolist(), counts.tolist()) == slow_cover(near, n_labeled, n)


def test_by_hand():
    """Three in a row, two in a row, and one alone; the labelled text covers the one alone."""
    places = np.array([[20.0], [0.0], [1.0], [2.0], [10.0], [11.0], [20.5]], np.float32)
    chosen, counts = cover(neighbourhoods(places, 1.5), 1, 3)
    assert chosen.tolist() == [2, 4, 1]  # all is covered by the first two, and coverage begins anew
    assert counts.tolist() == [3, 2, 2]


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_the_radius_is_the_largest_at_which_balls_are_pure(n_classes):
    features = np.random.default_rng(1).normal(size=(200, 4)).astype(np.float32)
    radius = pure_radius(features, n_classes, np.random.default_rng(5))
    seed = int(np.random.default_rng(5).integers(2**31))
    clusters = KMeans(n_classes, n_init=1, random_state=seed).fit(features).labels_
    distances = cdist(features, features)

    def purity(delta):
        return np.mean([len(set(clusters[row < delta])) == 1 for row in distances])

    assert purity(radius * (1 - 1e-5)) >= 0.95
    assert purity(radius * (1 + 1e-4)) < 0.95


def test_one_class_is_covered_by_any_ball():
    assert pure_radius(np.eye(4, dtype=np.float32), 1, np.random.default_rng(0)) == np.inf
