"""Which labels a session has, how many of them a text takes, and how a file holds those of a text."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dami_text.errors import ConfigError, DataError
from dami_text.escaping import to_json
from dami_text.labeling.exchange.records import COLUMNS, as_text, normalized
from dami_text.labeling.labels import Names

#: Formats that are tables, to which the options about several labels apply.
TABLES = ("csv", "jsonl", "parquet")


@dataclass(frozen=True, kw_only=True)
class LabelScheme:
    """The labels of a session, and their form in a file.

    Attributes:
        names: of the classes or labels.
        multilabel: whether a text has any number of them: a record's label is a list of names then.
        separator: what stands between the labels in a cell of a table; None for a list.
        columns: write a column of 0 and 1 for each label, in place of one with lists.
    """

    names: Sequence[str]
    multilabel: bool = False
    separator: str | None = None
    columns: bool = False

    def check(self, name: str) -> None:
        """Raise an error if the labels cannot be in a file of the format `name` as this says.

        Raises:
            ConfigError: an option has no effect on the format or the session, or the separator is in a label.
            DataError: labels would be columns that the file has already.
        """
        given = {"--label-separator": self.separator is not None, "--label-columns": self.columns}
        used = [flag for flag, is_given in given.items() if is_given]
        if used and not self.multilabel:
            raise ConfigError(f"{used[0]} is for several labels a text, and the session takes one; leave it out")
        if len(used) > 1:
            raise ConfigError("--label-separator and --label-columns are two ways to write labels; leave one out")
        if used and name not in TABLES:
            raise ConfigError(f"{used[0]} is for {', '.join(TABLES)}, and the format is {name}; leave it out")
        if self.separator is not None:
            self._check_separator(self.separator)
        if self.columns:
            self._check_columns()

    def _check_separator(self, separator: str) -> None:
        if not separator:
            raise ConfigError("--label-separator is ''; it must be one character or more, such as ';'")
        for name in self.names:
            # A name that only ends like a separator begins, such as a| before ||, is split at another place, too.
            if f"{name}{separator}".find(separator) < len(name):
                raise ConfigError(
                    f"--label-separator is {separator!r}, which would split the label {name!r:.60}; choose another"
                )

    def _check_columns(self) -> None:
        for name in self.names:
            known = normalized(name)
            if known in (*COLUMNS, "reason") or known.startswith("dami_"):
                raise DataError(
                    f"--label-columns makes a column of the label {name!r:.60}, and the file has a column {known!r} "
                    "already; leave it out or rename the label"
                )

    @property
    def taken(self) -> Sequence[str]:
        """The names of columns that a file has for labels."""
        return self.names if self.columns else ()

    def cell(self, label: Any) -> Any:
        """The names of a text's labels as a cell of a table; None for a text without an answer."""
        return self.separator.join(label) if self.separator is not None and isinstance(label, list) else label

    def holds(self, label: Any) -> dict[str, int | None]:
        """Each label's cell in a column of its own: 1 if the text has it, otherwise 0; None without an answer."""
        return {name: None if label is None else int(name in label) for name in self.names}

    def of_cell(self, value: Any) -> list[Any] | None:
        """The names in a cell that is not empty; None for an empty one.

        It holds a list; the same as JSON, or as the object that Label Studio makes of several choices; names with
        separators; or one name.

        Raises:
            ValueError: a name between separators is empty.
        """
        if self.separator is not None and isinstance(value, str) and value.strip():
            names = value.split(self.separator)
            if not all(map(str.strip, names)):
                raise ValueError(f"{value!r:.100} has an empty name between its separators; take it out")
            return names
        if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
            value = _of_json(value)
        if isinstance(value, dict):
            value = value["choices"] if isinstance(value.get("choices"), list) else to_json(value)
        if isinstance(value, list):
            return value
        return None if as_text(value) is None else [as_text(value)]


def _of_json(cell: str) -> Any:
    """What a cell holds as JSON; the cell itself where that is nothing."""
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell


def names_of(label: Names | None) -> list[str]:
    """The names that a label is: that of the one, those of several, none where there is no label."""
    return label if isinstance(label, list) else [] if label is None else [label]


def label_names(values: Sequence[Any]) -> tuple[list[Any], str | None]:
    """The names that a list of labels gives, and what is wrong with the list, if anything.

    Numbers are written out; a null stays.
    """
    kinds = {type(value) for value in values if value is not None}
    if kinds - {str, bool, int, float} or (str in kinds and len(kinds) > 1):
        return [], f"the labels {list(values)!r:.100} are of unequal types, or of more than names; wanted names"
    return [as_text(value) for value in values], None
