"""Records for Argilla, and what it exports."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from dami_text.labeling.exchange.marks import by_text, labeled, marked, marks_of
from dami_text.labeling.exchange.records import Decision, Json, Record, array_of, as_text, json_array, own_columns


def write(records: Sequence[Record], class_names: Sequence[str], safe: bool = False) -> bytes:
    """An array of JSON for `dataset.records.from_json`."""
    return array_of(map(_argilla_record, by_text(records)))


def _argilla_record(records: Sequence[Record]) -> Json:
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
        shown["suggestions"]["label"] = {"value": record.guess, "score": record.score, "agent": f"r{record.round or 0}"}
    elif record.suggestion is not None:  # a question has one suggestion there
        shown["suggestions"]["label"] = {
            "value": record.suggestion,
            "score": record.suggestion_score,
            "agent": "suggestion",
        }
    for record in decided:
        user = str(uuid5(NAMESPACE_URL, record.annotator or ""))  # users have ids there, not names
        status = "discarded" if record.label is None else "submitted"
        response = {"value": record.label, "user_id": user, "status": status}
        shown["responses"].setdefault("label", []).append(response)
        shown.setdefault("annotators", {})[user] = record.annotator
    return shown | marks_of(records)


def read(content: bytes, class_names: Sequence[str]) -> Iterable[Decision]:
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
                    yield labeled(number, text, answer if isinstance(answer, list) else [answer], annotator)
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
