"""Uncertainty sampling (Lewis and Gale 1994): the texts whose class the model is least sure of.

With a text's probabilities p (C,), sorted p_(1) >= p_(2) >= ..., the acquisition score is

    least confidence     1 - p_(1)
    margin               p_(2) - p_(1)             (breaking ties: Scheffer, Decomain, Wrobel 2001)
    entropy              - sum_c p_c log p_c       (Shannon 1948)

Where a text has any number of labels, each is a problem of two classes, with p and 1 - p, and the score is the mean
over the labels, or the maximum.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from transformers import PreTrainedModel

from dami_text.config.defaults import BATCH_SIZE
from dami_text.config.options import StrategyConfig
from dami_text.data.pool import Pool
from dami_text.models.inference import predict_logits
from dami_text.models.tasks import Task, task_of
from dami_text.strategies.base import Query, highest

Kind = Literal["least-confidence", "margin", "entropy"]

FLOOR = -700.0  # logits that are farther below the highest are as if they were this far: e^-700 is a number still


@dataclass(frozen=True)
class Uncertainty:
    """The texts of the highest uncertainty; for two classes all kinds give the same order.

    Attributes:
        kind: of uncertainty.
        batch_size: texts in a batch of predictions.
        label_aggregation: how the uncertainty of several labels is put together.
    """

    kind: Kind = "margin"
    batch_size: int = BATCH_SIZE
    label_aggregation: Literal["mean", "max"] = "mean"

    multilabel: ClassVar[bool] = True

    @classmethod
    def of(cls, config: StrategyConfig) -> Self:
        """The strategy as the options say."""
        return cls(cast(Kind, config.strategy), config.inference_batch_size, config.label_aggregation)

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """The n unlabelled rows that the model is least sure of."""
        logits = predict_logits(model, pool.texts, pool.unlabeled, self.batch_size)
        ranks = log_uncertainty_by(task_of(model), logits, self.kind, self.label_aggregation)
        scores = np.exp(ranks)
        return highest(scores - 1 if self.kind == "margin" else scores, pool, n, ranks)


def log_uncertainty_by(
    task: Task, logits: NDArray[np.float32], kind: Kind, label_aggregation: Literal["mean", "max"] = "mean"
) -> NDArray[np.float64]:
    """The `log_uncertainty` (N,) of logits (N, C) of classes, or of labels that a text has any number of."""
    if not task.multilabel:
        return log_uncertainty(logits, kind)
    n, n_labels = logits.shape
    of_two = np.stack([np.zeros(logits.size, np.float32), logits.ravel()], axis=1)
    each = log_uncertainty(of_two, kind).reshape(n, n_labels)
    found = each.max(axis=1) if label_aggregation == "max" else logsumexp(each, axis=1) - np.log(n_labels)
    return np.asarray(found)


def least_certain(model: PreTrainedModel, pool: Pool, n: int, batch_size: int) -> Query:
    """The n unlabelled rows of the smallest margins, with the score as the reason; all of them if n is more."""
    rows = min(n, len(pool.unlabeled))
    return Uncertainty("margin", batch_size).query(model, pool, rows, np.random.default_rng(0))


def log_uncertainty(logits: NDArray[np.floating], kind: Kind) -> NDArray[np.float64]:
    """The logarithms (N,) of the acquisition scores of logits (N, C); of the margin, which is negative, plus 1.

    Where the model is nearly sure, probabilities in float32 are 1 and 0, and the scores would be equal. With z the
    logits less the highest, and s the sum of e^z over the other classes, every probability is e^z / (1 + s).
    """
    z = logits.astype(np.float64)
    z = np.sort(z - z.max(axis=1, keepdims=True), axis=1)[:, ::-1].clip(min=FLOOR)  # the highest first
    e = np.exp(z[:, 1:])
    s = e.sum(axis=1)
    if kind == "least-confidence":
        total = s
    elif kind == "margin":
        total = s + e[:, 0]
    else:
        total = np.log1p(s) * (1 + s) - (e * z[:, 1:]).sum(axis=1)
    return np.asarray(np.log(total) - np.log1p(s))
