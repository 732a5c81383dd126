"""The search as a CUDA card does it, with its steps run one by one, against brute force and the search on the host."""

import itertools
import logging

import numpy as np
import pytest
import torch
from kmedoids_cases import assert_the_first_of_equals_is_the_medoid, heavy_tailed
from scipy.spatial.distance import cdist

from dami_text.clustering import KMedoids, alternate, distances, fasterpam, kmedoids, on_card
from dami_text.clustering import plan as planning
from dami_text.clustering.distances import Matrix, Tiles, prepare
from dami_text.clustering.fasterpam import swap_block
from dami_text.clustering.on_card import CardClustering
from dami_text.models import recording

METHODS = ["fasterpam", "streamed"]


@pytest.fixture
def as_on_card(monkeypatch):
    """The CPU is taken for a card, with small blocks, and a recorded step is repeated by running it."""
    for module in (distances, fasterpam, alternate, kmedoids):
        monkeypatch.setattr(module, "is_card", lambda device: True)
    monkeypatch.setattr(distances, "CARD_BLOCK_CANDIDATES", 100)
    monkeypatch.setattr(distances, "CARD_TILE_NUMBERS", 5_000)
    monkeypatch.setattr(on_card, "recorder", lambda: lambda function: function)


def with_ties(n, seed=0):
    """Many duplicates, and many distances that are the same."""
    return np.random.default_rng(seed).integers(-3, 4, size=(n, 2)).astype(np.float32)


def distances64(X):
    return cdist(np.asarray(X, np.float64), np.asarray(X, np.float64))


def loss(D, medoids, weights=1.0):
    return (D[:, list(medoids)].min(axis=1) * weights).sum()


def best_swap(D, medoids, weights=1.0):
    """By how much the best single swap lowers the loss, by trying them all."""
    others = [np.delete(medoids, slot) for slot in range(len(medoids))]
    left = [D[:, rest].min(axis=1) if len(rest) else np.full(len(D), np.inf) for rest in others]
    after = [(np.minimum(D, rest[:, None]).T * weights).sum(axis=1).min() for rest in left]
    return loss(D, medoids, weights) - min(after)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize(("n", "k"), [(8, 2), (10, 4), (12, 3)])
def test_finds_the_optimum_of_small_data(n, k, metric, method, as_on_card):
    X = np.random.default_rng(n).normal(size=(n, 3))
    D = distances64(X) if metric == "euclidean" else cdist(X, X, "cosine")
    optimum = min(loss(D, medoids) for medoids in itertools.combinations(range(n), k))
    fits = [KMedoids(k, metric=metric, method=method, init="random", random_state=seed).fit(X) for seed in range(10)]
    assert min(loss(D, fit.medoid_indices_) for fit in fits) == pytest.approx(optimum)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("k", [1, 2, 5, 20])
@pytest.mark.parametrize("make", [with_ties, lambda n: heavy_tailed(n, 4)], ids=["ties", "heavy-tailed"])
@pytest.mark.parametrize("n", [60, 600])
def test_no_single_swap_improves(n, make, k, method, as_on_card):
    X = make(n)
    D = distances64(X)
    medoids = KMedoids(k, method=method, random_state=0).fit(X).medoid_indices_
    assert len(set(medoids.tolist())) == k
    assert best_swap(D, medoids) <= 1e-6 * loss(D, medoids) + 1e-12


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("k", [1, 5, 20])
def test_no_single_swap_improves_a_weighted_clustering(k, method, as_on_card):
    X, weights = heavy_tailed(300, 4), np.random.default_rng(1).lognormal(size=300) * (np.arange(300) % 7 > 0)
    D = distances64(X)
    found = KMedoids(k, method=method, random_state=0).fit(X, sample_weight=weights)
    assert best_swap(D, found.medoid_indices_, weights) <= 2e-6 * loss(D, found.medoid_indices_, weights)
    assert found.inertia_ == pytest.approx(loss(D, found.medoid_indices_, weights), rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_as_good_as_on_the_host_and_the_same_again(method, monkeypatch, request):
    cases = [
        (heavy_tailed(n, d, seed), k) for seed, (n, d, k) in enumerate([(200, 5, 20), (600, 8, 12), (600, 3, 20)] * 4)
    ]
    cases += [(with_ties(400, 3), 20), (with_ties(600, 4), 7)]
    host = [KMedoids(k, method=method, random_state=0).fit(X).inertia_ for X, k in cases]
    request.getfixturevalue("as_on_card")
    fits = [KMedoids(k, method=method, random_state=0).fit(X) for X, k in cases]
    ratios = np.array([fit.inertia_ for fit in fits]) / host
    assert ratios.mean() <= 1.001
    assert ratios.max() <= 1.01, "of so few rows another order of swaps may end elsewhere"
    again = [KMedoids(k, method=method, random_state=0).fit(X).medoid_indices_.tolist() for X, k in cases]
    assert again == [fit.medoid_indices_.tolist() for fit in fits]


@pytest.mark.parametrize("method", METHODS)
def test_mid_size_data_within_a_thousandth_of_the_host(method, request):
    X = heavy_tailed(4_000, 20)
    host = KMedoids(40, method=method, random_state=0).fit(X).inertia_
    request.getfixturevalue("as_on_card")
    assert KMedoids(40, method=method, random_state=0).fit(X).inertia_ <= 1.001 * host


@pytest.mark.parametrize("method", METHODS)
def test_of_pairs_and_of_equal_rows_the_first_is_the_medoid(method, as_on_card):
    assert_the_first_of_equals_is_the_medoid(method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("k", [4, 12])
def test_clusters_that_are_a_million_times_their_width_apart(k, method, as_on_card):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(300, 3)) + 1e6 * rng.normal(size=(4, 3))[rng.integers(4, size=300)]
        D = distances64(X)
        medoids = KMedoids(k, method=method, random_state=seed).fit(X).medoid_indices_
        assert best_swap(D, medoids) <= 1e-6 * loss(D, medoids)


@pytest.mark.parametrize("make", [Matrix, lambda vectors: Tiles(vectors, vectors)], ids=["matrix", "tiles"])
@pytest.mark.parametrize("k", [1, 2, 40])
def test_the_search_keeps_its_account(make, k, as_on_card):
    X = heavy_tailed(500, 6)
    vectors = prepare(torch.from_numpy(X), "euclidean")
    D = distances64(X) / vectors.unit
    among = make(vectors)
    state = CardClustering().begin(among, torch.arange(k))
    before, swaps = state.loss, 0
    for candidates in [*among.blocks] * 2:
        swap_block(among, state, candidates)
        assert state.loss <= before
        assert (state.swaps > swaps) == (state.loss < before)
        before, swaps = state.loss, state.swaps
        ranked = np.sort(D[:, state.medoids], axis=1)
        assert len(set(state.medoids.tolist())) == k
        assert state.loss == pytest.approx(loss(D, state.medoids), rel=1e-5)
        np.testing.assert_allclose(state._first, ranked[:, 0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(state._to_medoids.T, D[:, state.medoids], rtol=1e-4, atol=1e-6)
        if k > 1:
            np.testing.assert_allclose(state._second, ranked[:, 1], rtol=1e-4, atol=1e-6)
    assert swaps > 0


def test_changes_are_those_of_the_best_swaps(as_on_card):
    X = heavy_tailed(150, 4)
    vectors = prepare(torch.from_numpy(X), "euclidean")
    D, among, medoids = distances64(X) / vectors.unit, Matrix(vectors), np.arange(7)
    state = CardClustering().begin(among, torch.from_numpy(medoids))
    changes = np.concatenate([state.best_changes(among.block(part), part) for part in among.blocks])
    assert np.isinf(changes[medoids]).all()
    for candidate in range(7, 150):
        after = min(loss(D, [*np.delete(medoids, slot), candidate]) for slot in range(7))
        assert changes[candidate] == pytest.approx(after - loss(D, medoids), rel=1e-3, abs=1e-4)


def test_a_sweep_after_another_keeps_its_memory_and_its_graph(as_on_card):
    recorded = []
    vectors = prepare(torch.from_numpy(heavy_tailed(300, 5)), "euclidean")
    among = Tiles(vectors, vectors)
    state = CardClustering(lambda function: recorded.append(function) or function)
    for first in (0, 50, 100):
        kept = state._to_medoids.data_ptr()
        fresh = CardClustering().begin(among, torch.arange(first, first + 10))
        state.begin(among, torch.arange(first, first + 10))
        for part in among.blocks:
            swap_block(among, state, part)
            swap_block(among, fresh, part)
        assert state.medoids.tolist() == fresh.medoids.tolist()
        assert first == 0 or state._to_medoids.data_ptr() == kept
    assert len(recorded) == 1
    state.begin(among, torch.arange(4))
    for part in among.blocks:
        swap_block(among, state, part)
    assert len(recorded) == 2, "of another number of medoids the graph is another"


def test_swaps_that_cannot_be_recorded_are_made_one_by_one(as_on_card, monkeypatch, caplog):
    def failing(function):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    X = heavy_tailed(300, 5)
    wanted = KMedoids(20, method="fasterpam", init="random", random_state=0).fit(X).medoid_indices_
    monkeypatch.setattr(on_card, "recorder", lambda: failing)
    monkeypatch.setattr(recording, "_told", set())
    with caplog.at_level(logging.INFO):
        found = KMedoids(20, method="fasterpam", init="random", random_state=0).fit(X).medoid_indices_
    assert found.tolist() == wanted.tolist()
    assert [record.getMessage() for record in caplog.records if "recorded" in record.getMessage()] == [
        "a swap of K-medoids cannot be recorded as a CUDA graph (operation not permitted when stream is capturing); "
        "kernels are launched one by one"
    ]


@pytest.mark.parametrize(("n", "k", "seconds"), [(7_000, 140, 0.18), (20_000, 400, 1.05), (100_000, 1_000, 7.5)])
def test_the_estimate_for_a_card_is_near_what_a_card_took(n, k, seconds):
    work = planning.plan(n, 100, k, "auto", 2 * 1024**3, init_given=False, on_card=True)
    assert work.method == ("fasterpam" if n == 7_000 else "streamed")
    assert 0.75 * seconds <= work.seconds <= 1.25 * seconds


def test_a_card_goes_further_in_the_same_seconds():
    methods = {
        on_card: planning.plan(100_000, 100, 1_000, "auto", 2 * 1024**3, init_given=False, on_card=on_card).method
        for on_card in (False, True)
    }
    assert methods == {False: "sampled", True: "streamed"}


@pytest.mark.parametrize("seconds", [1, 10, 60])
def test_the_estimate_never_falls_with_the_rows_and_keeps_to_the_budget(seconds):
    plans = [
        planning.plan(int(n), 100, 100, "auto", 2 * 1024**3, init_given=False, max_seconds=seconds, on_card=True)
        for n in np.unique(np.geomspace(1_000, 1_000_000, 200).astype(int))
    ]
    estimates = np.array([work.seconds for work in plans])
    assert (estimates[1:] >= 0.999 * estimates[:-1]).all()
    assert estimates.max() <= max(2 * seconds, 10)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "k"), [(600, 20), (4_000, 1), (7_000, 140)])
def test_on_a_card_as_good_as_on_the_host_and_the_same_again(n, k, method):
    X = torch.from_numpy(heavy_tailed(n, 20))
    host, card, again = (
        KMedoids(k, method=method, random_state=0).fit(X.to(device)) for device in ("cpu", "cuda", "cuda")
    )
    assert card.inertia_ <= 1.001 * host.inertia_
    assert card.medoid_indices_.tolist() == again.medoid_indices_.tolist()
