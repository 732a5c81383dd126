"""A file, a folder or a data set on the Hub, read with all its splits and columns as they are stored."""

import glob
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets
import huggingface_hub
import pyarrow as pa
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
from datasets.packaged_modules.cache.cache import Cache
from datasets.packaged_modules.csv.csv import Csv
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from dami_text.config import DataConfig
from dami_text.data.demo import demo_dataset
from dami_text.data.hub import HUB_TIMEOUT, one_line, quiet_hub
from dami_text.data.strict_csv import StrictCsv
from dami_text.errors import DataError
from dami_text.options import flag

logger = logging.getLogger(__name__)

ALIASES = {"subj": "SetFit/subj", "mr": "cornell-movie-review-data/rotten_tomatoes"}

READERS: dict[str, tuple[str, dict[str, str]]] = {
    ".csv": ("csv", {}),
    ".tsv": ("csv", {"sep": "\t"}),
    ".jsonl": ("json", {}),
    ".json": ("json", {}),
    ".parquet": ("parquet", {}),
}

LOCAL = "give a local copy with --dataset PATH"


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
                builder = StrictCsv.instead_of(builder)
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
