"""CORESET against a k-center greedy that computes every distance anew at every pick."""

import numpy as np
import pytest
from strategy_cases import CLASSES, KINDS, features_of, model_for, odd_pool, pool_of

from dami_text.data.pool import Pool
from dami_text.strategies import Coreset
from dami_text.strategies.coreset import k_center_greedy


def slow_k_center(vectors, centers, n):
    """The rows and their distances, by loops."""
    chosen, distances, rest = [], [], list(range(len(vectors)))
    for _ in range(n):
        covered = [*centers, *vectors[chosen]]
        nearest = [min(np.linalg.norm(vectors[i] - c) for c in covered) for i in rest]
        best = int(np.argmax(nearest))
        chosen.append(rest.pop(best))
        distances.append(nearest[best])
    return chosen, distances


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_against_loops(kind, n_classes):
    pool = odd_pool()
    model = model_for(kind, pool, n_classes)
    vectors, centers = (features_of(model, pool, rows) for rows in (pool.unlabeled, pool.labeled))
    for n in (1, 8, len(vectors)):
        chosen, distances = slow_k_center(vectors, centers, n)
        query = Coreset().query(model, pool, n, np.random.default_rng(0))
        assert query.rows.tolist() == pool.unlabeled[chosen].tolist()
        assert [reason["distance"] for reason in query.reasons] == pytest.approx(distances, abs=1e-5)


def test_by_hand():
    points = np.array([[0], [1], [5], [9], [10]], np.float32)
    chosen, distances = k_center_greedy(points, np.array([[0.5]], np.float32), 5)
    assert chosen.tolist() == [4, 2, 3, 0, 1]
    assert distances.tolist() == pytest.approx([9.5, 4.5, 1, 0.5, 0.5])


@pytest.mark.parametrize("offset", [0, 100])
def test_near_copies_far_from_the_origin(offset):
    """Squares of large numbers would drown the small distances."""
    rng = np.random.default_rng(0)
    vectors = (offset + np.repeat(rng.normal(size=(6, 20)), 5, axis=0) + 1e-3 * rng.normal(size=(30, 20))).astype(
        np.float32
    )
    centers = (offset + rng.normal(size=(3, 20))).astype(np.float32)
    chosen, distances = k_center_greedy(vectors, centers, 30)
    expected, expected_distances = slow_k_center(vectors.astype(float), centers.astype(float), 30)
    assert chosen.tolist() == expected
    assert distances.tolist() == pytest.approx(expected_distances, rel=1e-4)


def test_copies_are_at_no_distance_and_come_in_the_order_of_the_rows():
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.normal(size=(3, 300)).astype(np.float32), 4, axis=0)
    chosen, distances = k_center_greedy(vectors, vectors[:1] + 5, 12)
    assert sorted(chosen.tolist()) == list(range(12))
    assert sorted(chosen[:3].tolist()) == [0, 4, 8]
    assert chosen[3:].tolist() == [i for i in range(12) if i % 4]
    assert distances[3:].tolist() == [0] * 9


@pytest.mark.parametrize("n_centers", [1, 256, 257, 700])
def test_all_centers_count(n_centers):
    rng = np.random.default_rng(n_centers)
    vectors, centers = rng.normal(size=(40, 8)).astype(np.float32), rng.normal(size=(n_centers, 8)).astype(np.float32)
    chosen, distances = k_center_greedy(vectors, centers, 12)
    expected, expected_distances = slow_k_center(vectors, centers, 12)
    assert chosen.tolist() == expected
    assert distances.tolist() == pytest.approx(expected_distances, abs=1e-5)


def test_a_pool_without_labels_starts_from_the_mean():
    labeled = odd_pool()
    pool = Pool(labeled.texts)
    model = model_for("cnn", pool)
    vectors = features_of(model, pool, pool.unlabeled)
    chosen, distances = slow_k_center(vectors, vectors.mean(axis=0)[None], 6)
    query = Coreset().query(model, pool, 6, np.random.default_rng(0))
    assert query.rows.tolist() == chosen
    assert [reason["distance"] for reason in query.reasons] == pytest.approx(distances, abs=1e-5)


def test_labelled_copies_are_covered_already():
    pool = pool_of(["w1 w2", "w3 w4 w5", "w1 w2", "w6", "w3 w4 w5"], labeled=[1, 2])
    query = Coreset().query(model_for("bilstm", pool), pool, 3, np.random.default_rng(0))
    assert query.rows.tolist() == [3, 0, 4]
    assert [reason["distance"] for reason in query.reasons][1:] == [0, 0]
