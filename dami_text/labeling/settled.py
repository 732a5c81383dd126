"""Whether the predictions have settled: how much successive models agree on the same texts without labels.

The stop set is drawn at random, once, from the texts that are not held out; a text stays in it when it is labelled.
Where texts were added, another set is drawn from all, and the rounds before do not count.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from dami_text.data.ids import Rows
from dami_text.labeling.session import Session
from dami_text.labeling.snapshot import PREDICTION
from dami_text.labeling.store.queues import RoundRecord
from dami_text.learning.stopping import STOP_SET, Evidence, StablePredictions, rounds_stopped
from dami_text.randomness import numpy_stream

CRITERION = StablePredictions()

#: Rounds of which it is told that they have settled, at most: more would not say more, and cost time on every look.
MOST_ROUNDS = 20


@dataclass(frozen=True)
class Settled:
    """Whether the models of the last rounds agree.

    Attributes:
        rounds: how many rounds in a row, up to the last, have settled.
        kappa: the mean of Cohen's kappa that is compared; NaN where all predictions are of one class.
        n_texts: texts of the stop set.
    """

    rounds: int
    kappa: float
    n_texts: int

    def __str__(self) -> str:
        if np.isnan(self.kappa):
            return "not settled: the last models predict one class alone"
        models = f"kappa {self.kappa:.3f} between successive models on {self.n_texts:,} texts"
        if not self.rounds:
            return f"not settled yet: {models}; from {CRITERION.threshold} on they are settled"
        for_rounds = f"{self.rounds} round{'s' * (self.rounds != 1)}{' or more' * (self.rounds == MOST_ROUNDS)}"
        return f"settled for {for_rounds}: more labels are unlikely to change much ({models})"


def stop_rows(session: Session) -> Rows:
    """The rows (S,) of the stop set, none of them a copy that is not asked."""
    rows = numpy_stream(session.seed, len(session), "stop set").permutation(len(session))
    return rows[~np.isin(rows, [*session.held_out, *session.copies.others])][:STOP_SET]


def packed(classes: NDArray[np.int64]) -> bytes:
    """The predicted classes (S,) of the stop set, in few bytes."""
    return zlib.compress(classes.astype(PREDICTION).tobytes())


def settled(rounds: Sequence[RoundRecord]) -> Settled | None:
    """What the rounds so far say; None before there are enough models to compare."""
    if not rounds:
        return None
    of = rounds[-1].details.get("stop_set_of")
    latest = [*takewhile(lambda record: record.stop_set and record.details["stop_set_of"] == of, reversed(rounds))]
    records = latest[: MOST_ROUNDS + CRITERION.window][::-1]
    history = [
        Evidence(n_labeled=record.n_labeled, predictions=np.frombuffer(zlib.decompress(record.stop_set), PREDICTION))
        for record in records
    ]
    kappa = CRITERION.value(history)
    if kappa is None:
        return None
    return Settled(rounds_stopped(CRITERION, history), kappa, n_texts=len(history[-1].predictions))
