"""BADGE against k-means++ on the gradient embeddings themselves."""

import numpy as np
import pytest
import torch
from scipy import stats
from strategy_cases import CLASSES, KINDS, loss_gradients, model_for, odd_pool, probabilities_of

from dami_text.strategies import Badge
from dami_text.strategies.badge import _squared_distances, k_means_plus_plus, prediction_errors


def slow_k_means_plus_plus(embeddings, n, rng):
    """Rows and distances; D^2 sampling by a walk along the rows with one draw a pick."""
    chosen = [int(np.argmax(np.linalg.norm(embeddings, axis=1)))]
    distances = [float(np.linalg.norm(embeddings[chosen[0]]))]
    for _ in range(1, n):
        weights = [
            0.0 if i in chosen else min(float(np.square(embeddings[i] - embeddings[j]).sum()) for j in chosen)
            for i in range(len(embeddings))
        ]
        walk, row = rng.random() * sum(weights), -1
        for i, weight in enumerate(weights):
            walk -= weight
            if walk < 0:
                row = i
                break
        distances.append(weights[row] ** 0.5)
        chosen.append(row)
    return chosen, distances


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_against_the_embeddings_themselves(kind, n_classes):
    pool = odd_pool()
    model = model_for(kind, pool, n_classes)
    embeddings = []  # (n, C * H): the gradient of the predicted label's loss by the last layer's weights
    for row, p in zip(pool.unlabeled, probabilities_of(model, pool), strict=True):
        gradients = loss_gradients(model, pool, row, [model.classifier.weight])
        embeddings.append(gradients[int(p.argmax())][1][0].numpy().ravel())
    embeddings = np.array(embeddings)
    for seed, n in enumerate((1, 2, 8, len(embeddings) - 1)):
        chosen, distances = slow_k_means_plus_plus(embeddings, n, np.random.default_rng(seed))
        query = Badge().query(model, pool, n, np.random.default_rng(seed))
        assert query.rows.tolist() == pool.unlabeled[chosen].tolist()
        assert [r["distance"] for r in query.reasons] == pytest.approx(distances, rel=1e-4)
        norms = np.linalg.norm(embeddings[chosen], axis=1)
        assert [r["gradient_norm"] for r in query.reasons] == pytest.approx(norms.tolist(), rel=1e-5)


def embeddings_of(errors, features):
    return np.einsum("nc,nh->nch", errors, features).reshape(len(errors), -1)


def test_factors_give_the_products_distances():
    """g_i . g_j = (e_i . e_j)(h_i . h_j), on numbers and on signs that no model would give."""
    rng = np.random.default_rng(0)
    errors, features = rng.normal(size=(30, 4)).astype(np.float32), rng.normal(size=(30, 7)).astype(np.float32)
    chosen, distances = k_means_plus_plus(errors, features, 20, np.random.default_rng(1))
    expected = slow_k_means_plus_plus(embeddings_of(errors, features), 20, np.random.default_rng(1))
    assert chosen.tolist() == expected[0]
    assert distances.tolist() == pytest.approx(expected[1], rel=1e-4)


@pytest.mark.parametrize("n_classes", CLASSES)
def test_the_norm_falls_as_confidence_rises(n_classes):
    confidence = np.concatenate([np.linspace(1 / n_classes + 0.01, 0.99, 30), 1 - np.logspace(-3, -7, 9)])
    for top in range(n_classes):
        p = np.tile(((1 - confidence) / (n_classes - 1))[:, None], n_classes)
        p[:, top] = confidence
        errors = prediction_errors(p.astype(np.float32))
        norms = np.linalg.norm(errors, axis=1)
        assert (np.diff(norms) < 0).all()
        expected = (1 - confidence) * (1 + 1 / (n_classes - 1)) ** 0.5
        assert norms.tolist() == pytest.approx(expected.tolist(), rel=1e-5)
        assert (errors[:, top] < 0).all()
        assert (np.delete(errors, top, axis=1) > 0).all()


def test_errors_by_hand():
    p = np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [1, 0, 0], [0.5, 0.5, 0]], np.float32)
    expected = [[-0.5, 0.25, 0.25], [0.1, 0.2, -0.3], [0, 0, 0], [-0.5, 0.5, 0]]
    np.testing.assert_allclose(prediction_errors(p), expected, atol=1e-7)


COPIES = {
    "all the same": (np.full((8, 2), 0.5), np.full((8, 3), 0.7)),
    "all zero": (np.zeros((8, 2)), np.ones((8, 3))),
    "one and seven copies": (
        np.array([[0.5, -0.5]] + [[0.3, -0.3]] * 7),
        np.array([[1.0, 2, 3]] + [[3.0, 1, 0.1]] * 7),
    ),
}


@pytest.mark.parametrize("which", COPIES)
def test_copies_are_all_as_likely_and_never_chosen_twice(which):
    errors, features = (array.astype(np.float32) for array in COPIES[which])
    last = np.zeros(8)
    for seed in range(200):
        chosen, distances = k_means_plus_plus(errors, features, 8, np.random.default_rng(seed))
        assert sorted(chosen.tolist()) == list(range(8))
        assert (distances[2:] == 0).all()
        last[chosen[-1]] += 1
    assert last[0] == 0, "the first of the longest is chosen first"
    assert stats.chisquare(last[1:]).pvalue > 1e-4


def test_d_squared_sampling():
    """Points 10, 0, 4 and 7 on a line: after 10, the longest, the others have the weights 100, 36 and 9."""
    errors, features = np.array([[10], [0], [4], [7]], np.float32), np.ones((4, 1), np.float32)
    second = np.array([100, 36, 9]) / 145
    third = np.array([[0, 16, 9], [16, 0, 9], [49, 9, 0]])  # squared distances to the nearer one of the two before
    expected = 4000 * second[:, None] * third / third.sum(axis=1, keepdims=True)
    found, rng = np.zeros((4, 4)), np.random.default_rng(0)
    for _ in range(4000):
        chosen, _ = k_means_plus_plus(errors, features, 3, rng)
        found[chosen[1], chosen[2]] += 1
    assert found[0].sum() == found[:, 0].sum() == np.trace(found) == 0
    possible = ~np.eye(3, dtype=bool)
    assert stats.chisquare(found[1:, 1:][possible], expected[possible]).pvalue > 1e-4


@pytest.mark.parametrize("scale", [1e-2, 1e-4, 1e-6])
def test_the_distances_of_near_copies_keep_their_digits(scale):
    rng = np.random.default_rng(0)
    e0, h0 = rng.normal(size=3), rng.normal(size=20)
    errors = (e0 * (1 + scale * rng.normal(size=(30, 3)))).astype(np.float32)
    features = (h0 * (1 + scale * rng.normal(size=(30, 20)))).astype(np.float32)
    squares = np.square(errors).sum(axis=1) * np.square(features).sum(axis=1)
    found = _squared_distances(*map(torch.from_numpy, (errors, features, squares)), 4)
    embeddings = errors.astype(np.float64)[:, :, None] * features.astype(np.float64)[:, None, :]
    exact = np.square(embeddings - embeddings[4]).sum(axis=(1, 2))
    assert found[4] == 0
    np.testing.assert_allclose(found.numpy(), exact, rtol=2e-3)
