"""Where labelled texts come from: the embedded demo, the paper's data sets, a file, a folder, or the Hub.

Whatever the source holds, two columns come out: `text`, strings without nulls, and `label`, a ClassLabel. Texts
and labels stay in memory-mapped Arrow files all the way; only a column's distinct labels are Python objects.
"""

import logging
import re
from collections.abc import Callable
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc

from dami_text.config import DataConfig
from dami_text.data.readers import read_splits, utf8_expected
from dami_text.data.strict_csv import is_class_label
from dami_text.errors import ColumnError, DataError

logger = logging.getLogger(__name__)

NUMBER = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")


def load_source(config: DataConfig) -> datasets.DatasetDict:
    """The data set that `config.dataset` names, as labelled texts.

    It names, in this order: `demo`; an alias, `subj` or `mr`; a local file (.csv, .tsv, .jsonl, .json, .parquet,
    all but the last also .gz) or a local folder in the Hub's layout; a data set on the Hub. So a local path that
    exists wins over a Hub id of the same name.

    Labels: a ClassLabel keeps its names. Strings become classes in sorted order, or in the order of the numbers
    where all of them are numbers. Whole numbers and booleans become classes named by the number, or by the column
    `<label>_text` where it has one name for each. Rows labelled null, -1 or "" are unlabelled: left out, with one
    warning that counts them. Null texts become "", with another. Cells of CSV files are read as they are written:
    None, NA and 007 are texts.

    Returns:
        Every split of the source, or only `config.dataset_split`, all with the columns text: Value("string") and
        label: ClassLabel.

    Raises:
        DataError: the source is not found, cannot be reached or read, or has fewer than two classes.
        ColumnError: a column is missing or of the wrong type.
    """
    with utf8_expected(config):
        return _labeled_texts(read_splits(config), config)


def _labeled_texts(source: datasets.DatasetDict, config: DataConfig) -> datasets.DatasetDict:
    """`source` with the columns text and label only, of the labelled rows."""
    columns = next(iter(source.values())).features
    label_column = label_column_of(columns, config)
    text_column = _text_column(columns, config)
    labeled = labeled_rows(source, label_column, {"text": datasets.Value("string")}, _texts, text_column=text_column)
    null_texts = sum(rows.data.column(text_column).null_count for rows in source.values())
    if null_texts:
        logger.warning("%d of %d texts are null: taken as empty", null_texts, sum(map(len, source.values())))
    return labeled


def _texts(table: pa.Table, text_column: str) -> dict[str, Any]:
    texts = pc.fill_null(table[text_column], "")
    texts.validate(full=True)  # JSON and Parquet files are read without a look at their encoding
    return {"text": texts.cast(pa.string())}


def labeled_rows(
    source: datasets.DatasetDict,
    label_column: str,
    features: dict[str, Any],
    columns: Callable[..., dict[str, Any]],
    **options: Any,
) -> datasets.DatasetDict:
    """The labelled rows of `source`, with the columns that `columns(table, **options)` makes and the class ids.

    Unlabelled rows are left out, with a warning that counts them, and so are the splits that this leaves empty.
    `features` says what the new columns hold.
    """
    labels, names = _classes(source, label_column)
    labeled = datasets.DatasetDict()
    for split, rows in source.items():
        new_rows = rows.with_format("arrow").map(
            _with_class_ids,
            batched=True,
            fn_kwargs={"columns": columns, "options": options, "label_column": label_column, "labels": labels},
            remove_columns=rows.column_names,
            features=datasets.Features({**features, "label": datasets.ClassLabel(names=names)}),
            desc=f"Labels of {split}",
        )
        if len(new_rows):
            labeled[split] = new_rows.with_format(None)
    total = sum(map(len, source.values()))
    unlabeled = total - sum(map(len, labeled.values()))
    if unlabeled:
        logger.warning("%d of %d rows have no label (null, -1 or empty): left out", unlabeled, total)
    return labeled


def _with_class_ids(
    table: pa.Table,
    columns: Callable[..., dict[str, Any]],
    options: dict[str, Any],
    label_column: str,
    labels: list[Any],
) -> pa.Table:
    """New columns of the rows of `table` whose label is one of `labels`, and the label's place in that list."""
    ids = pc.index_in(table[label_column], value_set=pa.array(labels, table[label_column].type))
    return pa.table({**columns(table, **options), "label": ids.cast(pa.int64())}).filter(pc.is_valid(ids))


def label_column_of(columns: datasets.Features, config: DataConfig) -> str:
    """`config.label_column`, or ColumnError where there is no such column."""
    if config.label_column not in columns:
        raise ColumnError(f"no column {config.label_column!r} in {list(columns)}; name it with --label-column")
    return config.label_column


def _text_column(columns: datasets.Features, config: DataConfig) -> str:
    """`config.text_column`, or the only column of strings where that is left at its default and absent."""
    name = config.text_column
    if name == config.label_column:
        raise ColumnError(
            f"column {name!r} cannot be text and label both; name them with --text-column, --label-column"
        )
    if name in columns:
        if not _is_string(columns[name]):
            raise ColumnError(f"column {name!r} holds {columns[name]}, not strings; name another with --text-column")
        return name
    beside = {config.label_column, f"{config.label_column}_text"}
    strings = [column for column in columns if _is_string(columns[column]) and column not in beside]
    if name == DataConfig.text_column and len(strings) == 1:
        logger.info("the texts are in column %r, the only one of strings", strings[0])
        return str(strings[0])
    raise ColumnError(f"no column {name!r} in {list(columns)}; name it with --text-column")


def _is_string(feature: Any) -> bool:
    return isinstance(feature, datasets.Value) and feature.dtype in ("string", "large_string")


def _is_number(feature: Any) -> bool:
    return isinstance(feature, datasets.Value) and feature.dtype.startswith(("int", "uint", "float", "bool", "null"))


def _classes(source: datasets.DatasetDict, column: str) -> tuple[list[Any], list[str]]:
    """The labels in `column` that stand for classes, in the order of the class ids, and the names of these classes."""
    feature = next(iter(source.values())).features[column]
    if not (is_class_label(feature) or _is_string(feature) or _is_number(feature)):
        raise ColumnError(f"column {column!r} holds {feature}, not classes; name another with --label-column")
    found = {label for rows in source.values() for label in rows.unique(column)} - {None, -1, "", "-1"}
    found = {label for label in found if label == label}  # noqa: PLR0124 - NaN is no label
    if is_class_label(feature):
        labels, names = list(range(feature.num_classes)), feature.names
        if strangers := found.difference(labels):
            raise DataError(f"column {column!r} holds the class ids {sorted(strangers)}, but has {len(names)} classes")
    elif (numbers := _as_numbers(found)) is None:
        labels = names = sorted(found)
    else:
        if fractions := [label for label, number in numbers.items() if not number.is_integer()]:
            raise ColumnError(
                f"column {column!r} holds numbers such as {fractions[0]}, and a regression target is no class; "
                "name another with --label-column"
            )
        labels = sorted((label for label in found if numbers[label] != -1), key=lambda label: (numbers[label], label))
        names = [label if isinstance(label, str) else str(int(label)) for label in labels]
        names = _names_beside(source, column, labels) or names
    present = [name for label, name in zip(labels, names, strict=True) if label in found]
    n_rows = sum(map(len, source.values()))
    if len(present) < 2:
        classes = f"only one class, {present[0]!r}," if present else "no label"
        raise DataError(
            f"{classes} in column {column!r} of {n_rows} rows (null, -1 and empty are no "
            "labels); wanted two classes or more: label rows of each, or name another column with --label-column"
        )
    if 2 * len(present) > n_rows > 10:  # a handful of rows may well have a class each
        logger.warning(
            "column %r has %d classes in %d rows; if it is an id, name another with --label-column",
            *(column, len(present), n_rows),
        )
    return labels, names


def _as_numbers(labels: set[Any]) -> dict[Any, float] | None:
    """Each label as a number, or None where a label is a string that is no number."""
    if any(isinstance(label, str) and not NUMBER.fullmatch(label) for label in labels):
        return None
    return {label: float(label) for label in labels}


def _names_beside(source: datasets.DatasetDict, column: str, labels: list[Any]) -> list[str] | None:
    """The names that a column `<column>_text` gives to `labels` (SetFit's layout), if it gives each one of its own."""
    beside = f"{column}_text"
    if not _is_string(next(iter(source.values())).features.get(beside)):
        return None
    pairs: set[tuple[Any, str]] = set()
    wanted = set(labels)
    for rows in source.values():
        table = rows.select_columns([column, beside]).with_format("arrow")[:]
        distinct = table.group_by([column, beside]).aggregate([])
        pairs.update(zip(distinct[column].to_pylist(), distinct[beside].to_pylist(), strict=True))
    pairs = {(label, name) for label, name in pairs if label in wanted}
    names = dict(pairs)
    if not (len(pairs) == len(names) == len(set(names.values())) and all(names.values())):
        logger.warning("column %r does not give each label in %r one name: classes are named by number", beside, column)
        return None
    return [names[label] for label in labels]


def load_texts(config: DataConfig) -> tuple[datasets.Dataset, list[str | None]]:
    """The texts of every split that `config.dataset` names, and the label that each has already, by name, or None.

    Labels are read from `config.label_column`, which the source need not have; null, -1 and "" are none. Demo's labels
    are left out: it is there to try the labelling.

    Returns:
        A Dataset of the one column text: Value("string"), and a list as long.

    Raises:
        DataError, ColumnError: as `load_source`, but for labels, which nobody needs here.
    """
    rows = datasets.concatenate_datasets(list(read_splits(config).values()))
    column = config.label_column if config.label_column in rows.features and config.dataset != "demo" else None
    if column is None and config.label_column not in (DataConfig.label_column, *rows.features):
        raise ColumnError(f"no column {config.label_column!r} in {rows.column_names}; name it with --label-column")
    text_column = _text_column(rows.features, config)

    features = datasets.Features(text=datasets.Value("string"))
    with utf8_expected(config):
        texts = rows.with_format("arrow").map(
            _text_table,
            batched=True,
            fn_kwargs={"text_column": text_column},
            remove_columns=rows.column_names,
            features=features,
        )
    return texts.with_format(None), [None] * len(rows) if column is None else _label_names(rows, column)


def _text_table(table: pa.Table, text_column: str) -> pa.Table:
    return pa.table(_texts(table, text_column))


def _label_names(rows: datasets.Dataset, column: str) -> list[str | None]:
    """The name of each row's label, None where it has none."""
    feature, beside = rows.features[column], f"{column}_text"
    if not (is_class_label(feature) or _is_string(feature) or _is_number(feature)):
        raise ColumnError(f"column {column!r} holds {feature}, not classes; name another with --label-column")
    labels = rows.with_format(None)[column]
    names = rows[beside] if _is_string(rows.features.get(beside)) else labels
    if is_class_label(feature):
        names = [None if label in (None, -1) else feature.int2str(label) for label in labels]
    return [None if label in (None, -1, "", "-1") else str(name) for label, name in zip(labels, names, strict=True)]
