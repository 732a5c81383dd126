"""Labels and tasks in the formats of other tools, as pure functions between records and text.

Records, and what goes out as it is, are in `tables`. Reading gives back what identifies a text and what was decided:
id, text, label, annotator. A negative answer to a proposed label (Prodigy's reject) decides between two classes and is
no decision among more.
"""

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby, takewhile
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pyarrow as pa

from dami_text.errors import DataError
from dami_text.labeling.exchange.tables import (
    Decision,
    Json,
    Record,
    array_of,
    as_text,
    json_array,
    json_lines,
    json_records,
    lines_of,
    own_columns,
    read_csv,
    read_jsonl,
    read_parquet,
    write_csv,
    write_jsonl,
    write_parquet,
)

# Label Studio ---------------------------------------------------------------------------------------------------


def label_studio_config(class_names: Sequence[str]) -> str:
    """The labelling interface that a project for these tasks needs."""
    from xml.sax.saxutils import quoteattr

    choices = "".join(f"<Choice value={quoteattr(name)}/>" for name in class_names)
    return (
        '<View><Text name="text" value="$text"/>'
        f'<Choices name="label" toName="text" choice="single">{choices}</Choices></View>'
    )


def _write_label_studio(records: Sequence[Record], class_names: Sequence[str]) -> bytes:
    return array_of(map(_task, _by_text(records)))


def _task(records: Sequence[Record]) -> Json:
    record = records[0]
    task: Json = {"data": {"text": record.text, "dami_id": record.id}, "annotations": [], "predictions": []}
    if record.reason:
        task["meta"] = {"reason": record.reason}
    if record.guess is not None:
        task["predictions"].append(
            {"model_version": f"r{record.round or 0}", "score": record.score, "result": _choice("p1", record.guess)}
        )
    # Skips last: Label Studio's tables leave them out, and their rows are told apart by their order.
    decided = sorted((record for record in records if record.status != "open"), key=lambda record: not record.label)
    if decided:
        # Annotations have the numbers of users there, not names.
        task["data"]["dami_annotator"] = decided[0].annotator
        if len(decided) > 1:
            task["data"]["dami_annotators"] = [record.annotator for record in decided]
    task["data"] = own_columns(record) | task["data"] | _marks(records)
    for record in decided:
        task["annotations"].append(
            {
                "completed_by": {"email": record.annotator} if "@" in (record.annotator or "") else 1,
                "was_cancelled": record.label is None,
                "lead_time": record.seconds,
                "result": [] if record.label is None else _choice("a1", record.label),
            }
        )
    return task


def _choice(number: str, label: str) -> list[Json]:
    names = {"id": number, "from_name": "label", "to_name": "text", "type": "choices"}
    return [names | {"value": {"choices": [label]}}]


def _read_label_studio(content: bytes, class_names: Sequence[str]) -> Iterable[Decision]:
    for task in json_array(content):
        data = task["data"]
        number, text = as_text(data.get("dami_id")), data.get("text")
        sent = data.get("dami_annotators") or [data.get("dami_annotator")]
        for i, annotation in enumerate(task.get("annotations") or []):
            who = annotation.get("completed_by")
            annotator = who.get("email") if isinstance(who, dict) else None if who is None else str(who)
            if i < len(sent):  # one of those that went out with the task, whoever was put down for it there
                annotator = sent[i] or annotator
            if annotation.get("was_cancelled"):
                yield Decision(number, text, None, annotator)
            elif choices := _choices(annotation.get("result") or [], class_names):
                yield _labeled(number, text, choices, annotator)
        yield from _marked(number, text, data)


def _choices(parts: Sequence[Json], class_names: Sequence[str]) -> list[str]:
    """The choices of the control `label`, or else of the first one that offers classes, or else of the first."""
    controls: dict[str, list[str]] = {}
    for part in parts:
        if part.get("type") == "choices":
            controls.setdefault(str(part.get("from_name")), []).extend(part["value"]["choices"])
    fitting = (choices for choices in controls.values() if set(choices) <= set(class_names))
    return controls.get("label") or next(fitting, None) or next(iter(controls.values()), [])


# Prodigy --------------------------------------------------------------------------------------------------------


def _write_prodigy(records: Sequence[Record], class_names: Sequence[str]) -> bytes:
    options = [{"id": name, "text": name} for name in class_names]

    def example(record: Record) -> Json:
        told = own_columns(record) | record.reason
        meta = {name: value for name, value in told.items() if isinstance(value, str | int | float)}
        shown: Json = {"text": record.text, "meta": {**meta, "dami_id": record.id}, "options": options}
        if record.flagged:
            shown |= {"flagged": True}
        if record.note:
            shown |= {"dami_note": record.note}
        if record.annotator:
            shown |= {"_annotator_id": record.annotator}
        if record.status == "open":
            return shown
        shown |= {"accept": [] if record.label is None else [record.label]}
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


def _read_prodigy(content: bytes, class_names: Sequence[str]) -> Iterable[Decision]:
    examples = json_lines(content)
    names = _session_names(examples)
    for example in examples:
        answer, text = example.get("answer"), example.get("text")
        number = as_text((example.get("meta") or {}).get("dami_id"))
        session, annotator = example.get("_session_id"), example.get("_annotator_id")
        if isinstance(session, str) and annotator in (None, session):
            annotator = names[session]
        named: list[Any] = example.get("accept") or [] if "options" in example else [example.get("label")]
        decision = Decision(number, text, None, annotator, decided=answer == "ignore")
        if answer == "accept" and named and named[0] is not None:
            decision = _labeled(number, text, named, annotator)
        elif answer == "reject" and example.get("label") in class_names and len(class_names) == 2:
            decision = _labeled(number, text, [name for name in class_names if name != example["label"]], annotator)
        flagged, note = example.get("flagged") is True, example.get("dami_note")
        if decision.decided or flagged or note:
            yield replace(decision, flagged=flagged, note=note)


# doccano --------------------------------------------------------------------------------------------------------


def _write_doccano(records: Sequence[Record], class_names: Sequence[str]) -> bytes:
    return lines_of(
        own_columns(record)
        | {"text": record.text, "label": [] if record.label is None else [record.label], "dami_id": record.id}
        | ({"dami_annotator": record.annotator} if record.annotator else {})
        for record in records
    )


def _read_doccano(content: bytes, class_names: Sequence[str]) -> Iterable[Decision]:
    for example in json_records(content):
        named = (example.get("meta") or {}) | example  # it moves what it does not know into meta
        labels = example.get("label", example.get("labels")) or []
        number, annotator = as_text(named.get("dami_id")), named.get("dami_annotator")
        if labels:
            yield _labeled(number, example.get("text"), labels if isinstance(labels, list) else [labels], annotator)


# Argilla --------------------------------------------------------------------------------------------------------


def _write_argilla(records: Sequence[Record], class_names: Sequence[str]) -> bytes:
    return array_of(map(_argilla_record, _by_text(records)))


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
    for record in decided:
        user = str(uuid5(NAMESPACE_URL, record.annotator or ""))  # users have ids there, not names
        status = "discarded" if record.label is None else "submitted"
        response = {"value": record.label, "user_id": user, "status": status}
        shown["responses"].setdefault("label", []).append(response)
        shown.setdefault("annotators", {})[user] = record.annotator
    return shown | _marks(records)


def _read_argilla(content: bytes, class_names: Sequence[str]) -> Iterable[Decision]:
    for record in json_array(content):
        nested = "fields" in record  # as `to_json` writes it; as `to_list(flatten=True)` otherwise
        for answer, user, state in _answers(record) if nested else _flat_answers(record):
            text = record["fields"].get("text") if nested else record.get("text")
            if state in ("submitted", "discarded"):
                annotator = (record.get("annotators") or {}).get(user, user)
                number = as_text(record.get("id"))
                if state == "discarded":
                    yield Decision(number, text, None, annotator)
                else:
                    yield _labeled(number, text, answer if isinstance(answer, list) else [answer], annotator)
        yield from _marked(as_text(record.get("id")), (record.get("fields") or record).get("text"), record)


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


# What the formats share ------------------------------------------------------------------------------------------


def _labeled(number: str | None, text: str | None, labels: Sequence[Any], annotator: str | None) -> Decision:
    """The decision for the one label; with a problem where there are several, which no text can have here."""
    names = [as_text(label) or "" for label in labels]
    problem = None if len(names) == 1 else f"{names} are several labels"
    return Decision(number, text, names[0], annotator, problem=problem)


def _by_text(records: Sequence[Record]) -> list[list[Record]]:
    """The records in groups of the same text, which stand one after the other."""
    return [list(group) for _, group in groupby(records, key=lambda record: (record.id, record.text))]


def _marks(records: Sequence[Record]) -> Json:
    """Who has flagged a text, and the notes on it by annotator; empty where there are none."""
    flagged = [record.annotator for record in records if record.flagged and record.annotator]
    notes = {record.annotator: record.note for record in records if record.note and record.annotator}
    return ({"dami_flagged": flagged} if flagged else {}) | ({"dami_notes": notes} if notes else {})


def _marked(number: str | None, text: str | None, found: Json) -> Iterable[Decision]:
    """The flags and notes that `_marks` wrote, as decisions that decide nothing."""
    flagged, notes = found.get("dami_flagged") or [], found.get("dami_notes") or {}
    for annotator in dict.fromkeys([*flagged, *notes]):
        yield Decision(
            number, text, None, annotator, decided=False, flagged=annotator in flagged, note=notes.get(annotator)
        )


# Events ---------------------------------------------------------------------------------------------------------


def read_events(content: bytes, class_names: Sequence[str]) -> Iterable[Decision]:
    """What stands at the end of the events that `dami-text export --format events` wrote: decisions and flags."""
    events = json_lines(content)
    undone = {event["undoes"] for event in events if event["action"] == "undo"}
    decided: dict[tuple[str, str], Decision] = {}
    flagged: dict[tuple[str, str], bool] = {}
    for event in events:
        key, action = (event["id"], event["annotator"]), event["action"]
        if event["number"] in undone or action == "undo":
            continue
        if action in ("flag", "unflag"):
            flagged[key] = action == "flag"
        else:
            decided.pop(key, None)  # of labels with as many votes the first counts, and this one is new
            decided[key] = Decision(event["id"], None, event["label"], event["annotator"])
    for key in dict.fromkeys([*decided, *(key for key, is_set in flagged.items() if is_set)]):
        decision = decided.get(key) or Decision(key[0], None, None, key[1], decided=False)
        yield replace(decision, flagged=flagged.get(key, False))


# All of them ----------------------------------------------------------------------------------------------------


Write = Callable[[Sequence[Record], Sequence[str]], bytes]
Read = Callable[[bytes, Sequence[str]], Iterable[Decision]]

#: For each format how it is written and read.
FORMATS: dict[str, tuple[Write, Read]] = {
    "csv": (write_csv, read_csv),
    "jsonl": (write_jsonl, read_jsonl),
    "parquet": (write_parquet, read_parquet),
    "label-studio": (_write_label_studio, _read_label_studio),
    "prodigy": (_write_prodigy, _read_prodigy),
    "doccano": (_write_doccano, _read_doccano),
    "argilla": (_write_argilla, _read_argilla),
}


def write_records(name: str, records: Sequence[Record], class_names: Sequence[str], safe_csv: bool = False) -> bytes:
    """The records in the format of that name; `safe_csv` keeps spreadsheets from calculating cells of a csv."""
    if name == "csv":
        return write_csv(records, class_names, safe_csv)
    return FORMATS[name][0](records, class_names)


def read_decisions(name: str, content: bytes, class_names: Sequence[str]) -> list[Decision]:
    """What a file in the format of that name decides; a record with a part of the wrong kind has that as its problem.

    Raises:
        DataError: it is not in this format, or all that it decides has such parts.
    """
    try:
        read = read_events if name == "events" else FORMATS[name][1]
        decisions = list(read(content, class_names))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error, pa.ArrowException) as error:
        raise DataError(f"the file is not in the format {name} ({type(error).__name__}: {error})") from error
    faults = list(map(_fault, decisions))
    if decisions and all(faults):
        raise DataError(f"the file is not in the format {name}: {faults[0]}")
    found = zip(decisions, faults, strict=True)
    return [Decision(None, None, None, problem=fault) if fault else decision for decision, fault in found]


def _fault(decision: Decision) -> str | None:
    """Which part of a decision is of the wrong kind; None where none is."""
    for part, value in vars(decision).items():
        if not isinstance(value, str | bool | None):
            return f"it has {value!r:.60} for {part}; wanted text"
    if decision.annotator is not None and not decision.annotator.isprintable():
        return f"the annotator {decision.annotator!r:.60} has characters that cannot be shown; rename them"
    return None


def guess_format(file_name: str, content: bytes) -> str:
    """The format of a file, by its name and its first record.

    Raises:
        DataError: it is none of those that are known.
    """
    suffix = file_name.lower().rpartition(".")[2]
    if suffix in ("csv", "tsv", "parquet"):
        return "csv" if suffix == "tsv" else suffix
    try:
        first = json_records(content)[0]
    except (ValueError, IndexError, RecursionError) as error:
        raise DataError(f"{file_name} is of no known format; name it with --format") from error
    is_own = {"text", "label", "status", "flagged", "reason"} <= first.keys()  # whatever else the texts came with
    return "jsonl" if is_own else _format_of(first, content)


def _format_of(first: Json, content: bytes) -> str:
    """The format of JSON by its first record."""
    if "action" in first and "number" in first:
        return "events"
    if "data" in first:
        return "label-studio"
    if "fields" in first or any(key.startswith("label.") for key in first):
        return "argilla"
    if "answer" in first or "options" in first:
        return "prodigy"
    # Label Studio's short form, an array, has the id as well.
    lines = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] != b"["
    doccanos = "labels" in first or ("dami_id" in first and lines) or isinstance(first.get("label"), list)
    return "doccano" if doccanos else "jsonl"
