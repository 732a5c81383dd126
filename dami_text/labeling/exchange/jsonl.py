"""Records as lines of JSON; labels from lines or from an array."""

from collections.abc import Iterable, Sequence

from dami_text.labeling.exchange.records import Decision, Json, Record, json_records, lines_of
from dami_text.labeling.exchange.scheme import LabelScheme
from dami_text.labeling.exchange.tables import decisions_of, require_columns, row_of


def write(records: Sequence[Record], scheme: LabelScheme, safe: bool = False) -> bytes:
    """The records, one a line."""
    return lines_of(row_of(record, scheme) | {"reason": record.reason or None} for record in records)


def read(content: bytes, scheme: LabelScheme) -> Iterable[Decision]:
    """What each line, or each object of an array, decides."""
    records = json_records(content)
    if records:
        require_columns(list(dict.fromkeys(name for record in records for name in record)), scheme)
    return decisions_of(records, scheme)


def recognizes(first: Json, is_lines: bool) -> bool:
    """Whether a file of JSON that begins with this record is of this format, whatever else the texts came with."""
    return {"text", "label", "status", "flagged", "reason"} <= first.keys()
