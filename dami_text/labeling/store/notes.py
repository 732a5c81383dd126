"""What annotators write about texts: the latest note of each annotator on each text counts; earlier ones are kept."""

import time
from datetime import UTC, datetime

from dami_text.labeling.store.database import Database

LONGEST = 2000  # characters of a note


class Notes(Database):
    """The notes in a session's SQLite file.

    Raises:
        RecordError: as `Database`.
    """

    def set_note(self, row: int, annotator: str, text: str, now: float | None = None) -> bool:
        """Write an annotator's note on a row, cut to LONGEST characters; an empty text takes the note away.

        Returns whether this changed anything.
        """
        text = text.strip()[:LONGEST]
        stamp = datetime.fromtimestamp(time.time() if now is None else now, UTC).isoformat(timespec="milliseconds")
        with self.transaction() as connection:
            if self.note(row, annotator) == text:
                return False
            connection.execute(
                "INSERT INTO note (row, annotator, text, time) VALUES (?, ?, ?, ?)", (row, annotator, text, stamp)
            )
        return True

    def note(self, row: int, annotator: str) -> str:
        """An annotator's note on a row; empty where there is none."""
        return self._one("SELECT text FROM current_note WHERE row = ? AND annotator = ?", row, annotator) or ""

    def notes(self) -> dict[int, dict[str, str]]:
        """The notes on each row that has any, by annotator."""
        notes: dict[int, dict[str, str]] = {}
        for found in self._all("SELECT row, annotator, text FROM current_note ORDER BY row, annotator"):
            notes.setdefault(found["row"], {})[found["annotator"]] = found["text"]
        return notes
