"""Where labelled texts come from: the embedded demo, the paper's data sets, a file, a folder, or the Hub.

Whatever the source holds, two columns come out: `text`, strings without nulls, and `label`, a ClassLabel. Texts
and labels stay in memory-mapped Arrow files all the way; only a column's distinct labels are Python objects.
"""

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc

from dami_text.config.data_options import DataConfig
from dami_text.data.classes import (
    are_numbers,
    class_name,
    in_class_order,
    renaming,
    require_renamed,
    warn_of_combinations,
    warn_of_names,
)
from dami_text.data.columns import OWN, find_column
from dami_text.data.label_sets import LabelSets, is_list
from dami_text.data.readers import read_splits, utf8_expected
from dami_text.data.strict_csv import is_class_label
from dami_text.errors import ColumnError, DataError

logger = logging.getLogger(__name__)


def load_source(config: DataConfig) -> datasets.DatasetDict:
    """The data set that `config.dataset` names, as labelled texts.

    It names, in this order: `demo`; an alias, `subj` or `mr`; a local file of the kinds in
    `readers.READERS`, or .xlsx; a local folder in the Hub's layout, or of text files (see `folders.read_folder`); a
    data set on the Hub. So a local path that exists wins over a Hub id of the same name.

    Labels: a ClassLabel keeps its names. Strings become classes in sorted order, or in the order of the numbers
    where all of them are numbers. Whole numbers become classes named by the number, or by the column `<label>_text`
    where it has one name for each, or by `config.label_names`; so 1.0 is the class 1. Booleans are named False and
    True. With `--task multilabel` a row has any number of labels (see `label_sets`). Rows labelled null, NaN, -1 or ""
    are unlabelled: left out, with one warning that counts them. Null texts become "", with another. Cells of CSV files
    are read as they are written: None, NA and 007 are texts.

    Returns:
        Every split of the source, or only `config.dataset_split`, all with the columns text: Value("string") and
        label: ClassLabel, or lists of it.

    Raises:
        DataError: the source is not found, cannot be reached or read, or has fewer than two classes.
        ColumnError: a column is missing or of the wrong type.
    """
    with utf8_expected(config):
        return _labeled_texts(read_splits(config), config)


def _labeled_texts(source: datasets.DatasetDict, config: DataConfig) -> datasets.DatasetDict:
    """`source` with the columns text and label only, of the labelled rows."""
    columns = next(iter(source.values())).features
    option = "--label-column" if config.label_columns is None else "--label-columns"
    label_columns = [label_column_of(columns, name, option) for name in config.columns_of_labels]
    text_columns = _text_columns(columns, config)
    features = {"text": datasets.Value("string")}
    if config.is_multilabel:
        sets = LabelSets.of(source, label_columns, config)
        labeled = sets.labeled_rows(source, features, _texts, text_columns=text_columns)
    else:
        labeled = labeled_rows(source, label_columns[0], features, _texts, config, text_columns=text_columns)
    total = sum(map(len, source.values()))
    if null_texts := sum(_n_nulls(rows, text_columns) for rows in source.values()):
        logger.warning("%d of %d texts are null: taken as empty", null_texts, total)
    if config.dataset != "demo":
        _tell_columns(text_columns, label_columns, sum(map(len, labeled.values())), total)
    return labeled


def _tell_columns(text_columns: Sequence[str], label_columns: Sequence[str | None], n_labeled: int, total: int) -> None:
    """Say which columns were taken and how many texts are labelled."""
    texts, labels = (
        f"{what} from column{'s' * (len(columns) > 1)} {', '.join(map(repr, columns))}"
        if all(columns)
        else f"no {what}"
        for what, columns in (("texts", text_columns), ("labels", label_columns))
    )
    logger.info("%s; %s: %d of %d texts are labelled", texts, labels, n_labeled, total)


def _n_nulls(rows: datasets.Dataset, text_columns: Sequence[str]) -> int:
    """How many rows have no text in any of these columns."""
    table = rows.select_columns(list(text_columns)).with_format("arrow")[:]
    nulls = [pc.is_null(table[name]) for name in text_columns]
    return int(pc.sum(functools.reduce(pc.and_, nulls)).as_py() or 0)


def _texts(table: pa.Table, text_columns: Sequence[str]) -> dict[str, Any]:
    """The texts; of several columns joined by line breaks, but for those that are null or empty."""
    if len(text_columns) > 1:  # pyarrow's own join loses a last row of nulls
        rows = zip(*(table[name].to_pylist() for name in text_columns), strict=True)
        return {"text": pa.array(["\n".join(filter(None, row)) for row in rows], pa.string())}
    texts = pc.fill_null(table[text_columns[0]], "")
    texts.validate(full=True)  # JSON and Parquet files are read without a look at their encoding
    return {"text": texts.cast(pa.string())}


def labeled_rows(
    source: datasets.DatasetDict,
    label_column: str,
    features: dict[str, Any],
    columns: Callable[..., dict[str, Any]],
    config: DataConfig,
    **options: Any,
) -> datasets.DatasetDict:
    """The labelled rows of `source`, with the columns that `columns(table, **options)` makes and the class ids.

    Unlabelled rows are left out, with a warning that counts them, and so are the splits that this leaves empty.
    `features` says what the new columns hold.
    """
    labels, names = _classes(source, label_column, config)
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
        values = {value for rows in source.values() for value in rows.unique(label_column)}
        minus = -1 not in labels and any(class_name(value, {"-1"}) == "-1" for value in values)
        logger.warning("%d of %d rows have no label (null, -1 or empty): left out", unlabeled, total)
        if minus:
            logger.info("if -1 is a class, name it with --label-names, such as -1=negative")
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


def label_column_of(columns: datasets.Features, name: str, option: str = "--label-column") -> str:
    """The column of that name, or ColumnError where there is none."""
    found = find_column(columns, name)
    if found is None:
        raise ColumnError(f"no column {name!r} in {list(columns)}; name it with {option}")
    return found


def _text_columns(columns: datasets.Features, config: DataConfig) -> list[str]:
    """What `config.text_column` names, or the only column of strings where that is left at its default and absent."""
    name = config.text_column
    names = config.text_columns if find_column(columns, name) is None else [name]
    if both := set(config.columns_of_labels).intersection(names):
        raise ColumnError(
            f"column {both.pop()!r} cannot be text and label both; name them with --text-column, --label-column"
        )
    found = [find_column(columns, name) for name in names]
    for column in found:
        if column is not None and not _is_string(columns[column]):
            wanted = "strings; name another with --text-column"
            raise ColumnError(f"column {column!r} holds {columns[column]}, not {wanted}")
    if None not in found and len(set(found)) == len(found):
        return [column for column in found if column is not None]
    name = next((name for name, column in zip(names, found, strict=True) if column is None), name)
    label_column = find_column(columns, config.label_column)
    beside = {label_column, f"{label_column}_text"}
    strings = [column for column in columns if _is_string(columns[column]) and column not in beside]
    if name == DataConfig.text_column and len(strings) == 1:
        logger.info("the texts are in column %r, the only one of strings", strings[0])
        return [str(strings[0])]
    if not any(map(_is_string, columns.values())):
        held = ", ".join(f"{column!r} holds {kind}" for column, kind in list(columns.items())[:3])
        raise ColumnError(
            f"no column of texts in {list(columns)}: {held}; wanted a text and a label in each row: save it as .jsonl, "
            "an object with the keys text and label a line"
        )
    raise ColumnError(f"no column {name!r} in {list(columns)}; name it with --text-column")


def _is_string(feature: Any) -> bool:
    return isinstance(feature, datasets.Value) and feature.dtype in ("string", "large_string")


def _is_number(feature: Any) -> bool:
    return isinstance(feature, datasets.Value) and feature.dtype.startswith(("int", "uint", "float", "bool", "null"))


def _classes(source: datasets.DatasetDict, column: str, config: DataConfig) -> tuple[list[Any], list[str]]:
    """The labels in `column` that stand for classes, in the order of the class ids, and the names of these classes."""
    feature = next(iter(source.values())).features[column]
    if is_list(feature):
        raise ColumnError(
            f"column {column!r} holds lists of labels, and a text has one class here; name another with --label-column "
            "(dami-text run and grid take lists with --task multilabel)"
        )
    if not (is_class_label(feature) or _is_string(feature) or _is_number(feature)):
        raise ColumnError(f"column {column!r} holds {feature}, not classes; name another with --label-column")
    values = {label for rows in source.values() for label in rows.unique(column)}
    new_names = renaming(config.label_names)
    keep = new_names.keys() | ({"-1"} if _is_named(source, column) else set())
    by_value = {value: name for value in values if (name := class_name(value, keep)) is not None}
    found = set(by_value)
    if is_class_label(feature):
        found = values - {None, -1}
        labels, names = list(range(feature.num_classes)), feature.names
        if unknown := found.difference(labels):
            raise DataError(f"column {column!r} holds the class ids {sorted(unknown)}, but has {len(names)} classes")
    else:
        ordered = in_class_order(by_value.values())
        numeric = are_numbers(ordered)
        if numeric and (fractions := [name for name in ordered if not float(name).is_integer()]):
            raise ColumnError(
                f"column {column!r} holds numbers such as {fractions[0]}, and a regression target is no class; "
                "name another with --label-column"
            )
        places = {name: place for place, name in enumerate(ordered)}
        labels = sorted(found, key=lambda value: places[by_value[value]])
        require_renamed(ordered, new_names)
        beside = (
            _names_beside(source, column, labels)
            if not new_names and (numeric or {*map(type, found)} == {bool})
            else None
        )
        names = beside or [new_names.get(by_value[label], by_value[label]) for label in labels]
        warn_of_names(names, column)
        warn_of_combinations(names, column)
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


def _is_named(source: datasets.DatasetDict, column: str) -> bool:
    """Whether a column beside the labels has their names (SetFit's layout)."""
    return _is_string(next(iter(source.values())).features.get(f"{column}_text"))


def _names_beside(source: datasets.DatasetDict, column: str, labels: list[Any]) -> list[str] | None:
    """The names that a column `<column>_text` gives to `labels` (SetFit's layout), if it gives each one of its own."""
    beside = f"{column}_text"
    if not _is_named(source, column):
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


#: The label that each of several rows has, by name; None where it has none.
Given = Sequence[str | list[str] | None]


def load_texts(
    config: DataConfig, classes: Sequence[str] = (), *, ignore_labels: bool = False
) -> tuple[datasets.Dataset, Given]:
    """The texts of every split that `config.dataset` names, and the label that each has already, by name, or None.

    Labels are read from `config.label_column`, which the source need not have; null, NaN, "" and -1 are none, but -1 is
    one where it is among `classes`. With `--task multilabel` they are lists, as `label_sets` reads them. With
    `ignore_labels` they are left out, and so are demo's always: it is there to try the labelling.

    Returns:
        A Dataset of the column text: Value("string"), and OWN + NAME for each column NAME of the source but the one of
        the texts; and a list as long.

    Raises:
        DataError, ColumnError: as `load_source`, but for labels, which nobody needs here.
    """
    rows = datasets.concatenate_datasets(list(read_splits(config).values()))
    columns = [] if config.dataset == "demo" else _columns_of_labels(rows, config)
    columns = [] if ignore_labels else columns
    text_columns = _text_columns(rows.features, config)
    texts = _with_own(rows, text_columns, [name for name in rows.column_names if text_columns != [name]], config)
    given: Given = [None] * len(rows)
    if columns and config.is_multilabel:
        given = LabelSets.of(datasets.DatasetDict({"all": rows}), columns, config, wanted=False).of_rows(rows)
    elif columns:
        given = _label_names(rows, columns[0], config, classes)
    if config.dataset != "demo":
        _tell_columns(text_columns, columns or [None], sum(label is not None for label in given), len(given))
    return texts, given


def _columns_of_labels(rows: datasets.Dataset, config: DataConfig) -> list[str]:
    """The columns that hold labels; none where the source has no column of the default name.

    Raises:
        ColumnError: it has none of a name that was given.
    """
    if config.label_columns is not None:
        return [label_column_of(rows.features, name, "--label-columns") for name in config.label_columns]
    column = find_column(rows.features, config.label_column)
    if column is None and config.label_column not in (DataConfig.label_column, *rows.features):
        raise ColumnError(f"no column {config.label_column!r} in {rows.column_names}; name it with --label-column")
    return [] if column is None else [column]


def read_texts(config: DataConfig) -> datasets.Dataset:
    """The texts of every split that `config.dataset` names, whatever labels they have.

    Returns:
        A Dataset of the column text: Value("string"), and OWN + NAME for each column NAME of the source.

    Raises:
        DataError, ColumnError: as `load_texts`.
    """
    rows = datasets.concatenate_datasets(list(read_splits(config).values()))
    return _with_own(rows, _text_columns(rows.features, config), rows.column_names, config)


def _with_own(
    rows: datasets.Dataset, text_columns: Sequence[str], own: Sequence[str], config: DataConfig
) -> datasets.Dataset:
    """The column text, and the columns `own` of the source by their names after OWN."""
    features = datasets.Features(text=datasets.Value("string"), **{OWN + name: rows.features[name] for name in own})
    with utf8_expected(config):
        texts = rows.with_format("arrow").map(
            _text_table,
            batched=True,
            fn_kwargs={"text_columns": text_columns, "own": own},
            remove_columns=rows.column_names,
            features=features,
        )
    return texts.with_format(None)


def _text_table(table: pa.Table, text_columns: Sequence[str], own: Sequence[str]) -> pa.Table:
    return pa.table(_texts(table, text_columns) | {OWN + name: table[name] for name in own})


def _label_names(rows: datasets.Dataset, column: str, config: DataConfig, classes: Sequence[str]) -> list[str | None]:
    """The name of each row's label, None where it has none."""
    feature, beside = rows.features[column], f"{column}_text"
    if is_list(feature):
        raise ColumnError(
            f"column {column!r} holds lists of labels, and a text has one class here; name another column with "
            "--label-column, or leave the file's labels out with --ignore-labels"
        )
    if not (is_class_label(feature) or _is_string(feature) or _is_number(feature)):
        raise ColumnError(f"column {column!r} holds {feature}, not classes; name another with --label-column")
    labels = rows.with_format(None)[column][:]
    if is_class_label(feature):
        return [None if label in (None, -1) else str(feature.int2str(label)) for label in labels]
    new_names = renaming(config.label_names)
    is_named = _is_string(rows.features.get(beside)) and not new_names
    keep = {*new_names, *classes, *(["-1"] if is_named else [])}
    names = [class_name(label, keep) for label in labels]
    found = {name for name in names if name is not None}
    if minus := 0 if "-1" in keep else sum(class_name(label, {"-1"}) == "-1" for label in labels):
        told = "%d of %d rows are labelled -1, which is no label; if it is one, name it among --labels"
        logger.warning(told, minus, len(names))
    require_renamed(found, new_names)
    if is_named and (are_numbers(found) or found <= {"False", "True"}):
        return [None if name is None else str(given) for name, given in zip(names, rows[beside][:], strict=True)]
    named = [None if name is None else new_names.get(name, name) for name in names]
    ordered = in_class_order(name for name in named if name is not None)
    warn_of_names(ordered, column)
    warn_of_combinations(ordered, column)
    return named
