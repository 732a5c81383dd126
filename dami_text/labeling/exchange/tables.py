"""Records that go out, decisions that come in, and the tables that hold them as they are: csv, jsonl and parquet.

One record a decision: a text that several annotators decided on has as many, one after the other, and its label first.

    id         stable, of the text and its place among its duplicates
    text
    label      the class's name, None where there is none
    status     labelled, skipped or open
    annotator, time, seconds, round
    flagged    whether this annotator has flagged it
    note       what this annotator has written about it
    guess, score    the model's, None where there is none
    reason     why the text was asked for, by name

The file's own columns come after these. Where it has a column `id`, the first column is `dami_id`; where it has another
of the names above, `own_` stands before it.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dami_text.errors import DataError
from dami_text.escaping import no_formula, to_json, without_guard

Json = dict[str, Any]

COLUMNS = (
    *("id", "text", "label", "status", "annotator", "time", "seconds", "round", "flagged", "guess", "score", "note"),
)

#: What may separate the columns of a table in text.
DELIMITERS = "\t,;|"


@dataclass(frozen=True)
class Record:
    """A text and what one annotator, if anybody, has decided about it; see the module."""

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
    note: str | None = None
    own: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What a file says about a text: a label, or None for a text that was skipped. `id` or `text` may be missing.

    Attributes:
        unescaped: the text if a csv's apostrophe before it is one of --safe-csv; None where it cannot be.
        decided: False where the text has a flag or a note, but neither a label nor a skip.
        flagged, note: the annotator's flag and note.
        problem: why the label cannot be taken; None where it can.
    """

    id: str | None
    text: str | None
    label: str | None
    annotator: str | None = None
    unescaped: str | None = None
    decided: bool = True
    flagged: bool = False
    note: str | None = None
    problem: str | None = None


def _row(record: Record) -> Json:
    row: Json = {name: getattr(record, name) for name in COLUMNS}
    row |= {"reason": to_json(record.reason) if record.reason else None}
    own = own_columns(record)
    if any(normalized(name) == "id" for name in own):
        row = {"dami_id": row.pop("id")} | row
    return row | own


def own_columns(record: Record) -> Json:
    """The file's own columns, by names that none of ours has, but for `id`; values as JSON has them."""
    return {_own_name(name): as_json(value) for name, value in record.own.items()}


def _own_name(name: str) -> str:
    known = normalized(name)
    taken = (known in (*COLUMNS, "reason") and known != "id") or known.startswith("dami_")
    return f"own_{name}" if taken else name


def as_json(value: Any) -> Any:
    """A value of a table as JSON has it: dates and the like in writing, NaN as None."""
    if isinstance(value, dict):
        return {str(name): as_json(part) for name, part in value.items()}
    if isinstance(value, list):
        return [as_json(part) for part in value]
    if isinstance(value, float):
        return None if value != value else value  # noqa: PLR0124 - NaN
    return value if isinstance(value, str | bool | int | None) else str(value)


def as_cell(value: Any) -> Any:
    """A value as a cell of a table in text."""
    return "" if value is None else to_json(value) if isinstance(value, list | dict) else value


def _decisions(rows: Iterable[Json]) -> Iterable[Decision]:
    """The decisions of a table's rows, but for rows that have none."""
    seen: Counter[tuple[str, str]] = Counter()  # annotations of each task, in a table of Label Studio's
    for named in rows:
        row = {normalized(name): value for name, value in named.items() if isinstance(name, str)}
        annotator, sent, place = as_text(row.get("annotator")), _annotators_sent(row), 0
        if "annotation_id" in row:
            task = (str(row.get("dami_id")), str(row.get("id")))
            place = seen[task]
            seen[task] += 1
        if place < len(sent):  # one of those that went out with the text, whoever was put down for it there
            annotator = sent[place] or annotator
        decision = _decision(row, annotator)
        if decision is not None:
            yield decision


def _annotators_sent(row: Json) -> list[Any]:
    """Whose decisions went out with a text, where another tool has kept that; otherwise empty."""
    several = row.get("dami_annotators")
    if isinstance(several, str) and several.startswith("["):  # a list in a cell
        several = json.loads(several)
    if isinstance(several, list) and several:
        return several
    one = as_text(row.get("dami_annotator"))
    return [one] if one else []


def _decision(row: Json, annotator: Any) -> Decision | None:
    """The decision of a table's row, whose names are `normalized`; None where the row has none."""
    label, note = as_text(row.get("label")), as_text(row.get("note"))
    decided = bool(label) or row.get("status") == "skipped"
    flagged = str(as_text(row.get("flagged"))).lower() in ("true", "1", "1.0")
    if not (decided or flagged or note):
        return None
    number, problem = as_text(row.get("dami_id")) or as_text(row.get("id")), None
    # Label Studio's several choices, as an object or in a cell.
    if "choices" in label if isinstance(label, dict) else str(label).lstrip().startswith('{"choices"'):
        label, problem = str(label), f"{label} are several labels"
    return Decision(number, row.get("text"), label, annotator, None, decided, flagged, note, problem)


def normalized(name: str) -> str:
    """A column's name without blanks around it, in lower case."""
    return name.strip().lower()


def as_text(value: Any) -> Any:
    """A cell as text: numbers in writing, 1.0 as 1; None for an empty one or NaN; lists and objects as they are."""
    if isinstance(value, float):
        value = None if value != value else int(value) if value.is_integer() else value  # noqa: PLR0124 - NaN
    return str(value) if isinstance(value, bool | int | float) else value or None


def _require_columns(names: Sequence[str]) -> None:
    """Raise DataError unless a table's columns have a label and tell which text it is of."""
    found = {normalized(name) for name in names}
    if "label" not in found or not found & {"text", "id", "dami_id"}:
        wanted = "label, and text or id"
        raise DataError(f"the columns are {list(names)}; wanted {wanted}: rename the columns of labels and texts")


def write_csv(records: Sequence[Record], class_names: Sequence[str], safe: bool = False) -> bytes:
    """The records as a table; `safe` keeps spreadsheets from calculating its cells."""
    rows = [{name: as_cell(value) for name, value in _row(record).items()} for record in records]
    names = list(rows[0] if rows else _row(Record("", "")))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, lineterminator="\r\n")
    writer.writerow({name: no_formula(name) if safe else name for name in names})
    for row in rows:
        writer.writerow({name: no_formula(value) for name, value in row.items()} if safe else row)
    return stream.getvalue().encode("utf-8")


def read_csv(content: bytes, class_names: Sequence[str]) -> Iterable[Decision]:
    """What the rows of a table decide, csv or tsv; it needs a column `label`, and `text` or `id`."""
    csv.field_size_limit(2**31 - 1)
    text = content.decode("utf-8-sig")
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    names = [normalized(name) for name in reader.fieldnames or ()]
    _require_columns(names)
    reader.fieldnames = names
    for decision in _decisions(
        row | {name: without_guard(row.get(name)) for name in ("label", "annotator")} for row in reader
    ):
        before = without_guard(decision.text)
        yield decision if before == decision.text else replace(decision, unescaped=before)


def _delimiter(text: str) -> str:
    """What separates the columns in the header of a table: what gives it a column `label`, or else most columns."""
    header = text.partition("\n")[0].rstrip("\r")

    def fitness(delimiter: str) -> tuple[bool, int]:
        names = [normalized(name) for name in next(csv.reader([header], delimiter=delimiter), [])]
        return "label" in names, len(names)

    return max(DELIMITERS, key=fitness)


def write_jsonl(records: Sequence[Record], class_names: Sequence[str]) -> bytes:
    """The records, one a line."""
    return lines_of(_row(record) | {"reason": record.reason or None} for record in records)


def read_jsonl(content: bytes, class_names: Sequence[str]) -> Iterable[Decision]:
    """What each line, or each object of an array, decides."""
    records = json_records(content)
    if records:
        _require_columns(list(dict.fromkeys(name for record in records for name in record)))
    return _decisions(records)


def write_parquet(records: Sequence[Record], class_names: Sequence[str]) -> bytes:
    """The records as a table whose columns have types."""
    kinds = {"seconds": pa.float64(), "round": pa.int64(), "flagged": pa.bool_(), "score": pa.float64()}
    rows = [_row(record) for record in records]
    names = list(rows[0] if rows else _row(Record("", "")))
    own = own_columns(records[0]) if records else {}
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


def read_parquet(content: bytes, class_names: Sequence[str]) -> Iterable[Decision]:
    """What the rows of a table decide."""
    table = pq.read_table(io.BytesIO(content))
    _require_columns(table.column_names)
    return _decisions(table.to_pylist())


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


def json_records(content: bytes) -> list[Json]:
    """The objects in lines of JSON, or in a JSON array."""
    return json_array(content) if content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[" else json_lines(content)


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
