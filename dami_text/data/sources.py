"""Where labelled texts come from: the embedded demo, the paper's data sets, a file, a folder, or the Hub.

Whatever the source holds, two columns come out: `text`, strings without nulls, and `label`, a ClassLabel. Texts
and labels stay in memory-mapped Arrow files all the way; only a column's distinct labels are Python objects.
"""

import codecs
import glob
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from datasets.builder import Key
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
from datasets.fingerprint import Hasher
from datasets.packaged_modules.cache.cache import Cache
from datasets.packaged_modules.csv.csv import Csv
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from dami_text.config import DataConfig, flag
from dami_text.data.demo import demo_dataset
from dami_text.data.hub import HUB_TIMEOUT, one_line, quiet_hub
from dami_text.errors import ColumnError, DataError

logger = logging.getLogger(__name__)

ALIASES = {"subj": "SetFit/subj", "mr": "cornell-movie-review-data/rotten_tomatoes"}

READERS: dict[str, tuple[str, dict[str, str]]] = {
    ".csv": ("csv", {}),
    ".tsv": ("csv", {"sep": "\t"}),
    ".jsonl": ("json", {}),
    ".json": ("json", {}),
    ".parquet": ("parquet", {}),
}

BLOCK = 16 << 20  # bytes of a CSV file that are parsed at a time, and so the longest row
LOCAL = "give a local copy with --dataset PATH"

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


def read_splits(config: DataConfig) -> datasets.DatasetDict:
    """Every split of the source, or only `config.dataset_split`, with all columns as stored; see `load_source`."""
    source = _demo(config) if config.dataset == "demo" else _read(config)
    if config.dataset_split is not None:
        if config.dataset_split not in source:
            raise DataError(
                f"no split {config.dataset_split!r} in {list(source)} of {config.dataset!r}; "
                "choose one with --dataset-split"
            )
        source = datasets.DatasetDict({config.dataset_split: source[config.dataset_split]})
    return source


@contextmanager
def utf8_expected(config: DataConfig) -> Iterator[None]:
    """Turn what Arrow raises inside the block at strings of another encoding into DataError."""
    try:
        yield
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise DataError(f"{config.dataset!r} holds text that is not UTF-8 ({one_line(error)}); convert it") from error


# ---------------------------------------------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------------------------------------------


def _demo(config: DataConfig) -> datasets.DatasetDict:
    for name, what in (("dataset_config", "configurations"), ("revision", "revisions")):
        if getattr(config, name) is not None:
            raise DataError(f"demo has no {what}; leave out {flag(name)}")
    return datasets.DatasetDict(train=demo_dataset())


def _read(config: DataConfig) -> datasets.DatasetDict:
    """All splits and columns of a file, a folder or a Hub data set, as stored."""
    name = ALIASES.get(config.dataset, config.dataset)
    try:
        path = Path(name).expanduser()
        if path.exists() and config.revision is not None:
            raise DataError(f"{name!r} is a local path and has no revisions; leave out --revision")
        with quiet_hub():
            if path.is_file():
                builder = _file_builder(path, config)
            elif path.is_dir():
                builder = _builder(str(path.absolute()), config)
            else:
                builder = _hub_builder(name, config)
            if isinstance(builder, Csv):
                builder = _StrictCsv.instead_of(builder)
            builder.download_and_prepare()
            return builder.as_dataset()
    except DataError:
        raise
    except Exception as error:  # datasets lets through whatever its readers, parsers and transports raise
        cause: BaseException = error
        while isinstance(cause, DatasetGenerationError) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, DataError):
            raise DataError(str(cause)) from error
        raise DataError(f"{name!r} cannot be read as a data set: {one_line(cause)}") from error


def _file_builder(path: Path, config: DataConfig) -> datasets.DatasetBuilder:
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix not in READERS:
        raise DataError(f"{path} is of no known format; wanted one of {', '.join(READERS)} (or .gz of these)")
    if config.dataset_config is not None:
        raise DataError(f"{path} is a file and has no configurations; leave out --dataset-config")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty; wanted a file of texts and labels")
    reader, options = READERS[suffix]
    return datasets.load_dataset_builder(reader, data_files=glob.escape(str(path.absolute())), **options)


def _builder(name: str, config: DataConfig) -> datasets.DatasetBuilder:
    """The builder of a folder or a Hub data set in the configuration that the options name."""
    try:
        return datasets.load_dataset_builder(name, config.dataset_config, revision=config.revision)
    except ValueError as error:
        names = datasets.get_dataset_config_names(name, revision=config.revision)
        if config.dataset_config in names or (config.dataset_config is None and len(names) == 1):
            raise
        wanted = "configuration chosen" if config.dataset_config is None else f"configuration {config.dataset_config!r}"
        raise DataError(f"no {wanted} of {names} in {name!r}; choose one with --dataset-config") from error


def _hub_builder(name: str, config: DataConfig) -> datasets.DatasetBuilder:
    found = f"{name!r} is no file or folder here, and"
    try:
        # One request without retries: load_dataset_builder alone needs 23 seconds to find the Hub out of reach.
        huggingface_hub.HfApi().dataset_info(name, revision=config.revision, timeout=HUB_TIMEOUT)
    except HFValidationError as error:
        raise DataError(f"{found} no Hub id; check the spelling of --dataset") from error
    except GatedRepoError as error:
        raise _gated(name) from error
    except RevisionNotFoundError as error:
        raise DataError(
            f"{name!r} has no revision {config.revision!r} on the Hub; check the spelling of --revision"
        ) from error
    except RepositoryNotFoundError as error:
        raise DataError(
            f"{found} the Hub has no such data set, or a private one; check the spelling, log in with "
            f"`hf auth login`, or {LOCAL}"
        ) from error
    except Exception as error:  # of the Hub's transport, whichever library that is
        return _cached_builder(name, config, error)
    try:
        return _builder(name, config)
    except DatasetNotFoundError as error:
        raise _gated(name) from error


def _gated(name: str) -> DataError:
    return DataError(
        f"{name!r} is gated on the Hub; ask for access on its page and log in with `hf auth login`, or {LOCAL}"
    )


def _cached_builder(name: str, config: DataConfig, reason: Exception) -> datasets.DatasetBuilder:
    """What an earlier run downloaded, where the Hub cannot be reached; of a revision, its commit must be given."""
    try:
        builder = Cache(
            repo_id=name,
            dataset_name=name.rpartition("/")[2],
            config_name=config.dataset_config,
            version="auto" if config.revision is None else "0.0.0",
            hash=config.revision or "auto",
        )
    except ValueError as error:
        found, cached = f"{name!r} is no file or folder here, and the Hub", one_line(error)
        if isinstance(reason, OfflineModeIsEnabled):
            raise DataError(f"{found} is switched off by HF_HUB_OFFLINE ({cached}); unset it, or {LOCAL}") from reason
        raise DataError(f"{found} cannot be reached: {one_line(reason)} ({cached}); connect, or {LOCAL}") from reason
    logger.warning("the Hub cannot be reached: using the copy of %s that is in the cache", name)
    return builder


class _StrictCsv(Csv):
    """The CSV reader of datasets, except that cells are strings as written and all rows as wide as the header.

    The original turns NA, None and the empty cell into null and 007 into 7, pads short rows, and takes the first
    column of long ones for an index.
    """

    OPTIONS = ("sep", "quotechar", "encoding")

    @classmethod
    def instead_of(cls, builder: Csv) -> "_StrictCsv":
        """A builder of the same files, cached apart from them."""
        options = {option: getattr(builder.config, option) for option in cls.OPTIONS}
        plain = cls.BUILDER_CONFIG_CLASS(**options)
        own = {"name", "version", "data_dir", "data_files", "description", "delimiter"}
        other = [o for o, value in vars(builder.config).items() if o not in own and value != getattr(plain, o)]
        if other:
            raise DataError(
                f"the options {other} of {builder.dataset_name}'s CSV files are not supported; convert them"
            )
        declared = builder.info.features or {}
        features = {name: f if _is_class_label(f) else datasets.Value("string") for name, f in declared.items()}
        return cls(
            dataset_name=builder.dataset_name,
            config_name=builder.config.name,
            config_id=builder.config_id,
            hash=Hasher.hash((builder.hash, cls.__name__)),
            base_path=builder.base_path,
            repo_id=builder.repo_id,
            data_files=builder.config.data_files,
            features=datasets.Features(features) if any(map(_is_class_label, declared.values())) else None,
            **options,
        )

    def _generate_tables(self, base_files: Sequence[str], files_iterables: Any) -> Iterator[tuple[Key, pa.Table]]:
        for shard, (name, files) in enumerate(zip(base_files, files_iterables, strict=True)):
            for file in files:
                try:
                    with open(file, "rb") as stream:  # noqa: PTH123 - datasets lets open read gzip and the Hub's files
                        if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) and not self.config.encoding:
                            raise DataError(f"{name} is not UTF-8 but UTF-16; save it as UTF-8")
                        names = self._reader(stream, []).schema.names
                        if len(set(names)) < len(names):
                            raise DataError(f"{name} has columns of the same name: {names}; rename them")
                        n_rows = 0
                        for number, batch in enumerate(self._reader(stream, names)):
                            n_rows += batch.num_rows
                            yield Key(shard, number), pa.Table.from_batches([batch])
                        if n_rows == 0:
                            raise DataError(f"{name} has a header, {names}, but no rows; wanted texts and labels")
                except (UnicodeDecodeError, pa.ArrowInvalid) as error:
                    if isinstance(error, UnicodeDecodeError) or "invalid UTF8" in str(error):
                        raise DataError(f"{name} is not UTF-8 ({one_line(error)}); save it as UTF-8") from error
                    raise DataError(
                        f"{name} is no well-formed CSV file ({one_line(error)}); mend the row or its quotes"
                    ) from error

    def _reader(self, stream: Any, string_columns: Sequence[str]) -> pyarrow.csv.CSVStreamingReader:
        config = self.config
        stream.seek(0)
        return pyarrow.csv.open_csv(
            stream,
            pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK, encoding=config.encoding or "utf8"),
            pyarrow.csv.ParseOptions(delimiter=config.sep, quote_char=config.quotechar, newlines_in_values=True),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(string_columns, pa.string()), strings_can_be_null=False
            ),
        )


def _is_class_label(feature: Any) -> bool:
    return isinstance(feature, datasets.ClassLabel)


# ---------------------------------------------------------------------------------------------------------------
# Columns and classes
# ---------------------------------------------------------------------------------------------------------------


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
    if not (_is_class_label(feature) or _is_string(feature) or _is_number(feature)):
        raise ColumnError(f"column {column!r} holds {feature}, not classes; name another with --label-column")
    found = {label for rows in source.values() for label in rows.unique(column)} - {None, -1, "", "-1"}
    found = {label for label in found if label == label}  # noqa: PLR0124 - NaN is no label
    if _is_class_label(feature):
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
    if len(present) < 2:
        classes = f"only one class, {present[0]!r}," if present else "no label"
        raise DataError(
            f"{classes} in column {column!r} of {sum(map(len, source.values()))} rows (null, -1 and empty are no "
            "labels); wanted two classes or more: label rows of each, or name another column with --label-column"
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


# ---------------------------------------------------------------------------------------------------------------
# Texts to label
# ---------------------------------------------------------------------------------------------------------------


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
            _only_texts,
            batched=True,
            fn_kwargs={"text_column": text_column},
            remove_columns=rows.column_names,
            features=features,
        )
    return texts.with_format(None), [None] * len(rows) if column is None else _label_names(rows, column)


def _only_texts(table: pa.Table, text_column: str) -> pa.Table:
    """The texts of `table`, "" for null."""
    texts = pc.fill_null(table[text_column], "")
    texts.validate(full=True)
    return pa.table({"text": texts.cast(pa.string())})


def _label_names(rows: datasets.Dataset, column: str) -> list[str | None]:
    """The name of each row's label, None where it has none."""
    feature, beside = rows.features[column], f"{column}_text"
    if not (_is_class_label(feature) or _is_string(feature) or _is_number(feature)):
        raise ColumnError(f"column {column!r} holds {feature}, not classes; name another with --label-column")
    labels = rows.with_format(None)[column]
    names = rows[beside] if _is_string(rows.features.get(beside)) else labels
    if _is_class_label(feature):
        names = [None if label in (None, -1) else feature.int2str(label) for label in labels]
    return [None if label in (None, -1, "", "-1") else str(name) for label, name in zip(labels, names, strict=True)]
