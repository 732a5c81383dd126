"""Examples for Prodigy, and what its db-out writes.

A negative answer to a proposed label (reject) decides between two classes and is no decision among more. With several
labels a text, an answer to a proposed label leaves open which others hold, and is no decision, either.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any

from dami_text.labeling.exchange.marks import labeled
from dami_text.labeling.exchange.records import (
    Decision,
    Json,
    Record,
    as_text,
    json_lines,
    lines_of,
    own_columns,
)
from dami_text.labeling.exchange.scheme import LabelScheme, names_of

#: Why an answer to a proposed label is left out where a text has any number of them.
ONE_OF_SEVERAL = "an answer about one label, which leaves the others open; wanted options, and all that hold in accept"


def write(records: Sequence[Record], scheme: LabelScheme, safe: bool = False) -> bytes:
    """Prodigy's examples, one a line."""
    options = [{"id": name, "text": name} for name in scheme.names]

    def example(record: Record) -> Json:
        told = own_columns(record) | record.reason
        meta = {name: value for name, value in told.items() if isinstance(value, str | int | float)}
        shown: Json = {"text": record.text, "meta": {**meta, "dami_id": record.id}, "options": options}
        if scheme.multilabel:
            shown |= {"config": {"choice_style": "multiple"}}
        if record.flagged:
            shown |= {"flagged": True}
        if record.note:
            shown |= {"dami_note": record.note}
        if record.annotator:
            shown |= {"_annotator_id": record.annotator}
        if record.status == "open":
            return shown
        shown |= {"accept": names_of(record.label)}
        return shown | {"answer": "ignore" if record.label is None else "accept", "_view_id": "choice"}

    return lines_of(map(example, records))


#: The id of a session whose address named nobody: the time of its start, after the data set's name or without.
_NAMELESS = re.compile(r"(.*-)?\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d")


def _session_names(examples: Sequence[Json]) -> dict[str, str | None]:
    """Who is behind each session: its id without the data set's name and the hyphen after it; None for nobody.

    The data set's name is what all ids begin with, or else what stands before the last hyphen.
    """
    found = {example["_session_id"] for example in examples if isinstance(example.get("_session_id"), str)}
    named = [session for session in found if not _NAMELESS.fullmatch(session)]
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*named, strict=False)) if len(named) > 1 else ()
    start = "".join(letters[0] for letters in same).rfind("-") + 1
    names = {session: session[start:] if start else session.rpartition("-")[2] for session in named}
    return dict.fromkeys(found) | {session: name or session for session, name in names.items()}


def read(content: bytes, scheme: LabelScheme) -> Iterable[Decision]:
    """What the answers that `db-out` writes decide."""
    examples = json_lines(content)
    names = _session_names(examples)
    for example in examples:
        answer, text = example.get("answer"), example.get("text")
        number = as_text((example.get("meta") or {}).get("dami_id"))
        session, annotator = example.get("_session_id"), example.get("_annotator_id")
        if isinstance(session, str) and annotator in (None, session):
            annotator = names[session]
        of = {"id": number, "text": text, "annotator": annotator}
        decision = Decision(label=None, decided=answer == "ignore", **of)
        if scheme.multilabel:
            if answer == "accept" and "options" in example:
                decision = labeled(example.get("accept") or [], scheme, **of)
            elif answer in ("accept", "reject") and example.get("label") is not None:
                decision = replace(decision, problem=ONE_OF_SEVERAL)
        else:
            named: list[Any] = example.get("accept") or [] if "options" in example else [example.get("label")]
            if answer == "accept" and named and named[0] is not None:
                decision = labeled(named, scheme, **of)
            elif answer == "reject" and example.get("label") in scheme.names and len(scheme.names) == 2:
                decision = labeled([name for name in scheme.names if name != example["label"]], scheme, **of)
        flagged, note = example.get("flagged") is True, example.get("dami_note")
        if decision.decided or decision.problem or flagged or note:
            yield replace(decision, flagged=flagged, note=note)


def recognizes(first: Json, is_lines: bool) -> bool:
    """Whether a file of JSON that begins with this record, in lines or in an array, is of this format."""
    return "answer" in first or "options" in first
