"""What the tables among the formats share: csv, jsonl and parquet hold records as they are.

    id         stable, of the text and its place among its duplicates
    text
    label      the class's name, None where there is none; a list of names where a text has any number, in csv as JSON
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

from dami_text.config.fields import listed
from dami_text.data.label_sets import of_columns
from dami_text.errors import DataError
from dami_text.escaping import to_json
from dami_text.labeling.exchange.records import COLUMNS, Decision, Json, Record, as_text, normalized, own_columns
from dami_text.labeling.exchange.scheme import LabelScheme, label_names

#: Why a row without labels is left out.
UNDECIDED = "an empty cell, which may be none of the labels or no answer; say labelled or open in a column status"


def row_of(record: Record, scheme: LabelScheme) -> Json:
    """The record as a row: its fields by the names of columns."""
    row: Json = {}
    for name in COLUMNS:
        value = getattr(record, name)
        if name == "label" and scheme.columns:
            row |= scheme.holds(value)
        else:
            row[name] = scheme.cell(value)
    row |= {"reason": to_json(record.reason) if record.reason else None}
    own = own_columns(record, scheme.taken)
    if any(normalized(name) == "id" for name in own):
        row = {"dami_id": row.pop("id")} | row
    return row | own


def as_cell(value: Any) -> Any:
    """A value as a cell of a table in text."""
    return "" if value is None else to_json(value) if isinstance(value, list | dict) else value


def decisions_of(rows: Iterable[Json], scheme: LabelScheme) -> Iterable[Decision]:
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
        label, problem = _label_set(named, row, scheme) if scheme.multilabel else _one_label(row)
        decision = _decision(row, annotator, label, problem)
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


def _one_label(row: Json) -> tuple[Any, str | None]:
    """The label of a row, and why it cannot be taken, if so."""
    label = as_text(row.get("label"))
    # Label Studio's several choices, as an object or in a cell.
    if "choices" in label if isinstance(label, dict) else str(label).lstrip().startswith('{"choices"'):
        return str(label), f"{label} are several labels"
    return label, None


def _label_set(named: Json, row: Json, scheme: LabelScheme) -> tuple[list[Any] | None, str | None]:
    """The labels of a row, None where it has no answer, and why they cannot be taken, if so.

    `named` is the row by the names of columns as they are, `row` by those that are `normalized`.
    """
    cell, is_annotation = row.get("label"), as_text(row.get("annotation_id")) is not None
    try:
        if "label" not in row and "annotation_id" not in row:
            return of_columns(scheme.names)([named.get(name) for name in scheme.names]), None
        names = scheme.of_cell(cell)
    except ValueError as error:
        return None, str(error)
    if names is not None:
        return label_names(names)
    status = as_text(row.get("status")) or as_text(row.get("dami_status"))
    if status == "labelled" or is_annotation:
        return [], None
    # A cell of text cannot be null, and `is_annotation` tells of Label Studio's.
    is_open = status is not None or "annotation_id" in row or not isinstance(cell, str)
    return None, None if is_open else UNDECIDED


def _decision(row: Json, annotator: Any, label: Any, problem: str | None) -> Decision | None:
    """The decision of a table's row, whose names are `normalized`; None where the row has none."""
    note = as_text(row.get("note"))
    decided = label is not None or problem is not None or row.get("status") == "skipped"
    flagged = str(as_text(row.get("flagged"))).lower() in ("true", "1", "1.0")
    if not (decided or flagged or note):
        return None
    return Decision(
        id=as_text(row.get("dami_id")) or as_text(row.get("id")),
        text=row.get("text"),
        label=label,
        annotator=annotator,
        unescaped=None,
        decided=decided,
        flagged=flagged,
        note=note,
        problem=problem,
    )


def require_columns(names: Sequence[str], scheme: LabelScheme) -> None:
    """Raise DataError unless a table's columns have a label, or each of several, and tell which text it is of."""
    found = {normalized(name) for name in names}
    has_label, wanted = "label" in found, "label, and text or id"
    if scheme.multilabel and not has_label:
        has_label = set(scheme.names) <= set(names)
        wanted = f"label, or a column of 0 and 1 for each of {listed(scheme.names)}, and text or id"
    if not has_label or not found & {"text", "id", "dami_id"}:
        raise DataError(f"the columns are {list(names)}; wanted {wanted}: rename the columns of labels and texts")
