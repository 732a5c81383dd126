"""Multinomial logistic regression for few labels: the head on a frozen encoder's features, and all of the linear model.

Two fits, whose log-probabilities are averaged, which is a linear model again:

    balanced    t W (x - m) + log s
    free        V x + b

m is the mean of the pool's features, which takes no labels to know, and s the classes' shares. W is scikit-learn's
optimum for labelled texts whose classes weigh the same, with an L2 penalty and no intercept. With few labels an
intercept decides too much: a new text shares few features with the labelled ones, and what is left is the class whose
labelled texts happen to be more, or longer. The shares are shrunk towards equal ones as far as chance explains their
differences (`class_shares`). The free fit is scikit-learn's usual regression, where all texts weigh the same. It is
right more often where most texts are of one class and the features say little.

The sharpness t and the weight of the balanced fit in the average are chosen by cross-validation on the labelled texts
alone. A few labels do not move them far from 1 and 1/2. With many classes, the free fit takes most of the time and
changes little: there the balanced one stands alone.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg, sparse
from torch import nn

from dami_text.models.last_layer import UNSEEN

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]

#: Labelled texts up to which sparse features are centred, by a matrix of all pairs. With more, the intercept is known.
MOST_CENTRED = 5_000

#: Parts of the cross-validation. With more than MANY_CLASSES classes there are fewer of them, for the sake of time.
#: With 3 to MANY_CLASSES, Newton's method takes .5 to .9 of L-BFGS's time; with two it is level, with more slower.
FOLDS, FEWER_FOLDS, MANY_CLASSES = 5, 3, 20

#: What is tried for the sharpness and for the balanced fit's weight.
SHARPNESS = 2 ** (np.arange(-6, 7) / 4)
WEIGHTS = np.linspace(0, 1, 11)

#: How many nats of all held-out texts a squared distance of 1 from the default costs: of log t from 0, of the weight
#: from 1/2.
SHARPNESS_PRIOR, WEIGHT_PRIOR = 1.0, 16.0


@dataclass(frozen=True)
class Ways:
    """How to fit.

    Attributes:
        balanced, free: the inverse strengths of the two fits' penalties, for features whose mean square length is 1.
        flattest: the lowest sharpness of the balanced fit.
    """

    balanced: float
    free: float
    flattest: float = 1.0


@dataclass(frozen=True)
class Choices:
    """What cross-validation chooses: the sharpness t, and the weight of the balanced fit in the average."""

    sharpness: float = 1.0
    share: float = 1.0


@dataclass(frozen=True)
class LogisticFit:
    """What was found.

    Attributes:
        weight, bias: (C, V) and (C,), of features as they came, not centred; UNSEEN is the bias of a class without
            labels.
        sharpness: t.
        share: the weight of the balanced fit in the average.
        iterations: of the solver, for the balanced fit.
        held_out: (h,) log-probabilities of the classes of texts that cross-validation held out.
        cross_validated: (n, C) probabilities of each text's classes while it was held out; NaN for one that never was.
    """

    weight: Floats
    bias: Floats
    sharpness: float
    share: float
    iterations: int
    held_out: Floats
    cross_validated: Floats

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
    ways: Ways,
    *,
    balanced: bool = False,
) -> LogisticFit:
    """The regression of labels (n,) on features (n, V); a class without labels is never predicted.

    Args:
        features: of the labelled texts, dense or sparse; or a tuple of such parts, whose numbers add up to V.
        labels: numbers of classes, from 0 to n_classes - 1.
        n_classes: C.
        mean: (V,) of the pool's features; or a tuple, one a part.
        ways: how to fit.
        balanced: whether all classes count as equally frequent; there is the balanced fit alone then.
    """
    return Regression(features, labels, n_classes, mean, ways, balanced=balanced).fit()


class Regression:
    """The regression of `fit_logistic` before it is fitted to all labelled texts: so far it is cross-validated.

    Where several are compared by `held_out`, only one needs the fit.

    Attributes:
        choices: what cross-validation chose, or what was given.
        held_out: (h,) log-probabilities of the classes of texts that cross-validation held out.
    """

    def __init__(
        self,
        features: Any,
        labels: Labels,
        n_classes: int,
        mean: Any,
        ways: Ways,
        *,
        balanced: bool = False,
        choices: Choices | None = None,
    ) -> None:
        """Arguments as those of `fit_logistic`. Where `choices` are given, nothing is held out."""
        parts: tuple[Any, ...] = features if isinstance(features, tuple) else (features,)
        self._means: tuple[Floats, ...] = mean if isinstance(mean, tuple) else (mean,)
        self._shape = n_classes, sum(part.shape[1] for part in parts)
        self._present, self._classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
        self.choices = choices or Choices()
        self.held_out: Floats = np.zeros(0)
        self._cross_validated = np.full((len(labels), n_classes), np.nan)
        if len(self._present) == 1:
            return
        self._rows = _Rows.of(parts, self._means)
        self._fitter = _Fitter(self._rows.coordinates, self._classes, counts, ways)
        alone = balanced or len(counts) > MANY_CLASSES
        self._log_shares = np.log(np.full(len(counts), 1 / len(counts)) if balanced else class_shares(counts))
        if choices is not None:
            return
        with _quick_solver():
            self.choices, found = self._fitter.chosen(self._log_shares, balanced=alone)
        own = found[np.arange(len(labels)), self._classes]
        self.held_out = own[~np.isnan(own)]
        self._cross_validated[~np.isnan(own)] = 0
        self._cross_validated[:, self._present] = np.exp(found)

    def fit(self) -> LogisticFit:
        """The fit to all labelled texts."""
        weight, bias, present = np.zeros(self._shape), np.full(self._shape[0], UNSEEN), self._present
        if len(present) == 1:
            bias[present] = 0
            return LogisticFit(weight, bias, 1.0, 1.0, 0, self.held_out, self._cross_validated)
        everything, sharpness, share = np.arange(len(self._classes)), self.choices.sharpness, self.choices.share
        with _quick_solver():
            found = self._fitter.fit(everything, free=False, precise=True)
            coordinates, intercept = share * sharpness * found.weight, share * self._log_shares
            if share < 1:
                free = self._fitter.fit(everything, free=True, precise=True)
                coordinates, intercept = coordinates + (1 - share) * free.weight, intercept + (1 - share) * free.bias
        weight[present] = self._rows.weights(coordinates)
        centre = np.concatenate(self._means) if self._rows.centred else np.zeros(self._shape[1])
        bias[present] = intercept - weight[present] @ centre
        return LogisticFit(weight, bias, sharpness, share, found.iterations, self.held_out, self._cross_validated)


@dataclass(frozen=True)
class _Rows:
    """Labelled texts as few numbers that keep all inner products of their centred features, and the way back.

    A penalised linear model sees inner products alone, so the fit is the same as with all V features.

    Attributes:
        coordinates: (n, R), of features whose mean square length is 1.
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
        n, scale = parts[0].shape[0], length_of(*parts)
        if len(parts) == 1 and not sparse.issparse(parts[0]):
            return cls((np.asarray(parts[0], np.float64) - means[0]) / scale, parts, means, None, scale)
        if n > MOST_CENTRED:
            joined = sparse.hstack([sparse.csr_matrix(part) for part in parts], format="csr")
            return cls(joined / scale, parts, means, None, scale, centred=False)
        products = sum(map(_products, parts, means))
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
    part = part.astype(np.float64)  # what rounding adds must be less than what `_Rows.of` adds to the diagonal
    across = np.asarray(part @ mean).ravel()
    products: Floats = (part @ part.T).toarray() - across[:, None] - across + float(mean @ mean)
    return products


def length_of(*parts: Any) -> float:
    """The root of the mean square length of rows, whose parts are dense or sparse; 1 where all are 0."""
    squares = [part.multiply(part).sum() if sparse.issparse(part) else np.square(part).sum() for part in parts]
    return float(np.sqrt(sum(squares) / max(1, parts[0].shape[0]))) or 1.0


@dataclass(frozen=True)
class _Found:
    """Weights (P, R) and biases (P,) of the coordinates, and the solver's iterations."""

    weight: Floats
    bias: Floats
    iterations: int


class _Fitter:
    """Fits on parts of the labelled texts. Each part has texts of all P classes."""

    def __init__(self, coordinates: Any, classes: Labels, counts: NDArray[np.int64], ways: Ways) -> None:
        """Texts of classes (n,) from 0 to P - 1 that have counts (P,)."""
        self._x, self._classes, self._counts, self._ways = coordinates, classes, counts, ways
        self._narrow = coordinates.astype(np.float32)  # half the time, and near enough to choose by

    def fit(self, rows: Labels, *, free: bool, precise: bool) -> _Found:
        """The optimum for the texts at `rows`: with a free intercept, or with classes that weigh the same and none."""
        from sklearn.linear_model import LogisticRegression

        strength, tolerance = self._ways.free if free else self._ways.balanced, 1e-6 if precise else 1e-4
        solver = "newton-cg" if 2 < len(self._counts) <= MANY_CLASSES else "lbfgs"
        model = LogisticRegression(C=strength, fit_intercept=free, max_iter=1000, tol=tolerance, solver=solver)
        classes = self._classes[rows]
        weights = None if free else len(rows) / (len(self._counts) * np.bincount(classes))[classes]
        model.fit((self._x if precise else self._narrow)[rows], classes, weights)
        weight, bias = model.coef_, np.broadcast_to(model.intercept_, len(model.coef_))
        if len(self._counts) == 2:  # there is one row, for the second class
            weight, bias = np.vstack([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        return _Found(weight, bias, int(np.max(model.n_iter_)))

    def chosen(self, log_shares: Floats, *, balanced: bool) -> tuple[Choices, Floats]:
        """The sharpness and the balanced fit's weight that suit held-out texts.

        Also the log-probabilities (n, P) of each text's classes while it was held out; NaN for one that never was.

        The texts of each class are dealt to the parts in turn. One whose class would have no other is never held out.
        """
        n_folds = FOLDS if len(self._counts) <= MANY_CLASSES else FEWER_FOLDS
        fold = np.empty(len(self._classes), np.int64)
        fold[np.argsort(self._classes, kind="stable")] = np.arange(len(fold)) % n_folds
        fold[self._counts[self._classes] == 1] = n_folds
        (held_out,) = np.nonzero(fold < n_folds)
        found = np.full((len(fold), len(self._counts)), np.nan)
        share = 1.0 if balanced else 0.5
        if not len(held_out):
            return Choices(share=share), found
        classes = self._classes[held_out]

        def logits(free: bool) -> Floats:
            every = np.empty_like(found)
            for number in np.unique(fold[held_out]):
                part = fold == number
                fit = self.fit(np.flatnonzero(~part), free=free, precise=False)
                every[part] = self._x[part] @ fit.weight.T + fit.bias
            return every[held_out]

        own = logits(free=False)
        sharpness = _likeliest(
            SHARPNESS[self._ways.flattest <= SHARPNESS],
            lambda t: _of_classes(t * own + log_shares, classes),
            lambda t: SHARPNESS_PRIOR * np.log(t) ** 2,
        )
        own = sharpness * own + log_shares
        if not balanced:
            other = logits(free=True)
            share = _likeliest(
                WEIGHTS,
                lambda w: _of_classes(w * own + (1 - w) * other, classes),
                lambda w: WEIGHT_PRIOR * (w - 0.5) ** 2,
            )
            own = share * own + (1 - share) * other
        found[held_out] = own - np.logaddexp.reduce(own, axis=1, keepdims=True)
        return Choices(sharpness, share), found


def _likeliest(values: Floats, scores: Callable[[float], Floats], cost: Callable[[float], float]) -> float:
    """The value of the highest sum of log-probabilities, less its cost."""
    return float(max(values, key=lambda value: float(scores(value).sum()) - cost(value)))


def _of_classes(logits: Floats, classes: Labels) -> Floats:
    """Log-probabilities (n,) of the classes (n,) by logits (n, P)."""
    chosen: Floats = logits[np.arange(len(classes)), classes] - np.logaddexp.reduce(logits, axis=1)
    return chosen


def surely_higher(scores: Floats, others: Floats) -> bool:
    """Whether scores (h,) of held-out texts are higher than others (h,) of theirs by more than a standard error."""
    gains = scores - others
    return len(gains) > 0 and float(gains.mean()) > float(gains.std()) / len(gains) ** 0.5


@contextmanager
def _quick_solver() -> Iterator[None]:
    """Leave out the solver's checks, which take longer than fitting a few texts, and two of its warnings.

    These are that it stopped at its limit, where it is close enough, and that classes have few texts.
    """
    from sklearn import config_context
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(), config_context(assume_finite=True, skip_parameter_validation=True):
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "The number of unique classes is greater", UserWarning)
        yield
