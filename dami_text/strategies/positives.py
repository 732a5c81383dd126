"""The texts that are most probably of one class: relevance feedback (Rocchio 1971), to find what is rare.

The acquisition score is the probability p_c of the class, or of the label where a text has any number of them. It
finds texts of a rare class that are like those which the model knows; margin and its like find the class's border.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp
from transformers import PreTrainedModel

from dami_text.config.defaults import BATCH_SIZE
from dami_text.config.options import StrategyConfig
from dami_text.data.pool import Pool
from dami_text.errors import ConfigError
from dami_text.models.inference import predict_logits
from dami_text.models.tasks import task_of
from dami_text.models.unseen import seen_classes
from dami_text.models.word_level import class_names_of
from dami_text.strategies.base import Query, highest


@dataclass(frozen=True)
class Positives:
    """The texts of the highest probability of a class.

    Attributes:
        class_name: the class; None is, of those that have labels, the one that the model predicts least.
        batch_size: texts in a batch of predictions.
    """

    class_name: str | None = None
    batch_size: int = BATCH_SIZE

    multilabel: ClassVar[bool] = True

    @classmethod
    def of(cls, config: StrategyConfig) -> Self:
        """The strategy as the options say."""
        return cls(config.positive_class, config.inference_batch_size)

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """The n unlabelled rows of the highest probability; the reason: this probability."""
        names = class_names_of(model.config)
        if self.class_name is not None and self.class_name not in names:
            raise ConfigError(f"--positive-class {self.class_name!r} is no class; name one of {', '.join(names)}")
        logits = predict_logits(model, pool.texts, pool.unlabeled, self.batch_size)
        ranks = logits.astype(np.float64) if task_of(model).multilabel else log_odds(logits)
        probabilities = expit(ranks)
        if self.class_name is not None:
            c = names.index(self.class_name)
        else:
            seen = seen_classes(model)
            c = int(seen[probabilities[:, seen].mean(axis=0).argmin()])
        return replace(highest(probabilities[:, c], pool, n, ranks[:, c]), details={"positive_class": names[c]})


def log_odds(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """log p_c - log(1 - p_c), (N, C), of logits (N, C): it tells texts apart whose probabilities round to 1."""
    z = logits.astype(np.float64)
    others = [logsumexp(np.delete(z, c, axis=1), axis=1) for c in range(z.shape[1])]
    odds: NDArray[np.float64] = z - np.stack(others, axis=1)
    return odds
