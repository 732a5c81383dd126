"""What annotators did, in one SQLite file: events that are only ever added, and labels as a view of them.

A label is on disk when the call that gives it returns (write-ahead log, synchronous=FULL), and several processes may
write at the same time: each decision is made and written in one transaction that holds the write lock from its start
(BEGIN IMMEDIATE). What a person decides is tied to what was on their screen, by the row and its version, the last event
of this annotator on that row. If anything happened to it since, the decision is refused, so that no label reaches
another text than the one that was looked at, or is counted twice.
"""

import sqlite3
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from dami_text.labeling.labels import Label, stored
from dami_text.labeling.store.queues import QueueItem, Queues, item_of
from dami_text.labeling.store.statements import LAST_ACT, NEXT

Action = Literal["label", "skip"]


class Refused(Exception):  # noqa: N818 - an answer that a page shows, not a failure
    """A decision about a text that is no longer as it was on the annotator's screen; nothing was changed."""


@dataclass(frozen=True)
class Shown:
    """What an annotator has on the screen: the row, and the last event of theirs on it (0 where there is none)."""

    row: int
    version: int


class Store(Queues):
    """The events, notes, leases, queue and rounds of a session, in the file at `path`.

    Raises:
        RecordError: as `Database`.
    """

    # Annotators -------------------------------------------------------------------------------------------------

    def set_password(self, annotator: str, hashed: str) -> None:
        """Set an annotator's hashed password."""
        with self.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO annotator VALUES (?, ?)", (annotator, hashed))

    def password(self, annotator: str) -> str | None:
        """An annotator's hashed password, None for one who has none."""
        value: str | None = self._one("SELECT password FROM annotator WHERE name = ?", annotator)
        return value

    # Decisions --------------------------------------------------------------------------------------------------

    def next(
        self, annotator: str, lease_seconds: float, now: float | None = None, budget: int | None = None
    ) -> tuple[Shown, QueueItem] | None:
        """The text that this annotator labels next, leased to them from now on; None where there is none now.

        The text that they have already comes first, then their batch, then texts that lack another annotator's label,
        then the queue.
        Where `budget` texts are labelled or with others, there are only those that lack another annotator's label.
        """
        now = time.time() if now is None else now
        with self.transaction() as connection:
            only_begun = budget is not None and self.n_taken(annotator, now) >= budget
            values = {"annotator": annotator, "now": now, "only_begun": only_begun}
            found = connection.execute(NEXT, values).fetchone()
            connection.execute(
                "DELETE FROM lease WHERE annotator = ? AND row IS NOT ?", (annotator, found["row"] if found else None)
            )
            if found is None:
                return None
            self._lease(found["row"], annotator, lease_seconds, now)
            return Shown(found["row"], self._version(found["row"], annotator)), item_of(found)

    def n_taken(self, annotator: str, now: float | None = None) -> int:
        """How many rows have a label, or are with others than this annotator, who may give them one."""
        now = time.time() if now is None else now
        query = "SELECT row FROM label UNION SELECT row FROM lease WHERE annotator != ? AND until > ?"
        return int(self._one(f"SELECT COUNT(*) FROM ({query})", annotator, now))

    def shown(self, row: int, annotator: str) -> tuple[Shown, QueueItem]:
        """A text that this annotator has decided on before, to look at it again."""
        found = self._all("SELECT * FROM queue WHERE row = ? ORDER BY round DESC, rank DESC LIMIT 1", row)
        item = item_of(found[0]) if found else QueueItem(row, "start", {})
        return Shown(row, self._version(row, annotator)), item

    def decide(
        self,
        shown: Shown,
        annotator: str,
        action: Action,
        label: Label | None = None,
        now: float | None = None,
        *,
        review: bool = False,
    ) -> int:
        """Label or skip the text on the annotator's screen; returns the event's number.

        A label for a text that the annotator has labelled before is a relabelling. A second look (`review`) at a text
        that has a label decides on it, whoever gave the label; so does a later word of those who had decided before.

        Raises:
            Refused: the text is no longer as it was shown, or it has been given to somebody else.
        """
        now = time.time() if now is None else now
        with self.transaction() as connection:
            self._check_version(shown, annotator)
            earlier = connection.execute(
                "SELECT label FROM decision WHERE row = ? AND annotator = ?", (shown.row, annotator)
            ).fetchone()
            if earlier is None and not review:
                self._check_free(shown.row, annotator, now)
            lease = connection.execute(
                "SELECT since FROM lease WHERE row = ? AND annotator = ?", (shown.row, annotator)
            ).fetchone()
            connection.execute("DELETE FROM lease WHERE row = ? AND annotator = ?", (shown.row, annotator))
            relabel = action == "label" and earlier is not None and earlier["label"] is not None
            seconds = round(now - lease["since"], 3) if lease else None
            return self._insert(
                "relabel" if relabel else action,
                shown.row,
                annotator,
                now=now,
                label=label,
                seconds=seconds,
                review=review or (earlier is not None and self._is_reviewed(shown.row)),
            )

    def correct(self, shown: Shown, annotator: str, label: Label, now: float | None = None) -> int:
        """Give a text that has been decided on another label; returns the event's number, 0 where it has that label.

        `shown.version` is the row's `latest_decision`. Where others have labelled the row, this is a second look: it
        counts before their labels, and is no opinion of one's own.

        Raises:
            Refused: somebody has decided on the text since it was shown, or nobody has any more.
        """
        now = time.time() if now is None else now
        with self.transaction() as connection:
            if not shown.version or self.latest_decision(shown.row) != shown.version:
                raise Refused("somebody has changed this text's label in the meantime")
            if self._one("SELECT label FROM label WHERE row = ?", shown.row) == label:
                return 0
            given = connection.execute(
                "SELECT annotator FROM decision WHERE row = ? AND label IS NOT NULL", (shown.row,)
            ).fetchall()
            names = {row["annotator"] for row in given}
            connection.execute("DELETE FROM lease WHERE row = ? AND annotator = ?", (shown.row, annotator))
            action = "relabel" if annotator in names else "label"
            review = bool(names - {annotator}) or self._is_reviewed(shown.row)
            return self._insert(action, shown.row, annotator, now, label, review=review)

    def latest_decision(self, row: int) -> int:
        """The number of the latest decision on a row, whoever made it; 0 where there is none."""
        return self._one("SELECT MAX(number) FROM decision WHERE row = ?", row) or 0

    def toggle_flag(self, shown: Shown, annotator: str, now: float | None = None) -> Shown:
        """Flag the text on the annotator's screen, or take the flag away; returns what is on the screen then.

        Raises:
            Refused: the text is no longer as it was shown.
        """
        now = time.time() if now is None else now
        with self.transaction() as connection:
            self._check_version(shown, annotator)
            flagged = connection.execute(
                "SELECT 1 FROM flag WHERE row = ? AND annotator = ?", (shown.row, annotator)
            ).fetchone()
            return Shown(shown.row, self._insert("unflag" if flagged else "flag", shown.row, annotator, now))

    def last_act(self, annotator: str) -> int:
        """What this annotator did last on the page, a decision or a flag, and has not undone; 0 for nothing."""
        return self._one(LAST_ACT, annotator) or 0

    def undo(self, annotator: str, last: int, lease_seconds: float, now: float | None = None) -> sqlite3.Row:
        """Take back what the annotator did last, the event `last`, which is returned.

        The row of a decision is then theirs to label; one that goes to several, when nobody else has it any more.

        Raises:
            Refused: `last` is not what they did last, or the text has been given to somebody else since.
        """
        now = time.time() if now is None else now
        with self.transaction() as connection:
            number = self.last_act(annotator)
            if not number:
                raise Refused("there is nothing to undo")
            if number != last:
                raise Refused("what you did last is not what the page showed; look again")
            event: sqlite3.Row = connection.execute("SELECT * FROM event WHERE number = ?", (number,)).fetchone()
            if event["action"] not in ("flag", "unflag"):
                holder = self._holder(event["row"], annotator, now)
                if holder is not None and self._wanted(event["row"]) == 1:
                    raise Refused(f"the text is with {holder} now")
                if holder is None:
                    connection.execute("DELETE FROM lease WHERE annotator = ?", (annotator,))
                    self._lease(event["row"], annotator, lease_seconds, now)
            self._insert("undo", event["row"], annotator, now, undoes=last)
            return event

    def add_labels(
        self, labels: Iterable[tuple[int, Label | None, str]], reviews: Collection[tuple[int, str]] = ()
    ) -> tuple[int, int]:
        """Add labels made elsewhere, (row, label or None for a skip, annotator); `reviews` are (row, annotator).

        Returns how many were news, and how many of these changed what their annotator had decided before.
        """
        now, added, changed = time.time(), 0, 0
        with self.transaction() as connection:
            for row, label, annotator in labels:
                earlier = connection.execute(
                    "SELECT label FROM decision WHERE row = ? AND annotator = ?", (row, annotator)
                ).fetchone()
                if earlier is not None and earlier["label"] == label:
                    continue
                action = "skip" if label is None else "label" if earlier is None else "relabel"
                review = (row, annotator) in reviews or self._is_reviewed(row)
                self._insert(action, row, annotator, now, label, imported=True, review=review)
                added += 1
                changed += earlier is not None
        return added, changed

    def add_flags(self, flags: Iterable[tuple[int, str]]) -> int:
        """Add flags made elsewhere, (row, annotator); returns how many were news."""
        added = 0
        with self.transaction():
            for row, annotator in flags:
                if not self.is_flagged(row, annotator):
                    self._insert("flag", row, annotator, time.time(), imported=True)
                    added += 1
        return added

    def _version(self, row: int, annotator: str) -> int:
        version = self._one("SELECT MAX(number) FROM event WHERE row = ? AND annotator = ?", row, annotator)
        return version or 0

    def _check_version(self, shown: Shown, annotator: str) -> None:
        if self._version(shown.row, annotator) != shown.version:
            raise Refused("the text was decided on before; here is what comes next")

    def _check_free(self, row: int, annotator: str, now: float) -> None:
        """Raise Refused if others have labelled the row already, or one of them has it now."""
        holder = self._holder(row, annotator, now)
        if holder is not None:
            raise Refused(f"the text was given to {holder} after a while without an answer; here is another")
        labels = self._one("SELECT COUNT(*) FROM opinion WHERE row = ? AND label IS NOT NULL", row)
        if labels >= self._wanted(row):
            raise Refused("somebody else has labelled this text in the meantime; here is another")

    def _is_reviewed(self, row: int) -> bool:
        """Whether the row's label had a second look."""
        return bool(self._one("SELECT 1 FROM decision WHERE row = ? AND review AND label IS NOT NULL", row))

    def _wanted(self, row: int) -> int:
        """How many annotators the row goes to."""
        return self._one("SELECT wanted FROM queue WHERE row = ? ORDER BY round DESC LIMIT 1", row) or 1

    def _holder(self, row: int, annotator: str, now: float) -> str | None:
        """Who else has the row now, if anybody."""
        query = "SELECT annotator FROM lease WHERE row = ? AND annotator != ? AND until > ?"
        holder: str | None = self._one(query, row, annotator, now)
        return holder

    def _lease(self, row: int, annotator: str, seconds: float, now: float) -> None:
        """Lease a row; the time since it was shown first goes on where it is theirs already."""
        self._connection.execute(
            "INSERT INTO lease VALUES (:row, :annotator, :now, :until) ON CONFLICT (row) DO UPDATE SET until = :until, "
            "since = IIF(annotator = :annotator AND lease.until > :now, since, :now), annotator = :annotator",
            {"row": row, "annotator": annotator, "now": now, "until": now + seconds},
        )

    def _insert(
        self,
        action: str,
        row: int,
        annotator: str,
        now: float,
        label: Label | None = None,
        *,
        undoes: int | None = None,
        seconds: float | None = None,
        imported: bool = False,
        review: bool = False,
    ) -> int:
        stamp = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
        cursor = self._connection.execute(
            "INSERT INTO event (action, row, annotator, label, undoes, round, time, seconds, imported, review) "
            "VALUES (?, ?, ?, ?, ?, (SELECT COUNT(*) FROM round), ?, ?, ?, ?)",
            (action, row, annotator, stored(label), undoes, stamp, seconds, imported, review),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    # What there is ----------------------------------------------------------------------------------------------

    def labels(self) -> list[sqlite3.Row]:
        """The label of each labelled row, by row: row, label, annotator, time, seconds, round."""
        return self._all("SELECT * FROM label ORDER BY row")

    def decisions(self, annotator: str | None = None, limit: int = -1) -> list[sqlite3.Row]:
        """What each annotator, or this one, has decided, the latest first: the columns of events."""
        return self._all(
            "SELECT * FROM decision WHERE ? IS NULL OR annotator = ? ORDER BY number DESC LIMIT ?",
            *(annotator, annotator, limit),
        )

    def opinions(self) -> list[sqlite3.Row]:
        """What each annotator has decided without seeing the label of others: row, annotator, label."""
        return self._all("SELECT * FROM opinion")

    def lease(self, row: int, annotator: str, lease_seconds: float, now: float | None = None) -> Shown | None:
        """A row, leased to this annotator in the place of what they have; None where somebody else has it."""
        now = time.time() if now is None else now
        with self.transaction() as connection:
            if self._holder(row, annotator, now) is not None:
                return None
            connection.execute("DELETE FROM lease WHERE annotator = ? AND row != ?", (annotator, row))
            self._lease(row, annotator, lease_seconds, now)
            return Shown(row, self._version(row, annotator))

    def decision(self, row: int, annotator: str) -> sqlite3.Row | None:
        """What this annotator has decided about a row, if anything."""
        found = self._all("SELECT * FROM decision WHERE row = ? AND annotator = ?", row, annotator)
        return found[0] if found else None

    def decided(self) -> dict[int, sqlite3.Row]:
        """For each row that was labelled or skipped its label, or its first skip: the columns of decisions."""
        return {row["row"]: row for row in [*self.decisions(), *self.labels()]}  # a label stands before skips

    def is_flagged(self, row: int, annotator: str) -> bool:
        """Whether this annotator has flagged a row."""
        return bool(self._all("SELECT 1 FROM flag WHERE row = ? AND annotator = ?", row, annotator))

    def skipped(self) -> list[int]:
        """Rows that somebody skipped and nobody labelled."""
        return [
            row["row"]
            for row in self._all(
                "SELECT DISTINCT row FROM decision WHERE label IS NULL "
                "AND row NOT IN (SELECT row FROM decision WHERE label IS NOT NULL) ORDER BY row"
            )
        ]

    def skipped_by(self, annotator: str) -> tuple[Shown, QueueItem] | None:
        """The text that this annotator skipped first, and only once, and that nobody has labelled; None without one."""
        row = self._one(
            "SELECT row FROM event WHERE annotator = ? AND action = 'skip' "
            "AND row NOT IN (SELECT row FROM decision WHERE label IS NOT NULL) "
            "AND NOT EXISTS (SELECT 1 FROM event AS u WHERE u.undoes = event.number) "
            "GROUP BY row HAVING COUNT(*) = 1 ORDER BY MIN(number) LIMIT 1",
            annotator,
        )
        return None if row is None else self.shown(row, annotator)

    def flags(self, annotator: str | None = None) -> dict[int, list[str]]:
        """Who has flagged each flagged row."""
        flags: dict[int, list[str]] = {}
        for row in self._all(
            "SELECT * FROM flag WHERE ? IS NULL OR annotator = ? ORDER BY row, annotator", annotator, annotator
        ):
            flags.setdefault(row["row"], []).append(row["annotator"])
        return flags

    def events(self) -> list[sqlite3.Row]:
        """Everything that ever happened, in order."""
        return self._all("SELECT * FROM event ORDER BY number")

    def rounds_of_labels(self) -> dict[int, int]:
        """The round in which each row was first labelled on the page, without rows that a file has decided on."""
        rows = self._all(
            "SELECT row, MIN(round) AS round FROM event WHERE action IN ('label', 'relabel') AND row NOT IN "
            "(SELECT row FROM event WHERE imported) GROUP BY row"
        )
        return {row["row"]: row["round"] for row in rows}

    def last_event(self) -> int:
        """The number of the last event; 0 before the first."""
        return self._one("SELECT MAX(number) FROM event") or 0
