"""The labels of a session at one moment."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dami_text.data.ids import Rows
from dami_text.labeling.labels import Label
from dami_text.labeling.session import Session


@dataclass(frozen=True)
class LabelSnapshot:
    """The labels of a session at one moment, each by the row of its text.

    Attributes:
        all, held_out: of all labelled texts, and of those among them that no training sees.
        through: the last event.
        round: the number of the round that these labels begin.
        labels: those of `rows` as models have them: (n,), or (n, C) of any number of labels.
    """

    all: dict[int, Label]
    held_out: dict[int, Label]
    through: int
    round: int
    labels: NDArray[np.int64] = field(compare=False, repr=False)

    @property
    def rows(self) -> Rows:
        """The rows to train on, in ascending order."""
        return np.array([row for row in self.all if row not in self.held_out], np.int64)

    @classmethod
    def of(cls, session: Session) -> "LabelSnapshot":
        """The labels so far."""
        with session.store.snapshot():
            labels = {row["row"]: row["label"] for row in session.store.labels()}
            through, n_rounds = session.store.last_event(), len(session.store.rounds())
        held_out = {row: labels[row] for row in session.held_out.tolist() if row in labels}
        trained_on = [label for row, label in labels.items() if row not in held_out]
        return cls(labels, held_out, through, n_rounds, session.label_array(trained_on))
