"""DAMI with k-center in place of K-medoids, as in the preprint arXiv 2007.12100v4: an ablation."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.config.options import StrategyConfig
from dami_text.data.ids import Rows
from dami_text.data.pool import Pool
from dami_text.processes import Processes
from dami_text.strategies.base import Query
from dami_text.strategies.coreset import k_center_greedy
from dami_text.strategies.dami import Representation, choose_with_words, word_reasons


@dataclass(frozen=True)
class DamiKCenter:
    """K-center greedy over the unlabelled texts' representations, starting from their mean interpretation Ibar."""

    representation: Representation = Representation()

    needs: ClassVar[frozenset[str]] = frozenset({"word gradients"})
    multilabel: ClassVar[bool] = True

    @classmethod
    def of(cls, config: StrategyConfig) -> Self:
        """The strategy as the options say."""
        return cls(Representation.of(config))

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """n unlabelled rows, each the farthest from Ibar and from all chosen before it; texts without words come last.

        The reasons: the informative word, its deviation, and that distance.
        """
        found = self.representation.of_unlabeled(model, pool, rng)
        start = found.mean.astype(np.float32)[None]
        distances = np.zeros(n, np.float32)

        def centers(representations: NDArray[np.float32], k: int) -> Rows:
            rows, distances[:k] = Processes.all().on_main(lambda: k_center_greedy(representations, start, k))
            return rows

        chosen = choose_with_words(found, n, centers)
        words = word_reasons(self.representation, model, pool, found, chosen)
        reasons = [{**reason, "distance": float(distance)} for reason, distance in zip(words, distances, strict=True)]
        return Query.of(pool.unlabeled[chosen], reasons, interpreted_twice=found.repeated)
