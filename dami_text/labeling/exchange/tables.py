"""What the tables among the formats share: csv, jsonl and parquet hold records as they are.

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

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from dami_text.errors import DataError
from dami_text.escaping import to_json
from dami_text.labeling.exchange.records import COLUMNS, Decision, Json, Record, as_text, normalized, own_columns


def row_of(record: Record) -> Json:
    """The record as a row: its fields by the names of columns."""
    row: Json = {name: getattr(record, name) for name in COLUMNS}
    row |= {"reason": to_json(record.reason) if record.reason else None}
    own = own_columns(record)
    if any(normalized(name) == "id" for name in own):
        row = {"dami_id": row.pop("id")} | row
    return row | own


def as_cell(value: Any) -> Any:
    """A value as a cell of a table in text."""
    return "" if value is None else to_json(value) if isinstance(value, list | dict) else value


def decisions_of(rows: Iterable[Json]) -> Iterable[Decision]:
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
    return Decision(
        id=number,
        text=row.get("text"),
        label=label,
        annotator=annotator,
        unescaped=None,
        decided=decided,
        flagged=flagged,
        note=note,
        problem=problem,
    )


def require_columns(names: Sequence[str]) -> None:
    """Raise DataError unless a table's columns have a label and tell which text it is of."""
    found = {normalized(name) for name in names}
    if "label" not in found or not found & {"text", "id", "dami_id"}:
        wanted = "label, and text or id"
        raise DataError(f"the columns are {list(names)}; wanted {wanted}: rename the columns of labels and texts")
