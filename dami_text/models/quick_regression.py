"""Logistic regression for few texts, many times over: scikit-learn's own checks would take longer than each fit."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Floats = NDArray[np.floating[Any]]


class QuickRegression:
    """The optimum of scikit-learn's LogisticRegression with an L2 penalty, by the same method from the same start.

    The first fit starts from 0, and each other from the weights of the one before.

    Attributes:
        C, tol: as scikit-learn's.
        classes_, coef_, intercept_, n_iter_: what was found, as scikit-learn's.
    """

    def __init__(self, fit_intercept: bool) -> None:
        self.fit_intercept = fit_intercept
        self.C, self.tol = 1.0, 1e-4
        self._start: Floats | None = None

    def fit(self, features: Any, classes: NDArray[np.int64], sample_weight: Floats | None = None) -> Self:
        """Fit on features (n, R), dense or sparse, and classes (n,) of two kinds or more."""
        self.classes_, y = np.unique(classes, return_inverse=True)
        n, n_features = features.shape
        n_rows = 1 if len(self.classes_) == 2 else len(self.classes_)  # of two classes there is one, for the second
        shares = np.full(n, 1 / n) if sample_weight is None else sample_weight / sample_weight.sum()
        penalty = 1 / (self.C * (n if sample_weight is None else float(sample_weight.sum())))
        size = n_rows * n_features

        def objective(flat: Floats) -> tuple[float, Floats]:
            weight = flat[:size].reshape(n_rows, n_features)
            logits = np.asarray(features @ weight.T.astype(features.dtype), np.float64)
            if self.fit_intercept:
                logits += flat[size:]
            losses, errors = _binary(logits, y) if n_rows == 1 else _multinomial(logits, y)
            errors *= shares[:, None]
            gradient = np.asarray(features.T @ errors.astype(features.dtype), np.float64).T + penalty * weight
            value = float(shares @ losses + penalty / 2 * (weight * weight).sum())
            of_intercept = errors.sum(axis=0)[: n_rows * self.fit_intercept]
            return value, np.concatenate([gradient.ravel(), of_intercept])

        start = self._start
        if start is None or len(start) != size + n_rows * self.fit_intercept:
            start = np.zeros(size + n_rows * self.fit_intercept)
        limits = {"maxiter": 1000, "maxls": 50, "gtol": self.tol, "ftol": 64 * np.finfo(float).eps}
        found = optimize.minimize(objective, start, method="L-BFGS-B", jac=True, options=limits)
        self._start = found.x
        self.coef_ = found.x[:size].reshape(n_rows, n_features)
        self.intercept_ = found.x[size:] if self.fit_intercept else np.zeros(n_rows)
        self.n_iter_ = np.array([found.nit])
        return self


def _binary(logits: Floats, y: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """The losses (n,) of logits (n, 1) for classes (n,) of 0 and 1, and their derivatives (n, 1)."""
    z = logits[:, 0]
    return np.logaddexp(0, z) - y * z, (special.expit(z) - y)[:, None]


def _multinomial(logits: Floats, y: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """The losses (n,) of logits (n, P) for classes (n,), and their derivatives (n, P)."""
    rows = np.arange(len(y))
    log_probabilities = logits - special.logsumexp(logits, axis=1, keepdims=True)
    errors = np.exp(log_probabilities)
    errors[rows, y] -= 1
    return -log_probabilities[rows, y], errors
