"""Examples for doccano, and its exports.

With several labels a text, an example that was labelled says so (`dami_status`): doccano keeps that, and a list that is
empty then is an answer. What was labelled there alone does not tell it from a text that nobody has looked at.
"""

from collections.abc import Iterable, Sequence

from dami_text.labeling.exchange.marks import labeled
from dami_text.labeling.exchange.records import Decision, Json, Record, as_text, json_records, lines_of, own_columns
from dami_text.labeling.exchange.scheme import LabelScheme, names_of

#: Why a text without labels is left out.
UNDECIDED = (
    "a text without labels, of which doccano does not say whether none holds or nobody has decided; "
    "--format jsonl takes that for none"
)


def write(records: Sequence[Record], scheme: LabelScheme, safe: bool = False) -> bytes:
    """doccano's examples, one a line."""
    return lines_of(
        own_columns(record)
        | {"text": record.text, "label": names_of(record.label), "dami_id": record.id}
        | ({"dami_annotator": record.annotator} if record.annotator else {})
        | ({"dami_status": record.status} if scheme.multilabel and record.label is not None else {})
        for record in records
    )


def read(content: bytes, scheme: LabelScheme) -> Iterable[Decision]:
    """What the labels of its exports, lines or an array, decide."""
    for example in json_records(content):
        named = (example.get("meta") or {}) | example  # it moves what it does not know into meta
        labels = example.get("label", example.get("labels")) or []
        of = {"id": as_text(named.get("dami_id")), "text": example.get("text")}
        of |= {"annotator": named.get("dami_annotator")}
        if labels or (scheme.multilabel and named.get("dami_status") == "labelled"):
            yield labeled(labels if isinstance(labels, list) else [labels], scheme, **of)
        elif scheme.multilabel:
            yield Decision(label=None, problem=UNDECIDED, **of)


def recognizes(first: Json, is_lines: bool) -> bool:
    """Whether a file of JSON that begins with this record, in lines or in an array, is of this format."""
    # Label Studio's short form, an array, has the id as well.
    return "labels" in first or ("dami_id" in first and is_lines) or isinstance(first.get("label"), list)
