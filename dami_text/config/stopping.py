"""The stopping criteria that `--stop` knows by name, and the values that they take."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from dami_text.errors import ConfigError


@dataclass(frozen=True)
class StopKind:
    """A criterion: the place of its class, the value where none is given, and which values it takes."""

    place: str
    default: float | None
    fits: Callable[[float], bool]
    wanted: str


STOPPING = {
    "stable": StopKind(
        "dami_text.learning.stopping:StablePredictions",
        0.99,
        lambda value: 0 < value <= 1,
        "a mean kappa greater than 0 and at most 1, such as 0.99",
    ),
    "change": StopKind(
        "dami_text.learning.stopping:ClassificationChange",
        0.0,
        lambda value: 0 <= value < 1,
        "a share of changed predictions from 0 to less than 1, such as 0.01",
    ),
    "uncertainty": StopKind(
        "dami_text.learning.stopping:OverallUncertainty",
        0.1,
        lambda value: 0 < value < 1,
        "a mean entropy greater than 0 and less than 1, such as 0.1",
    ),
    "max-uncertainty": StopKind(
        "dami_text.learning.stopping:MaximumUncertainty",
        0.1,
        lambda value: 0 < value < 1,
        "an entropy greater than 0 and less than 1, such as 0.1",
    ),
    "gain": StopKind(
        "dami_text.learning.stopping:ExpectedGain",
        0.5,
        lambda value: 0 <= value <= 100,
        "points from 0 to 100, such as 0.5",
    ),
    "recall": StopKind(
        "dami_text.learning.stopping:EstimatedRecall",
        0.95,
        lambda value: 0 < value <= 1,
        "a share of the class's texts greater than 0 and at most 1, such as 0.95",
    ),
    "budget": StopKind(
        "dami_text.learning.stopping:Budget",
        None,
        lambda value: value >= 1 and value.is_integer(),
        "a number of labels, as in budget:200",
    ),
}


class Stop(NamedTuple):
    """A criterion's name and value."""

    name: str
    value: float


def parse_stop(text: str) -> Stop:
    """What NAME or NAME:VALUE says.

    Raises:
        ConfigError: there is no such criterion, or the value is none that it takes.
    """
    name, colon, given = text.partition(":")
    kind = STOPPING.get(name)
    if kind is None:
        raise ConfigError(f"--stop is {text!r}; it must be one of {', '.join(STOPPING)}, or one of them with a :VALUE")
    try:
        value = float(given) if colon else kind.default
    except ValueError:
        value = None
    if value is None or not (math.isfinite(value) and kind.fits(value)):
        raise ConfigError(f"--stop is {text!r}; the value of {name} must be {kind.wanted}")
    return Stop(name, value)
