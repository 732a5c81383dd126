"""The rounds of a session, and the queues of texts to label that their models asked for."""

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dami_text.errors import RecordError
from dami_text.labeling.store.doubts import Doubt, Doubts

#: `similar` and `likely` are texts that a person asked for: no strategy chose them, and they are not drawn at random.
Kind = Literal["start", "asked", "held-out", "reserve", "similar", "likely"]


@dataclass(frozen=True)
class QueueItem:
    """A text to label: its row, why (a reason as JSON holds it), and how many annotators are wanted."""

    row: int
    kind: Kind
    reason: dict[str, Any]
    wanted: int = 1


@dataclass(frozen=True, kw_only=True)
class RoundRecord:
    """A finished round: the last event that it knew, labelled rows then, details, predictions of held-out texts.

    `stop_set` has the predictions of the stop set (see `settled`), empty in rounds of versions without it.
    """

    number: int
    through: int
    n_labeled: int
    time: str
    details: dict[str, Any]
    predictions: bytes
    stop_set: bytes = b""


class Queues(Doubts):
    """The rounds and queues in a session's SQLite file.

    Raises:
        RecordError: as `Database`.
    """

    def rounds(self) -> list[RoundRecord]:
        """The finished rounds, in order."""
        rows = self._all("SELECT * FROM round ORDER BY number")
        return [RoundRecord(**dict(row) | {"details": json.loads(row["details"])}) for row in rows]

    def queue(self, round_number: int) -> list[QueueItem]:
        """The texts to label for a round, most wanted first, but for those that one annotator has asked for."""
        rows = self._all("SELECT * FROM queue WHERE round = ? AND annotator IS NULL ORDER BY rank", round_number)
        return [item_of(row) for row in rows]

    def latest_items(self) -> dict[int, QueueItem]:
        """What was said last of each text that ever was in a queue, by row."""
        return {row["row"]: item_of(row) for row in self._all("SELECT * FROM queue ORDER BY round, rank")}

    def copies(self) -> dict[int, int]:
        """Which row stands for each row that is a copy; see `labeling.copies`."""
        return {row["row"]: row["first"] for row in self._all("SELECT * FROM copy")}

    def add_copies(self, copies: Mapping[int, int]) -> None:
        """Say which row stands for each of further rows."""
        with self.transaction() as connection:
            connection.executemany("INSERT INTO copy VALUES (?, ?)", copies.items())

    def extend_queue(self, round_number: int, items: Sequence[QueueItem]) -> None:
        """Add texts at the end of a round's queue."""
        with self.transaction():
            self._extend_queue(round_number, items)

    def set_batch(self, annotator: str, items: Sequence[QueueItem]) -> None:
        """Give an annotator these texts next, in place of what is left of an earlier batch; others do not get them.

        The text that they have before them stays theirs. A batch stays, too, when a new round begins. Without `items`
        the batch is at its end.
        """
        with self.transaction() as connection:
            connection.execute(
                "DELETE FROM queue WHERE annotator = ? AND row NOT IN (SELECT row FROM decision) "
                "AND row NOT IN (SELECT row FROM lease WHERE annotator = ?)",
                (annotator, annotator),
            )
            self._extend_queue(connection.execute("SELECT COUNT(*) FROM round").fetchone()[0], items, annotator)

    def release(self, annotator: str) -> None:
        """Give back the text that an annotator has before them."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM lease WHERE annotator = ?", (annotator,))

    def batch(self, annotator: str) -> list[QueueItem]:
        """What is left of an annotator's batch: texts that nobody has decided on."""
        query = "SELECT * FROM queue WHERE annotator = ? AND row NOT IN (SELECT row FROM decision) ORDER BY round, rank"
        return [item_of(row) for row in self._all(query, annotator)]

    def leased_to_others(self, annotator: str, now: float | None = None) -> list[int]:
        """The rows that others than this annotator have before them."""
        now = time.time() if now is None else now
        return [
            row["row"] for row in self._all("SELECT row FROM lease WHERE annotator != ? AND until > ?", annotator, now)
        ]

    def finish_round(
        self, record: RoundRecord, items: Sequence[QueueItem], doubts: Sequence[Doubt] | None = None
    ) -> None:
        """Record a finished round together with the queue that its model asks for, and its doubts about labels.

        Raises:
            RecordError: the round is not the next one: another process has finished it.
        """
        with self.transaction() as connection:
            expected = connection.execute("SELECT COUNT(*) FROM round").fetchone()[0]
            if record.number != expected:
                raise RecordError(f"round {record.number} was finished by another process; {expected} is next")
            connection.execute(
                "INSERT INTO round (number, through, n_labeled, time, details, predictions, stop_set) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    *(record.number, record.through, record.n_labeled, record.time),
                    *(json.dumps(record.details), record.predictions, record.stop_set),
                ),
            )
            if doubts is not None:
                self.set_doubts(doubts, record.through)
            self._extend_queue(record.number + 1, items)

    def _extend_queue(self, round_number: int, items: Sequence[QueueItem], annotator: str | None = None) -> None:
        first = self._one("SELECT COALESCE(MAX(rank) + 1, 0) FROM queue WHERE round = ?", round_number)
        self._connection.executemany(
            "INSERT INTO queue VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (round_number, first + i, item.row, item.kind, item.wanted, json.dumps(item.reason), annotator)
                for i, item in enumerate(items)
            ],
        )


def item_of(row: sqlite3.Row) -> QueueItem:
    """The item that a row of the table `queue` holds."""
    return QueueItem(row["row"], row["kind"], json.loads(row["reason"]), row["wanted"])
