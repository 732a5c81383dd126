"""All that ever happened in a session, as lines of JSON."""

from collections.abc import Iterable
from dataclasses import replace

from dami_text.labeling.exchange.records import Decision, Json, json_lines, lines_of
from dami_text.labeling.exchange.scheme import LabelScheme
from dami_text.labeling.session import Session


def read(content: bytes, scheme: LabelScheme) -> Iterable[Decision]:
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
            decision = Decision(id=event["id"], text=None, label=event["label"], annotator=event["annotator"])
            decided[key] = replace(decision, review=bool(event.get("review")))
    for key in dict.fromkeys([*decided, *(key for key, is_set in flagged.items() if is_set)]):
        decision = decided.get(key) or Decision(id=key[0], text=None, label=None, annotator=key[1], decided=False)
        yield replace(decision, flagged=flagged.get(key, False))


def recognizes(first: Json, is_lines: bool) -> bool:
    """Whether a file of JSON that begins with this record is of this format."""
    return "action" in first and "number" in first


def write_events(session: Session) -> tuple[bytes, int]:
    """All events of a session, one a line, and how many they are."""
    events = [dict(event) | {"id": session.id(event["row"])} for event in session.store.events()]
    for event in events:
        event["label"] = None if event["label"] is None else session.named(event["label"])
    return lines_of(events), len(events)
