"""Uncertainty sampling (Lewis and Gale 1994): the texts whose class the model is least sure of.

With a text's probabilities p (C,), sorted p_(1) >= p_(2) >= ..., the acquisition score is

    least confidence     1 - p_(1)
    margin               p_(2) - p_(1)             (breaking ties: Scheffer, Decomain, Wrobel 2001)
    entropy              - sum_c p_c log p_c       (Shannon 1948)
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.data.pool import Pool
from dami_text.inference import BATCH_SIZE, predict_probabilities
from dami_text.strategies.base import Query, highest

Kind = Literal["least-confidence", "margin", "entropy"]


@dataclass(frozen=True)
class Uncertainty:
    """The texts of the highest uncertainty; for two classes all kinds give the same order."""

    kind: Kind = "margin"
    batch_size: int = BATCH_SIZE

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """The n unlabelled rows that the model is least sure of."""
        probabilities = predict_probabilities(model, pool.texts, pool.unlabeled, self.batch_size)
        return highest(uncertainty(probabilities, self.kind), pool, n)


def uncertainty(probabilities: NDArray[np.float32], kind: Kind) -> NDArray[np.float64]:
    """The acquisition scores (N,) of probabilities (N, C)."""
    p = probabilities.astype(np.float64)
    if kind == "entropy":
        return np.asarray(-(p * np.log(np.where(p > 0, p, 1))).sum(axis=1))
    if kind == "least-confidence":
        return np.asarray(1 - p.max(axis=1))
    second, first = np.partition(p, -2, axis=1)[:, -2:].T
    return np.asarray(second - first)
