"""TypiClust against loops, and by hand."""

import numpy as np
import pytest

from dami_text.strategies.typiclust import MIN_SIZE, most_typical


def slow_choice(features, clusters, n_labeled, n):
    """Cluster after cluster in turn, each with its most typical text that has no label."""
    sizes = [list(clusters).count(c) for c in range(max(clusters) + 1)]
    labels = [list(clusters[:n_labeled]).count(c) for c in range(len(sizes))]
    free = set(range(n_labeled, len(clusters)))
    chosen = []

    def typicality(i):
        others = [j for j in range(len(clusters)) if clusters[j] == clusters[i] and j != i]
        distances = sorted(np.linalg.norm(features[i] - features[j]) for j in others)[:20]
        return 1 / (np.mean(distances) + 1e-5) if distances else 0

    for is_small in (False, True):
        turn = [c for c in range(len(sizes)) if (sizes[c] < MIN_SIZE) == is_small]
        turn.sort(key=lambda c: (labels[c], -sizes[c]))
        while any(clusters[i] in turn for i in free):
            for c in turn:
                left = [i for i in free if clusters[i] == c]
                if left:
                    best = max(left, key=typicality)
                    free.remove(best)
                    chosen.append(best)
    return chosen[:n], [typicality(i) for i in chosen[:n]]


@pytest.mark.parametrize("n_labeled", [0, 7, 30])
@pytest.mark.parametrize("seed", range(3))
def test_against_loops(n_labeled, seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(120, 6)).astype(np.float32)
    clusters = rng.choice(7, size=120, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.03, 0.02])
    clusters[:7] = range(7)  # none is empty
    for n in (1, 12, 120 - n_labeled):
        chosen, typicality = slow_choice(features.astype(float), clusters, n_labeled, n)
        found, values, sizes = most_typical(features, clusters, n_labeled, n)
        assert found.tolist() == chosen
        np.testing.assert_allclose(values, typicality, rtol=1e-6)
        assert sizes.tolist() == [int((clusters == clusters[i]).sum()) for i in chosen]


def test_by_hand():
    """Clusters at 0, 10, which has a label, 20, and 30, which is small: the middle text of each is its most typical."""
    places = [10, 0, 1, 2, 3, 4, 9, 11, 12, 8, 20, 21, 22, 23, 24, 25, 30]
    clusters = np.array([1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3])
    found, _, sizes = most_typical(np.array(places, np.float32)[:, None], clusters, 1, 4)
    assert [places[i] for i in found[:2]] in ([22, 2], [23, 2])  # two are in the middle of six
    assert places[found[2]] in (9, 11)
    assert sizes.tolist()[:3] == [6, 5, 5]
    assert places[found[3]] in (22, 23)  # the second turn
