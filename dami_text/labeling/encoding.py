"""How far the trainer is with encoding the texts, told through the session's file of labels."""

import time
from dataclasses import dataclass
from typing import Self

from dami_text.labeling.session import Session
from dami_text.labeling.store.events import Store
from dami_text.progress import Progress

#: Seconds after which what was told last does not count any more: who told it has probably been killed.
STALE = 120.0


@dataclass(frozen=True)
class Encoding:
    """How many of n texts are encoded, and about how many seconds the rest takes; None before that can be told."""

    done: int
    n: int
    seconds_left: float | None = None

    def __str__(self) -> str:
        left = "" if self.seconds_left is None else f", about {_rounded(self.seconds_left)} left"
        return f"encoding texts: {self.done:,} of {self.n:,}{left}"

    @classmethod
    def of(cls, session: Session) -> Self | None:
        """What was told last, if that is recent."""
        told = session.store.meta("encoding")
        if told is None or not 0 <= time.time() - told.pop("time") < STALE:
            return None
        return cls(**told)


def _rounded(seconds: float) -> str:
    return f"{max(5, 5 * round(seconds / 5))} s" if seconds < 90 else f"{round(seconds / 60)} min"


def teller(store: Store) -> Progress:
    """What tells of the encoding in a session's file of labels, with an estimate by the share of work done so far."""
    begun: list[tuple[float, float]] = []

    def tell(work: str, done: int, n: int, share: float) -> None:
        now = time.time()
        if not begun:
            begun.append((now, share))
        passed, gained = now - begun[0][0], share - begun[0][1]
        left = passed / gained * (1 - share) if gained > 0 else None
        store.set_meta(encoding={"done": done, "n": n, "seconds_left": left, "time": now})

    return tell
