"""Labels out of a session and into it: what `formats` writes and reads, matched to the pool's texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dami_text.data.copies import plain_text
from dami_text.data.ids import text_hash
from dami_text.errors import ConfigError, DataError
from dami_text.files import write_whole
from dami_text.labeling.exchange.records import Decision, Record
from dami_text.labeling.exchange.scheme import names_of
from dami_text.labeling.labels import Label, from_json
from dami_text.labeling.session import FILE_ANNOTATOR, Session
from dami_text.labeling.store.queues import QueueItem
from dami_text.labeling.suggestions import NONE

#: Annotator name of imported labels that have none.
NOBODY = "import"


def records_of(session: Session, only_decided: bool = True) -> list[Record]:
    """The records of each text that anybody decided on, flagged or wrote about, or of every text, in the file's order.

    A text has a record for each annotator, whose label counts as the text's first, and one where there is none. Copies
    of a text that were asked once have the records of the one that was asked, under ids of their own.
    """
    given: dict[int, dict[str | None, Any]] = {}
    with session.store.snapshot():
        standing, decisions = session.store.decided(), session.store.decisions()
        flags, notes, items = session.store.flags(), session.store.notes(), session.store.latest_items()
    for decision in reversed(decisions):
        given.setdefault(decision["row"], {})[decision["annotator"]] = decision
    touched = given.keys() | flags.keys() | notes.keys()
    rows = session.copies.with_all(touched) if only_decided else list(range(len(session)))
    records = []
    for row, own in zip(rows, session.own_columns(rows), strict=True):
        asked = int(session.copies.first[row])
        first = [standing[asked]["annotator"]] if asked in standing else []
        names = [*first, *given.get(asked, ()), *flags.get(asked, ()), *notes.get(asked, ())]
        told = (told_of(session, items[asked]) if asked in items else {}) | suggested(session, row)
        for annotator in dict.fromkeys(names) or [None]:
            decided = given.get(asked, {}).get(annotator)
            marks = {"flagged": annotator in flags.get(asked, ()), "note": notes.get(asked, {}).get(annotator or "")}
            records.append(_record(session, row, annotator, decided, own=own, **marks, **told))
    return records


def _record(session: Session, row: int, annotator: str | None, decision: Any, **more: Any) -> Record:
    """The record of what an annotator has decided about a row, which may be nothing."""
    number, text = session.id(row), session.text(row)
    if decision is None:
        return Record(id=number, text=text, annotator=annotator, **more)
    label = decision["label"]
    name, status = (None, "skipped") if label is None else (session.named(label), "labelled")
    when = {field: decision[field] for field in ("time", "seconds", "round")}
    return Record(id=number, text=text, label=name, status=status, annotator=annotator, **when, **more)


def told_of(session: Session, item: QueueItem) -> dict[str, Any]:
    """What a queue says of a text, as the fields of a record."""
    left_out = ("shades", "guess", "probability", "likeliest", "probabilities")
    reason = {name: value for name, value in item.reason.items() if name not in left_out}
    if "class" in reason:
        reason["class"] = session.class_names[reason["class"]]
    guess = item.reason.get("guess")
    return {
        "guess": None if guess is None else session.named(from_json(guess)),
        "score": item.reason.get("probability"),
        "reason": reason | {"kind": item.kind} if reason else {},
    }


def suggested(session: Session, row: int) -> dict[str, Any]:
    """The suggestion that a text came with, as the fields of a record."""
    found = session.suggestions
    if found is None or found.labels[row] == NONE:
        return {}
    return {"suggestion": session.class_names[found.labels[row]], "suggestion_score": found.score(row)}


def require_other_file(session: Session, file: Path) -> None:
    """Raise ConfigError if a file to write is the session's, or one that its texts came from."""
    place, source = file.absolute().resolve(), Path(session.config.run.data.dataset).resolve()
    found = {
        "the file that the texts came from": place == source,
        "in the folder that the texts came from": source in place.parents,
        f"in the session {session.folder}": session.folder.resolve() in place.parents,
    }
    for what, is_so in found.items():
        if is_so:
            raise ConfigError(f"{file} is {what}; choose another to write to")


def write_file(session: Session, file: Path, content: bytes) -> None:
    """Write a file, whole or not at all, that is neither the session's nor one that its texts came from.

    Raises:
        ConfigError: it is.
        DataError: it cannot be written.
    """
    require_other_file(session, file)
    try:
        if file.exists() and not file.is_file():  # such as /dev/stdout
            file.write_bytes(content)
        else:
            write_whole(file.absolute().resolve(), content)
    except OSError as error:
        raise DataError(f"cannot write {file}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What became of an import.

    Attributes:
        added, known: labels and skips that were news, and those that the session had.
        unmatched: decisions whose text is not in the pool.
        ambiguous: decisions without an id that two different texts of the pool fit.
        changed: how many of the added replace what their annotator had decided before.
        contradictory: texts that the file says different things about in one annotator's name.
        marks: flags and notes that were news.
        unusable: what is wrong with each decision that cannot be taken, which is left out.
    """

    added: int
    known: int
    unmatched: int
    ambiguous: int
    changed: int = 0
    contradictory: int = 0
    marks: int = 0
    unusable: tuple[str, ...] = ()


def import_decisions(session: Session, decisions: Sequence[Decision], annotator: str | None = None) -> Imported:
    """Add decisions made elsewhere; each is matched by its id and its text, or by its text alone.

    A text that the pool has several times takes a decision without an id for all of its copies, but for those that the
    file names by their ids. Copies that the session asks once have one label, whichever of them the file names. What
    cannot be taken is left out and counted. `annotator` is whose the decisions are where the file does not say. Where
    nobody is named at all, a decision is about the one that the text has: it confirms or corrects that, under the name
    of who made it, and is no second opinion.

    Raises:
        ConfigError: `annotator` is no name to give labels under.
        DataError: no label is one of the session's classes, or half of the ids or more are of other texts.
    """
    if annotator is not None and (not annotator.strip() or not annotator.isprintable() or annotator == FILE_ANNOTATOR):
        raise ConfigError(
            f"--annotator is {annotator!r}; it must be a name that can be shown, other than {FILE_ANNOTATOR}, whose "
            "labels are those that the texts came with"
        )
    found = _Matched(session, annotator)
    found.refuse_unknown(decisions)
    for decision in decisions:
        found.match(decision)
    found.refuse_mixed_ids()
    given = found.given_to_copies()
    labels = [(row, label, name) for (row, name), (label, *others) in given.items() if not others]
    with session.store.transaction():
        added, changed = session.store.add_labels(labels, found.reviews)
        marks = session.store.add_flags(found.flags)
        marks += sum(session.store.set_note(row, name, note) for (row, name), note in found.notes.items())
    return Imported(
        added=added,
        known=len(labels) - added,
        unmatched=found.unmatched,
        ambiguous=found.ambiguous,
        changed=changed,
        contradictory=len(given) - len(labels),
        marks=marks,
        unusable=tuple(found.unusable),
    )


class _Matched:
    """The decisions of a file, matched to rows of the pool one by one."""

    def __init__(self, session: Session, annotator: str | None) -> None:
        self.session, self.annotator = session, annotator
        self.classes = session.class_numbers
        self.decided = session.store.decided()
        self.by_id: dict[tuple[int, str], set[Label | None]] = {}
        self.by_text: dict[tuple[int, str], set[Label | None]] = {}
        self.flags: list[tuple[int, str]] = []
        self.reviews: set[tuple[int, str]] = set()
        self.notes: dict[tuple[int, str], str] = {}
        self.unusable: list[str] = []
        self.unmatched = self.ambiguous = self.n_ids = self.n_mixed = 0

    def refuse_unknown(self, decisions: Sequence[Decision]) -> None:
        """Raise DataError if the decisions have labels, and none of them is a class."""
        given = [decision.label for decision in decisions if decision.label is not None and not decision.problem]
        labels = {name for label in given for name in names_of(label) if name is not None}
        if labels and all(self.classes.of(label) is None for label in labels):
            several = "; --label-separator says what is between labels in one cell" if self.session.multilabel else ""
            raise DataError(
                f"the file holds the labels {sorted(labels)[:10]}; the session's classes are "
                f"{self.session.class_names}{several}"
            )

    def match(self, decision: Decision) -> None:
        """Note what a decision says, or that it cannot be taken."""
        if decision.problem is not None:
            self.unusable.append(decision.problem)
            return
        rows, by_id = self._rows(decision)
        if rows is None:
            return
        try:
            label = None if decision.label is None else self.classes.label(decision.label)
        except ValueError as error:
            self.unusable.append(str(error))
            return
        named = decision.annotator if decision.annotator != FILE_ANNOTATOR else None  # no person's, as if not there
        for row in dict.fromkeys(self.session.copies.first[rows].tolist()):
            key = (row, named or self.annotator or (self.decided[row]["annotator"] if row in self.decided else NOBODY))
            if decision.decided:
                (self.by_id if by_id else self.by_text).setdefault(key, set()).add(label)
            if decision.review:
                self.reviews.add(key)
            if decision.flagged:
                self.flags.append(key)
            if decision.note:
                self.notes[key] = decision.note

    def given_to_copies(self) -> dict[tuple[int, str], set[Label | None]]:
        """The labels of each row and annotator; an id goes before what is said of all copies of a text."""
        return self.by_text | self.by_id

    def refuse_mixed_ids(self) -> None:
        """Raise DataError if half of the ids or more are of other texts than beside them: the file was shifted."""
        if self.n_mixed and 2 * self.n_mixed >= self.n_ids:
            raise DataError(
                f"{self.n_mixed} of {self.n_ids} ids are of other texts than beside them in the file, such as "
                f"{self.unusable[-1]}: ids and texts were mixed up; restore the columns"
            )

    def _rows(self, decision: Decision) -> tuple[list[int] | None, bool]:
        """The rows that a decision is about, and whether its id says so; None where there are none to take it."""
        session = self.session
        row = None if decision.id is None else session.rows_by_id.get(decision.id)
        if row is not None:
            self.n_ids += 1
            texts = {plain_text(text) for text in (decision.text, decision.unescaped) if text}
            if not texts or plain_text(session.text(row)) in texts:
                return [row], True
            self.n_mixed += 1
            self.unusable.append(f"the id {decision.id}, which is not of the text {str(decision.text)[:60]!r}")
            return None, True
        readings = [text for text in (decision.text, decision.unescaped) if text is not None]
        found = [rows for text in readings if (rows := session.rows_by_hash.get(int.from_bytes(text_hash(text))))]
        if len(found) == 1:
            return found[0], False
        if found:
            self.ambiguous += 1
        else:
            self.unmatched += 1
        return None, False
