"""What every query strategy is, what it returns, and the check that the loop makes of it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.config.defaults import BATCH_SIZE
from dami_text.config.kinds import CAPABILITIES
from dami_text.config.options import StrategyConfig
from dami_text.config.registry import LABEL_STRATEGIES, STRATEGIES, find
from dami_text.data.ids import Rows
from dami_text.data.pool import Pool
from dami_text.data.texts import Texts, is_telling, telling_words
from dami_text.errors import ConfigError, QueryError
from dami_text.models.scores import highest_first

Reason = Mapping[str, Any]

PLACE = ("round", "rank", "row", "id", "text", "label")  # the other names in a queried row's record are its reasons


@dataclass(frozen=True)
class Query:
    """The rows to label next.

    Examples:
        >>> Query.of([4, 2], [{"score": 0.5}, {"score": 0.25}]).rows.tolist()
        [4, 2]

    Attributes:
        rows: (n,) int64 row numbers of the whole pool, unlabelled and distinct, most wanted first.
        reasons: for each row what made the strategy ask for it, by name (a score, a word, a number of similar texts);
            none is named as in `PLACE`, and values are strings, finite numbers or None.
        details: what there is to know of the query as a whole, for the round's record; values are as those of reasons.
    """

    rows: Rows
    reasons: Sequence[Reason]
    details: Mapping[str, Any]

    @classmethod
    def of(cls, rows: Rows, reasons: Sequence[Reason] | None = None, **details: Any) -> "Query":
        """A query with empty reasons where none are given."""
        return cls(np.asarray(rows, np.int64), reasons if reasons is not None else [{}] * len(rows), details)


class QueryStrategy(Protocol):
    """Chooses which texts to label next. It sees the model and the pool: no label but those that were told.

    Examples:
        >>> class Shortest:
        ...     def query(self, model, pool, n, rng):
        ...         order = pool.texts.lengths[pool.unlabeled].argsort(kind="stable")
        ...         return Query.of(pool.unlabeled[order[:n]])

    Four more members are optional:

        needs: frozenset[str]        what it asks of a model beside probabilities, by the names in `CAPABILITIES`
        multilabel: bool             whether it works where a text has any number of labels; without it, it does not
        of(config: StrategyConfig)   a class method that makes it as the options say; without it, `cls()` does
        explain(model, texts, rows)  the weights (W,) of the words of each text, for people to look at: `Explaining`
    """

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """Choose n of `pool.unlabeled`, with randomness from `rng` only; the model is left as it was."""


@dataclass(frozen=True)
class InBatches:
    """Base of strategies that have no option but the size of a batch, and work with any number of labels.

    Attributes:
        batch_size: texts in a batch of predictions.
    """

    batch_size: int = BATCH_SIZE

    multilabel: ClassVar[bool] = True

    @classmethod
    def of(cls, config: StrategyConfig) -> Self:
        """The strategy as the options say."""
        return cls(config.inference_batch_size)


@dataclass(frozen=True)
class OnFeatures(InBatches):
    """Base of strategies that look at what the model's last layer reads."""

    needs: ClassVar[frozenset[str]] = frozenset({"features"})


@runtime_checkable
class Explaining(Protocol):
    """A strategy that can say how much each word of a text has to do with its choice."""

    def explain(self, model: PreTrainedModel, texts: Texts, rows: Rows) -> Sequence[NDArray[np.float64]]:
        """For each text of `rows` (n,) the weights (W,) of its words that the model reads; higher is more.

        Where they depend on the pool, they are those of the last query.
        """


def word_to_show(
    texts: Texts, row: int, word: int, weigh: Callable[[Rows], Sequence[NDArray[np.float64]]]
) -> str | None:
    """The word of a text by which a choice is explained, as it stands there; None without words.

    It is the word that decided, number `word` of them (-1 for none). Where that is bare punctuation, which tells a
    person nothing, it is the one of the highest weight among the others; `weigh` makes the weights (W,) of rows.
    """
    decisive = texts.word(row, word) if word >= 0 else None
    if decisive is None or is_telling(decisive):
        return decisive
    (weights,) = weigh(np.array([row]))
    telling = telling_words(texts, row, len(weights))
    return decisive if telling[word] else texts.word(row, int(np.where(telling, weights, -np.inf).argmax()))


def require_given(strategy: QueryStrategy, given: Collection[str], name: str) -> None:
    """Raise ConfigError if the strategy needs what the model does not give; `name` is the strategy's for the error."""
    missing = [need for need in CAPABILITIES if need in getattr(strategy, "needs", ()) and need not in given]
    if missing:
        wanted = ", ".join(CAPABILITIES[need] for need in missing)
        raise ConfigError(
            f"strategy {name} needs {wanted}, which this model does not give; choose another model, or a strategy that "
            f"works with it: {', '.join(working(given))}"
        )


def require_multilabel(strategy: QueryStrategy, name: str) -> None:
    """Raise ConfigError if the strategy does not work where a text has any number of labels."""
    if not getattr(strategy, "multilabel", False):
        raise ConfigError(
            f"--strategy {name} is for one class a text, and --task is multilabel; give it a member multilabel = True "
            f"if it works with any number of labels, or use one of {', '.join((*STRATEGIES, *LABEL_STRATEGIES))}"
        )


def told_labels(pool: Pool, name: str) -> NDArray[np.int64]:
    """The labels (L, C) of the pool's labelled texts, with which the strategy `name` compares others; L is not 0."""
    if pool.labels is None or not len(pool.labels):
        raise ValueError(f"{name} compares texts with labels that were told, and the pool has none; tell some first")
    return pool.labels


def working(given: Collection[str]) -> list[str]:
    """The strategies, by name, that need nothing but what a model gives."""
    return [name for name, place in STRATEGIES.items() if set(getattr(find(place), "needs", ())) <= set(given)]


def highest(scores: NDArray[np.floating], pool: Pool, n: int, ranks: NDArray[np.floating] | None = None) -> Query:
    """The n unlabelled rows of the highest acquisition scores (N,), earlier ones first where scores are equal.

    Scores that differ by rounding alone are equal. `ranks` (N,), which order as the scores do, are compared in their
    place where they tell more scores apart. Where all are equal, as after labels of one class, the order is that of the
    texts' hashes: the first rows of a file that is sorted by class would bring no other class.
    """
    compared = scores if ranks is None else ranks
    all_equal = bool((compared == compared[:1]).all())
    order = np.argsort(pool.texts.keys(pool.unlabeled), kind="stable") if all_equal else highest_first(compared)
    order = order[:n]
    return Query.of(pool.unlabeled[order], [{"score": float(score)} for score in scores[order]])


def check_query(query: Query, pool: Pool, n: int) -> Query:
    """The query with plain numbers where it has NumPy's, for its record in JSON.

    Raises:
        QueryError: it does not hold n distinct unlabelled rows of the pool and n reasons as `Query` describes them.
    """
    if not isinstance(query, Query):
        raise QueryError(f"the strategy returned {type(query).__name__}; it must be a Query, such as Query.of(rows)")
    rows = np.asarray(query.rows)
    if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
        raise QueryError(
            f"the strategy returned rows of shape {rows.shape} and type {rows.dtype}; wanted integers (n,)"
        )
    if len(rows) != n or len(query.reasons) != n:
        raise QueryError(
            f"the strategy returned {len(rows)} rows and {len(query.reasons)} reasons; {n} each were asked for"
        )
    values, counts = np.unique(rows, return_counts=True)
    if len(values) != n:
        raise QueryError(f"the strategy returned row {values[counts > 1][0]} more than once; rows must be distinct")
    unknown = np.setdiff1d(rows, pool.unlabeled)
    if len(unknown):
        raise QueryError(f"the strategy returned row {unknown[0]}, which is not among the pool's unlabelled rows")
    reasons = [_plain(reason) for reason in query.reasons]
    if taken := [name for reason in reasons for name in reason if name in PLACE]:
        raise QueryError(f"the strategy named a reason {taken[0]!r}, a field of the record; choose another name")
    return Query(rows.astype(np.int64), reasons, _plain(query.details))


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name, NumPy's scalars as Python's; QueryError for what is no string, no finite number and not None."""
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
    for name, value in plain.items():
        if not (value is None or isinstance(value, str) or (isinstance(value, int | float) and isfinite(value))):
            raise QueryError(f"the strategy returned {name} = {value!r}; wanted a string, a finite number or None")
    return plain
