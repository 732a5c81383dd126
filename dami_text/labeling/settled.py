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
from dami_text.labeling.predictions import packed, unpacked
from dami_text.labeling.session import Session
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
        multilabel: whether a text has any number of labels; kappa is of the decisions on each of them then.
    """

    rounds: int
    kappa: float
    n_texts: int
    multilabel: bool = False

    def __str__(self) -> str:
        if np.isnan(self.kappa):
            alone = "no label" if self.multilabel else "one class alone"
            return f"not settled: the last models predict {alone}"
        models = f"kappa {self.kappa:.3f} between successive models on {self.n_texts:,} texts"
        if not self.rounds:
            return f"not settled yet: {models}; from {CRITERION.threshold} on they are settled"
        for_rounds = f"{self.rounds} round{'s' * (self.rounds != 1)}{' or more' * (self.rounds == MOST_ROUNDS)}"
        return f"settled for {for_rounds}: more labels are unlikely to change much ({models})"


def stop_rows(session: Session) -> Rows:
    """The rows (S,) of the stop set, none of them a copy that is not asked."""
    rows = numpy_stream(session.seed, len(session), "stop set").permutation(len(session))
    return rows[~np.isin(rows, [*session.held_out, *session.copies.others])][:STOP_SET]


def compressed(predicted: NDArray[np.int64]) -> bytes:
    """The predictions (S,), or (S, C) of any number of labels, for the stop set, in few bytes."""
    return zlib.compress(packed(predicted))


def settled(rounds: Sequence[RoundRecord], *, multilabel: bool = False) -> Settled | None:
    """What the rounds so far say; None before there are enough models to compare."""
    if not rounds:
        return None
    of = _predicted(rounds[-1], multilabel)
    latest = takewhile(lambda record: record.stop_set and _predicted(record, multilabel) == of, reversed(rounds))
    records = [*latest][: MOST_ROUNDS + CRITERION.window][::-1]
    _, n_labels = of
    predictions = [unpacked(zlib.decompress(record.stop_set), n_labels) for record in records]
    history = [
        Evidence(n_labeled=record.n_labeled, predictions=predicted.ravel())
        for record, predicted in zip(records, predictions, strict=True)
    ]
    kappa = CRITERION.value(history)
    if kappa is None:
        return None
    return Settled(rounds_stopped(CRITERION, history), kappa, n_texts=len(predictions[-1]), multilabel=multilabel)


def _predicted(record: RoundRecord, multilabel: bool) -> tuple[int | None, int | None]:
    """Of how many texts a round's stop set was drawn, and how many labels it predicts for each, if any number."""
    return record.details.get("stop_set_of"), len(record.details["class_counts"]) if multilabel else None
