"""Labels that the texts came with from elsewhere, a rule's, a model's or an LLM's: shown on demand, never counted.

They are a column of the session's file, and are read from the pool, which never changes.
"""

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset
from numpy.typing import NDArray

from dami_text.config.fields import listed
from dami_text.config.run import LabelingConfig
from dami_text.data.columns import OWN, find_column, own_columns
from dami_text.errors import ColumnError, ConfigError, DataError
from dami_text.labeling.class_numbers import ClassNumbers

logger = logging.getLogger(__name__)

NONE = -1  # the class of a text without a suggestion


@dataclass(frozen=True)
class Suggestions:
    """The suggestion for each text.

    Attributes:
        labels: the class (N,), NONE where there is none.
        scores: how sure its maker is (N,), from 0 to 1; NaN where that is not known.
        unknown: what was read that names no class, and how often.
    """

    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    unknown: Mapping[str, int]

    def score(self, row: int) -> float | None:
        """The score of a row's suggestion, None where it has none."""
        value = float(self.scores[row])
        return None if math.isnan(value) else value

    def warn(self, column: str) -> None:
        """Say which texts have no suggestion that can be used."""
        n, n_unknown = len(self.labels), sum(self.unknown.values())
        if n_unknown:
            told = "%d of %d suggestions in column %r name no class and are left out: %s"
            logger.warning(told, n_unknown, n, column, listed(list(self.unknown)))
        if missing := int((self.labels == NONE).sum()) - n_unknown:
            logger.info("%d of %d texts have no suggestion", missing, n)


def read_suggestions(
    pool: Dataset, config: LabelingConfig, classes: ClassNumbers, label_column: str
) -> Suggestions | None:
    """The suggestions in the columns of a pool that the options name; None where they name none.

    Args:
        pool: the texts with the file's own columns.
        config: names the columns.
        classes: the session's.
        label_column: the column that is read as labels, if it is there and they are not to be left out.

    Raises:
        ColumnError: a column is missing, or has scores that are no numbers.
        ConfigError: the column of suggestions is that of the labels.
        DataError: no suggestion is a class, or a score is not from 0 to 1.
    """
    if config.suggestion_column is None:
        return None
    names = [name.removeprefix(OWN) for name in own_columns(pool.column_names)]
    column = _column(names, config.suggestion_column, "--suggestion-column")
    if not config.ignore_labels and column == find_column(names, label_column):
        raise ConfigError(
            f"--suggestion-column is {column!r}, which is read as labels that people gave; add --ignore-labels, or "
            "name their column with --label-column"
        )
    labels, unknown = np.full(len(pool), NONE), Counter[str]()
    for row, name in enumerate(_cells(pool, column)):
        number = None if name is None else classes.of(name)
        if number is not None:
            labels[row] = number
        elif name is not None:
            unknown[name] += 1
    if unknown and (labels == NONE).all():
        raise DataError(
            f"column {column!r} holds the suggestions {listed(list(unknown))}, and none is a class; rename them, or "
            "name another column with --suggestion-column"
        )
    return Suggestions(labels, _scores(pool, names, config.suggestion_score_column), unknown)


def _column(names: Sequence[str], name: str, option: str) -> str:
    found = find_column(names, name)
    if found is None:
        raise ColumnError(f"no column {name!r} in {list(names)}; name one of these with {option}")
    return found


def _cells(pool: Dataset, column: str) -> list[str | None]:
    """The cells of a column as text, None where they are empty."""
    from dami_text.labeling.exchange.records import as_text

    feature, values = pool.features[OWN + column], pool.with_format(None)[OWN + column][:]
    if isinstance(feature, ClassLabel):
        return [None if value is None or value < 0 else str(feature.int2str(value)) for value in values]
    cells: list[Any] = [as_text(value) for value in values]
    return [None if cell is None or not str(cell).strip() else str(cell) for cell in cells]


def _scores(pool: Dataset, names: Sequence[str], column: str | None) -> NDArray[np.float64]:
    scores = np.full(len(pool), np.nan)
    if column is None:
        return scores
    column = _column(names, column, "--suggestion-score-column")
    for row, cell in enumerate(_cells(pool, column)):
        if cell is not None:
            try:
                scores[row] = float(cell)
            except ValueError:
                raise ColumnError(
                    f"column {column!r} holds {cell[:40]!r}, no number; name another with --suggestion-score-column"
                ) from None
    wrong = scores[(scores < 0) | (scores > 1)]
    if len(wrong):
        raise DataError(
            f"column {column!r} holds scores from {np.nanmin(scores):g} to {np.nanmax(scores):g}; wanted 0 to 1: "
            "divide percentages by 100"
        )
    return scores
