"""Tasks for Label Studio, and its JSON export."""

from collections.abc import Iterable, Sequence

from dami_text.labeling.exchange.marks import by_text, labeled, marked, marks_of
from dami_text.labeling.exchange.records import Decision, Json, Record, array_of, as_text, json_array, own_columns
from dami_text.labeling.exchange.scheme import LabelScheme, names_of
from dami_text.labeling.labels import Names

#: Why an annotation that has results, and no choices among them, is no answer.
NO_CHOICES = "an annotation with results of other controls alone, which does not say whether none of the labels holds"

SUGGESTION = "suggestion"  # what stands for the model of a suggestion that the text came with


def labeling_interface(class_names: Sequence[str], *, multilabel: bool = False) -> str:
    """The labelling interface that a project for these tasks needs."""
    from xml.sax.saxutils import quoteattr

    choices = "".join(f"<Choice value={quoteattr(name)}/>" for name in class_names)
    choice = "multiple" if multilabel else "single"
    return (
        '<View><Text name="text" value="$text"/>'
        f'<Choices name="label" toName="text" choice="{choice}">{choices}</Choices></View>'
    )


def write(records: Sequence[Record], scheme: LabelScheme, safe: bool = False) -> bytes:
    """Label Studio's tasks, an array of JSON."""
    return array_of(map(_task, by_text(records)))


def _task(records: Sequence[Record]) -> Json:
    record = records[0]
    task: Json = {"data": {"text": record.text, "dami_id": record.id}, "annotations": [], "predictions": []}
    if record.reason:
        task["meta"] = {"reason": record.reason}
    if record.guess is not None:
        task["predictions"].append(
            {"model_version": f"r{record.round or 0}", "score": record.score, "result": _choice("p1", record.guess)}
        )
    if record.suggestion is not None:
        prediction = {"model_version": SUGGESTION, "score": record.suggestion_score}
        task["predictions"].append(prediction | {"result": _choice("p2", record.suggestion)})
    # Skips last: Label Studio's tables leave them out, and their rows are told apart by their order.
    decided = sorted((record for record in records if record.status != "open"), key=lambda record: record.label is None)
    if decided:
        # Annotations have the numbers of users there, not names.
        task["data"]["dami_annotator"] = decided[0].annotator
        if len(decided) > 1:
            task["data"]["dami_annotators"] = [record.annotator for record in decided]
    task["data"] = own_columns(record) | task["data"] | marks_of(records)
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


def _choice(number: str, label: Names) -> list[Json]:
    """A result with the label, or with all; none where there is no label, as where an annotator has chosen nothing."""
    names = {"id": number, "from_name": "label", "to_name": "text", "type": "choices"}
    return [names | {"value": {"choices": names_of(label)}}] if label != [] else []


def read(content: bytes, scheme: LabelScheme) -> Iterable[Decision]:
    """What the annotations of its JSON export decide."""
    for task in json_array(content):
        data = task["data"]
        number, text = as_text(data.get("dami_id")), data.get("text")
        sent = data.get("dami_annotators") or [data.get("dami_annotator")]
        for i, annotation in enumerate(task.get("annotations") or []):
            who = annotation.get("completed_by")
            annotator = who.get("email") if isinstance(who, dict) else None if who is None else str(who)
            if i < len(sent):  # one of those that went out with the task, whoever was put down for it there
                annotator = sent[i] or annotator
            results = annotation.get("result") or []
            if annotation.get("was_cancelled"):
                yield Decision(id=number, text=text, label=None, annotator=annotator)
            elif (choices := _choices(results, scheme.names)) or (scheme.multilabel and not results):
                yield labeled(choices, scheme, id=number, text=text, annotator=annotator)
            elif scheme.multilabel:
                yield Decision(id=number, text=text, label=None, problem=NO_CHOICES)
        yield from marked(number, text, data)


def _choices(parts: Sequence[Json], class_names: Sequence[str]) -> list[str]:
    """The choices of the control `label`, or else of the first one that offers classes, or else of the first."""
    controls: dict[str, list[str]] = {}
    for part in parts:
        if part.get("type") == "choices":
            controls.setdefault(str(part.get("from_name")), []).extend(part["value"]["choices"])
    fitting = (choices for choices in controls.values() if set(choices) <= set(class_names))
    return controls.get("label") or next(fitting, None) or next(iter(controls.values()), [])


def recognizes(first: Json, is_lines: bool) -> bool:
    """Whether a file of JSON that begins with this record, in lines or in an array, is of this format."""
    return "data" in first


def advice(scheme: LabelScheme) -> str:
    """What there is to say when tasks are written."""
    return f"labelling interface: {labeling_interface(scheme.names, multilabel=scheme.multilabel)}"
