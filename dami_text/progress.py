"""How far long work is, told to whoever shows it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: Is told what is done (such as "encoding texts"), how many of n parts are done, and the share of the work.
Progress = Callable[[str, int, int, float], object]

_told: ContextVar[Progress | None] = ContextVar("progress", default=None)


@contextmanager
def progress_told(tell: Progress) -> Iterator[None]:
    """Have `tell` told of work inside the block; where it raises, the work ends there."""
    token = _told.set(tell)
    try:
        yield
    finally:
        _told.reset(token)


def tell_progress(work: str, done: int, n: int, share: float | None = None) -> None:
    """Tell that `done` of the `n` parts of a work are done; `share` of it, where the parts differ."""
    if (tell := _told.get()) is not None:
        tell(work, done, n, done / n if share is None else share)
