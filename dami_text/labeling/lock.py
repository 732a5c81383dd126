"""The lock of a session: who trains a round, adds texts or renames a class holds it, so that no two do at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from dami_text.errors import BusyError
from dami_text.labeling.session import Session

LOCK = ".trainer.lock"


@contextmanager
def locked(session: Session) -> Iterator[None]:
    """Keep trainings away inside the block; BusyError if one is under way."""
    lock = FileLock(session.folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BusyError(f"a model of {session.folder} is in training; wait for its end") from None
    try:
        yield
    finally:
        lock.release()


def is_locked(session: Session) -> bool:
    """Whether another process trains, adds texts or renames a class now."""
    if not session.folder.is_dir():  # the lock would make it
        return False
    try:
        with FileLock(session.folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True
