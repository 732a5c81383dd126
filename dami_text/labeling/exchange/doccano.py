"""Examples for doccano, and its exports."""

from collections.abc import Iterable, Sequence

from dami_text.labeling.exchange.marks import labeled
from dami_text.labeling.exchange.records import Decision, Json, Record, as_text, json_records, lines_of, own_columns


def write(records: Sequence[Record], class_names: Sequence[str], safe: bool = False) -> bytes:
    """doccano's examples, one a line."""
    return lines_of(
        own_columns(record)
        | {"text": record.text, "label": [] if record.label is None else [record.label], "dami_id": record.id}
        | ({"dami_annotator": record.annotator} if record.annotator else {})
        for record in records
    )


def read(content: bytes, class_names: Sequence[str]) -> Iterable[Decision]:
    """What the labels of its exports, lines or an array, decide."""
    for example in json_records(content):
        named = (example.get("meta") or {}) | example  # it moves what it does not know into meta
        labels = example.get("label", example.get("labels")) or []
        number, annotator = as_text(named.get("dami_id")), named.get("dami_annotator")
        if labels:
            yield labeled(number, example.get("text"), labels if isinstance(labels, list) else [labels], annotator)


def recognizes(first: Json, is_lines: bool) -> bool:
    """Whether a file of JSON that begins with this record, in lines or in an array, is of this format."""
    # Label Studio's short form, an array, has the id as well.
    return "labels" in first or ("dami_id" in first and is_lines) or isinstance(first.get("label"), list)
