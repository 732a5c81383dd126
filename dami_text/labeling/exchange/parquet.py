"""Records as a Parquet table, whose columns have types."""

import io
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dami_text.labeling.exchange.records import Decision, Record, own_columns
from dami_text.labeling.exchange.scheme import LabelScheme
from dami_text.labeling.exchange.tables import as_cell, decisions_of, require_columns, row_of


def write(records: Sequence[Record], scheme: LabelScheme, safe: bool = False) -> bytes:
    """The records as a table whose columns have types."""
    kinds = {"seconds": pa.float64(), "round": pa.int64(), "flagged": pa.bool_(), "score": pa.float64()}
    if scheme.multilabel and scheme.separator is None:
        kinds |= dict.fromkeys(("label", "guess"), pa.list_(pa.string()))
    if scheme.columns:
        kinds |= dict.fromkeys(scheme.names, pa.int64())
    rows = [row_of(record, scheme) for record in records]
    names = list(rows[0] if rows else row_of(Record(id="", text=""), scheme))
    own = own_columns(records[0], scheme.taken) if records else {}
    columns = {
        name: _own_array([row[name] for row in rows])
        if name in own
        else pa.array([row[name] for row in rows], kinds.get(name, pa.string()))
        for name in names
    }
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def _own_array(values: list[Any]) -> pa.Array:
    """A column of the file's own, of its type; in writing where its values have several."""
    try:
        return pa.array(values)
    except pa.ArrowException:
        return pa.array([None if value is None else str(as_cell(value)) for value in values], pa.string())


def read(content: bytes, scheme: LabelScheme) -> Iterable[Decision]:
    """What the rows of a table decide."""
    table = pq.read_table(io.BytesIO(content))
    require_columns(table.column_names, scheme)
    return decisions_of(table.to_pylist(), scheme)
