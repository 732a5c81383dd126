"""K-means on features: the row nearest to every mean."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from strategy_cases import CLASSES, KINDS, features_of, model_for, odd_pool

from dami_text.strategies import KMeansFeatures
from dami_text.strategies.kmeans_features import nearest_to_means


def test_by_hand():
    points = np.array([[0, 0], [0, 1], [0, 3], [10, 0], [10, 2], [50, 50], [0, 1.5]], np.float32)
    chosen, sizes = nearest_to_means(points, 3, np.random.default_rng(0))
    # The means are (0, 1.375), (10, 1) and (50, 50); rows 3 and 4 are as near, and the first is taken.
    assert chosen.tolist() == [6, 3, 5]
    assert sizes.tolist() == [4, 2, 1]


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_against_a_loop(kind, n_classes):
    pool = odd_pool()
    model = model_for(kind, pool, n_classes)
    features = features_of(model, pool, pool.unlabeled)
    query = KMeansFeatures().query(model, pool, 7, np.random.default_rng(4))
    seed = int(np.random.default_rng(4).integers(2**31))
    means = KMeans(7, n_init=1, random_state=seed).fit(features.astype(np.float32))
    sizes = [(means.labels_ == mean).sum() for mean in range(7)]
    expected: list[int] = []
    for mean in sorted(range(7), key=lambda mean: -sizes[mean]):
        centre = features[means.labels_ == mean].astype(np.float64).mean(axis=0)
        # To six digits: the two members of a pair are equally far from their mean, and the first one is taken.
        nearest = sorted(range(len(features)), key=lambda i: round(float(np.linalg.norm(features[i] - centre)), 6))
        expected.append(next(i for i in nearest if i not in expected))
    assert query.rows.tolist() == pool.unlabeled[expected].tolist()
    assert [reason["cluster_size"] for reason in query.reasons] == sorted(sizes, reverse=True)


@pytest.mark.parametrize("distinct", [1, 3])
def test_fewer_distinct_rows_than_means(distinct):
    points = np.repeat(np.eye(3, 4, dtype=np.float32)[:distinct], 4, axis=0)
    chosen, sizes = nearest_to_means(points, 7 if distinct == 3 else 4, np.random.default_rng(0))
    assert len(set(chosen.tolist())) == len(chosen)
    assert len(set((chosen // 4).tolist())) == distinct, "every group is represented"
    assert sizes.sum() == len(points)
