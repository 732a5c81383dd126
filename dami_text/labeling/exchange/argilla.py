"""Records for Argilla, and what it exports."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from dami_text.errors import DataError
from dami_text.labeling.exchange.marks import by_text, labeled, marked, marks_of
from dami_text.labeling.exchange.records import Decision, Json, Record, array_of, as_text, json_array, own_columns
from dami_text.labeling.exchange.scheme import LabelScheme
from dami_text.labeling.labels import Names

#: What stands for no label at all: Argilla refuses answers without a value.
NONE = "(none of the labels)"


def write(records: Sequence[Record], scheme: LabelScheme, safe: bool = False) -> bytes:
    """An array of JSON for `dataset.records.from_json`."""
    return array_of(_argilla_record(group, scheme) for group in by_text(records))


def _argilla_record(records: Sequence[Record], scheme: LabelScheme) -> Json:
    """The records of a text as one that `dataset.records.from_json` takes.

    What it does not know, such as `annotators`, it passes over.
    """
    record = records[0]
    decided = [record for record in records if record.status != "open"]
    shown: Json = {
        "id": record.id,
        "fields": {"text": record.text},
        "metadata": {k: v for k, v in own_columns(record).items() if isinstance(v, str | int | float)},
        "suggestions": {},
        "responses": {},
        "vectors": {},
        "status": "completed" if decided else "pending",
    }
    if record.guess is not None:
        shown["suggestions"]["label"] = _suggestion(record.guess, record.score, f"r{record.round or 0}")
    elif record.suggestion is not None:  # a question has one suggestion there
        shown["suggestions"]["label"] = _suggestion(record.suggestion, record.suggestion_score, "suggestion")
    for record in decided:
        user = str(uuid5(NAMESPACE_URL, record.annotator or ""))  # users have ids there, not names
        status = "discarded" if record.label is None else "submitted"
        response = {"value": _value(record.label), "user_id": user, "status": status}
        shown["responses"].setdefault("label", []).append(response)
        shown.setdefault("annotators", {})[user] = record.annotator
    return shown | marks_of(records)


def _suggestion(label: Names, score: float | None, agent: str) -> Json:
    """A suggestion; of several labels each would have a score of its own there, so theirs has none."""
    return {"value": _value(label), "score": None if isinstance(label, list) else score, "agent": agent}


def _value(label: Names | None) -> Names | None:
    return [NONE] if label == [] else label


def read(content: bytes, scheme: LabelScheme) -> Iterable[Decision]:
    """What the responses decide, as `to_json` or `to_list(flatten=True)` wrote them."""
    for record in json_array(content):
        nested = "fields" in record  # as `to_json` writes it; as `to_list(flatten=True)` otherwise
        for answer, user, state in _answers(record) if nested else _flat_answers(record):
            text = record["fields"].get("text") if nested else record.get("text")
            if state in ("submitted", "discarded"):
                annotator = (record.get("annotators") or {}).get(user, user)
                number = as_text(record.get("id"))
                if state == "discarded":
                    yield Decision(id=number, text=text, label=None, annotator=annotator)
                else:
                    labels = answer if isinstance(answer, list) else [answer]
                    labels = [] if scheme.multilabel and labels == [NONE] else labels
                    yield labeled(labels, scheme, id=number, text=text, annotator=annotator)
        yield from marked(as_text(record.get("id")), (record.get("fields") or record).get("text"), record)


def _answers(record: Json) -> Iterable[tuple[Any, Any, Any]]:
    """Value, user and status of a record's responses; Argilla's own file has no status."""
    for response in (record.get("responses") or {}).get("label") or []:
        value = response.get("value")
        yield value, response.get("user_id"), response.get("status") or ("submitted" if value else "discarded")


def _flat_answers(record: Json) -> Iterable[tuple[Any, Any, Any]]:
    answers = record.get("label.responses") or []
    users = record.get("label.responses.users") or [None] * len(answers)
    states = record.get("label.responses.status") or ["submitted"] * len(answers)
    return zip(answers, users, states, strict=True)


def recognizes(first: Json, is_lines: bool) -> bool:
    """Whether a file of JSON that begins with this record, in lines or in an array, is of this format."""
    return "fields" in first or any(key.startswith("label.") for key in first)


def check(scheme: LabelScheme) -> None:
    """Raise DataError where a label is called like what stands for none."""
    if scheme.multilabel and NONE in scheme.names:
        raise DataError(f"the label {NONE!r} is what stands for no label at all in Argilla; rename it")


def advice(scheme: LabelScheme) -> str | None:
    """The question that a data set for these records needs, where it is not the plain one."""
    if not scheme.multilabel:
        return None
    return f"question: rg.MultiLabelQuestion(name='label', labels={[*scheme.names, NONE]})"
