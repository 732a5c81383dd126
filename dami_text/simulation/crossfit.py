"""What choosing would have saved on labels that are there: strategies against chance, by cross-fitting.

The labelled texts are dealt to folds. Each fold in turn is what models are tested on; the texts of the other folds are
the pool, whose labels are hidden and asked for, until half of them are known. A strategy's score is the area under its
learning curve, less that of random draws from the same pool, which start from the same texts. It is the mean of some
curves by seeds, each with a start of its own.

So there is a difference for each fold, and the interval of their mean is Student's. The folds' tests are of different
texts. Their pools share most texts, which the interval leaves out: it is that of a cross-validated difference (Bayle,
Bayle, Janson and Mackey, NeurIPS 2020), right where a few other texts in the pool would change little.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from transformers import PreTrainedModel

from dami_text.config.run import RunConfig
from dami_text.data.ids import Rows
from dami_text.data.pool import Oracle
from dami_text.errors import ConfigError, DataError
from dami_text.learning.learner import ActiveLearner
from dami_text.learning.preparation import EncodedPool, learner_of
from dami_text.models.evaluation import scorer
from dami_text.models.inference import predict_probabilities
from dami_text.randomness import numpy_stream
from dami_text.simulation.comparison import CONFIDENCE, Interval, labels_needed
from dami_text.simulation.loop import simulate

Floats = NDArray[np.float64]

FOLDS, SEEDS = 10, 2

#: Labels without which nothing can be told, and those of which no more take part, for the sake of time.
FEWEST, MOST = 50, 1_000

#: Trainings of a learning curve, after as many labels each, and the part of the pool that has labels at its end. (With
#: all labels, strategies are the same.)
ROUNDS, LAST = 4, 0.5

#: Points up to which a difference is none that matters.
NEGLIGIBLE = 0.01


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How strategies did on labels that are there.

    Attributes:
        sizes: (R,) labelled texts of the learning curves' rounds.
        n_pool, n_test: the texts to choose from, and those of a fold.
        scores: by strategy (K, S, R): of each fold and seed, after each round; "random" is one of them.
    """

    sizes: list[int]
    n_pool: int
    n_test: int
    scores: Mapping[str, Floats]

    @property
    def strategies(self) -> list[str]:
        """Those that were compared with random draws."""
        return [name for name in self.scores if name != "random"]

    def difference(self, strategy: str) -> Interval:
        """The mean area under a strategy's curves, less that of random draws, with its interval.

        The intervals of all strategies hold together with a confidence of 95% (Bonferroni).
        """
        width = self.sizes[-1] - self.sizes[0]
        difference = np.trapezoid(self.scores[strategy] - self.scores["random"], self.sizes, axis=2) / width  # (K, S)
        by_fold = difference.mean(axis=1)
        confidence = 1 - (1 - CONFIDENCE) / len(self.strategies)
        mean, error = float(by_fold.mean()), float(by_fold.std(ddof=1)) / math.sqrt(len(by_fold))
        half = float(stats.t.ppf((1 + confidence) / 2, len(by_fold) - 1)) * error
        return Interval(mean, mean - half, mean + half)

    def verdict(self, strategy: str) -> str:
        """What the interval says, in words."""
        found = self.difference(strategy)
        if found.low > 0:
            middle = len(self.sizes) // 2
            mean = {name: scores.mean(axis=(0, 1)) for name, scores in self.scores.items()}
            needed = labels_needed(np.array(self.sizes), mean["random"], float(mean[strategy][middle]))
            worth = f"more than {self.sizes[-1]}" if math.isinf(needed) else f"about {needed:.0f}"
            return f"choosing beat random here; its {self.sizes[middle]} labels were worth {worth} random ones"
        if found.high < 0:
            return "random was better here"
        if max(-found.low, found.high) <= NEGLIGIBLE:
            return "as good as random here, within a point"
        return "the labels are too few to tell"


def trial(
    pool: EncodedPool,
    rows: Rows,
    labels: NDArray[np.int64],
    strategies: Sequence[str],
    *,
    metric: str,
    seeds: int = SEEDS,
    progress: Callable[[], object] = lambda: None,
) -> Trial:
    """Try strategies on labelled texts.

    Args:
        pool: all texts, encoded.
        rows: (n,) the labelled ones.
        labels: (n,) the numbers of their classes.
        strategies: the names of those to compare with random draws.
        metric: what counts, on the fold that is tested on.
        seeds: curves of each strategy on each fold.
        progress: is called after each curve, of which there are `n_curves`.

    Raises:
        DataError: the labels are fewer than FEWEST, or of one class.
        ConfigError: a strategy, a metric or a model that cannot work, or would take hours.
    """
    require_quick(pool.config)
    if "random" in strategies or not strategies:
        raise ConfigError("--strategies are compared with random; name one or more others")
    require_enough(labels, pool.class_names)
    if len(rows) > MOST:
        drawn = np.sort(numpy_stream(0, 0, "labels tried").choice(len(rows), MOST, replace=False))
        rows, labels = rows[drawn], labels[drawn]
    n_test = -(-len(rows) // FOLDS)
    n_pool = len(rows) - n_test
    sizes = [round(LAST * n_pool * number / ROUNDS) for number in range(1, ROUNDS + 1)]
    hidden = np.full(len(pool.texts), -1, np.int64)
    hidden[rows] = labels
    curves = _Curves(pool, hidden, sizes, scorer(metric, pool.class_names))
    scores: dict[str, list[list[float]]] = {name: [] for name in ("random", *strategies)}
    for name in scores:
        curves.learner(name, 0)  # what cannot work is told at once
    for fold in folds(labels):
        others = np.delete(rows, fold)
        for seed in range(seeds):
            start = numpy_stream(seed, int(fold[0]), "labels at the start").permutation(others)[: sizes[0]]
            for name, found in scores.items():
                found.append(curves.scores(curves.learner(name, seed), others, start, test=rows[fold]))
                progress()
    curves_of = {name: np.reshape(found, (FOLDS, seeds, ROUNDS)) for name, found in scores.items()}
    return Trial(sizes=sizes, n_pool=n_pool, n_test=n_test, scores=curves_of)


def n_curves(strategies: Sequence[str], seeds: int) -> int:
    """How many learning curves a trial has."""
    return (1 + len(strategies)) * seeds * FOLDS


def folds(labels: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The places in labels (n,) of each fold: at random, and of each class as many in each as can be."""
    order = numpy_stream(0, 0, "folds").permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    return [np.sort(order[number::FOLDS]) for number in range(FOLDS)]


def require_quick(config: RunConfig) -> None:
    """Raise ConfigError if a model takes steps: a trial trains hundreds."""
    kind, options = config.model.kind, config.options()
    if kind.validates(options) or config.model.contrastive:
        raise ConfigError(
            f"simulate trains hundreds of models, and --model {config.model.model} takes steps, which would take hours;"
            " give --model linear, or an encoder with --freeze-encoder"
        )


def require_enough(labels: NDArray[np.int64], class_names: Sequence[str]) -> None:
    """Raise DataError if labels (n,) are too few to simulate anything with, or of one class."""
    if len(labels) < FEWEST:
        raise DataError(f"there are {len(labels)} labelled texts; simulate needs {FEWEST} or more: label on")
    present = np.unique(labels)
    if len(present) == 1:
        one = f"all {len(labels)} labels are of one class, {class_names[int(present[0])]!r}"
        raise DataError(f"{one}; simulate needs two classes or more: label others")


@dataclass(frozen=True)
class _Curves:
    """What all learning curves of a trial have in common; `labels` (N,) are those of the labelled texts."""

    pool: EncodedPool
    labels: NDArray[np.int64]
    sizes: Sequence[int]
    measure: Callable[..., float]

    def learner(self, strategy: str, seed: int) -> ActiveLearner:
        """A learner that knows no label."""
        config = self.pool.config.changed(strategy=strategy, seed=seed)
        return learner_of(config, self.pool.texts, self.pool.class_names, self.pool.source)

    def scores(self, learner: ActiveLearner, rows: Rows, start: Rows, *, test: Rows) -> list[float]:
        """The scores (R,) on `test` of a learner that is told the labels of `start` and can ask for `rows` alone."""
        pool = self.pool
        learner.exclude(np.setdiff1d(np.arange(len(pool.texts)), rows))
        learner.tell(start, self.labels[start])

        def evaluate(model: PreTrainedModel) -> dict[str, float]:
            probabilities = predict_probabilities(model, pool.texts, test)
            return {"score": self.measure(probabilities, self.labels[test])}

        return [round_.metrics["score"] for round_ in simulate(learner, Oracle(self.labels), self.sizes, evaluate)]
