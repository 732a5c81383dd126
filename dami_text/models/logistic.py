"""Multinomial logistic regression for few labels: the head on a frozen encoder's features, and all of the linear model.

    logits = W (x - m) + log s

m is the mean of the pool's features, which takes no labels to know, and s the classes' shares. W is scikit-learn's
optimum for labelled texts whose classes weigh the same, with an L2 penalty and no intercept. With few labels an
intercept decides too much: a new text shares few features with the labelled ones, and what is left is the class whose
labelled texts happen to be more, or longer. The shares are shrunk towards equal ones as far as chance explains their
differences (`class_shares`).

With more labels, or with classes of very different sizes, scikit-learn's usual regression can be better: W x + b, where
all texts weigh the same. Which of the two, and the strength of the penalty, is chosen by cross-validation on the
labelled texts alone.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg, sparse
from torch import nn

from dami_text.models.last_layer import UNSEEN
from dami_text.models.quick_regression import QuickRegression

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]

#: Labelled texts up to which sparse features are centred, by a matrix of all pairs. With more, the intercept is known.
MOST_CENTRED = 5_000

#: Parts of the cross-validation, and the classes above which there are fewer of them, for the sake of time.
FOLDS, FEWER_FOLDS, MANY_CLASSES = 5, 3, 20


@dataclass(frozen=True)
class Candidate:
    """A way to fit: the inverse strength of the penalty, and whether the intercept is free and texts weigh the same.

    The strength is for features whose mean square distance from the mean is 1.
    """

    strength: float
    free: bool = False


@dataclass(frozen=True)
class Candidates:
    """The ways to choose from.

    `default` is taken unless another is better by more than a standard error: a few labels cannot tell them apart.
    """

    default: Candidate
    others: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class LogisticFit:
    """What was found.

    Attributes:
        weight, bias: (C, V) and (C,), of features as they came, not centred; UNSEEN is the bias of a class without
            labels.
        candidate: what was chosen; None where there is one class only.
        iterations: of the solver, for the last fit.
        held_out: (h,) log-probabilities of the classes of texts that cross-validation held out, by what was chosen.
    """

    weight: Floats
    bias: Floats
    candidate: Candidate | None
    iterations: int
    held_out: Floats

    def write(self, layer: nn.Linear) -> None:
        """Give the weights to a layer of C outputs and V inputs."""
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(self.weight))
            layer.bias.copy_(torch.from_numpy(self.bias))


def class_shares(counts: NDArray[np.int64]) -> Floats:
    """The shares (P,) of classes that have counts (P,), all above 0, among all texts.

    The empirical Bayes estimate under a symmetric Dirichlet prior, whose concentration is found by the method of
    moments: (counts + A / P) / (n + A), where A = (n - r) / (r - 1) and r is the chi-square statistic against equal
    shares by its degrees of freedom. Where the counts differ by no more than chance makes them (r <= 1), A is infinite:
    the shares are equal.
    """
    n, n_classes = counts.sum(), len(counts)
    if n_classes == 1:
        return np.ones(1)
    even = n / n_classes
    r = ((counts - even) ** 2 / even).sum() / (n_classes - 1)
    if r <= 1:
        return np.full(n_classes, 1 / n_classes)
    concentration = (n - r) / (r - 1)
    shares: Floats = (counts + concentration / n_classes) / (n + concentration)
    return shares


def fit_logistic(
    features: Any,
    labels: Labels,
    n_classes: int,
    mean: Any,
    candidates: Candidates,
    *,
    balanced: bool = False,
) -> LogisticFit:
    """The regression of labels (n,) on features (n, V); a class without labels is never predicted.

    Args:
        features: of the labelled texts, dense or sparse; or a tuple of such parts, whose numbers add up to V.
        labels: numbers of classes, from 0 to n_classes - 1.
        n_classes: C.
        mean: (V,) of the pool's features; or a tuple, one a part.
        candidates: the ways to choose from.
        balanced: whether all classes count as equally frequent; the intercept is never free then.
    """
    parts, means = (features, mean) if isinstance(features, tuple) else ((features,), (mean,))
    present, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weight, bias = np.zeros((n_classes, sum(part.shape[1] for part in parts))), np.full(n_classes, UNSEEN)
    if len(present) == 1:
        bias[present] = 0
        return LogisticFit(weight, bias, None, 0, np.zeros(0))
    shares = np.full(len(present), 1 / len(present)) if balanced else class_shares(counts)
    rows = _Rows.of(parts, means)
    fitter = _Fitter(rows.coordinates, classes, counts, np.log(shares))
    with _quiet_solver():
        free_ones = not balanced and len(present) <= MANY_CLASSES
        others = [other for other in candidates.others if free_ones or not other.free]
        chosen, held_out = fitter.best(candidates.default, others)
        found = fitter.fit(np.arange(len(labels)), chosen, fitter.new_model(chosen), precise=True)
    weight[present] = rows.weights(found.weight)
    bias[present] = found.bias - (weight[present] @ np.concatenate(means) if rows.centred else 0)
    return LogisticFit(weight, bias, chosen, found.iterations, held_out)


@dataclass(frozen=True)
class _Rows:
    """Labelled texts as few numbers that keep all inner products of their centred features, and the way back.

    A penalised linear model sees inner products alone, so the fit is the same as with all V features.

    Attributes:
        coordinates: (n, R), of mean square length 1.
        parts: features that add up to (n, V), not centred.
        means: of each part.
        factor: (n, n), the lower triangular factor of the inner products; None where the coordinates are the features.
        scale: what the coordinates were divided by.
        centred: whether the means were taken off.
    """

    coordinates: Any
    parts: tuple[Any, ...]
    means: tuple[Floats, ...]
    factor: Floats | None
    scale: float
    centred: bool = True

    @classmethod
    def of(cls, parts: tuple[Any, ...], means: tuple[Floats, ...]) -> "_Rows":
        """The rows of features less their means."""
        n = parts[0].shape[0]
        if len(parts) == 1 and not sparse.issparse(parts[0]):
            centred = np.asarray(parts[0], np.float64) - means[0]
            scale = _scale((centred**2).sum(axis=1))
            return cls(centred / scale, parts, means, None, scale)
        if n > MOST_CENTRED:
            joined = sparse.hstack([sparse.csr_matrix(part) for part in parts], format="csr")
            scale = _scale(np.asarray(joined.multiply(joined).sum(axis=1)).ravel())
            return cls(joined / scale, parts, means, None, scale, centred=False)
        products = sum(map(_products, parts, means))
        scale = _scale(np.diag(products))
        # Copies of a text make the matrix singular; a little of each text's own keeps it from that.
        factor = linalg.cholesky(products / scale**2 + 1e-6 * np.eye(n), lower=True)
        return cls(factor, parts, means, factor, scale)

    def weights(self, found: Floats) -> Floats:
        """Weights (P, V) of the features from those of the coordinates (P, R)."""
        if self.factor is None:
            return found / self.scale
        shares = linalg.solve_triangular(self.factor, found.T, lower=True, trans="T").T / self.scale**2
        sums = shares.sum(axis=1)
        return np.hstack(
            [shares @ part - np.outer(sums, mean) for part, mean in zip(self.parts, self.means, strict=True)]
        )


def _products(part: Any, mean: Floats) -> Floats:
    """The inner products (n, n) of rows (n, V), dense or sparse, less their mean (V,)."""
    if not sparse.issparse(part):
        centred = np.asarray(part, np.float64) - mean
        return centred @ centred.T
    across = np.asarray(part @ mean).ravel()
    products: Floats = (part @ part.T).toarray() - across[:, None] - across + float(mean @ mean)
    return products


def _scale(squares: Floats) -> float:
    """The root of the mean of squared lengths (n,); 1 where all are 0."""
    return float(np.sqrt(squares.mean())) or 1.0


@dataclass(frozen=True)
class _Found:
    """Weights (P, R) and biases (P,) of the coordinates, and the solver's iterations."""

    weight: Floats
    bias: Floats
    iterations: int

    def scores(self, rows: Any, classes: Labels) -> Floats:
        """Log-probabilities (n,) of the classes (n,) of rows (n, R)."""
        logits = rows @ self.weight.T + self.bias
        chosen: Floats = logits[np.arange(len(classes)), classes] - np.logaddexp.reduce(logits, axis=1)
        return chosen


class _Fitter:
    """Fits on parts of the labelled texts."""

    def __init__(self, coordinates: Any, classes: Labels, counts: NDArray[np.int64], log_shares: Floats) -> None:
        """Texts of classes (n,) from 0 to P - 1 that have counts (P,), and the logarithms (P,) of their shares."""
        self._x, self._classes, self._counts, self._log_shares = coordinates, classes, counts, log_shares
        self._narrow = coordinates.astype(np.float32)  # half the time; candidates are far apart

    def new_model(self, candidate: Candidate) -> Any:
        """scikit-learn's model for a candidate, whose weights are the start of its next fit."""
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(fit_intercept=candidate.free, max_iter=1000, warm_start=True)

    def fit(self, rows: Labels, candidate: Candidate, model: Any, *, precise: bool) -> _Found:
        """The optimum for the texts at `rows`, of which two classes or more are there."""
        classes = self._classes[rows]
        weights = None
        if not candidate.free:
            counts = np.bincount(classes, minlength=len(self._counts))
            weights = (len(rows) / ((counts > 0).sum() * counts.clip(1)))[classes]
        model.C, model.tol = candidate.strength, 1e-6 if precise else 1e-4
        model.fit((self._x if precise else self._narrow)[rows], classes, sample_weight=weights)
        found, intercept = model.coef_, np.broadcast_to(model.intercept_, len(model.coef_))
        if len(model.classes_) == 2:  # of two classes there is one row, for the second
            found, intercept = np.vstack([-found, found]) / 2, np.concatenate([-intercept, intercept]) / 2
        weight, bias = np.zeros((len(self._counts), found.shape[1])), np.full(len(self._counts), UNSEEN)
        weight[model.classes_] = found
        bias[model.classes_] = intercept
        return _Found(weight, bias if candidate.free else self._log_shares, int(np.max(model.n_iter_)))

    def best(self, default: Candidate, others: Sequence[Candidate]) -> tuple[Candidate, Floats]:
        """The candidate of the highest mean log-probability of held-out texts, if it surely beats the default.

        Also the log-probabilities (h,) of the held-out texts by it.

        The texts of each class are dealt to the parts in turn. One whose class would have no other is never held out.
        """
        candidates = sorted({default, *others}, key=lambda candidate: (candidate.free, candidate.strength))
        n_folds = FOLDS if len(self._counts) <= MANY_CLASSES else FEWER_FOLDS
        fold = np.empty(len(self._classes), np.int64)
        fold[np.argsort(self._classes, kind="stable")] = np.arange(len(fold)) % n_folds
        fold[self._counts[self._classes] == 1] = n_folds
        parts = [self._scores(fold == number, candidates) for number in range(n_folds)]
        scores = np.concatenate(parts, axis=1)  # (candidates, held-out texts)
        place = candidates.index(default)
        surely = [i for i in range(len(candidates)) if surely_higher(scores[i], scores[place])]
        place = max(surely, key=lambda i: float(scores[i].mean()), default=place)
        return candidates[place], scores[place]

    def _scores(self, is_held_out: NDArray[np.bool_], candidates: Sequence[Candidate]) -> Floats:
        """Log-probabilities (candidates, h) of the held-out texts' classes, after fits on the rest.

        Weaker penalties start from the weights of stronger ones.
        """
        held_out, rest = np.flatnonzero(is_held_out), np.flatnonzero(~is_held_out)
        if not len(held_out) or len(np.unique(self._classes[rest])) < 2:
            return np.zeros((len(candidates), 0))
        models = {candidate.free: QuickRegression(candidate.free) for candidate in candidates}
        fits = [self.fit(rest, each, models[each.free], precise=False) for each in candidates]
        return np.stack([fit.scores(self._x[held_out], self._classes[held_out]) for fit in fits])


def surely_higher(scores: Floats, others: Floats) -> bool:
    """Whether scores (h,) of held-out texts are higher than others (h,) of theirs by more than a standard error."""
    gains = scores - others
    return len(gains) > 0 and float(gains.mean()) > float(gains.std()) / len(gains) ** 0.5


@contextmanager
def _quiet_solver() -> Iterator[None]:
    """Leave out that the solver stopped at its limit, where it is close enough, and that classes have few texts."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "The number of unique classes is greater", UserWarning)
        yield
