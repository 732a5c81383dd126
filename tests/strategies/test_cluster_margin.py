"""Cluster-Margin and DAMI among the uncertain, against clustering and choosing by loops."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from strategy_cases import CLASSES, KINDS, features_of, model_for, odd_pool, probabilities_of

from dami_text.strategies import ClusterMargin, Dami, DamiMargin, Uncertainty
from dami_text.strategies.cluster_margin import one_of_each_cluster


def slow_average_linkage(vectors, k):
    """The clusters, as sets of places, by joining the two whose mean distance is the smallest, until there are k."""
    distances = cdist(vectors, vectors)
    clusters = [{i} for i in range(len(vectors))]
    while len(clusters) > k:
        pairs = [(a, b) for a in range(len(clusters)) for b in range(a)]
        means = [np.mean([distances[i, j] for i in clusters[a] for j in clusters[b]]) for a, b in pairs]
        a, b = pairs[int(np.argmin(means))]
        clusters[b] |= clusters.pop(a)
    return {frozenset(cluster) for cluster in clusters}


def smallest_margins(probabilities, n):
    """The places of the n smallest differences between the two highest probabilities."""
    highest = np.sort(probabilities, axis=1)
    return np.argsort(highest[:, -1] - highest[:, -2], kind="stable")[:n]


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_one_text_of_each_cluster_of_the_smallest_margins(kind, n_classes):
    pool = odd_pool()
    model = model_for(kind, pool, n_classes)
    uncertain = pool.unlabeled[smallest_margins(probabilities_of(model, pool), 15)]
    clusters = slow_average_linkage(features_of(model, pool, uncertain), 5)
    expected = {frozenset(uncertain[list(cluster)].tolist()) for cluster in clusters}
    query = ClusterMargin(factor=3).query(model, pool, 5, np.random.default_rng(0))
    of_rows = [next(cluster for cluster in expected if row in cluster) for row in query.rows.tolist()]
    assert set(of_rows) == expected
    sizes = [reason["cluster_size"] for reason in query.reasons]
    assert sizes == [len(cluster) for cluster in of_rows] == sorted(sizes, reverse=True)


def test_every_text_of_a_cluster_can_be_drawn():
    vectors = np.array([[0.0], [0.1], [0.2], [9.0], [9.1]], np.float32)
    rng = np.random.default_rng(0)
    drawn = [one_of_each_cluster(vectors, 2, rng) for _ in range(60)]
    assert {tuple(sizes) for _, sizes in drawn} == {(3, 2)}
    assert {int(places[0]) for places, _ in drawn} == {0, 1, 2}
    assert {int(places[1]) for places, _ in drawn} == {3, 4}


@pytest.mark.parametrize("kind", KINDS)
def test_with_a_factor_of_one_it_is_margin_sampling(kind):
    pool = odd_pool()
    model = model_for(kind, pool, 3)
    expected = Uncertainty("margin").query(model, pool, 7, np.random.default_rng(0)).rows
    for strategy in (ClusterMargin(factor=1), DamiMargin(factor=1)):
        query = strategy.query(model, pool, 7, np.random.default_rng(0))
        assert sorted(query.rows) == sorted(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_dami_among_the_uncertain_is_dami_on_a_pool_of_them(kind):
    pool = odd_pool()
    model = model_for(kind, pool, 3)
    uncertain = pool.unlabeled[smallest_margins(probabilities_of(model, pool), 12)]
    expected = Dami().query(model, pool.among(np.sort(uncertain)), 4, np.random.default_rng(0))
    query = DamiMargin(factor=3).query(model, pool, 4, np.random.default_rng(0))
    assert query.rows.tolist() == expected.rows.tolist()
    assert [reason["word"] for reason in query.reasons] == [reason["word"] for reason in expected.reasons]
    everything = DamiMargin(factor=1000).query(model, pool, 4, np.random.default_rng(0))
    assert everything.rows.tolist() == Dami().query(model, pool, 4, np.random.default_rng(0)).rows.tolist()
