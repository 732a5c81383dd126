"""What formats of single files share: several records of one text, flags and notes."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from dami_text.labeling.exchange.records import (
    Decision,
    Json,
    Record,
    as_text,
)
from dami_text.labeling.exchange.scheme import LabelScheme, label_names


def labeled(labels: Sequence[Any], scheme: LabelScheme, **of: Any) -> Decision:
    """The decision for these labels, `of` an id, a text and an annotator.

    It has a problem where a text takes one label and they are several, or where they are no names.
    """
    if scheme.multilabel:
        found, problem = label_names(labels)
        return Decision(label=found, problem=problem, **of)
    names = [as_text(label) or "" for label in labels]
    problem = None if len(names) == 1 else f"{names} are several labels"
    return Decision(label=names[0], problem=problem, **of)


def by_text(records: Sequence[Record]) -> list[list[Record]]:
    """The records in groups of the same text, which stand one after the other."""
    return [list(group) for _, group in groupby(records, key=lambda record: (record.id, record.text))]


def marks_of(records: Sequence[Record]) -> Json:
    """Who has flagged a text, and the notes on it by annotator; empty where there are none."""
    flagged = [record.annotator for record in records if record.flagged and record.annotator]
    notes = {record.annotator: record.note for record in records if record.note and record.annotator}
    return ({"dami_flagged": flagged} if flagged else {}) | ({"dami_notes": notes} if notes else {})


def marked(number: str | None, text: str | None, found: Json) -> Iterable[Decision]:
    """The flags and notes that `marks_of` wrote, as decisions that decide nothing."""
    flagged, notes = found.get("dami_flagged") or [], found.get("dami_notes") or {}
    for annotator in dict.fromkeys([*flagged, *notes]):
        yield Decision(
            id=number,
            text=text,
            label=None,
            annotator=annotator,
            decided=False,
            flagged=annotator in flagged,
            note=notes.get(annotator),
        )
