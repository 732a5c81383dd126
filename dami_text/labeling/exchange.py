"""Labels out of a session and into it: what `formats` writes and reads, matched to the pool's texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dami_text.data.pool import text_hash
from dami_text.errors import ConfigError, DataError
from dami_text.labeling.rounds import LabeledNow, explained, told_learner
from dami_text.labeling.session import FILE_ANNOTATOR, Session
from dami_text.labeling.store import QueueItem
from dami_text.labeling.tables import Decision, Record
from dami_text.records import write_whole

#: Whose labels those are that nobody is named for.
NOBODY = "import"


def records_of(session: Session, only_decided: bool = True) -> list[Record]:
    """A record for each text that was labelled or skipped, or for every text, in the order of the file."""
    with session.store.snapshot():
        decided, flags = session.store.decided(), session.store.flags()
        items = session.store.latest_items()
    rows = sorted(decided.keys() | flags.keys()) if only_decided else range(len(session))
    records = []
    for row in rows:
        given = decided.get(row)
        label = given["label"] if given else None
        records.append(
            Record(
                session.id(row),
                session.text(row),
                None if label is None else session.class_names[label],
                "open" if given is None else "skipped" if label is None else "labelled",
                given["annotator"] if given else None,
                given["time"] if given else None,
                given["seconds"] if given else None,
                given["round"] if given else None,
                row in flags,
                **(_told(session, items[row]) if row in items else {}),
            )
        )
    return records


def selected_records(session: Session, n: int) -> list[Record]:
    """The next n texts to label, most wanted first, with guesses and reasons; before there is a label, the queue's.

    Raises:
        DataError: nothing is left to label.
    """
    now, rounds = LabeledNow.of(session), len(session.store.rounds())
    if len(now.rows):
        learner, strategy = told_learner(session, now)
        free = len(learner.pool.unlabeled)
        items = explained(session, learner, strategy, learner.ask(min(n, free))) if free else []
    else:
        decided = session.store.decided()
        queue = session.store.queue(rounds) + session.random_items(n, "select", "start")
        items = [item for item in queue if item.kind != "held-out" and item.row not in decided][:n]
    if not items:
        raise DataError(f"all texts of {session.folder} are labelled, skipped or held out; there is nothing to select")
    return [Record(session.id(i.row), session.text(i.row), round=rounds, **_told(session, i)) for i in items]


def _told(session: Session, item: QueueItem) -> dict[str, Any]:
    """What a queue says of a text, as the fields of a record."""
    reason = {name: value for name, value in item.reason.items() if name not in ("shades", "guess", "probability")}
    guess = item.reason.get("guess")
    return {
        "guess": None if guess is None else session.class_names[guess],
        "score": item.reason.get("probability"),
        "reason": reason | {"kind": item.kind} if reason else {},
    }


def write_file(session: Session, file: Path, content: bytes) -> None:
    """Write a file, whole or not at all, that is neither the session's nor one that its texts came from.

    Raises:
        ConfigError: it is.
        DataError: it cannot be written.
    """
    place, source = file.absolute().resolve(), Path(session.config.run.data.dataset).resolve()
    found = {
        "the file that the texts came from": place == source,
        "in the folder that the texts came from": source in place.parents,
        f"in the session {session.folder}": session.folder.resolve() in place.parents,
    }
    for what, is_so in found.items():
        if is_so:
            raise ConfigError(f"{file} is {what}; choose another to write to")
    try:
        if file.exists() and not file.is_file():  # such as /dev/stdout
            file.write_bytes(content)
        else:
            write_whole(place, content)
    except OSError as error:
        raise DataError(f"cannot write {file}: {error}") from error


@dataclass(frozen=True)
class Imported:
    """What became of an import: labels and skips that were news, known ones, and those whose text is not in the pool.

    `ambiguous` counts decisions without an id on texts that the pool has several times, `changed` those among the added
    that replace what their annotator had decided before, `contradictory` the texts that the file says different things
    about in one annotator's name.
    """

    added: int
    known: int
    unmatched: int
    ambiguous: int
    changed: int = 0
    contradictory: int = 0


def import_decisions(session: Session, decisions: Sequence[Decision], annotator: str | None = None) -> Imported:
    """Add decisions made elsewhere, all or none; each is matched by its id and its text, or by its text alone.

    `annotator` is whose they are where the file does not say. Where nobody is named at all, a decision is about the one
    that the text has: it confirms or corrects that, under the name of who made it, and is no second opinion.

    Raises:
        ConfigError: `annotator` is no name to give labels under.
        DataError: a label is none of the session's classes, or an id and its text do not belong together.
    """
    if annotator is not None and (not annotator.strip() or not annotator.isprintable() or annotator == FILE_ANNOTATOR):
        raise ConfigError(
            f"--annotator is {annotator!r}; it must be a name that can be shown, other than {FILE_ANNOTATOR}, whose "
            "labels are those that the texts came with"
        )
    numbers = {name: i for i, name in enumerate(session.class_names)}
    strangers = sorted({d.label for d in decisions if d.label is not None} - numbers.keys())
    if strangers:
        raise DataError(f"the file holds the labels {strangers[:10]}; the session's classes are {session.class_names}")
    decided = session.store.decided()
    given: dict[tuple[int, str], set[int | None]] = {}
    unmatched = ambiguous = 0
    for decision in decisions:
        rows = _rows_of(session, decision)
        if len(rows) == 1:
            label = None if decision.label is None else numbers[decision.label]
            named = decision.annotator if decision.annotator != FILE_ANNOTATOR else None  # no person's, as if not there
            standing = decided[rows[0]]["annotator"] if rows[0] in decided else NOBODY
            given.setdefault((rows[0], named or annotator or standing), set()).add(label)
        elif rows:
            ambiguous += 1
        else:
            unmatched += 1
    labels = [(row, label, name) for (row, name), (label, *others) in given.items() if not others]
    added, changed = session.store.add_labels(labels)
    return Imported(added, len(labels) - added, unmatched, ambiguous, changed, len(given) - len(labels))


def _rows_of(session: Session, decision: Decision) -> list[int]:
    """The rows of the pool that a decision may be about."""
    texts = [text for text in (decision.text, decision.unescaped) if text is not None]
    hashes = [int.from_bytes(text_hash(text)) for text in texts]
    if decision.id is None:
        return [row for content in hashes for row in session.rows_by_hash.get(content, [])]
    row = session.rows_by_id.get(decision.id)
    if row is None:
        return []
    if texts and not any(row in session.rows_by_hash.get(content, ()) for content in hashes):
        raise DataError(
            f"the id {decision.id} is of another text than {texts[0][:60]!r} in the file; ids and texts were mixed up"
        )
    return [row]
