"""K-medoids against brute force, float64 arithmetic, naive versions of the algorithms and the package kmedoids."""

import itertools
import logging
import re

import numpy as np
import pytest
import torch
from kmedoids_cases import assert_the_first_of_equals_is_the_medoid, heavy_tailed
from scipy.spatial.distance import cdist
from sklearn.exceptions import NotFittedError
from sklearn.metrics import pairwise_distances
from sklearn.utils.estimator_checks import parametrize_with_checks

from dami_text.clustering import KMedoids, distances, sampled, streamed
from dami_text.clustering import plan as planning
from dami_text.clustering.alternate import best_members
from dami_text.clustering.distances import Matrix, Tiles, assign, first_least, pairwise, prepare
from dami_text.clustering.fasterpam import swap_block
from dami_text.clustering.initialization import k_means_plus_plus, park_jun
from dami_text.clustering.on_host import assigned
from dami_text.clustering.progress import progress
from dami_text.clustering.sampled import _chances, _draw_weighted

METHODS = ["fasterpam", "streamed", "sampled", "alternate"]


def on_a_grid(n, d, seed=0):
    """Numbers that float32 holds exactly, and still does with 100 added."""
    return np.round(heavy_tailed(n, d, seed).clip(-100, 100) * 64).astype(np.float32) / 64


def distances64(X, metric="euclidean"):
    X = np.asarray(X, dtype=np.float64)  # and by differences: far from the origin a product loses digits
    return cdist(X, X) if metric == "euclidean" else pairwise_distances(X, metric=metric)


def loss(D, medoids):
    return D[:, list(medoids)].min(axis=1).sum()


def as_vectors(X, metric="euclidean"):
    return prepare(torch.from_numpy(X), metric)


# What is found


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize(("n", "k"), [(8, 2), (10, 4), (12, 3)])
def test_finds_the_optimum_of_small_data(n, k, metric):
    X = np.random.default_rng(n).normal(size=(n, 3))
    D = distances64(X, metric)
    optimum = min(loss(D, medoids) for medoids in itertools.combinations(range(n), k))
    fits = [KMedoids(k, metric=metric, init="random", random_state=seed).fit(X) for seed in range(10)]
    assert min(loss(D, fit.medoid_indices_) for fit in fits) == pytest.approx(optimum)
    assert all(fit.inertia_ == pytest.approx(loss(D, fit.medoid_indices_), rel=1e-5) for fit in fits)


@pytest.mark.parametrize("method", ["fasterpam", "streamed"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("k", [1, 2, 5, 20, 59])
@pytest.mark.parametrize("seed", range(3))
def test_no_single_swap_improves(seed, k, metric, method):
    X = np.random.default_rng(seed).integers(-4, 5, size=(60, 2)).astype(np.float32)  # many ties and duplicates
    X = X if seed == 0 else heavy_tailed(60, 4, seed)
    D = distances64(X, metric)
    medoids = KMedoids(k, method=method, metric=metric, random_state=seed).fit(X).medoid_indices_
    assert best_swap(D, medoids) <= 1e-6 * loss(D, medoids) + 1e-12


def best_swap(D, medoids):
    """By how much the best single swap lowers the loss."""
    others = [np.delete(medoids, slot) for slot in range(len(medoids))]
    left = [D[:, rest].min(axis=1) if len(rest) else np.full(len(D), np.inf) for rest in others]
    return loss(D, medoids) - min(np.minimum(D, rest[:, None]).sum(axis=0).min() for rest in left)


@pytest.mark.parametrize("method", ["fasterpam", "streamed"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("k", [4, 8, 12])
def test_no_single_swap_improves_clusters_that_are_a_million_times_their_width_apart(k, dtype, method):
    """Neither their size nor that of the distances between them hides how the rows of a cluster differ."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X = (rng.normal(size=(300, 3)) + 1e6 * rng.normal(size=(4, 3))[rng.integers(4, size=300)]).astype(dtype)
        D = distances64(X)
        medoids = KMedoids(k, method=method, random_state=seed).fit(X).medoid_indices_
        assert best_swap(D, medoids) <= 1e-6 * loss(D, medoids)


def hard(kind, n):
    """Data on which searches that save work end too early: (X, metric)."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 20))
    if kind == "zero rows":
        X[rng.random(n) < 0.5] = 0
    elif kind == "sparse":
        X[rng.random((n, 20)) < 0.9] = 0
    elif kind == "unequal columns":
        X *= 10.0 ** rng.uniform(-3, 3, 20)
    elif kind == "unequal rows":
        X *= 10.0 ** rng.uniform(-3, 3, (n, 1))
    else:
        X = rng.standard_cauchy((n, 5))
    return X.astype(np.float32), "cosine" if kind in ("zero rows", "sparse") else "euclidean"


@pytest.mark.parametrize("k", [20, 120])
@pytest.mark.parametrize("kind", ["zero rows", "sparse", "unequal columns", "unequal rows", "cauchy"])
def test_what_saves_work_costs_little_on_hard_data(kind, k):
    X, metric = hard(kind, 4_000)
    best, streamed, sampled = (
        KMedoids(k, metric=metric, method=method, random_state=0).fit(X).inertia_
        for method in ("fasterpam", "streamed", "sampled")
    )
    assert streamed <= 1.005 * best
    assert sampled <= 1.03 * best


def test_streamed_is_as_good_as_the_package_kmedoids_on_few_rows():
    kmedoids = pytest.importorskip("kmedoids", reason="the reference package kmedoids is not installed")
    found, reference = [], []
    for seed, (n, k) in enumerate([(100, 10), (100, 40), (300, 30), (300, 100), (600, 20), (600, 200)] * 3):
        X = heavy_tailed(n, 5, seed)
        reference.append(kmedoids.fasterpam(distances64(X), k, random_state=seed, n_cpu=1).loss)
        found.append(KMedoids(k, method="streamed", random_state=seed).fit(X).inertia_)
    ratios = np.array(found) / reference
    assert ratios.max() <= 1.015
    assert ratios.mean() <= 1.002


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("n", [5, 130, 700])
def test_a_matrix_of_distances_is_symmetric_to_the_bit(n, metric):
    vectors = as_vectors(heavy_tailed(n, 30), metric)
    rows = torch.arange(n)
    D = Matrix(vectors).to(rows)
    assert torch.equal(D, D.T)
    np.testing.assert_allclose(D.numpy() * vectors.unit, distances64(heavy_tailed(n, 30), metric), rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_of_pairs_and_of_equal_rows_the_first_is_the_medoid(method):
    assert_the_first_of_equals_is_the_medoid(method)


# New rows


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("method", METHODS)
def test_new_rows_go_to_their_nearest_medoids(method, metric):
    X, new = heavy_tailed(400, 6), heavy_tailed(150, 6, seed=3) + 1
    found = KMedoids(12, method=method, metric=metric, random_state=0).fit(X)
    np.testing.assert_array_equal(found.cluster_centers_, X[found.medoid_indices_])
    D = pairwise_distances(new.astype(np.float64), X[found.medoid_indices_].astype(np.float64), metric=metric)
    assert found.transform(new) == pytest.approx(D, rel=1e-4, abs=1e-6)
    np.testing.assert_array_equal(found.predict(new), D.argmin(axis=1))
    np.testing.assert_array_equal(found.predict(X), found.labels_)
    np.testing.assert_array_equal(found.predict(torch.from_numpy(new)), found.predict(new))
    assert found.transform(new).dtype == np.float32
    assert found.transform(new.astype(np.float64)).dtype == np.float64


def test_new_rows_that_do_not_fit():
    found = KMedoids(3, random_state=0).fit(heavy_tailed(50, 4))
    with pytest.raises(ValueError, match="X has 5 numbers a row; it must have 4"):
        found.predict(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="NaN or inf"):
        found.transform(np.full((2, 4), np.nan))
    with pytest.raises(NotFittedError):
        KMedoids(3).predict(np.zeros((2, 4)))


@pytest.mark.parametrize("data", ["heavy-tailed", "uniform"])
@pytest.mark.parametrize(("method", "limit"), [("fasterpam", 1.005), ("streamed", 1.005), ("sampled", 1.03)])
def test_is_as_good_as_the_package_kmedoids(method, limit, data):
    kmedoids = pytest.importorskip("kmedoids", reason="the reference package kmedoids is not installed")
    X = heavy_tailed(2000, 20) if data == "heavy-tailed" else np.random.default_rng(0).random((2000, 20))
    D = distances64(X)
    reference = kmedoids.fasterpam(D, 50, random_state=0, n_cpu=1).loss
    found = KMedoids(50, method=method, random_state=0).fit(X)
    assert loss(D, found.medoid_indices_) <= limit * reference


@pytest.mark.parametrize("method", METHODS)
def test_attributes_agree_with_each_other(method):
    X = heavy_tailed(700, 5)
    found = KMedoids(30, method=method, random_state=0).fit(X)
    D = distances64(X)[:, found.medoid_indices_]
    assert found.method_ == method
    assert found.n_iter_ >= 1
    assert found.medoid_indices_.dtype == found.labels_.dtype == np.int64
    assert (np.diff(found.medoid_indices_) > 0).all()
    assert D[np.arange(700), found.labels_] == pytest.approx(D.min(axis=1), rel=1e-5, abs=1e-6)
    assert found.labels_[found.medoid_indices_].tolist() == list(range(30))
    assert found.inertia_ == pytest.approx(D.min(axis=1).sum(), rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_one_medoid_has_the_smallest_sum_of_distances(method):
    X = heavy_tailed(300, 3)
    assert KMedoids(1, method=method, random_state=0).fit(X).medoid_indices_ == distances64(X).sum(axis=0).argmin()


# The search


@pytest.mark.parametrize("make", [Matrix, lambda vectors: Tiles(vectors, vectors)], ids=["matrix", "tiles"])
@pytest.mark.parametrize("k", [2, 40])
def test_the_search_keeps_its_account(make, k):
    X = heavy_tailed(500, 6)
    vectors = as_vectors(X)
    D = distances64(X) / vectors.unit
    distances = make(vectors)
    state = assigned(distances, torch.arange(k))
    before = state.loss
    for _ in range(3):
        for candidates in distances.blocks:
            swap_block(distances, state, candidates)
            assert state.loss <= before
            before = state.loss
            to_medoids = D[:, state.medoids]
            ranked = np.sort(to_medoids, axis=1)
            removal = np.bincount(to_medoids.argmin(axis=1), ranked[:, 1] - ranked[:, 0], minlength=k)
            assert len(set(state.medoids.tolist())) == k == int(state.is_medoid.sum())
            assert state.loss == pytest.approx(loss(D, state.medoids), rel=1e-5)
            assert state.nearest_distance == pytest.approx(ranked[:, 0], rel=1e-4, abs=1e-6)
            assert state.second_distance == pytest.approx(ranked[:, 1], rel=1e-4, abs=1e-6)
            assert state.removal_loss == pytest.approx(removal, rel=1e-3, abs=1e-4)
    assert before < loss(D, range(k))


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_medoids(method):
    X = heavy_tailed(600, 5)

    def medoids(random_state):
        return KMedoids(20, method=method, random_state=random_state).fit(X).medoid_indices_.tolist()

    assert medoids(3) == medoids(3) == medoids(np.random.default_rng(3))
    assert medoids(np.random.RandomState(3)) == medoids(np.random.RandomState(3))


def test_goes_on_from_given_rows():
    X = np.random.default_rng(0).normal(size=(200, 2)) + 100 * np.arange(4).repeat(50)[:, None]
    found = KMedoids(4, init=np.array([0, 1, 2, 3]), max_iter=1, random_state=0).fit(X)
    assert (found.medoid_indices_ // 50).tolist() == [0, 1, 2, 3]


def test_max_iter_ends_the_search():
    X = heavy_tailed(400, 5)
    for method in METHODS:
        assert KMedoids(20, method=method, init=np.arange(20), max_iter=1).fit(X).n_iter_ == 1


def naive_park_jun(D, k):
    """Park & Jun 2009, steps 1 to 3, as the paper has them."""
    n = len(D)
    v = [sum(D[i, j] / D[i].sum() for i in range(n)) for j in range(n)]
    medoids = np.argsort(v, kind="stable")[:k]
    best = loss(D, medoids)
    while True:
        labels = D[:, medoids].argmin(axis=1)
        members = [np.flatnonzero(labels == slot) for slot in range(k)]
        medoids = np.array([rows[D[np.ix_(rows, rows)].sum(axis=1).argmin()] for rows in members])
        if loss(D, medoids) >= best:
            return best
        best = loss(D, medoids)


@pytest.mark.parametrize("seed", range(3))
def test_alternate_is_park_and_juns_algorithm(seed):
    X = heavy_tailed(150, 4, seed)
    found = KMedoids(8, method="alternate", init="park-jun").fit(X)
    assert found.inertia_ == pytest.approx(naive_park_jun(distances64(X), 8), rel=1e-5)


def test_park_jun_starts_in_the_middle():
    D = distances64(X := heavy_tailed(90, 3))
    v = (D / D.sum(axis=1, keepdims=True)).sum(axis=0)
    assert park_jun(Matrix(as_vectors(X)), 7).tolist() == np.argsort(v)[:7].tolist()


def test_k_means_plus_plus_draws_by_distance():
    X = np.array([[0.0], [1.0], [4.0]], dtype=np.float32)
    matrix = Matrix(as_vectors(X))
    draws = [k_means_plus_plus(matrix, 2, np.random.default_rng(seed)).tolist() for seed in range(3000)]
    after_0 = [second for first, second in draws if first == 0]
    assert len(after_0) / 3000 == pytest.approx(1 / 3, abs=0.04)
    assert np.mean(np.equal(after_0, 2)) == pytest.approx(4 / 5, abs=0.05)  # distances 4 and 1


# Weights


def weighted_loss(D, medoids, weights):
    return (weights * D[:, list(medoids)].min(axis=1)).sum()


def skewed_weights(n, seed=0):
    """A few rows that count most, and some that count nothing."""
    rng = np.random.default_rng(seed)
    return rng.lognormal(sigma=2, size=n) * (rng.random(n) > 0.2)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("method", ["fasterpam", "streamed"])
@pytest.mark.parametrize(("n", "k"), [(8, 1), (8, 2), (10, 4), (12, 3)])
def test_weights_find_the_weighted_optimum_of_small_data(n, k, method, metric):
    X, weights = np.random.default_rng(n).normal(size=(n, 3)), skewed_weights(n, n)
    D = distances64(X, metric)
    optimum = min(weighted_loss(D, medoids, weights) for medoids in itertools.combinations(range(n), k))
    fits = [
        KMedoids(k, metric=metric, method=method, random_state=seed).fit(X, sample_weight=weights) for seed in range(10)
    ]
    assert min(weighted_loss(D, fit.medoid_indices_, weights) for fit in fits) == pytest.approx(optimum)
    for fit in fits:
        assert fit.inertia_ == pytest.approx(weighted_loss(D, fit.medoid_indices_, weights), rel=1e-5)
        np.testing.assert_array_equal(fit.labels_, D[:, fit.medoid_indices_].argmin(axis=1))


@pytest.mark.parametrize("method", ["fasterpam", "streamed"])
@pytest.mark.parametrize("k", [1, 5, 20, 59])
def test_no_single_swap_improves_a_weighted_clustering(k, method):
    X, weights = heavy_tailed(60, 4), skewed_weights(60)
    D = weights[:, None] * distances64(X)
    medoids = KMedoids(k, method=method, random_state=0).fit(X, sample_weight=weights).medoid_indices_
    assert best_swap(D, medoids) <= 1e-6 * loss(D, medoids) + 1e-12


@pytest.mark.parametrize("init", ["k-means++", "random", "park-jun"])
@pytest.mark.parametrize("method", METHODS)
def test_equal_weights_give_what_no_weights_give(method, init):
    X = heavy_tailed(700, 5)
    expected = KMedoids(30, method=method, init=init, random_state=0).fit(X)
    for weight in (0.3, 1, 1e-300, 1e300):
        found = KMedoids(30, method=method, init=init, random_state=0).fit(X, sample_weight=np.full(700, weight))
        assert found.medoid_indices_.tobytes() == expected.medoid_indices_.tobytes()
        assert found.labels_.tobytes() == expected.labels_.tobytes()
        assert found.inertia_ == pytest.approx(weight * expected.inertia_, rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_whole_weights_count_as_repeated_rows(method):
    """From the same rows, to medoids that are as good, and the same vectors where the search is deterministic."""
    X, times = heavy_tailed(300, 4), np.random.default_rng(1).integers(1, 5, size=300)
    repeated = np.repeat(np.arange(300), times)
    start = np.arange(0, 300, 25)
    first = np.searchsorted(repeated, start)
    found = KMedoids(12, method=method, init=start).fit(X, sample_weight=times)
    expected = KMedoids(12, method=method, init=first).fit(X[repeated])
    D = distances64(X)
    assert found.inertia_ == pytest.approx(weighted_loss(D, found.medoid_indices_, times), rel=1e-5)
    assert found.inertia_ == pytest.approx(expected.inertia_, rel=0.01)
    if method == "alternate":
        assert found.medoid_indices_.tolist() == repeated[expected.medoid_indices_].tolist()


@pytest.mark.parametrize("method", METHODS)
def test_one_medoid_has_the_smallest_weighted_sum_of_distances(method):
    X, weights = heavy_tailed(300, 3), skewed_weights(300)
    found = KMedoids(1, method=method, random_state=0).fit(X, sample_weight=weights)
    assert found.medoid_indices_ == (weights[:, None] * distances64(X)).sum(axis=0).argmin()


def test_weights_steer_every_method_and_scale_out():
    X, weights = heavy_tailed(3_000, 8), skewed_weights(3_000)
    D = distances64(X)
    best = KMedoids(40, method="fasterpam", random_state=0).fit(X, sample_weight=weights)
    for method, limit in (("streamed", 1.01), ("sampled", 1.03), ("alternate", 1.5)):
        found = KMedoids(40, method=method, random_state=0).fit(X, sample_weight=weights)
        assert found.inertia_ <= limit * best.inertia_
        plain = KMedoids(40, method=method, random_state=0).fit(X).medoid_indices_
        assert found.inertia_ < 0.95 * weighted_loss(D, plain, weights)
        scaled = KMedoids(40, method=method, random_state=0).fit(X, sample_weight=torch.from_numpy(weights) * 2**40)
        assert scaled.medoid_indices_.tolist() == found.medoid_indices_.tolist()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("k", [1, 4, 30])
def test_one_row_that_counts_and_more_medoids_than_rows_that_count(k, method):
    X, weights = heavy_tailed(30, 3), np.zeros(30)
    weights[17] = 5
    found = KMedoids(k, method=method, random_state=0).fit(X, sample_weight=weights)
    assert len(set(found.medoid_indices_.tolist())) == k
    assert 17 in found.medoid_indices_
    assert found.inertia_ == 0


def test_park_jun_starts_in_the_weighted_middle():
    D, weights = distances64(X := heavy_tailed(90, 3)), skewed_weights(90)
    v = (weights[:, None] * D / (D * weights).sum(axis=1, keepdims=True)).sum(axis=0)
    vectors = as_vectors(X).weighted(torch.from_numpy(weights).float())
    assert park_jun(Matrix(vectors), 7).tolist() == np.argsort(v)[:7].tolist()


def test_k_means_plus_plus_draws_by_weight_and_distance():
    vectors = as_vectors(np.array([[0.0], [1.0], [4.0]], dtype=np.float32)).weighted(torch.tensor([1.0, 2.0, 1.0]))
    draws = [k_means_plus_plus(Matrix(vectors), 2, np.random.default_rng(seed)).tolist() for seed in range(3000)]
    firsts = np.bincount([first for first, _ in draws]) / 3000
    assert firsts == pytest.approx(np.array([1 / 4, 1 / 2, 1 / 4]), abs=0.04)
    after_0 = [second for first, second in draws if first == 0]
    assert np.mean(np.equal(after_0, 2)) == pytest.approx(4 / 6, abs=0.06)  # 1 * 4 and 2 * 1


def test_a_weighted_search_samples_by_weight():
    distances, weights = torch.rand(5_000), torch.from_numpy(skewed_weights(5_000)).float()
    chances = _chances(distances, weights)
    assert chances.sum() == pytest.approx(1)
    counts = weights.double().numpy()
    share = counts * distances.double().numpy()
    assert chances == pytest.approx(counts / counts.sum() / 2 + share / share.sum() / 2)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0] * 49, r"sample_weight has the shape \(49,\); it must be \(50,\), a weight a row"),
        (np.ones((50, 1)), r"sample_weight has the shape \(50, 1\)"),
        (2.0, r"sample_weight has the shape \(\)"),
        ([1.0] * 49 + [-0.5], r"sample_weight has -0.5 for row 49; weights must be finite numbers of at least 0"),
        ([1.0] * 3 + [np.nan] * 47, "sample_weight has nan for row 3"),
        (torch.tensor([np.inf] + [1.0] * 49), "sample_weight has inf for row 0"),
        (np.zeros(50), "all weights in sample_weight are zero; one at least must be greater"),
    ],
)
def test_weights_that_cannot_work(weights, message):
    with pytest.raises(ValueError, match=message):
        KMedoids(3).fit(heavy_tailed(50, 2), sample_weight=weights)


# Distances


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("close", [0.0, 0.02, 0.5], ids=["spread", "some pairs close", "half the pairs close"])
def test_distances_are_accurate(close, metric):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 30))
    tight = int(400 * close**0.5)
    X[:tight] = X[0] + 1e-3 * X[:tight]  # around one point, far from the others beside their spread
    X = X.astype(np.float32)
    vectors = as_vectors(X, metric)
    expected = distances64(X, metric)
    found = pairwise(vectors, vectors).double().numpy() * vectors.unit
    # 1 - cos of rows that differ by 1e-3 is 1e-6, and float32 rows of unit length are right to 6e-8
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-7 if metric == "cosine" else 1e-6)


def test_rows_of_very_different_lengths_are_compared_by_products(monkeypatch):
    """As gradients of a model that is sure of most texts: differences for all pairs would take ten times as long."""
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(3_000, 20)) * 10.0 ** rng.uniform(-5, 0, (3_000, 1))).astype(np.float32)
    X[0], X[2_999] = X[1_000] + np.float32(1e-6), X[1]
    vectors = as_vectors(X)
    assert vectors.rest is not None
    compared = []
    differences = distances._differences
    monkeypatch.setattr(
        distances, "_differences", lambda a, rows, *b: (compared.append(len(rows)), differences(a, rows, *b))[1]
    )
    monkeypatch.setattr(torch, "cdist", lambda *_, **__: pytest.fail("all pairs are compared by their differences"))
    found = pairwise(vectors, vectors).double().numpy() * vectors.unit
    np.testing.assert_allclose(found, distances64(X), rtol=1e-3, atol=0)
    assert sum(compared) < 0.02 * 3_000**2


@pytest.mark.parametrize("change", [lambda X: X + 100, lambda X: X * 1e30, lambda X: X * 1e-30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_offset_and_scale_change_nothing(change, dtype):
    X = on_a_grid(500, 8).astype(dtype)
    expected = KMedoids(25, random_state=0).fit(X)
    found = KMedoids(25, random_state=0).fit(change(X))
    assert found.medoid_indices_.tolist() == expected.medoid_indices_.tolist()
    unit = change(dtype(1)) - change(dtype(0))
    assert found.inertia_ == pytest.approx(float(unit) * expected.inertia_, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int32])
def test_other_number_types_are_computed_in_float32(dtype):
    X = torch.from_numpy(on_a_grid(300, 4) * 64).to(dtype)
    expected = KMedoids(10, random_state=0).fit(X.float())
    found = KMedoids(10, random_state=0).fit(X)
    assert found.medoid_indices_.tolist() == expected.medoid_indices_.tolist()
    assert found.inertia_ == pytest.approx(expected.inertia_)


def test_the_largest_and_smallest_numbers_of_float64():
    X = on_a_grid(200, 3).astype(np.float64) / 8192
    expected = KMedoids(8, random_state=0).fit(X).medoid_indices_.tolist()
    for scale in (2.0**1023, 2.0**-1000):
        assert KMedoids(8, random_state=0).fit(X * scale).medoid_indices_.tolist() == expected


def test_float16_does_not_overflow():
    X = np.array([[60000.0, -60000.0], [-60000.0, 60000.0], [60000.0, -59968.0]], dtype=np.float16)
    assert KMedoids(2, random_state=0).fit(X).inertia_ == pytest.approx(32)


def test_tensors_that_need_gradients_and_arrays_that_are_read_only():
    X = heavy_tailed(100, 3)
    expected = KMedoids(5, random_state=0).fit(X.copy()).medoid_indices_.tolist()
    X.flags.writeable = False
    assert KMedoids(5, random_state=0).fit(X).medoid_indices_.tolist() == expected
    tensor = torch.from_numpy(X.copy()).requires_grad_()
    assert KMedoids(5, random_state=0).fit(tensor).medoid_indices_.tolist() == expected


def test_a_medoid_is_in_its_own_cluster_beside_its_twin():
    labels, distances = assign(as_vectors(np.zeros((6, 2), dtype=np.float32)), torch.tensor([4, 1]))
    assert labels[[4, 1]].tolist() == [0, 1]
    assert distances.tolist() == [0.0] * 6


def test_cosine_distance_of_zero_rows():
    X = np.array([[0, 0], [0, 0], [1, 0], [-2, 0]], dtype=np.float32)
    vectors = as_vectors(X, "cosine")
    expected = [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 2], [1, 1, 2, 0]]
    assert pairwise(vectors, vectors).tolist() == expected


# Degenerate data


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("init", ["random", "k-means++", "park-jun"])
@pytest.mark.parametrize(
    "X",
    [np.zeros((30, 3)), np.ones((30, 1)), np.arange(30.0)[:, None], np.eye(3).repeat(10, axis=0), np.eye(30)],
    ids=["zero", "identical", "one dimension", "three distinct", "equidistant"],
)
def test_always_k_distinct_rows(X, init, method, metric):
    for k in (1, np.int32(7), np.uint8(30)):
        found = KMedoids(k, metric=metric, method=method, init=init, random_state=0).fit(X)
        assert len(set(found.medoid_indices_.tolist())) == k
        assert set(found.labels_.tolist()) == set(range(k))


def test_every_distinct_vector_becomes_a_medoid():
    X = np.array([[0.0, 0], [5, 0], [0, 5]]).repeat([40, 1, 1], axis=0)
    for method in ("fasterpam", "streamed"):
        assert KMedoids(3, method=method, random_state=0).fit(X).inertia_ == 0


# Which method, at what cost


@pytest.mark.parametrize(("max_memory", "method"), [(40_000, "fasterpam"), (39_999, "streamed")])
def test_auto_is_exact_where_the_matrix_fits(max_memory, method):
    found = KMedoids(5, max_memory=max_memory, random_state=0).fit(heavy_tailed(100, 3))
    assert found.method_ == method


@pytest.mark.parametrize(
    ("n", "method"), [(8_192, "fasterpam"), (8_193, "streamed"), (50_000, "streamed"), (1_000_000, "sampled")]
)
def test_auto_follows_the_number_of_rows(n, method):
    work = planning.plan(n, 100, 1000, "auto", 2 * 1024**3, init_given=False)
    assert work.method == method
    assert 4 * work.sample**2 <= 1024**3


@pytest.mark.parametrize(("k", "seconds"), [(20, 5), (20, 60), (1_000, 60), (10, 3)])
@pytest.mark.parametrize("d", [10, 100, 384])
def test_the_estimate_never_falls_with_the_rows_and_keeps_to_the_budget(d, k, seconds):
    sizes = np.unique(np.geomspace(max(1_000, k), 1_000_000, 400).astype(int))
    plans = [
        planning.plan(int(n), d, k, method="auto", max_memory=2 * 1024**3, init_given=False, max_seconds=seconds)
        for n in sizes
    ]
    estimates = np.array([work.seconds for work in plans])
    assert (estimates[1:] >= 0.999 * estimates[:-1]).all()
    if k * d < 100_000:  # of more, assigning a million rows to their medoids takes longer by itself
        assert estimates.max() <= 2 * seconds
    methods = [work.method for work in plans]
    assert methods == sorted(methods, key=["fasterpam", "streamed", "sampled"].index)
    least = next(work for work in plans if work.method == "sampled")
    assert least.evaluators >= min(least.n_rows, max(10_000, 50 * k))
    assert least.candidates >= max(2_000, 10 * k)


def test_more_seconds_give_larger_samples_and_better_medoids(monkeypatch):
    monkeypatch.setattr(planning, "MATRIX_ROWS", 100)
    monkeypatch.setattr(planning, "CANDIDATES", (100, 1))
    monkeypatch.setattr(planning, "EVALUATORS", (400, 1))
    X = heavy_tailed(3_000, 30)
    found = [KMedoids(60, max_seconds=seconds, random_state=0).fit(X) for seconds in (1e-3, 0.07, 10)]
    assert [each.method_ for each in found] == ["sampled", "sampled", "streamed"]
    losses = [each.inertia_ for each in found]
    assert losses[0] > 1.01 * losses[1] > 1.01 * losses[2]


def test_the_work_is_logged_before_it_starts(caplog):
    with caplog.at_level(logging.DEBUG, "dami_text.clustering"):
        KMedoids(20, method="fasterpam", random_state=0).fit(heavy_tailed(1000, 10))
    assert "'fasterpam': 1,000 rows of 10 numbers, 20 medoids, about 1.0e+06 distances" in caplog.text
    assert re.search(r"K-medoids by 'fasterpam' took \d+\.\d s", caplog.text)


def test_no_bar_where_there_is_no_terminal(capsys):
    assert list(progress(range(3), "rows")) == [0, 1, 2]
    assert capsys.readouterr().err == ""


# Bad input


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_clusters": 0}, "n_clusters is 0; it must be an integer of at least 1"),
        ({"n_clusters": 2.0}, "n_clusters is 2.0; it must be an integer"),
        ({"n_clusters": 51}, "n_clusters=51 is more than n_samples=50"),
        ({"max_iter": 0}, "max_iter is 0"),
        ({"max_memory": 1e9}, "max_memory is 1000000000.0; it must be an integer"),
        ({"max_seconds": 0}, "max_seconds is 0; it must be a number greater than 0"),
        ({"max_seconds": "60"}, "max_seconds is '60'; it must be a number greater than 0"),
        ({"method": "pam"}, "method is 'pam'; it must be one of auto, fasterpam, streamed, sampled, alternate"),
        ({"metric": "manhattan"}, "metric is 'manhattan'; it must be one of euclidean, cosine"),
        ({"init": "best"}, "init is 'best'; it must be one of random, k-means\\+\\+, park-jun, or row numbers"),
        ({"n_clusters": 3, "init": np.array([0, 1])}, "init has the shape \\(2,\\) .* it must have the shape \\(3,\\)"),
        ({"n_clusters": 2, "init": np.array([0.0, 1.0])}, "the type float64"),
        ({"n_clusters": 2, "init": np.array([4, 4])}, "1 distinct row numbers from 4 to 4; it must hold 2"),
        ({"n_clusters": 2, "init": np.array([4, 50])}, "from 4 to 50; it must hold 2, .* from 0 to 49"),
    ],
)
def test_parameters_that_cannot_work(parameters, message):
    with pytest.raises(ValueError, match=message):
        KMedoids(**parameters).fit(heavy_tailed(50, 2))


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
def test_data_that_cannot_work(make):
    X = heavy_tailed(50, 2)
    X[3, 1], X[7, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match="2 of the 50 rows of X have NaN or inf: 3, 7; leave them out"):
        KMedoids(2).fit(make(X))
    for shape in ((0, 2), (50, 0), (50,), (5, 5, 2)):
        with pytest.raises(ValueError, match=r"\d"):
            KMedoids(2).fit(make(np.zeros(shape, dtype=np.float32)))


def test_complex_numbers_are_refused():
    with pytest.raises(ValueError, match="Complex data not supported"):
        KMedoids(2).fit(torch.zeros(5, 2, dtype=torch.complex64))


# All of scikit-learn's checks for clusterers apply but check_array_api_input, which scikit-learn skips unless
# SCIPY_ARRAY_API is set: fit returns NumPy arrays whatever it is given. Weights and repeated rows are equivalent in the
# objective, as our tests of weights say, but a search that starts at random may end elsewhere, as with KMeans.
@parametrize_with_checks(
    [KMedoids(3, random_state=0, method=method) for method in METHODS],
    expected_failed_checks=lambda estimator: {
        "check_sample_weight_equivalence_on_dense_data": "the search starts from other random rows"
    },
)
def test_follows_scikit_learns_conventions(estimator, check):
    check(estimator)


def test_of_two_equally_good_medoids_the_first_is_taken_whatever_rounding_says():
    rng = np.random.default_rng(0)
    firsts = rng.normal(size=(2000, 30)) * 20
    pairs = np.stack([firsts, firsts + rng.normal(size=(2000, 30))], axis=1).reshape(4000, 30).astype(np.float32)
    vectors = prepare(torch.from_numpy(pairs), "euclidean")
    rows = torch.arange(4000)
    found = best_members(vectors, rows[1::2], rows // 2)
    assert found.tolist() == list(range(0, 4000, 2))
    assert first_least(np.array([2.0, 1.0 + 2e-7, 1.0, 1.0 - 2e-7, 1.5])) == 1
    assert first_least(np.array([1.0 + 1e-5, 1.0])) == 1
    assert first_least(np.zeros(3)) == 0


# What saves work


@pytest.mark.parametrize(("kind", "full_sweeps"), [("zero rows", (2, 9)), ("cauchy", (1, 9))])
def test_streamed_looks_again_at_three_tenths_and_then_at_every_fifth(kind, full_sweeps, monkeypatch):
    X, metric = hard(kind, 4_000)
    sizes, sweep = [], streamed._sweep
    monkeypatch.setattr(
        streamed, "_sweep", lambda distances, *rest: (sizes.append(distances.shape[1]), sweep(distances, *rest))[1]
    )
    KMedoids(100, metric=metric, method="streamed", random_state=0).fit(X)
    assert full_sweeps[0] <= sizes.count(4_000) <= full_sweeps[1]
    narrow = [100 + 3_900 * 3 // 10, 100 + 1_170 * 3 // 10, 100 + 351 * 3 // 10]
    assert sizes[:4] == [4_000, *narrow]
    assert 800 <= sizes[4] <= 900, "every fifth candidate, and the medoids"


def test_a_weighted_sample_tells_the_loss_of_all_rows():
    """Without bias, and far better than a uniform one where a few rows make up most of the loss."""
    rng = np.random.default_rng(0)
    distances = np.abs(rng.standard_cauchy(5_000))
    chances = _chances(torch.from_numpy(distances))
    assert chances.sum() == pytest.approx(1)
    estimates, uniform = [], []
    for _ in range(400):
        rows, weights = (part.numpy() for part in _draw_weighted(chances, 500, rng))
        assert len(np.unique(rows)) == len(rows)
        assert 490 - (chances * 500 > 1).sum() * 100 < len(rows) <= 501
        estimates.append((weights * distances[rows]).sum())
        uniform.append(10 * distances[rng.choice(5_000, 500, replace=False)].sum())
    assert np.mean(estimates) == pytest.approx(distances.sum(), rel=0.01)
    assert np.std(estimates) < 0.05 * np.std(uniform)
    assert set(np.flatnonzero(chances * 500 >= 1)) <= set(rows.tolist()), "what cannot be left out"
    everything, ones = _draw_weighted(chances, 5_000, rng)
    assert (everything.tolist(), ones.tolist()) == (list(range(5_000)), [1.0] * 5_000)


def test_sampled_weighs_its_evaluators_and_polishes_what_it_finds(monkeypatch):
    """With few candidates, what polishing finds among all rows is better."""
    X = heavy_tailed(3_000, 8)
    D = distances64(X)
    given, before = [], []
    search, polish = sampled.swap_narrowing, sampled.polish
    monkeypatch.setattr(planning, "CANDIDATES", (200, 1))
    monkeypatch.setattr(planning, "EVALUATORS", (700, 1))
    monkeypatch.setattr(sampled, "swap_narrowing", lambda *inputs: (given.append(inputs), search(*inputs))[1])
    monkeypatch.setattr(
        sampled, "polish", lambda vectors, medoids: (before.append(medoids), polish(vectors, medoids))[1]
    )
    found = KMedoids(40, method="sampled", random_state=0).fit(X)
    (points, candidates, _, _), (medoids,) = given[0], before
    weights = points.weights
    assert len(points) == len(weights) < 710
    assert len(candidates) < 260
    assert float(weights.sum()) == pytest.approx(3_000, rel=0.15)
    assert weights.min() >= 1
    assert weights.max() > 4
    assert loss(D, found.medoid_indices_) < 0.98 * loss(D, medoids.tolist())
