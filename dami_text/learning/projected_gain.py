"""What more labels may bring: the learning curve on labelled texts that no model has trained on, carried on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dami_text.randomness import numpy_stream

CONFIDENCE = 0.95
EXPONENTS = np.arange(0.1, 2.01, 0.1)
FEWEST_ROUNDS, FEWEST_TEXTS = 4, 50  # for a projection: with fewer texts its interval is too narrow

#: By how much, in standard deviations, models differ whose labels are as many but others: the curve is none of theirs.
TRAINING_NOISE = 0.03


@dataclass(frozen=True)
class Gain:
    """What the next labels may add to the accuracy, with a 95% interval."""

    labels: int
    value: float
    low: float
    high: float


def projected_gain(
    sizes: NDArray[np.int64], hits: NDArray[np.bool_], labels: int = 100, samples: int = 400
) -> Gain | None:
    """What `labels` more may add, by the curve a - b n^-c that fits best the accuracies after n = `sizes` (R,) labels.

    `hits` (R, V) say for each round and each labelled text that was kept out of training whether the round's model was
    right. The interval is of the same fit to resampled texts, with `TRAINING_NOISE`
    added to every round's accuracy. None for fewer than 4 rounds or 50 texts.
    """
    n_rounds, n_texts = hits.shape
    if n_rounds < FEWEST_ROUNDS or n_texts < FEWEST_TEXTS:
        return None
    rng = numpy_stream(0, n_rounds, "projected gain")
    draws = rng.multinomial(n_texts, np.full(n_texts, 1 / n_texts), samples)
    weights = np.vstack([np.ones(n_texts), draws]) / n_texts  # (1 + S, V)
    accuracies = weights @ hits.T.astype(float)
    accuracies[1:] += rng.normal(0, TRAINING_NOISE, (samples, n_rounds))
    gains = _fitted_gains(sizes.astype(float), accuracies, labels)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(gains[1:], [tail, 1 - tail])
    return Gain(labels, float(gains[0]), float(low), float(high))


def _fitted_gains(sizes: NDArray[np.float64], accuracies: NDArray[np.float64], labels: int) -> NDArray[np.float64]:
    """The gains (S,) of the best curves a - b n^-c, b >= 0, through accuracies (S, R) after `sizes` (R,) labels."""
    best = np.full(len(accuracies), np.inf)
    gains = np.zeros(len(accuracies))
    for c in EXPONENTS:
        x = sizes**-c
        centered = x - x.mean()
        slopes = np.minimum(accuracies @ centered / (centered @ centered), 0)  # -b
        residuals = accuracies - accuracies.mean(axis=1, keepdims=True) - slopes[:, None] * centered
        errors = np.square(residuals).sum(axis=1)
        better = errors < best
        gain = slopes * ((sizes[-1] + labels) ** -c - sizes[-1] ** -c)
        best, gains = np.where(better, errors, best), np.where(better, gain, gains)
    return gains
