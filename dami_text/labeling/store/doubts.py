"""How doubtful the labels are, as the last model sees them."""

from collections.abc import Sequence
from dataclasses import dataclass

from dami_text.labeling.labels import Label, stored
from dami_text.labeling.store.notes import Notes


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """What a model that did not see a row's label makes of it.

    Attributes:
        row: the row.
        label: its label then.
        quality: the probability of that label, or of what it says least likely of one of any number of labels; the
            lowest is looked at first.
        guess, probability: the likeliest class, or the labels that are predicted; and how probable that is.
    """

    row: int
    label: Label
    quality: float
    guess: Label
    probability: float


class Doubts(Notes):
    """The doubts in a session's SQLite file.

    Raises:
        RecordError: as `Database`.
    """

    def set_doubts(self, doubts: Sequence[Doubt], through: int) -> None:
        """Put these doubts, about the labels at the event `through`, in the place of all others."""
        with self.transaction() as connection:
            self.set_meta(doubts_through=through)
            connection.execute("DELETE FROM doubt")
            connection.executemany(
                "INSERT INTO doubt VALUES (?, ?, ?, ?, ?)",
                [(d.row, stored(d.label), d.quality, stored(d.guess), d.probability) for d in doubts],
            )

    def doubt(self, row: int) -> Doubt | None:
        """The doubt about a row's label, whether or not somebody has looked at it since."""
        found = self._all("SELECT * FROM doubt WHERE row = ?", row)
        return Doubt(**dict(found[0])) if found else None

    def doubts(self) -> list[Doubt]:
        """The doubts about labels that nobody has changed or given a second look since, the most doubtful first.

        Texts that still wait for another annotator's own label are left out.
        """
        return [Doubt(**dict(row)) for row in self._all(_DOUBTS)]

    def n_reviewed(self) -> int:
        """How many rows had a second look."""
        return int(self._one("SELECT COUNT(DISTINCT row) FROM decision WHERE review AND label IS NOT NULL"))


_DOUBTS = """
    SELECT doubt.* FROM doubt JOIN label ON label.row = doubt.row AND label.label = doubt.label
    WHERE NOT EXISTS (SELECT 1 FROM decision AS d WHERE d.row = doubt.row AND d.review AND d.label IS NOT NULL)
    AND (SELECT COUNT(*) FROM decision AS d WHERE d.row = doubt.row AND d.label IS NOT NULL)
        >= COALESCE((SELECT wanted FROM queue WHERE queue.row = doubt.row ORDER BY round DESC LIMIT 1), 1)
    ORDER BY doubt.quality, doubt.row
"""
