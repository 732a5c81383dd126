"""The labels of texts that have any number of them: what `--task multilabel` reads.

They stand in a column of lists; in a column of names with a separator between them; or in a column of 0 and 1 for each
label. A null is a text that is not labelled. An empty list, an empty string and a row of zeros are an answer: none of
the labels holds.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import datasets
import pyarrow as pa

from dami_text.config.data_options import DataConfig
from dami_text.config.fields import listed
from dami_text.data.classes import class_name, in_class_order, renaming, require_renamed, warn_of_names
from dami_text.errors import ColumnError, DataError

logger = logging.getLogger(__name__)

#: Rows that are Python objects at a time.
BLOCK = 10_000

#: What a cell of a label's own column says, in small letters.
HOLDS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}

#: From a row's cells, one a column, to the names of its labels; None where it is not labelled. A ValueError says what
#: is wrong with the row.
Read = Callable[[Sequence[Any]], list[str] | None]


def is_list(feature: Any) -> bool:
    """Whether a column's cells are lists."""
    return isinstance(feature, datasets.List | datasets.LargeList)


@dataclass(frozen=True)
class LabelSets:
    """The labels that the rows of a source have.

    Attributes:
        columns: where they stand.
        read: the labels of a row, by the names that the source gives them.
        names: of all labels (C), in the order of their numbers.
        renamed: their names in place of those that the source gives them.
    """

    columns: Sequence[str]
    read: Read
    names: Sequence[str] = ()
    renamed: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, source: datasets.DatasetDict, columns: Sequence[str], config: DataConfig, *, wanted: bool = True
    ) -> Self:
        """The labels in columns of a source: in one of lists or of strings, or in one for each label.

        Raises:
            ColumnError: the column holds something else.
            DataError: no row has a label, and one is `wanted`; or one has a label twice, a name that is empty or no
                label's, or a null among others.
        """
        if len(set(columns)) < len(columns):
            raise ColumnError(f"--label-columns names a column twice, in {listed(columns)}; name each once")
        if config.label_columns is not None:
            names, read = list(columns), of_columns(columns)
        else:
            names, read = _of_column(next(iter(source.values())).features[columns[0]], columns[0], config)
        there = cls(columns, read)._names_in(source)
        shown = f"column{'s' * (len(columns) > 1)} {listed(columns)}"
        if not there and wanted:
            raise DataError(f"no label in {shown} of {sum(map(len, source.values()))} rows; wanted one or more")
        if names:
            return cls(columns, read, names)
        found, renamed = in_class_order(there), renaming(config.label_names)
        require_renamed(found, renamed)
        names = [renamed.get(name, name) for name in found]
        warn_of_names(names, columns[0])
        return cls(columns, read, names, renamed)

    def labeled_rows(
        self,
        source: datasets.DatasetDict,
        features: dict[str, Any],
        columns: Callable[..., dict[str, Any]],
        **options: Any,
    ) -> datasets.DatasetDict:
        """The labelled rows, with the columns that `columns(table, **options)` makes, and the lists of label numbers.

        Rows that are not labelled are left out, with a warning that counts them, and so are the splits that this leaves
        empty. `features` says what the new columns hold.
        """
        numbers = {name: number for number, name in enumerate(self.names)}
        label = datasets.Sequence(datasets.ClassLabel(names=list(self.names)))

        def with_numbers(table: pa.Table, places: list[int]) -> pa.Table:
            found = self._in(table, places[0], "the data")
            ids = [None if row is None else [numbers[self.renamed.get(name, name)] for name in row] for row in found]
            new = pa.table({**columns(table, **options), "label": pa.array(ids, pa.list_(pa.int64()))})
            return new.filter(pa.array([row is not None for row in found]))

        labeled = datasets.DatasetDict()
        for split, rows in source.items():
            new_rows = rows.with_format("arrow").map(
                with_numbers,
                with_indices=True,
                batched=True,
                remove_columns=rows.column_names,
                features=datasets.Features({**features, "label": label}),
                desc=f"Labels of {split}",
            )
            if len(new_rows):
                labeled[split] = new_rows.with_format(None)
        total, n_labeled = sum(map(len, source.values())), sum(map(len, labeled.values()))
        if n_labeled < total:
            logger.warning("%d of %d rows are not labelled (null): left out", total - n_labeled, total)
        if without := sum(not row for rows in labeled.values() for row in rows["label"]):
            logger.info("%d of %d labelled texts have none of the labels, which is an answer", without, n_labeled)
        return labeled

    def of_rows(self, rows: datasets.Dataset) -> list[list[str] | None]:
        """The labels of each row by name, None where it is not labelled."""
        found: list[list[str] | None] = []
        for start in range(0, len(rows), BLOCK):
            found += self._in(rows.with_format("arrow")[start : start + BLOCK], start, "the data")
        return [None if row is None else [self.renamed.get(name, name) for name in row] for row in found]

    def _names_in(self, source: datasets.DatasetDict) -> set[str]:
        """All names that rows have."""
        found: set[str] = set()
        for split, rows in source.items():
            for start in range(0, len(rows), BLOCK):
                table = rows.with_format("arrow")[start : start + BLOCK]
                found.update(name for row in self._in(table, start, f"split {split!r}") for name in row or ())
        return found

    def _in(self, table: pa.Table, start: int, where: str) -> list[list[str] | None]:
        """The names of each row's labels; an error tells the row's place, that of the first being `start`."""
        found: list[list[str] | None] = []
        for place, cells in enumerate(zip(*(table[name].to_pylist() for name in self.columns), strict=True), start):
            try:
                found.append(_different(self.read(cells)))
            except ValueError as error:
                raise DataError(f"row {place} of {where} (the first is 0): {error}") from None
        return found


def _different(names: list[str] | None) -> list[str] | None:
    if names is not None and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the label {twice!r} is there twice; give each label once")
    return names


def of_columns(columns: Sequence[str]) -> Read:
    """What reads a column of 0 and 1 for each label."""

    def read(cells: Sequence[Any]) -> list[str] | None:
        missing = [name for name, cell in zip(columns, cells, strict=True) if class_name(cell, {"-1"}) is None]
        if len(missing) == len(columns):
            return None
        if missing:
            raise ValueError(
                f"column {missing[0]!r} is empty, and others are not; wanted 0 or 1 in all of them, or none"
            )
        for name, cell in zip(columns, cells, strict=True):
            if str(cell).lower() not in HOLDS:
                raise ValueError(f"column {name!r} holds {cell!r:.60}; wanted 0 or 1")
        return [name for name, cell in zip(columns, cells, strict=True) if HOLDS[str(cell).lower()]]

    return read


def _of_column(feature: Any, column: str, config: DataConfig) -> tuple[list[str], Read]:
    """The names of the labels, where the column declares them, and what reads it."""
    separator = config.label_separator
    if is_list(feature):
        if separator is not None:
            raise ColumnError(f"column {column!r} holds lists, and --label-separator is for strings; leave it out")
        of = feature.feature
        if isinstance(of, datasets.ClassLabel):
            return list(of.names), _of_numbers(of.names)
        if isinstance(of, datasets.Value):
            return [], _of_list
        raise ColumnError(
            f"column {column!r} holds lists of unequal types or of more than values ({of}); wanted lists of names, or "
            "of numbers"
        )
    if not isinstance(feature, datasets.Value) or feature.dtype not in ("string", "large_string"):
        raise ColumnError(
            f"column {column!r} holds {feature}, and --task is multilabel; wanted lists of labels, names with a "
            "--label-separator between them, or a column of 0 and 1 for each label, named by --label-columns"
        )
    if separator is None:
        raise ColumnError(
            f"column {column!r} holds strings, and --task is multilabel; name what stands between a text's labels with "
            "--label-separator"
        )
    return [], _separated(separator)


def _of_numbers(names: Sequence[str]) -> Read:
    """What reads lists of the numbers of labels that have names."""

    def read(cells: Sequence[Any]) -> list[str] | None:
        for number in cells[0] or ():
            if number is None:
                raise ValueError(f"a null is among the labels {cells[0]}; leave it out")
            if not 0 <= number < len(names):
                raise ValueError(f"the label {number} has no name; the column names {len(names)}, from 0")
        return None if cells[0] is None else [names[number] for number in cells[0]]

    return read


def _of_list(cells: Sequence[Any]) -> list[str] | None:
    """The labels of a list of names or of numbers."""
    if cells[0] is None:
        return None
    names = [class_name(value, {"-1"}) for value in cells[0]]
    found = [name for name in names if name is not None]
    if len(found) < len(names):
        raise ValueError(f"a null or an empty name is among the labels {cells[0]}; leave it out")
    return found


def _separated(separator: str) -> Read:
    """What reads names with a separator between them."""

    def read(cells: Sequence[Any]) -> list[str] | None:
        if cells[0] is None:
            return None
        names = [name.strip() for name in cells[0].split(separator)] if cells[0].strip() else []
        if not all(names):
            raise ValueError(f"{cells[0]!r:.100} has an empty name between its separators {separator!r}; take it out")
        return names

    return read
