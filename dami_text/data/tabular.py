"""Tables: columns in, one float32 matrix of features out; a row is a text of one word whose embedding they are."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Value
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction import FeatureHasher
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from dami_text.config.data_options import DataConfig, TabularConfig
from dami_text.data.batches import Batch
from dami_text.data.estimators import TABLE_ENCODER, read_estimator, write_estimator
from dami_text.data.ids import Rows
from dami_text.data.readers import read_splits, utf8_expected
from dami_text.data.sources import label_column_of, labeled_rows
from dami_text.data.texts import StoredTexts
from dami_text.errors import ColumnError, DataError

logger = logging.getLogger(__name__)

FILES = {
    "telescope": "magic04.csv",
    "default": "credit_default.csv.gz",
    "employee": "amazon_employee_access.csv",
    "news": "online_news_popularity_union.csv.gz",
}

#: A categorical column of more values shares the hashed features with others.
ONE_HOT_VALUES = 50

#: Cells that hold no value, lower-case.
MISSING = ["", "na", "n/a", "nan", "-nan", "null", "none", "?", "inf", "-inf", "+inf", "infinity", "-infinity"]

#: A number as Arrow reads it.
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


class EncodedTable(StoredTexts):
    """N rows of a table, each a text of one word, which has no token id but an embedding: the row's features.

    So every strategy works on a table that works on texts and does not ask for the words themselves.

    Attributes:
        matrix: (N, D) float32, the features.
    """

    def __init__(self, texts: Dataset, features: NDArray[np.float32]) -> None:
        """Rows whose column `text` names them to people, and their features (N, D)."""
        super().__init__(texts)
        self.matrix = features
        self.lengths: Rows = np.ones(len(features), np.int64)

    @property
    def special_ids(self) -> Sequence[int]:
        """None: rows have no tokens."""
        return ()

    def word(self, row: int, index: int) -> str | None:
        """None: the one word is the whole row."""
        return None

    def word_places(self, row: int) -> list[tuple[int, int]]:
        """The one word's, which is the whole text."""
        return [(0, len(self.text(row)))]

    def collate(self, rows: Rows) -> Batch:
        """The features of `rows` as embeddings (B, 1, D)."""
        return Batch(torch.from_numpy(self.matrix[rows, None]), torch.ones(len(rows), 1, dtype=torch.long))


def load_table(data: DataConfig, tabular: TabularConfig) -> DatasetDict:
    """The table that `data.dataset` names: a preset's file in `tabular.data_dir`, or what `sources.load_source` finds.

    Returns:
        Every split of the source, with the columns text (the row, written out), label, and row: a struct of all columns
        but the label and what is dropped, their cells as strings, empty where one is missing. Which of the columns are
        numbers is for the training split to say, which there is none of before the source is split.

    Raises:
        DataError: the source cannot be read, or has fewer than two classes.
        ColumnError: a named column is missing, one holds neither numbers nor strings, or none is left.
    """
    if data.dataset in FILES:
        file = Path(str(tabular.data_dir)) / FILES[data.dataset]
        if not file.is_file():
            raise DataError(
                f"no file {FILES[data.dataset]} in --data-dir {tabular.data_dir}; give the folder that has it"
            )
        data = replace(data, dataset=str(file))
    source = read_splits(data)
    with utf8_expected(data):
        label_column = label_column_of(next(iter(source.values())).features, data.label_column)
        names = _feature_columns(source, label_column, tabular)
        columns = {"text": Value("string"), "row": {name: Value("string") for name in names}}
        return labeled_rows(source, label_column, columns, _rows, data, names=names)


def _feature_columns(source: DatasetDict, label_column: str, tabular: TabularConfig) -> list[str]:
    """The columns to classify by."""
    features = next(iter(source.values())).features
    for flag, listed in (("--drop-columns", tabular.dropped), ("--categorical-columns", tabular.categorical)):
        if missing := [name for name in listed if name not in features]:
            raise ColumnError(f"no columns {missing} in {list(features)}; correct {flag}")
    names = [name for name in features if name != label_column and name not in tabular.dropped]
    if not names:
        raise ColumnError(f"no column is left of {list(features)} to classify by; drop fewer with --drop-columns")
    for name in names:
        feature = features[name]
        if not isinstance(feature, Value | ClassLabel) or "binary" in feature.dtype:
            raise ColumnError(
                f"column {name!r} holds {feature}, not numbers or strings; leave it out with --drop-columns"
            )
    return names


def _strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    column.validate(full=True)  # JSON and Parquet files are read without a look at their encoding
    return column.cast(pa.string())


def _rows(table: pa.Table, names: Sequence[str]) -> dict[str, Any]:
    """The columns text, such as "age=31, city=Ulm", and row."""
    cells = {name: pc.fill_null(_strings(table[name]), "") for name in names}
    written = [pc.binary_join_element_wise(pa.scalar(f"{name}="), cells[name], "") for name in names]
    rows = pa.StructArray.from_arrays([cells[name].combine_chunks() for name in names], names=list(names))
    return {"text": pc.binary_join_element_wise(*written, ", "), "row": rows}


@dataclass(frozen=True)
class TableEncoder:
    """From rows to features: fitted on the training split alone, and kept beside the model that reads the features.

    Attributes:
        transformer: reads a frame of the columns, numbers as float64, which NaN is missing of.
        numeric: the columns of numbers.
    """

    transformer: ColumnTransformer
    numeric: list[str]

    @classmethod
    def fit(cls, train: Dataset, tabular: TabularConfig) -> "TableEncoder":
        """Fit on the column row of `train`, as `load_table` makes it.

        A column whose cells in `train` are all numbers or missing is one of numbers, unless it is named as
        categorical. Numbers: the median for missing values, then mean 0 and variance 1. Strings: one-hot, unknown
        ones 0, or hashed (Weinberger et al. 2009) where a column has more than 50 values; a missing one is a value like
        others.
        """
        cells = _cells(train)
        numeric = [
            name for name in cells.column_names if name not in tabular.categorical and not _not_numbers(cells[name])
        ]
        rows = _frame(cells, numeric)
        hashed = [name for name in rows if name not in numeric and rows[name].nunique() > ONE_HOT_VALUES]
        one_hot = [name for name in rows if name not in numeric and name not in hashed]
        scale = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
        hash_words = make_pipeline(
            FunctionTransformer(_words), FeatureHasher(tabular.hashed_features, input_type="string")
        )
        steps = [
            ("numeric", scale, numeric),
            ("one_hot", OneHotEncoder(handle_unknown="ignore"), one_hot),
            ("hashed", hash_words, hashed),
        ]
        transformer = ColumnTransformer([step for step in steps if step[2]], sparse_threshold=0)
        with np.errstate(over="ignore", invalid="ignore"):  # `features` names the column
            transformer.fit(rows)
        logger.info("%d columns are numeric, %d one-hot, %d hashed", len(numeric), len(one_hot), len(hashed))
        return cls(transformer, numeric)

    def features(self, dataset: Dataset) -> NDArray[np.float32]:
        """The features (n, D) of the rows of `dataset`; a word where training has numbers is missing, with a warning.

        Raises:
            ColumnError: standardised numbers of a column are too large for float32.
        """
        cells = _cells(dataset)
        for name in self.numeric:
            if found := _not_numbers(cells[name]):
                logger.warning(
                    "column %r holds numbers in the training split, and %d of %d cells of another are none, such as "
                    "%r: they count as missing",
                    *(name, len(found), len(dataset), str(found[0])[:40]),
                )
        with np.errstate(over="ignore", invalid="ignore"):
            features = np.ascontiguousarray(self.transformer.transform(_frame(cells, self.numeric)), np.float32)
        finite = np.isfinite(features).all(axis=0)
        if not finite.all():
            numeric = self.transformer.transformers_[0][2]  # what comes first; other features are small
            raise ColumnError(
                f"column {numeric[finite.argmin()]!r} holds numbers that are too large beside the others; correct "
                "them, or leave it out with --drop-columns"
            )
        return features

    def save_pretrained(self, path: Path) -> None:
        """Write the fitted transformer into the folder `path`, for `load_transformer`."""
        write_estimator(self.transformer, path / TABLE_ENCODER)


def load_transformer(folder: Path) -> ColumnTransformer:
    """The transformer from a frame of columns to features (n, D), from a model's folder; nothing in the file is run.

    Raises:
        ConfigError: the file is damaged, or holds something else.
    """
    return read_estimator(Path(folder) / TABLE_ENCODER, ColumnTransformer, trusted=[f"{__name__}._words"])


def _cells(dataset: Dataset) -> pa.Table:
    """The columns of the rows, strings."""
    rows = dataset.select_columns("row").with_format("arrow")[:]["row"]
    return pa.Table.from_struct_array(rows.combine_chunks())  # of a split there is a chunk for nearly every row


def _frame(cells: pa.Table, numeric: Sequence[str]) -> pd.DataFrame:
    """The cells as scikit-learn reads them: float64 of the numeric columns, strings of the others."""
    columns = {name: _numbers(cells[name]) if name in numeric else cells[name] for name in cells.column_names}
    return pa.table(columns).to_pandas().astype({name: object for name in columns if name not in numeric})


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of strings as float64, null where one is missing, infinite or no number."""
    numbers = pc.if_else(_is_number(column), pc.utf8_trim_whitespace(column), pa.scalar(None, pa.string()))
    numbers = numbers.cast(pa.float64())
    return pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, pa.float64()))  # 1e400 is inf


def _not_numbers(column: pa.ChunkedArray) -> list[str]:
    """The cells of a column of strings that are neither numbers nor missing."""
    cells = pc.utf8_lower(pc.utf8_trim_whitespace(column))
    missing = pc.is_in(cells, value_set=pa.array(MISSING))
    strange = pc.and_(pc.invert(missing), pc.invert(_is_number(column)))
    found: list[str] = column.filter(strange).to_pylist()
    return found


def _is_number(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether each string of a column can be read as a number, spaces around it aside."""
    return pc.match_substring_regex(pc.utf8_trim_whitespace(column), NUMBER)


def _words(rows: pd.DataFrame) -> list[tuple[str, ...]]:
    """Each cell as a word of its row, with its column's name."""
    return list(zip(*([f"{name}={cell}" for cell in rows[name]] for name in rows), strict=True))
