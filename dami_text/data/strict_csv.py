"""CSV files read as they are written, block by block."""

import codecs
from collections.abc import Iterator, Sequence
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.csv
from datasets.builder import Key
from datasets.fingerprint import Hasher
from datasets.packaged_modules.csv.csv import Csv

from dami_text.data.hub import one_line
from dami_text.errors import DataError

BLOCK = 16 << 20  # bytes of a CSV file that are parsed at a time, and so the longest row


class StrictCsv(Csv):
    """The CSV reader of datasets, except that cells are strings as written and all rows as wide as the header.

    The original turns NA, None and the empty cell into null and 007 into 7, pads short rows, and takes the first
    column of long ones for an index.
    """

    OPTIONS = ("sep", "quotechar", "encoding")

    @classmethod
    def instead_of(cls, builder: Csv) -> "StrictCsv":
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
        features = {name: f if is_class_label(f) else datasets.Value("string") for name, f in declared.items()}
        return cls(
            dataset_name=builder.dataset_name,
            config_name=builder.config.name,
            config_id=builder.config_id,
            hash=Hasher.hash((builder.hash, cls.__name__)),
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


def is_class_label(feature: Any) -> bool:
    """Whether a column's type names classes."""
    return isinstance(feature, datasets.ClassLabel)
