"""Records that go out, decisions that come in, and the tables that hold them as they are: csv, jsonl and parquet.

One record a text:

    id         stable, of the text and its place among its duplicates
    text
    label      the class's name, None where there is none
    status     labelled, skipped or open
    annotator, time, seconds, round
    flagged    whether somebody has flagged it
    guess, score    the model's, None where there is none
    reason     why the text was asked for, by name
"""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dami_text.errors import DataError
from dami_text.records import to_json

Json = dict[str, Any]

COLUMNS = ("id", "text", "label", "status", "annotator", "time", "seconds", "round", "flagged", "guess", "score")


@dataclass(frozen=True)
class Record:
    """A text and what there is to know of it; see the module."""

    id: str
    text: str
    label: str | None = None
    status: str = "open"
    annotator: str | None = None
    time: str | None = None
    seconds: float | None = None
    round: int | None = None
    flagged: bool = False
    guess: str | None = None
    score: float | None = None
    reason: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What a file says about a text: a label, or None for a text that was skipped. `id` or `text` may be missing.

    `unescaped` is what the text was if a csv's apostrophe before it is one of --safe-csv; None where it cannot be.
    """

    id: str | None
    text: str | None
    label: str | None
    annotator: str | None = None
    unescaped: str | None = None


def _row(record: Record) -> Json:
    row = {name: getattr(record, name) for name in COLUMNS}
    return row | {"reason": to_json(record.reason) if record.reason else None}


def _decision(row: Json) -> Decision | None:
    """The decision of a table's row; None where the row has none."""
    label, status = row.get("label"), row.get("status")
    if type(label) is int:  # of classes that are named by numbers
        label = str(label)
    if not label and status != "skipped":
        return None
    return Decision(row.get("id") or None, row.get("text"), label or None, row.get("annotator") or None)


def write_csv(records: Sequence[Record], class_names: Sequence[str], safe: bool = False) -> bytes:
    """The records as a table; `safe` keeps spreadsheets from calculating its cells."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [*COLUMNS, "reason"], lineterminator="\r\n")
    writer.writeheader()
    for record in records:
        row = {name: "" if value is None else value for name, value in _row(record).items()}
        writer.writerow({name: _no_formula(value) for name, value in row.items()} if safe else row)
    return stream.getvalue().encode("utf-8")


#: What a spreadsheet begins to calculate at.
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def _no_formula(value: Any) -> Any:
    """A cell that a spreadsheet shows and does not calculate: an apostrophe first."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _as_it_was(value: str | None) -> str | None:
    """What was in a cell before `_no_formula`."""
    return value[1:] if value and value[0] == "'" and value[1:].startswith(FORMULA) else value


def read_csv(content: bytes, class_names: Sequence[str]) -> Iterable[Decision]:
    """What the rows of a table decide, csv or tsv; it needs a column `label`."""
    csv.field_size_limit(2**31 - 1)
    delimiter = "\t" if b"\t" in content.partition(b"\n")[0] else ","  # names of columns have neither
    reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=delimiter)
    if "label" not in (reader.fieldnames or ()):
        raise DataError(f"no column 'label' in {reader.fieldnames}; wanted the columns id, text and label")
    decisions = []
    for row in reader:
        decision = _decision(row | {name: _as_it_was(row.get(name)) for name in ("label", "annotator")})
        if decision is not None:
            text = _as_it_was(decision.text)
            decisions.append(decision if text == decision.text else replace(decision, unescaped=text))
    return decisions


def write_jsonl(records: Sequence[Record], class_names: Sequence[str]) -> bytes:
    """The records, one a line."""
    return lines_of(_row(record) | {"reason": record.reason or None} for record in records)


def read_jsonl(content: bytes, class_names: Sequence[str]) -> Iterable[Decision]:
    """What each line decides."""
    return list(filter(None, map(_decision, json_lines(content))))


def write_parquet(records: Sequence[Record], class_names: Sequence[str]) -> bytes:
    """The records as a table whose columns have types."""
    kinds = {"seconds": pa.float64(), "round": pa.int64(), "flagged": pa.bool_(), "score": pa.float64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in (*COLUMNS, "reason")])
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([_row(record) for record in records], schema), sink)
    return sink.getvalue()


def read_parquet(content: bytes, class_names: Sequence[str]) -> Iterable[Decision]:
    """What the rows of a table decide."""
    return list(filter(None, map(_decision, pq.read_table(io.BytesIO(content)).to_pylist())))


# JSON -----------------------------------------------------------------------------------------------------------


def lines_of(values: Iterable[Json]) -> bytes:
    """JSON, one value a line."""
    return "".join(to_json(value) + "\n" for value in values).encode("utf-8")


def array_of(values: Iterable[Json]) -> bytes:
    """A JSON array, one value a line."""
    lines = ",\n".join(to_json(value) for value in values)
    return f"[\n{lines}\n]\n".encode()


def json_lines(content: bytes) -> list[Json]:
    """The objects in lines of JSON."""
    lines = content.decode("utf-8-sig").split("\n")
    return [_object(json.loads(line)) for line in lines if line.strip()]


def json_array(content: bytes) -> list[Json]:
    """The objects in a JSON array."""
    values = json.loads(content.decode("utf-8-sig"))
    if not isinstance(values, list):
        raise DataError(f"the file holds {type(values).__name__}; wanted a list of records")
    return [_object(value) for value in values]


def _object(value: Any) -> Json:
    if not isinstance(value, dict):
        raise DataError(f"the file holds {type(value).__name__} for a record; wanted an object")
    return value
