"""A strategy of one's own that is a function."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedModel

from dami_text.data.ids import Rows
from dami_text.data.pool import Pool
from dami_text.errors import ConfigError, QueryError
from dami_text.strategies.base import Query, QueryStrategy

#: Chooses n of `pool.unlabeled`, with randomness from the generator only.
Choose = Callable[[PreTrainedModel, Pool, int, np.random.Generator], Rows | Sequence[int] | Query]


@dataclass(frozen=True)
class FunctionStrategy:
    """Asks for the rows that `choose(model, pool, n, rng)` returns, or makes the query that it returns."""

    choose: Choose

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """The rows that the function chooses.

        Raises:
            QueryError: it returns no list of integers.
        """
        found = self.choose(model, pool, n, rng)
        if isinstance(found, Query):
            return found
        rows = np.asarray(found)
        if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
            raise QueryError(f"the strategy returned {found!r:.80}; it must be a list of rows, or Query.of(rows)")
        return Query.of(rows)


def as_strategy(given: object) -> QueryStrategy:
    """An object that chooses rows: one with a method `query`, or a function.

    Raises:
        ConfigError: it is neither.
    """
    if callable(getattr(given, "query", None)) and not isinstance(given, type):
        return given  # type: ignore[return-value]  # it has the method
    if callable(given) and not isinstance(given, type):
        return FunctionStrategy(given)
    raise ConfigError(
        f"--strategy is {given!r:.80}; it must be a name, a function (model, pool, n, rng) that returns rows, or an "
        "object with a method query(model, pool, n, rng)"
    )


def strategy_name(strategy: QueryStrategy) -> str:
    """What messages call a strategy of one's own."""
    named = strategy.choose if isinstance(strategy, FunctionStrategy) else type(strategy)
    return str(getattr(named, "__name__", type(named).__name__))
