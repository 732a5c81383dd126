"""What a learner is given in Python, in the forms that people have it in: texts, classes, rows and labels."""

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, LargeList, List, Value
from numpy.typing import NDArray

from dami_text.config.fields import listed
from dami_text.errors import ColumnError, ConfigError, DataError, DataTypeError

STRINGS = (Value("string"), Value("large_string"))

#: The classes that True and False are labels of, in small letters.
FALSE, TRUE = "false", "true"


def class_names_given(class_names: Any, *, multilabel: bool = False) -> list[str]:
    """The names of the classes (C), or with `multilabel` of the labels of which a text has any number.

    Raises:
        ConfigError: they are not two names or more, or one label or more, all different.
    """
    least = 1 if multilabel else 2
    wanted = f"it must be a list of {'one name' if multilabel else 'two names'} or more, all different"
    if isinstance(class_names, str | bytes | Mapping) or not isinstance(class_names, Iterable):
        raise ConfigError(f"class_names is {class_names!r}; {wanted}")
    names = [name.item() if isinstance(name, np.generic) else name for name in class_names]
    fit = all(isinstance(name, str) and name.strip() for name in names)
    if not fit or len(names) < least or len(set(names)) < len(names):
        raise ConfigError(f"class_names is {names!r}; {wanted}")
    return names


def dataset_of(texts: Any, columns: Sequence[str]) -> Dataset:
    """The texts as the column `text` of a Dataset: strings in any order that can be counted, or `columns` of a table.

    Several columns are joined by line breaks, without those that are empty.

    Raises:
        DataError: there is no text, or one is no string.
        ColumnError: the table lacks a column.
    """
    if isinstance(texts, Dataset) or is_frame(texts):
        names = texts.column_names if isinstance(texts, Dataset) else [str(name) for name in texts.columns]
        if missing := [name for name in columns if name not in names]:
            raise ColumnError(f"no column {missing[0]!r} among {listed(names)}; name the texts' with text_column")
        if isinstance(texts, Dataset) and columns == ["text"] and texts.features["text"] in STRINGS:
            dataset = texts.select_columns("text")
            return _some(dataset if texts.features["text"] == STRINGS[0] else dataset.cast_column("text", STRINGS[0]))
        parts = [strings(texts[name], f"column {name!r}, ", empty=len(columns) > 1) for name in columns]
        return _some(Dataset.from_dict({"text": ["\n".join(filter(None, row)) for row in zip(*parts, strict=True)]}))
    return _some(Dataset.from_dict({"text": strings(texts)}))


def is_frame(value: Any) -> bool:
    """Whether a value is a table of pandas; pandas need not be imported to tell."""
    return hasattr(value, "columns") and hasattr(value, "iloc")


def _some(dataset: Dataset) -> Dataset:
    if not len(dataset):
        raise DataError("texts is empty; give one text or more")
    return dataset


def strings(texts: Any, where: str = "", *, empty: bool = False) -> list[str]:
    """The texts as a list of strings; with `empty`, what is missing is an empty one.

    Raises:
        DataError: texts is one string, no list, or holds what is no string.
    """
    if isinstance(texts, str):
        raise DataTypeError(f"texts is one string, {texts[:40]!r}; it must be a list of strings, one for each text")
    if not isinstance(texts, Iterable) or isinstance(texts, bytes | Mapping):
        raise DataTypeError(f"texts is {texts!r:.60}; it must be a list of strings, one for each text")
    found = ["" if empty and is_missing(text) else text for text in texts]
    for row, text in enumerate(found):
        if not isinstance(text, str):
            raise DataTypeError(f"{where}text {row} is {text!r:.60}; every text must be a string")
    return [str(text) for text in found]


def is_missing(value: Any) -> bool:
    """Whether a value stands for none: None, NaN, NaT, pandas' NA or an empty string."""
    if value is None or (isinstance(value, str) and value == ""):
        return True
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, Real) and bool(value != value)  # noqa: PLR0124 - NaN


def listed_values(values: Any, what: str) -> list[Any]:
    """Values of a list, an array, a series or a generator as Python's own.

    Raises:
        DataTypeError: they are one value alone.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise DataTypeError(f"{what} is {values!r:.60}; it must be a list")
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def rows_given(rows: Any) -> NDArray[np.int64]:
    """Rows as integers (n,).

    Raises:
        DataTypeError: one is no integer.
    """
    found = listed_values(rows, "rows")
    for row in found:
        if isinstance(row, bool) or not isinstance(row, Integral):
            raise DataTypeError(f"row {row!r:.60} is no integer; rows are places in the pool")
    return np.array(found, np.int64)


def label_numbers(
    labels: Sequence[Any], class_names: Sequence[str], rows: Sequence[Any], *, multilabel: bool
) -> NDArray[np.int64]:
    """Labels (n,) of `rows` (n,) as an array: their `class_numbers` or, with `multilabel`, `label_sets`."""
    return (label_sets if multilabel else class_numbers)(labels, class_names, rows)


def label_sets(labels: Sequence[Any], class_names: Sequence[str], rows: Sequence[Any]) -> NDArray[np.int64]:
    """0 and 1 for each label (n, C), of sets of labels (n,) of `rows` (n,).

    A set is a list of names or numbers, or a row of an array with 0 and 1 for each label.

    Raises:
        DataError: a set is none, has a label twice, or one that is no label; the message has its row.
    """
    numbers = {name: number for number, name in enumerate(class_names)}
    found = np.zeros((len(rows), len(numbers)), np.int64)
    for place, (given, row) in enumerate(zip(labels, rows, strict=True)):
        if isinstance(given, np.ndarray) and given.shape == (len(numbers),) and given.dtype.kind in "biuf":
            if not np.isin(given, (0, 1)).all():
                raise DataError(
                    f"row {row} has the labels {given.tolist()!r:.60}; an array holds 0 or 1 for each label"
                )
            found[place] = given
            continue
        if not isinstance(given, list | tuple | set | frozenset | np.ndarray):
            raise DataTypeError(
                f"row {row} has the label {given!r:.60}, and a text has any number of labels; give a list of them, [] "
                "where none holds"
            )
        of_row = [_class_number(label, numbers, row) for label in listed_values(given, "labels")]
        if len(set(of_row)) < len(of_row):
            raise DataError(f"row {row} has a label twice, in {list(given)!r:.60}; give each once")
        found[place, of_row] = 1
    return found


def class_numbers(labels: Sequence[Any], class_names: Sequence[str], rows: Sequence[Any]) -> NDArray[np.int64]:
    """The numbers (n,) of the classes that labels (n,) of `rows` (n,) name: by name, by number, or True and False.

    Raises:
        DataError: a label is none, or of no class; the message has its row.
    """
    numbers = {name: number for number, name in enumerate(class_names)}
    return np.array([_class_number(label, numbers, row) for label, row in zip(labels, rows, strict=True)], np.int64)


def _class_number(label: Any, numbers: Mapping[str, int], row: Any) -> int:
    wanted = f"labels are the classes {listed(list(numbers))}, or their numbers from 0 to {len(numbers) - 1}"
    if is_missing(label):
        raise DataError(f"row {row} has no label ({label!r}); leave it out, or give one: {wanted}")
    if isinstance(label, bool):
        by_case = {name.strip().lower(): number for name, number in numbers.items()}
        if by_case.keys() != {FALSE, TRUE}:
            raise DataTypeError(
                f"row {row} has the label {label}, and the classes are not two named true and false; {wanted}"
            )
        return by_case[TRUE if label else FALSE]
    if isinstance(label, str):
        if label not in numbers:
            raise DataError(f"row {row} has the label {label!r:.60}, which is no class; {wanted}")
        return numbers[label]
    if not isinstance(label, Real) or not float(label).is_integer():
        raise DataTypeError(f"row {row} has the label {label!r:.60}, which is no class; {wanted}")
    number = int(float(label))
    if not 0 <= number < len(numbers) and str(number) not in numbers:
        raise DataError(f"row {row} has the label {number}, which is no class; {wanted}")
    if numbers.get(str(number), number) != number:
        raise DataError(
            f"row {row} has the label {number}, which is the name of one class and the number of another, or of none; "
            f"give names as text, such as '{number}'"
        )
    return number


def labels_given(
    labels: Any, texts: Any, class_names: Sequence[str], n: int, *, multilabel: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows (k,) of those of n texts that have a label already, and their `label_numbers`, (k,) or (k, C).

    Args:
        labels: one for each text, None, NaN, "" or -1 where it is not known; or the name of their column in `texts`.
        texts: what was given as texts.
        class_names: the classes (C).
        n: how many texts there are.
        multilabel: whether a text has any number of labels.

    Raises:
        DataError: there are more or fewer labels than texts, or one is of no class.
        ColumnError: there is no such column.
    """
    if isinstance(labels, str):
        names = list(getattr(texts, "column_names", getattr(texts, "columns", ())))
        if labels not in names:
            raise ColumnError(f"labels is {labels!r}, which is no column among {listed(list(map(str, names)))}")
        feature = texts.features[labels] if isinstance(texts, Dataset) else None
        labels = listed_values(texts[labels], "labels")
        if isinstance(feature, ClassLabel):
            labels = [None if label in (None, -1) else feature.int2str(label) for label in labels]
        elif isinstance(feature, List | LargeList) and isinstance(feature.feature, ClassLabel):
            labels = [None if of_row is None else feature.feature.int2str(of_row) for of_row in labels]
    found = listed_values(labels, "labels")
    if len(found) != n:
        raise DataError(f"got {n} texts and {len(found)} labels; give one label for each text, None where unknown")
    rows = [row for row, label in enumerate(found) if not is_missing(label) and (multilabel or label != -1)]
    given = [found[row] for row in rows]
    return np.array(rows, np.int64), label_numbers(given, class_names, rows, multilabel=multilabel)
