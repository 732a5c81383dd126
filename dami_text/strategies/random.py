"""Random sampling: the yardstick of every other strategy."""

from typing import Self

import numpy as np
from transformers import PreTrainedModel

from dami_text.config.options import StrategyConfig
from dami_text.data.pool import Pool
from dami_text.strategies.base import Query


class RandomSampling:
    """Every unlabelled text is as likely as any other."""

    multilabel = True

    @classmethod
    def of(cls, config: StrategyConfig) -> Self:
        """The strategy as the options say."""
        return cls()

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """n of the unlabelled rows, at random."""
        return Query.of(rng.choice(pool.unlabeled, n, replace=False))
