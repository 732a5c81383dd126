"""What people say a text is: the number of its class or, with `--task multilabel`, those of all its labels.

A label is an int for one class a text. With any number of labels a text it is a tuple of ints in ascending order, and
`()` is an answer: none of the labels holds. The file of labels has the int, or the tuple as JSON, so that equal answers
are equal in SQL, too. Other tools and models have names and arrays; `class_numbers` finds the numbers of names.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: A class, or any number of labels.
Label = int | tuple[int, ...]

#: The same by name: a class, or labels in the order of the session's.
Names = str | list[str]

#: The columns of the file of labels that hold labels.
COLUMNS = ("label", "guess")


def stored(label: Label | None) -> int | str | None:
    """A label as the file of labels has it."""
    return json.dumps(label) if isinstance(label, tuple) else label


def from_json(value: int | list[int]) -> Label:
    """A label that was written as JSON."""
    return tuple(value) if isinstance(value, list) else value


def with_label_sets(cursor: sqlite3.Cursor, values: tuple[Any, ...]) -> sqlite3.Row:
    """A row of the file of labels whose labels are tuples again: the row factory of sessions with label sets."""
    names = [name for name, *_ in cursor.description]
    read = [
        from_json(json.loads(value)) if name in COLUMNS and value is not None else value
        for name, value in zip(names, values, strict=True)
    ]
    return sqlite3.Row(cursor, tuple(read))


def named(label: Label, class_names: Sequence[str]) -> Names:
    """A label by name.

    Examples:
        >>> named(1, ["food", "price"]), named((0, 1), ["food", "price"]), named((), ["food", "price"])
        ('price', ['food', 'price'], [])
    """
    return [class_names[number] for number in label] if isinstance(label, tuple) else class_names[label]


def numbers_of(label: Label) -> tuple[int, ...]:
    """The numbers of a label: one for a class."""
    return label if isinstance(label, tuple) else (label,)


def label_array(labels: Iterable[Label], n_classes: int, *, multilabel: bool) -> NDArray[np.int64]:
    """Labels as models have them: numbers (n,) or, of any number of labels, 0 and 1 for each (n, C)."""
    found = list(labels)
    if not multilabel:
        return np.array(found, np.int64)
    array = np.zeros((len(found), n_classes), np.int64)
    for row, label in zip(array, found, strict=True):
        row[list(numbers_of(label))] = 1
    return array


def labels_of(array: NDArray[np.integer[Any]]) -> list[Label]:
    """The labels of such an array.

    Examples:
        >>> labels_of(np.array([2, 0])), labels_of(np.array([[0, 1, 1], [0, 0, 0]]))
        ([2, 0], [(1, 2), ()])
    """
    return array.tolist() if array.ndim == 1 else [tuple(np.flatnonzero(row).tolist()) for row in array]
