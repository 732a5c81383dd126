"""What every query strategy is, what it returns, and the check that the loop makes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.data.pool import Pool, Rows
from dami_text.errors import QueryError

Reason = Mapping[str, Any]


@dataclass(frozen=True)
class Query:
    """The rows to label next.

    Attributes:
        rows: (n,) int64 row numbers of the whole pool, unlabelled and distinct, most wanted first.
        reasons: for each row what made the strategy ask for it, by name (a score, a word, a number of similar texts);
            values are strings or numbers.
        details: what there is to know of the query as a whole, for the round's record.
    """

    rows: Rows
    reasons: Sequence[Reason]
    details: Mapping[str, Any]

    @classmethod
    def of(cls, rows: Rows, reasons: Sequence[Reason] | None = None, **details: Any) -> "Query":
        """A query with empty reasons where none are given."""
        return cls(np.asarray(rows, np.int64), reasons if reasons is not None else [{}] * len(rows), details)


class QueryStrategy(Protocol):
    """Chooses which texts to label next. It sees the model and the pool, and no label."""

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """Choose n of `pool.unlabeled`, with randomness from `rng` only; the model is left as it was."""


def highest(scores: NDArray[np.floating], pool: Pool, n: int) -> Query:
    """The n unlabelled rows of the highest acquisition scores (N,), earlier rows first where scores are equal."""
    order = np.argsort(-scores, kind="stable")[:n]
    return Query.of(pool.unlabeled[order], [{"score": float(score)} for score in scores[order]])


def check_query(query: Query, pool: Pool, n: int) -> None:
    """Raise QueryError unless the query holds n distinct unlabelled rows of the pool and a reason each."""
    rows = query.rows
    if len(rows) != n or len(query.reasons) != n:
        raise QueryError(
            f"the strategy returned {len(rows)} rows and {len(query.reasons)} reasons; {n} each were asked for"
        )
    values, counts = np.unique(rows, return_counts=True)
    if len(values) != n:
        raise QueryError(f"the strategy returned row {values[counts > 1][0]} more than once; rows must be distinct")
    strangers = np.setdiff1d(rows, pool.unlabeled)
    if len(strangers):
        raise QueryError(f"the strategy returned row {strangers[0]}, which is not among the pool's unlabelled rows")
