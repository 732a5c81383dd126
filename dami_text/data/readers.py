"""A file, a folder or a data set on the Hub, read with all its splits and columns as they are stored."""

import glob
import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
from datasets.packaged_modules.cache.cache import Cache
from datasets.packaged_modules.csv.csv import Csv
from huggingface_hub.errors import (
    OfflineModeIsEnabled,
)

from dami_text.config.data_options import DataConfig
from dami_text.config.fields import flag
from dami_text.data.delimited import layout_of, not_encoded, opened, separator
from dami_text.data.demo import demo_dataset
from dami_text.data.folders import read_folder, read_sheet
from dami_text.data.hub import Sought, Unreachable, commit_of, quiet_hub
from dami_text.data.strict_csv import StrictCsv
from dami_text.errors import DataError
from dami_text.escaping import short_message

logger = logging.getLogger(__name__)

ALIASES = {"subj": "SetFit/subj", "mr": "cornell-movie-review-data/rotten_tomatoes"}

READERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".csv": ("csv", {}),
    ".tsv": ("csv", {}),
    ".jsonl": ("json", {}),
    ".ndjson": ("json", {}),
    ".json": ("json", {}),
    ".parquet": ("parquet", {}),
    ".txt": ("text", {}),
}

LOCAL = "give the path of a local copy"


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


def is_local(dataset: str) -> bool:
    """Whether the data set is a file or folder of one's own, named by its path."""
    return dataset not in ("demo", *ALIASES) and Path(dataset).expanduser().exists()


@contextmanager
def utf8_expected(config: DataConfig) -> Iterator[None]:
    """Turn what Arrow raises inside the block at strings of another encoding into DataError."""
    try:
        yield
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise DataError(
            f"{config.dataset!r} holds text that is not UTF-8 ({short_message(error)}); convert it"
        ) from error


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
                return _file(path, config)
            if path.is_dir():
                return read_folder(path, config) or _prepared(
                    _builder(str(path.absolute()), config, _folder_cache(path))
                )
            return _prepared(_hub_builder(name, config))
    except DataError:
        raise
    except Exception as error:  # datasets lets through whatever its readers, parsers and transports raise
        cause: BaseException = error
        while isinstance(cause, DatasetGenerationError) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, DataError):
            raise DataError(str(cause)) from error
        if isinstance(cause, UnicodeError) and name.lower().removesuffix(".gz").endswith(".txt"):
            raise not_encoded(name, config.encoding, cause) from error
        raise DataError(f"{name!r} cannot be read as a data set: {short_message(cause)}") from error


def _file(path: Path, config: DataConfig) -> datasets.DatasetDict:
    """The rows of a local file, cached by its size and contents."""
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    _require_file(path, suffix, config)
    if suffix == ".xlsx":
        return read_sheet(path, config)
    reader, options = READERS[suffix]
    if suffix == ".txt" and config.columns and len(config.columns) > 1:
        return _split_lines(path, config)
    if reader == "csv":
        layout = layout_of(path, config)
        options = {"sep": layout.sep, "quotechar": layout.quotechar, "encoding": layout.encoding}
        options["column_names"] = list(layout.column_names) or None
    elif suffix == ".txt":
        options = {"encoding": config.encoding or "utf-8-sig"}
    name = f"default-{_digest(path)}"
    return _prepared(
        datasets.load_dataset_builder(reader, name, data_files=glob.escape(str(path.absolute())), **options)
    )


def _require_file(path: Path, suffix: str, config: DataConfig) -> None:
    """Raise DataError for a file that cannot be read as texts, with what to do about it."""
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty; wanted a file of texts and labels")
    with path.open("rb") as stream:
        start = stream.read(40)
    if start.startswith(b"version https://git-lfs"):
        raise DataError(f"{path} is a pointer of Git LFS, not the file itself; fetch it with git lfs pull")
    if suffix == ".zip" or (start.startswith(b"PK\x03\x04") and suffix != ".xlsx"):
        raise DataError(f"{path} is a zip archive; unpack it and name the file in it")
    if suffix not in (*READERS, ".xlsx"):
        known = ", ".join((*READERS, ".xlsx"))
        raise DataError(f"{path} is of no known format; wanted one of {known} (all but .xlsx also .gz)")
    if config.dataset_config is not None:
        raise DataError(f"{path} is a file and has no configurations; leave out --dataset-config")
    for name in ("delimiter", "quote", "columns"):
        if getattr(config, name) is not None and suffix not in (".csv", ".tsv", ".txt", ".xlsx"):
            raise DataError(f"{path} is no table in text; leave out {flag(name)}")


def _split_lines(path: Path, config: DataConfig) -> datasets.DatasetDict:
    """The lines of a text file, each split at the first separators into as many cells as there are columns."""
    columns = list(config.columns or [])
    with opened(path) as stream:
        try:
            lines = stream.read().decode(config.encoding or "utf-8-sig").replace("\r\n", "\n").split("\n")
        except UnicodeError as error:
            raise not_encoded(path, config.encoding, error) from error
    cells = [line.split(separator(config) or "\t", len(columns) - 1) for line in lines if line]
    for number, row in enumerate(cells, 1):
        if len(row) != len(columns):
            raise DataError(
                f"{path}: text {number} has {len(row)} cells, not the {len(columns)} of --columns; name what separates "
                "them with --delimiter"
            )
    return datasets.DatasetDict(
        train=datasets.Dataset.from_list([dict(zip(columns, row, strict=True)) for row in cells])
    )


def _digest(path: Path) -> str:
    """The size of a file and a hash of its contents."""
    with path.open("rb") as stream:
        return f"{path.stat().st_size}-{hashlib.file_digest(stream, 'sha256').hexdigest()[:16]}"


def _prepared(builder: datasets.DatasetBuilder) -> datasets.DatasetDict:
    """What a builder makes, from its cache where it was made before."""
    if isinstance(builder, Csv):
        builder = StrictCsv.instead_of(builder)
    builder.download_and_prepare()
    return builder.as_dataset()


def _folder_cache(folder: Path) -> str:
    """Where the tables of a folder are cached: by their names, sizes and contents, which their times do not tell."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    told = "".join(f"{file.relative_to(folder).as_posix()} {_digest(file)}\n" for file in files)
    return str(Path(datasets.config.HF_DATASETS_CACHE) / f"dami_text-{hashlib.sha256(told.encode()).hexdigest()[:16]}")


def _builder(name: str, config: DataConfig, cache: str | None = None) -> datasets.DatasetBuilder:
    """The builder of a folder or a Hub data set in the configuration that the options name."""
    try:
        return datasets.load_dataset_builder(name, config.dataset_config, revision=config.revision, cache_dir=cache)
    except ValueError as error:
        names = datasets.get_dataset_config_names(name, revision=config.revision)
        if config.dataset_config in names or (config.dataset_config is None and len(names) == 1):
            raise
        wanted = "configuration chosen" if config.dataset_config is None else f"configuration {config.dataset_config!r}"
        raise DataError(f"no {wanted} of {names} in {name!r}; choose one with --dataset-config") from error


def _hub_builder(name: str, config: DataConfig) -> datasets.DatasetBuilder:
    sought = Sought(
        kind="dataset",
        name=name,
        revision=config.revision,
        shown=repr(name),
        missing="no file or folder here",
        spelling_of_revision="the spelling of --revision",
        instead=LOCAL,
        error=DataError,
        refused=DataError,
    )
    try:
        commit_of(sought)
    except Unreachable as error:
        return _cached_builder(name, config, error.__cause__ or error)
    try:
        return _builder(name, config)
    except DatasetNotFoundError as error:
        raise sought.gated() from error


def _cached_builder(name: str, config: DataConfig, reason: BaseException) -> datasets.DatasetBuilder:
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
        found, cached = f"{name!r} is no file or folder here, and the Hub", short_message(error)
        if isinstance(reason, OfflineModeIsEnabled):
            raise DataError(f"{found} is switched off by HF_HUB_OFFLINE ({cached}); unset it, or {LOCAL}") from reason
        raise DataError(
            f"{found} cannot be reached: {short_message(reason)} ({cached}); connect, or {LOCAL}"
        ) from reason
    logger.warning("the Hub cannot be reached: using the copy of %s that is in the cache", name)
    return builder
