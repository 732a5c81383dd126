"""When to stop labelling: criteria over what successive models predict for the same texts, whose labels nobody needs.

A criterion is an object that knows its threshold and is shown the history: for each round, oldest first, the classes
(S,) that its model predicts for the texts of a fixed stop set. It keeps nothing, so that a labelling session and a
resumed simulation ask it about their records.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Predictions = NDArray[np.integer[Any]]

#: Texts of a stop set, at most (Bloodgood and Vijay-Shanker 2009).
STOP_SET = 2000


class StoppingCriterion(Protocol):
    """Says whether more labels would be spent in vain."""

    def stops(self, history: Sequence[Predictions]) -> bool:
        """Whether to stop after the last of these rounds; `history` has their predictions (S,), oldest first."""


def kappa(first: Predictions, second: Predictions) -> float:
    """Cohen's kappa of two models' predictions (S,) of the same texts: (A - E) / (1 - E).

    A is the share of texts with equal predictions, and E what A would be by chance, the sum over the classes of the
    product of their shares in either. NaN where there is no text, and where both models predict one and the same class
    throughout: E is 1 then, and their agreement says nothing.
    """
    if not len(first):
        return float("nan")
    n_classes = int(max(first.max(), second.max())) + 1
    shares = [np.bincount(each, minlength=n_classes) / len(each) for each in (first, second)]
    chance = float(shares[0] @ shares[1])
    observed = float((first == second).mean())
    return float("nan") if chance == 1 else (observed - chance) / (1 - chance)


@dataclass(frozen=True)
class StablePredictions:
    """Stop once the models hardly change their minds: mean kappa of the last rounds, each with the one before it.

    Bloodgood and Vijay-Shanker 2009, "A Method for Stopping Active Learning Based on Stabilizing Predictions and the
    Need for User-Adjustable Stopping". Models that predict one class alone have not settled: kappa is undefined.

    Attributes:
        cutoff: the least mean kappa.
        window: the number of kappas that it is the mean of.
    """

    cutoff: float = 0.99
    window: int = 3

    def agreement(self, history: Sequence[Predictions]) -> float | None:
        """The mean kappa at the end of the history; None with fewer than `window` + 1 rounds, NaN if undefined."""
        if len(history) <= self.window:
            return None
        return float(np.mean([kappa(*pair) for pair in pairwise(history[-self.window - 1 :])]))

    def stops(self, history: Sequence[Predictions]) -> bool:
        """Whether the mean kappa is at least the cutoff."""
        agreement = self.agreement(history)
        return agreement is not None and agreement >= self.cutoff  # NaN is not


def rounds_stopped(criterion: StoppingCriterion, history: Sequence[Predictions]) -> int:
    """How many rounds in a row, up to the last, the criterion has said that labelling may stop."""
    n = 0
    while n < len(history) and criterion.stops(history[: len(history) - n]):
        n += 1
    return n
