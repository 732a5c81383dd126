"""DAMI among the texts of which the model is least sure.

DAMI covers the model's linear regions, and many regions lie where the model is sure already. Here only the m n
unlabelled texts of the smallest margins p_(1) - p_(2) are interpreted, and their medoids are chosen: each one stands
for uncertain texts of its region. With m = 1 it is margin sampling, and with m n as many as there are texts it is DAMI.
Where a text has any number of labels, its margin is the mean over the labels.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from transformers import PreTrainedModel

from dami_text.config.defaults import UNCERTAIN
from dami_text.config.options import StrategyConfig
from dami_text.data.pool import Pool
from dami_text.strategies.base import Query
from dami_text.strategies.dami import Dami
from dami_text.strategies.uncertainty import least_certain


@dataclass(kw_only=True)
class DamiMargin(Dami):
    """The medoids of the representations of the `factor` * n texts of the smallest margins.

    The mean interpretation Ibar is that of these texts.
    """

    factor: int = UNCERTAIN

    @classmethod
    def of(cls, config: StrategyConfig) -> Self:
        """The strategy as the options say."""
        return replace(super().of(config), factor=config.uncertain_factor)

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """The n medoids, those of the largest clusters first; the reasons are DAMI's and the margin's score."""
        uncertain = least_certain(model, pool, self.factor * n, self.representation.batch_size)
        query = super().query(model, pool.among(np.sort(uncertain.rows)), n, rng)
        scores = {int(row): reason["score"] for row, reason in zip(uncertain.rows, uncertain.reasons, strict=True)}
        reasons = [{**why, "score": scores[int(row)]} for row, why in zip(query.rows, query.reasons, strict=True)]
        return replace(query, reasons=reasons)
