"""CSV files read as they are written, block by block."""

import codecs
import io
import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from datasets.builder import Key
from datasets.fingerprint import Hasher
from datasets.packaged_modules.csv.csv import Csv

from dami_text.data.delimited import escaped_quotes, not_encoded, rewritten
from dami_text.errors import DataError
from dami_text.escaping import short_message

logger = logging.getLogger(__name__)

BLOCK = 16 << 20  # bytes of a CSV file that are parsed at a time, and so the longest row


class StrictCsv(Csv):
    """The CSV reader of datasets, except that cells are strings as written and all rows as wide as the header.

    The original turns NA, None and the empty cell into null and 007 into 7, pads short rows, and takes the first
    column of long ones for an index.
    """

    OPTIONS = ("sep", "quotechar", "encoding", "column_names")

    @classmethod
    def instead_of(cls, builder: Csv) -> "StrictCsv":
        """A builder of the same files, cached apart from them. An empty quotechar makes quotes part of the texts."""
        options = {option: getattr(builder.config, option) for option in cls.OPTIONS}
        plain = cls.BUILDER_CONFIG_CLASS(**options)
        own = {"name", "version", "data_dir", "data_files", "description", "delimiter"}
        other = [o for o, value in vars(builder.config).items() if o not in own and value != getattr(plain, o)]
        if other:
            raise DataError(
                f"the options {other} of {builder.dataset_name}'s CSV files are not supported; convert them"
            )
        declared = builder.info.features or {}
        features = {name: f if is_class_label(f) else datasets.Value("string") for name, f in declared.items()}
        return cls(
            dataset_name=builder.dataset_name,
            config_name=builder.config.name,
            config_id=builder.config_id,
            hash=Hasher.hash((builder.hash, cls.__name__)),
            cache_dir=builder._cache_dir_root,
            base_path=builder.base_path,
            repo_id=builder.repo_id,
            data_files=builder.config.data_files,
            features=datasets.Features(features) if any(map(is_class_label, declared.values())) else None,
            **options,
        )

    def _generate_tables(self, base_files: Sequence[str], files_iterables: Any) -> Iterator[tuple[Key, pa.Table]]:
        for shard, (name, files) in enumerate(zip(base_files, files_iterables, strict=True)):
            for file in files:
                try:
                    with open(file, "rb") as stream:  # noqa: PTH123 - datasets lets open read gzip and the Hub's files
                        if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) and not self.config.encoding:
                            raise DataError(f"{name} is not UTF-8 but UTF-16; name it with --encoding utf-16")
                        for number, batch in enumerate(self._batches(name, self._closed(stream))):
                            yield Key(shard, number), pa.Table.from_batches([batch])
                except (UnicodeError, pa.ArrowInvalid) as error:
                    if isinstance(error, UnicodeError) or "invalid UTF8" in str(error):
                        raise not_encoded(name, self.config.encoding, error) from error
                    found = f"{name} is no well-formed CSV file for the separator {self.config.sep!r}"
                    raise DataError(
                        f"{found} ({short_message(error)}); name another with --delimiter, or mend the row or its "
                        "quotes"
                    ) from error

    def _closed(self, stream: Any) -> Any:
        """The stream, in a table separated by tabs with quotes that count only where they close."""
        stream.seek(0)
        if self.config.sep != "\t" or not self.config.quotechar or all(b'"' not in b for b in _blocks(stream)):
            return stream
        stream.seek(0)
        return rewritten(stream, self.config.encoding, self.config.sep, self.config.quotechar)

    def _batches(self, name: str, stream: Any) -> Iterator[pa.RecordBatch]:
        """The rows of a file, by the columns that have a name."""
        given = list(self.config.column_names or [])
        names = given or [found.strip() for found in self._reader(stream, [], ()).schema.names]
        named = [found for found in names if found]
        if len(set(named)) < len(named):
            raise DataError(f"{name} has columns of the same name: {named}; rename them")
        keys = [found or f"unnamed {i}" for i, found in enumerate(names)]
        kept = [key for key, found in zip(keys, names, strict=True) if found]
        line = 1 if given else 2
        n_rows = swallowed = 0
        first = ""
        for batch in self._reader(stream, keys, kept, skip=0 if given else 1):
            n_rows += batch.num_rows
            yield batch
            found, place = self._swallowed(batch)
            first = first or (f"line {line + place}" if found else "")
            swallowed += found
            line += batch.num_rows + _line_breaks(batch)
        if n_rows == 0:
            raise DataError(f"{name} has a header, {named}, but no rows; wanted texts and labels")
        if swallowed:
            logger.warning(
                "%s: %d cells hold whole lines of the table, as after a quote that stays open (the first from %s on); "
                "mend the quote, or read quotes as text with --quote none",
                *(name, swallowed, first),
            )
        stream.seek(0)
        if self.config.quotechar and (escaped := escaped_quotes(stream)):
            told = '%s: \\" is there %d times, where csv has "" in a quoted cell: the backslash stays in the text'
            logger.warning(told, name, escaped)

    def _swallowed(self, batch: pa.RecordBatch) -> tuple[int, int]:
        """How many cells hold a line with as many separators as a row, and the first one's line in the batch."""
        pattern = "\n([^\n]*" + re.escape(self.config.sep) + f"){{{max(1, batch.num_columns - 1)}}}"
        count, first = 0, 0
        for cells in batch.columns:
            hits = pc.match_substring_regex(cells, pattern)
            here = pc.sum(hits).as_py() or 0
            if here and not count:
                row = pc.index(hits, True).as_py()
                first = row + _line_breaks(batch.slice(0, row))
            count += here
        return count, first

    def _reader(
        self, stream: Any, columns: Sequence[str], kept: Sequence[str], skip: int = 0
    ) -> pyarrow.csv.CSVStreamingReader:
        config = self.config
        stream.seek(0)
        encoding = "utf8" if isinstance(stream, io.BytesIO) else config.encoding or "utf8"
        return pyarrow.csv.open_csv(
            stream,
            pyarrow.csv.ReadOptions(
                use_threads=False, block_size=BLOCK, encoding=encoding, column_names=columns or None, skip_rows=skip
            ),
            pyarrow.csv.ParseOptions(
                delimiter=config.sep, quote_char=config.quotechar or False, newlines_in_values=bool(config.quotechar)
            ),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(kept, pa.string()), strings_can_be_null=False, include_columns=kept or None
            ),
        )


def _line_breaks(batch: pa.RecordBatch) -> int:
    """How many line breaks the cells of a batch hold."""
    return sum(pc.sum(pc.count_substring(cells, "\n")).as_py() or 0 for cells in batch.columns)


def _blocks(stream: Any) -> Iterator[bytes]:
    while block := stream.read(1 << 20):
        yield block


def is_class_label(feature: Any) -> bool:
    """Whether a column's type names classes."""
    return isinstance(feature, datasets.ClassLabel)
