"""Labels and tasks in the formats of other tools, as pure functions between records and text.

Records, and what goes out as it is, are in `tables`. Reading gives back what identifies a text and what was decided:
id, text, label, annotator. A negative answer to a proposed label (Prodigy's reject) decides between two classes and is
no decision among more.
"""

import csv
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pyarrow as pa

from dami_text.errors import DataError
from dami_text.labeling.tables import (
    Decision,
    Json,
    Record,
    array_of,
    json_array,
    json_lines,
    lines_of,
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
    return array_of(map(_task, records))


def _task(record: Record) -> Json:
    task: Json = {"data": {"text": record.text, "dami_id": record.id}, "annotations": [], "predictions": []}
    if record.reason:
        task["meta"] = {"reason": record.reason}
    if record.guess is not None:
        task["predictions"].append(
            {"model_version": f"r{record.round or 0}", "score": record.score, "result": _choice("p1", record.guess)}
        )
    if record.status != "open":
        task["data"]["dami_annotator"] = record.annotator  # annotations have the numbers of users there, not names
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
        for i, annotation in enumerate(task.get("annotations") or []):
            who = annotation.get("completed_by")
            annotator = who.get("email") if isinstance(who, dict) else None if who is None else str(who)
            if i == 0:  # the one that went out with the task, whoever was put down for it there
                annotator = data.get("dami_annotator") or annotator
            choices = [
                name
                for part in annotation.get("result") or []
                if part.get("type") == "choices"
                for name in part["value"]["choices"]
            ]
            if annotation.get("was_cancelled") or choices:
                label = None if annotation.get("was_cancelled") else _single(choices, data.get("text"))
                yield Decision(data.get("dami_id"), data.get("text"), label, annotator)


# Prodigy --------------------------------------------------------------------------------------------------------


def _write_prodigy(records: Sequence[Record], class_names: Sequence[str]) -> bytes:
    options = [{"id": name, "text": name} for name in class_names]

    def example(record: Record) -> Json:
        meta = {name: value for name, value in record.reason.items() if isinstance(value, str | int | float)}
        shown: Json = {"text": record.text, "meta": {**meta, "dami_id": record.id}, "options": options}
        if record.status == "open":
            return shown
        shown |= {"accept": [] if record.label is None else [record.label]}
        shown |= {"answer": "ignore" if record.label is None else "accept", "_view_id": "choice"}
        return shown | ({"_annotator_id": record.annotator} if record.annotator else {})

    return lines_of(map(example, records))


def _read_prodigy(content: bytes, class_names: Sequence[str]) -> Iterable[Decision]:
    for example in json_lines(content):
        answer = example.get("answer")
        named: list[Any] = example.get("accept") or [] if "options" in example else [example.get("label")]
        label: str | None
        if answer == "ignore":
            label = None
        elif answer == "accept" and named and named[0] is not None:
            label = _single(named, example.get("text"))
        elif answer == "reject" and example.get("label") in class_names and len(class_names) == 2:
            label = next(name for name in class_names if name != example["label"])
        else:
            continue
        yield Decision(
            (example.get("meta") or {}).get("dami_id"), example.get("text"), label, example.get("_annotator_id")
        )


# doccano --------------------------------------------------------------------------------------------------------


def _write_doccano(records: Sequence[Record], class_names: Sequence[str]) -> bytes:
    return lines_of(
        {"text": record.text, "label": [] if record.label is None else [record.label], "dami_id": record.id}
        | ({"dami_annotator": record.annotator} if record.annotator else {})
        for record in records
    )


def _read_doccano(content: bytes, class_names: Sequence[str]) -> Iterable[Decision]:
    for example in json_lines(content):
        named = (example.get("meta") or {}) | example  # it moves what it does not know into meta
        labels = example.get("label", example.get("labels")) or []
        if labels:
            label = _single(labels if isinstance(labels, list) else [labels], example.get("text"))
            yield Decision(named.get("dami_id"), example.get("text"), label, named.get("dami_annotator"))


# Argilla --------------------------------------------------------------------------------------------------------


def _write_argilla(records: Sequence[Record], class_names: Sequence[str]) -> bytes:
    return array_of(map(_argilla_record, records))


def _argilla_record(record: Record) -> Json:
    """A record as `dataset.records.from_json` takes it; what it does not know, `annotators`, it passes over."""
    shown: Json = {
        "id": record.id,
        "fields": {"text": record.text},
        "metadata": {},
        "suggestions": {},
        "responses": {},
        "vectors": {},
        "status": "pending" if record.status == "open" else "completed",
    }
    if record.guess is not None:
        shown["suggestions"]["label"] = {"value": record.guess, "score": record.score, "agent": f"r{record.round or 0}"}
    if record.status != "open":
        user = str(uuid5(NAMESPACE_URL, record.annotator or ""))  # users have ids there, not names
        status = "discarded" if record.label is None else "submitted"
        shown["responses"]["label"] = [{"value": record.label, "user_id": user, "status": status}]
        shown["annotators"] = {user: record.annotator}
    return shown


def _read_argilla(content: bytes, class_names: Sequence[str]) -> Iterable[Decision]:
    for record in json_array(content):
        nested = "fields" in record  # as `to_json` writes it; as `to_list(flatten=True)` otherwise
        for answer, user, state in _answers(record) if nested else _flat_answers(record):
            text = record["fields"].get("text") if nested else record.get("text")
            if state in ("submitted", "discarded"):
                annotator = (record.get("annotators") or {}).get(user, user)
                yield Decision(record.get("id"), text, answer if state == "submitted" else None, annotator)


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


# All of them ----------------------------------------------------------------------------------------------------


def _single(labels: Sequence[str], text: str | None) -> str:
    if len(labels) != 1:
        raise DataError(f"the text {str(text)[:60]!r} has the labels {list(labels)}; wanted one label a text")
    return labels[0]


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
    """What a file in the format of that name decides.

    Raises:
        DataError: it is not in this format.
    """
    try:
        decisions = list(FORMATS[name][1](content, class_names))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error, pa.ArrowException) as error:
        raise DataError(f"the file is not in the format {name} ({type(error).__name__}: {error})") from error
    for decision in decisions:
        for part, value in vars(decision).items():
            if not isinstance(value, str | None):
                raise DataError(f"the file is not in the format {name}: it has {value!r:.60} for {part}; wanted text")
        if decision.annotator is not None and not decision.annotator.isprintable():
            raise DataError(
                f"the annotator {decision.annotator!r:.60} has characters that cannot be shown; rename them"
            )
    return decisions


def guess_format(file_name: str, content: bytes) -> str:
    """The format of a file, by its name and its first record.

    Raises:
        DataError: it is none of those that are known.
    """
    suffix = file_name.lower().rpartition(".")[2]
    if suffix in ("csv", "tsv", "parquet"):
        return "csv" if suffix == "tsv" else suffix
    try:
        first = (json_array(content) if content.lstrip()[:1] == b"[" else json_lines(content))[0]
    except (ValueError, IndexError, RecursionError) as error:
        raise DataError(f"{file_name} is of no known format; name it with --format") from error
    if "data" in first:
        return "label-studio"
    if "fields" in first or any(key.startswith("label.") for key in first):
        return "argilla"
    if "answer" in first or "options" in first:
        return "prodigy"
    doccanos = "labels" in first or "dami_id" in first or isinstance(first.get("label"), list)
    return "doccano" if doccanos else "jsonl"
