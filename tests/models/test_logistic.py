"""The regression for few labels against scikit-learn's, by its formula, on dense and sparse features."""

import numpy as np
import pytest
from scipy import sparse
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from dami_text.models import logistic
from dami_text.models.logistic import UNSEEN, Candidate, Candidates, class_shares, fit_logistic
from dami_text.models.quick_regression import QuickRegression

ONE = Candidates(Candidate(5.0))


def blobs(n, n_classes, seed=0, n_features=12, spread=1.0):
    """Features (n, V) around a place of its class, far from 0, and labels (n,), each class once at least."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_classes), rng.choice(n_classes, n - n_classes, p=skewed(n_classes))])
    return rng.normal(size=(n_classes, n_features))[labels] + rng.normal(0, spread, (n, n_features)) + 2, labels


def skewed(n):
    shares = 1 / np.arange(1, n + 1)
    return shares / shares.sum()


def by_formula(features, labels, mean, strength, balanced):
    """Logits (n, P) of the pool by W (x - m) + log s, with scikit-learn's weights, straight from the definition."""
    centred = features - mean
    scale = np.sqrt((centred[: len(labels)] ** 2).sum(axis=1).mean())
    model = LogisticRegression(C=strength, fit_intercept=False, class_weight="balanced", max_iter=10_000, tol=1e-8)
    model.fit(centred[: len(labels)] / scale, labels)
    logits = model.decision_function(centred / scale)
    if logits.ndim == 1:
        logits = np.stack([-logits / 2, logits / 2], axis=1)
    shares = np.unique(labels, return_counts=True)[1]
    return logits + (0 if balanced else np.log(class_shares(shares)))


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_it_is_the_formula_with_the_weights_of_scikit_learn(form, n_classes, balanced):
    features, labels = blobs(90, n_classes)
    mean = features.mean(axis=0)
    fit = fit_logistic(form(features[:40]), labels[:40], n_classes, mean, ONE, balanced=balanced)
    expected = by_formula(features, labels[:40], mean, 5.0, balanced)
    found = features @ fit.weight.T + fit.bias
    np.testing.assert_allclose(log_softmax(found, axis=1), log_softmax(expected, axis=1), atol=1e-3)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_a_free_intercept_is_scikit_learns_usual_regression(form, n_classes):
    features, labels = blobs(80, n_classes, 1)
    mean = features.mean(axis=0)
    fit = fit_logistic(form(features), labels, n_classes, mean, Candidates(Candidate(3.0, free=True)))
    scale = np.sqrt(((features - mean) ** 2).sum(axis=1).mean())
    theirs = LogisticRegression(C=3.0 / scale**2, max_iter=10_000, tol=1e-8).fit(features, labels)
    found = log_softmax(features @ fit.weight.T + fit.bias, axis=1)
    np.testing.assert_allclose(found, theirs.predict_log_proba(features), atol=1e-3)


def test_many_sparse_rows_are_fitted_without_their_inner_products(monkeypatch):
    features, labels = blobs(60, 3, 2)
    mean = features.mean(axis=0)
    monkeypatch.setattr(logistic, "MOST_CENTRED", 50)
    fit = fit_logistic(sparse.csr_matrix(features), labels, 3, mean, Candidates(Candidate(3.0, free=True)))
    scale = np.sqrt((features**2).sum(axis=1).mean())
    theirs = LogisticRegression(C=3.0 / scale**2, max_iter=10_000, tol=1e-8).fit(features, labels)
    found = log_softmax(features @ fit.weight.T + fit.bias, axis=1)
    np.testing.assert_allclose(found, theirs.predict_log_proba(features), atol=1e-3)


def test_copies_of_a_text_do_not_stop_it():
    features, labels = blobs(10, 2)
    twice = sparse.csr_matrix(np.concatenate([features, features]))
    fit = fit_logistic(twice, np.concatenate([labels, labels]), 2, features.mean(axis=0), ONE)
    assert np.isfinite(fit.weight).all()
    zeros = fit_logistic(sparse.csr_matrix((4, 3)), np.array([0, 1, 0, 1]), 2, np.zeros(3), ONE)
    np.testing.assert_array_equal(zeros.weight, 0)


def test_classes_without_labels_are_never_predicted_and_one_alone_always():
    features, labels = blobs(40, 2)
    fit = fit_logistic(features, 2 * labels, 4, features.mean(axis=0), ONE)
    assert set((features @ fit.weight.T + fit.bias).argmax(axis=1)) == {0, 2}
    assert fit.bias[[1, 3]].tolist() == [UNSEEN, UNSEEN]
    alone = fit_logistic(features, np.ones(40, int), 3, features.mean(axis=0), ONE)
    assert (features @ alone.weight.T + alone.bias).argmax(axis=1).tolist() == [1] * 40
    assert alone.candidate is None


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


def test_the_candidate_is_chosen_that_predicts_held_out_texts_best():
    """Noise in many features wants a strong penalty, clear classes a weak one; scikit-learn's own folds agree."""
    ways = Candidates(Candidate(1.0), (Candidate(0.01), Candidate(100.0)))
    rng = np.random.default_rng(0)
    for spread, expected in ((0.2, 100.0), (6.0, 0.01)):
        features, labels = blobs(200, 2, 3, spread=spread)
        features = np.hstack([features, rng.normal(0, spread, (200, 100))])
        mean = features.mean(axis=0)
        assert fit_logistic(features, labels, 2, mean, ways).candidate.strength == expected
        scale = np.sqrt(((features - mean) ** 2).sum(axis=1).mean())

        def log_likelihood(strength, rows, labels=labels):
            model = LogisticRegression(C=strength, fit_intercept=False, class_weight="balanced", max_iter=2000)
            found = cross_val_predict(model, rows, labels, cv=StratifiedKFold(5), method="predict_proba")
            return np.log(found[np.arange(len(labels)), labels]).mean()

        best = max((0.01, 1.0, 100.0), key=lambda strength: log_likelihood(strength, (features - mean) / scale))
        assert best == expected


def test_the_default_stays_where_labels_cannot_tell():
    ways = Candidates(Candidate(5.0), (Candidate(1.0), Candidate(10.0, free=True)))
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(6, 4))
    assert fit_logistic(noise, np.array([0, 1, 0, 1, 0, 1]), 2, noise.mean(axis=0), ways).candidate == ways.default
    each_class_once = fit_logistic(noise, np.arange(6), 6, noise.mean(axis=0), ways)
    assert each_class_once.candidate == ways.default


def test_skewed_classes_may_free_the_intercept_and_balanced_ones_never_do():
    """One class in a narrow cloud within the other's wide one: texts far from it are all of the other."""
    rng = np.random.default_rng(1)
    labels = (np.arange(400) % 10 == 0).astype(int)
    features = np.where(labels[:, None] == 1, rng.normal(1.0, 0.05, (400, 5)), rng.normal(0, 1, (400, 5)))
    ways = Candidates(Candidate(5.0), (Candidate(5.0, free=True),))
    assert fit_logistic(features, labels, 2, features.mean(axis=0), ways).candidate.free
    assert not fit_logistic(features, labels, 2, features.mean(axis=0), ways, balanced=True).candidate.free


def test_the_same_labels_give_the_same_weights():
    features, labels = blobs(60, 3)
    ways = Candidates(Candidate(5.0), (Candidate(1.0), Candidate(20.0)))
    first, second = (fit_logistic(features, labels, 3, features.mean(axis=0), ways) for _ in range(2))
    np.testing.assert_array_equal(first.weight, second.weight)
    assert first.candidate == second.candidate


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_the_quick_regression_is_scikit_learns(n_classes, free, is_sparse):
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    features, classes = rng.normal(size=(60, 8)), rng.integers(0, n_classes, 60)
    weights = rng.uniform(0.5, 2, 60)
    given = sparse.csr_matrix(features) if is_sparse else features
    ours, theirs = QuickRegression(free), LogisticRegression(fit_intercept=free, max_iter=1000, warm_start=True)
    for strength in (0.1, 10.0):
        ours.C, ours.tol = strength, 1e-8
        theirs.set_params(C=strength, tol=1e-8)
        ours.fit(given, classes, sample_weight=weights)
        theirs.fit(features, classes, sample_weight=weights)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
        np.testing.assert_allclose(ours.intercept_, np.broadcast_to(theirs.intercept_, len(ours.coef_)), atol=1e-4)
