"""What goes out to other tools and comes back: records and decisions, and the JSON that most formats are made of.

A record is one decision: a text that several annotators decided on has as many, one after the other, and its label
first.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from dami_text.errors import DataError
from dami_text.escaping import to_json
from dami_text.labeling.labels import Names

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Record:
    """A text and what one annotator, if anybody, has decided about it; see the module.

    A label is a name or, where a text has any number of labels, a list of names in the order of the session's; None
    where there is none. `guess` and `score` are the model's; `suggestion` and its score came with the text, in a column
    that is in `own`.
    """

    id: str
    text: str
    label: Names | None = None
    status: str = "open"
    annotator: str | None = None
    time: str | None = None
    seconds: float | None = None
    round: int | None = None
    flagged: bool = False
    guess: Names | None = None
    score: float | None = None
    reason: Json = field(default_factory=dict)
    note: str | None = None
    own: Json = field(default_factory=dict)
    suggestion: str | None = None
    suggestion_score: float | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a file says about a text: a label, or None for a text that was skipped. `id` or `text` may be missing.

    Attributes:
        unescaped: the text if a csv's apostrophe before it is one of --safe-csv; None where it cannot be.
        decided: False where the text has a flag or a note, but neither a label nor a skip.
        flagged, note: the annotator's flag and note.
        problem: why the label cannot be taken; None where it can.
        review: whether it was a second look, whose label counts before others'.
    """

    id: str | None
    text: str | None
    label: Names | None
    annotator: str | None = None
    unescaped: str | None = None
    decided: bool = True
    flagged: bool = False
    note: str | None = None
    problem: str | None = None
    review: bool = False


def as_list(decision: Decision) -> Decision:
    """The decision with its one label as a list of it."""
    return replace(decision, label=[decision.label]) if isinstance(decision.label, str) else decision


def as_text(value: Any) -> Any:
    """A cell as text: numbers in writing, 1.0 as 1; None for an empty one or NaN; lists and objects as they are."""
    if isinstance(value, float):
        value = None if value != value else int(value) if value.is_integer() else value  # noqa: PLR0124 - NaN
    return str(value) if isinstance(value, bool | int | float) else value or None


def as_json(value: Any) -> Any:
    """A value of a table as JSON has it: dates and the like in writing, NaN as None."""
    if isinstance(value, dict):
        return {str(name): as_json(part) for name, part in value.items()}
    if isinstance(value, list):
        return [as_json(part) for part in value]
    if isinstance(value, float):
        return None if value != value else value  # noqa: PLR0124 - NaN
    return value if isinstance(value, str | bool | int | None) else str(value)


COLUMNS = (
    *("id", "text", "label", "status", "annotator", "time", "seconds", "round", "flagged", "guess", "score", "note"),
)


def own_columns(record: Record, taken: Collection[str] = ()) -> Json:
    """The file's own columns, by names that none of ours has, but for `id`, and none of `taken`; values as in JSON."""
    return {_own_name(name, taken): as_json(value) for name, value in record.own.items()}


def _own_name(name: str, taken: Collection[str]) -> str:
    known = normalized(name)
    is_taken = (known in (*COLUMNS, "reason") and known != "id") or known.startswith("dami_") or name in taken
    return f"own_{name}" if is_taken else name


def normalized(name: str) -> str:
    """A column's name without blanks around it, in lower case."""
    return name.strip().lower()


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
