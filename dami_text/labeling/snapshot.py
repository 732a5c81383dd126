"""The labels of a session at one moment."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dami_text.data.ids import Rows
from dami_text.labeling.session import Session

#: The type of a class number in a round's predictions of the held-out texts.
PREDICTION = np.dtype("<u2")


@dataclass(frozen=True)
class LabelSnapshot:
    """The labels of a session at one moment, each a place in its classes by the row of its text.

    Attributes:
        all, held_out: of all labelled texts, and of those among them that no training sees.
        through: the last event.
        round: the number of the round that these labels begin.
    """

    all: dict[int, int]
    held_out: dict[int, int]
    through: int
    round: int

    @property
    def rows(self) -> Rows:
        """The rows to train on, in ascending order."""
        return np.array([row for row in self.all if row not in self.held_out], np.int64)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Their labels."""
        return np.array([label for row, label in self.all.items() if row not in self.held_out], np.int64)

    @classmethod
    def of(cls, session: Session) -> "LabelSnapshot":
        """The labels so far."""
        with session.store.snapshot():
            labels = {row["row"]: row["label"] for row in session.store.labels()}
            through, n_rounds = session.store.last_event(), len(session.store.rounds())
        held_out = {row: labels[row] for row in session.held_out.tolist() if row in labels}
        return cls(labels, held_out, through, n_rounds)
