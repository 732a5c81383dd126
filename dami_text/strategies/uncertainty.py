"""Uncertainty sampling (Lewis and Gale 1994): the texts whose class the model is least sure of.

With a text's probabilities p (C,), sorted p_(1) >= p_(2) >= ..., the acquisition score is

    least confidence     1 - p_(1)
    margin               p_(2) - p_(1)             (breaking ties: Scheffer, Decomain, Wrobel 2001)
    entropy              - sum_c p_c log p_c       (Shannon 1948)
"""

from dataclasses import dataclass
from typing import Literal, Self, cast

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.config.defaults import BATCH_SIZE
from dami_text.config.options import StrategyConfig
from dami_text.data.pool import Pool
from dami_text.models.inference import predict_logits
from dami_text.strategies.base import Query, highest

Kind = Literal["least-confidence", "margin", "entropy"]

FLOOR = -700.0  # logits that are farther below the highest are as if they were this far: e^-700 is a number still


@dataclass(frozen=True)
class Uncertainty:
    """The texts of the highest uncertainty; for two classes all kinds give the same order."""

    kind: Kind = "margin"
    batch_size: int = BATCH_SIZE

    @classmethod
    def of(cls, config: StrategyConfig) -> Self:
        """The strategy as the options say."""
        return cls(kind=cast(Kind, config.strategy), batch_size=config.inference_batch_size)

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """The n unlabelled rows that the model is least sure of."""
        logits = predict_logits(model, pool.texts, pool.unlabeled, self.batch_size)
        ranks = log_uncertainty(logits, self.kind)
        scores = np.exp(ranks)
        return highest(scores - 1 if self.kind == "margin" else scores, pool, n, ranks)


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
