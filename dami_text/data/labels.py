"""What labels of texts are: numbers (n,) of classes, or 0 and 1 for each label (n, C) where a text has any number.

How many dimensions an array of labels has says which it is.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dami_text.errors import DataError, DataTypeError


def label_counts(labels: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """How many texts each class or label has (C,)."""
    return np.asarray(np.bincount(labels, minlength=n_classes) if labels.ndim == 1 else labels.sum(axis=0))


def named(label: Any, class_names: Sequence[str]) -> str | list[str]:
    """The class of a text by its name, or its labels by theirs, of one entry of an array of labels."""
    if np.ndim(label) == 0:
        return str(class_names[label])
    return [name for name, holds in zip(class_names, label, strict=True) if holds]


def no_labels(n_classes: int, *, multilabel: bool) -> NDArray[np.int64]:
    """An array of the labels of no text."""
    return np.zeros((0, n_classes) if multilabel else 0, np.int64)


def checked_labels(labels: Any, rows: NDArray[np.int64], n_classes: int, *, multilabel: bool) -> NDArray[np.int64]:
    """Labels of rows (n,) as an array (n,) of class numbers, or (n, C) of 0 and 1.

    Raises:
        DataError: there is not a label a row, or one is no class's number, or not 0 or 1.
    """
    found = np.asarray(labels)
    wanted = (len(rows), n_classes) if multilabel else rows.shape
    if found.shape != wanted or len(rows) == 0:
        each = f"0 or 1 for each of {n_classes} labels of a row" if multilabel else "one label a row"
        raise DataError(f"got rows of shape {rows.shape} and labels of shape {found.shape}; wanted {each}")
    most = 1 if multilabel else n_classes - 1
    rule = f"labels are integers from 0 to {most}" + ("" if multilabel else ", the numbers of the classes")
    if not np.issubdtype(found.dtype, np.integer):
        raise DataTypeError(f"row {rows[0]} has the label {found.tolist()[0]!r}; {rule}")
    for row, label in zip(rows, found, strict=True):
        if np.any((label < 0) | (label > most)):
            raise DataError(f"row {row} has the label {label}; {rule}")
    return found.astype(np.int64)
