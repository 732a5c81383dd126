"""Data and checks that the searches on the host and on a card share."""

import numpy as np

from dami_text.clustering import KMedoids


def heavy_tailed(n, d, seed=0):
    """Clusters of very different sizes and spreads, as gradients have them."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_t(3, size=(20, d))[rng.integers(20, size=n)]
    return ((centres + 0.5 * rng.normal(size=(n, d))) * rng.lognormal(size=(n, 1))).astype(np.float32)


def assert_the_first_of_equals_is_the_medoid(method):
    """Of pairs, and of crowds of equal rows, from medoids that are not the first."""
    rng = np.random.default_rng(0)
    firsts = rng.normal(size=(100, 8)) * 20
    pairs = np.stack([firsts, firsts + rng.normal(size=(100, 8))], axis=1).reshape(200, 8).astype(np.float32)
    found = KMedoids(100, method=method, init=np.arange(1, 200, 2)).fit(pairs)
    assert found.medoid_indices_.tolist() == list(range(0, 200, 2))
    crowds = np.repeat(rng.normal(size=(3, 4)), 1_100, axis=0).astype(np.float32)
    found = KMedoids(3, method=method, init=np.array([500, 2_199, 3_000])).fit(crowds)
    assert found.medoid_indices_.tolist() == [0, 1_100, 2_200]
