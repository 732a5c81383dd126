"""The regression for few labels against scikit-learn's, by its formula, on dense and sparse features."""

import numpy as np
import pytest
from scipy import sparse
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from dami_text.models import logistic
from dami_text.models.logistic import SHARPNESS, UNSEEN, WEIGHTS, Ways, class_shares, fit_logistic

WAYS = Ways(balanced=5.0, free=3.0)


def blobs(n, n_classes, seed=0, n_features=12, spread=1.0):
    """Features (n, V) around a place of its class, far from 0, and labels (n,), each class once at least."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_classes), rng.choice(n_classes, n - n_classes, p=skewed(n_classes))])
    return rng.normal(size=(n_classes, n_features))[labels] + rng.normal(0, spread, (n, n_features)) + 2, labels


def skewed(n):
    shares = 1 / np.arange(1, n + 1)
    return shares / shares.sum()


def scikit_learns(features, labels, strength, **options):
    """scikit-learn's regression, its strength for features whose mean square length is 1."""
    scale = (features**2).sum(axis=1).mean()
    return LogisticRegression(C=strength / scale, max_iter=10_000, tol=1e-8, **options).fit(features, labels)


def two_rows(logits):
    """Logits (n, P) as scikit-learn gives them: of two classes it has one row."""
    return np.stack([-logits / 2, logits / 2], axis=1) if logits.ndim == 1 else logits


def balanced_fit(features, labels, mean, strength):
    """W (x - m) of all rows (n, P), with W of the labelled ones, which are the first."""
    n, centred = len(labels), features - mean
    scale = (features[:n] ** 2).sum(axis=1).mean()
    model = LogisticRegression(
        C=strength / scale, fit_intercept=False, class_weight="balanced", max_iter=10_000, tol=1e-8
    )
    return two_rows(model.fit(centred[:n], labels).decision_function(centred))


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_it_is_the_average_of_two_regressions_of_scikit_learn(form, n_classes):
    features, labels = blobs(90, n_classes)
    mean, labels = features.mean(axis=0), labels[:40]
    fit = fit_logistic(form(features[:40]), labels, n_classes, mean, WAYS)
    shares = class_shares(np.unique(labels, return_counts=True)[1])
    own = log_softmax(fit.sharpness * balanced_fit(features, labels, mean, 5.0) + np.log(shares), axis=1)
    free = scikit_learns(features[:40], labels, 3.0).predict_log_proba(features)
    expected = fit.share * own + (1 - fit.share) * free
    found = features @ fit.weight.T + fit.bias
    assert 0 < fit.share <= 1
    np.testing.assert_allclose(log_softmax(found, axis=1), log_softmax(expected, axis=1), atol=2e-3)


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_classes_that_count_the_same_have_the_balanced_fit_alone(form, n_classes):
    features, labels = blobs(90, n_classes)
    mean, labels = features.mean(axis=0), labels[:40]
    fit = fit_logistic(form(features[:40]), labels, n_classes, mean, WAYS, balanced=True)
    expected = fit.sharpness * balanced_fit(features, labels, mean, 5.0)
    found = features @ fit.weight.T + fit.bias
    assert fit.share == 1
    np.testing.assert_allclose(log_softmax(found, axis=1), log_softmax(expected, axis=1), atol=2e-3)


def test_many_sparse_rows_are_fitted_without_their_inner_products(monkeypatch):
    features, labels = blobs(60, 3, 2)
    mean = features.mean(axis=0)
    monkeypatch.setattr(logistic, "MOST_CENTRED", 50)
    uncentred = fit_logistic(sparse.csr_matrix(features), labels, 3, np.zeros(12), WAYS)
    fit = fit_logistic(sparse.csr_matrix(features), labels, 3, mean, WAYS)
    expected = fit_logistic(features, labels, 3, np.zeros(12), WAYS)
    for found in (uncentred, fit):  # the mean is not taken off, whatever it is
        np.testing.assert_allclose(found.weight, expected.weight, atol=1e-4)
        np.testing.assert_allclose(found.bias, expected.bias, atol=1e-4)


def test_copies_of_a_text_do_not_stop_it():
    features, labels = blobs(10, 2)
    twice = sparse.csr_matrix(np.concatenate([features, features]))
    fit = fit_logistic(twice, np.concatenate([labels, labels]), 2, features.mean(axis=0), WAYS)
    assert np.isfinite(fit.weight).all()
    zeros = fit_logistic(sparse.csr_matrix((4, 3)), np.array([0, 1, 0, 1]), 2, np.zeros(3), WAYS)
    np.testing.assert_array_equal(zeros.weight, 0)


def test_classes_without_labels_are_never_predicted_and_one_alone_always():
    features, labels = blobs(40, 2)
    fit = fit_logistic(features, 2 * labels, 4, features.mean(axis=0), WAYS)
    assert set((features @ fit.weight.T + fit.bias).argmax(axis=1)) == {0, 2}
    assert fit.bias[[1, 3]].tolist() == [UNSEEN, UNSEEN]
    alone = fit_logistic(features, np.ones(40, int), 3, features.mean(axis=0), WAYS)
    assert (features @ alone.weight.T + alone.bias).argmax(axis=1).tolist() == [1] * 40
    assert alone.held_out.shape == (0,)


# Shares ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([7], [1.0]),
        ([10, 10], [0.5, 0.5]),
        ([12, 8], [0.5, 0.5]),  # chi-square 0.8 on one degree of freedom: chance
        # chi-square (5^2 + 5^2) / 10 = 5 on one degree: A = (20 - 5) / 4, so (15 + 1.875) / 23.75
        ([15, 5], [16.875 / 23.75, 6.875 / 23.75]),
        # chi-square (6^2 + 3^2 + 3^2) / 4 = 13.5 on two: r = 6.75, A = (12 - 6.75) / 5.75
        ([10, 1, 1], [(10 + 21 / 69) / (12 + 21 / 23), (1 + 21 / 69) / (12 + 21 / 23), (1 + 21 / 69) / (12 + 21 / 23)]),
    ],
)
def test_shares_by_hand(counts, expected):
    np.testing.assert_allclose(class_shares(np.array(counts)), expected)


def test_shares_of_like_classes_are_nearer_to_the_truth_than_the_counts_are():
    """Mean squared errors over draws of 40 labels: of equal classes, of somewhat unequal ones, of one large class.

    The last is what it costs: a large class is shrunk with the others.
    """
    rng = np.random.default_rng(0)
    for shares, gain in (([0.1] * 10, 0.3), (np.linspace(0.5, 1.5, 10) / 10, 0.7), ([0.55, *[0.05] * 9], 1.5)):
        draws = [counts[counts > 0] for counts in rng.multinomial(40, shares, 500) if (counts > 0).all()]
        ours = np.mean([((class_shares(counts) - shares) ** 2).sum() for counts in draws])
        plain = np.mean([((counts / counts.sum() - shares) ** 2).sum() for counts in draws])
        assert ours < gain * plain


# What is chosen ----------------------------------------------------------------------------------------------------


def held_out_logits(features, labels, mean):
    """Logits (n, P) of both fits, each text by those on the other parts; classes are dealt to the parts in turn."""
    centred, scale = features - mean, (features**2).sum(axis=1).mean()
    models = (
        (centred, LogisticRegression(C=5.0 / scale, fit_intercept=False, class_weight="balanced", max_iter=5000)),
        (features, LogisticRegression(C=3.0 / scale, max_iter=5000)),
    )
    parts = np.empty(len(labels), int)
    parts[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % 5
    parts = PredefinedSplit(parts)
    own, free = (
        two_rows(cross_val_predict(model, rows, labels, cv=parts, method="decision_function")) for rows, model in models
    )
    return own, free


@pytest.mark.parametrize("spread", [0.3, 1.0, 4.0])
def test_sharpness_and_share_are_those_of_the_likeliest_held_out_labels(spread):
    """By brute force over the grid, with scikit-learn's cross-validation."""
    features, labels = blobs(200, 3, 3, spread=spread)
    mean, shares = features.mean(axis=0), class_shares(np.bincount(labels))
    own, free = held_out_logits(features, labels, mean)
    at = np.arange(len(labels)), labels

    def cost_of_sharpness(t):
        return np.log(t) ** 2 - log_softmax(t * own + np.log(shares), axis=1)[at].sum()

    def cost_of_share(w, t):
        logits = w * (t * own + np.log(shares)) + (1 - w) * free
        return 16 * (w - 0.5) ** 2 - log_softmax(logits, axis=1)[at].sum()

    fit = fit_logistic(features, labels, 3, mean, Ways(5.0, 3.0, flattest=0.1))
    assert cost_of_sharpness(fit.sharpness) <= min(map(cost_of_sharpness, SHARPNESS)) + 0.01
    assert cost_of_share(fit.share, fit.sharpness) <= min(cost_of_share(w, fit.sharpness) for w in WEIGHTS) + 0.01


def test_noise_is_made_flat_as_far_as_is_allowed():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 200)), (np.arange(60) % 10 == 0).astype(int)
    for flattest, expected in ((1.0, 1.0), (0.5, 0.5)):
        fit = fit_logistic(features, labels, 2, features.mean(axis=0), Ways(100.0, 1.0, flattest))
        assert fit.sharpness == pytest.approx(expected)


def test_the_defaults_stay_where_no_text_can_be_held_out():
    noise = np.random.default_rng(0).normal(size=(6, 4))
    fit = fit_logistic(noise, np.arange(6), 6, noise.mean(axis=0), WAYS)
    assert (fit.sharpness, fit.share, len(fit.held_out)) == (1.0, 0.5, 0)


def test_skewed_classes_may_want_the_free_fit():
    """One class in a narrow cloud within the other's wide one: texts far from it are all of the other."""
    rng = np.random.default_rng(1)
    labels = (np.arange(400) % 10 == 0).astype(int)
    features = np.where(labels[:, None] == 1, rng.normal(1.0, 0.05, (400, 5)), rng.normal(0, 1, (400, 5)))
    assert fit_logistic(features, labels, 2, features.mean(axis=0), WAYS).share < 0.3


def test_the_same_labels_give_the_same_weights():
    features, labels = blobs(60, 3)
    first, second = (fit_logistic(features, labels, 3, features.mean(axis=0), WAYS) for _ in range(2))
    np.testing.assert_array_equal(first.weight, second.weight)
    assert (first.sharpness, first.share) == (second.sharpness, second.share)
