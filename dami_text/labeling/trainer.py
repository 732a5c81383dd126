"""The page's side of training in the background: when a round is due, who does it, and what became of it."""

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from dami_text.labeling.encoding import Encoding
from dami_text.labeling.lock import is_locked
from dami_text.labeling.session import LOG, Session

#: Seconds until a process that was killed is started again, doubled each time until a round is done, and the most.
FIRST_WAIT, LONGEST_WAIT = 1.0, 600.0


@dataclass(frozen=True)
class TrainerState:
    """What the trainer does: nothing, encode texts, train, or nothing after a failure; and what it said last."""

    kind: Literal["idle", "encoding", "training", "failed"]
    message: str = ""


@dataclass(frozen=True)
class _Failure:
    """Why the process has ended, and when it may start again: at a time, or with that many labelled texts."""

    message: str
    until: float | None
    n_labeled: int


class Trainer:
    """The process that trains (see `worker`), which outlives the page by the round that it was asked for.

    A process that was killed is started again by itself. One that has failed is started again after as many labels as
    lie between trainings: the same labels would fail again.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._process: subprocess.Popen[str] | None = None
        self._stays = False
        self._asked: int | None = None  # the round that the process was asked for and has not done
        self._failure: _Failure | None = None
        self._deaths = 0  # since a round was done
        self._lock = threading.Lock()

    def stay(self) -> None:
        """Have the process there from now on, so that it encodes the texts before a round is due."""
        self._stays = True
        self.start_if_due()

    def close(self) -> None:
        """Let the process end, after the round that it was asked for."""
        with self._lock:
            self._stays = False
            if self._process is not None:
                _hang_up(self._process)

    def state(self) -> TrainerState:
        """What the trainer does now."""
        with self._lock:
            self._look()
            if self._failure is None and (encoding := Encoding.of(self._session)) is not None:
                return TrainerState("encoding", str(encoding))
            if self._asked is not None or is_locked(self._session):
                return TrainerState("training")
            return TrainerState("failed", self._failure.message) if self._failure else TrainerState("idle")

    def start_if_due(self, exhausted: bool = False) -> None:
        """Ask for a round if the labels for it are there; `exhausted` says that the queue has nothing more to give."""
        with self._lock:
            self._look()
            n = len(self._session.store.labels())
            due = self._is_due(n, exhausted)
            if self._has_to_wait(n) or not (due or self._stays):
                return
            try:
                if self._process is None:
                    self._process = self._started()
                    self._failure = None
                if due and self._asked is None:
                    self._ask(self._process, len(self._session.store.rounds()))
            except (OSError, ValueError) as error:  # a full disk, no memory for a process, or one that is ending
                if self._process is None:  # labelling goes on
                    self._failure = _Failure(str(error), None, n)

    def _started(self) -> subprocess.Popen[str]:
        with (self._session.folder / LOG).open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dami_text.labeling.worker", str(self._session.folder.absolute())],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,  # ctrl-c at the page does not reach it: its round is not lost
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )

    def _ask(self, process: subprocess.Popen[str], number: int) -> None:
        assert process.stdin is not None
        process.stdin.write(f"{number}\n")
        process.stdin.flush()
        self._asked = number

    def _is_due(self, n: int, exhausted: bool) -> bool:
        """Whether n labelled texts are enough for a round."""
        rounds = self._session.store.rounds()
        known = rounds[-1].n_labeled if rounds else 0
        wanted = known + self._session.query_size() if rounds else self._session.initial_size()
        return n >= wanted or (exhausted and n > known)

    def _has_to_wait(self, n: int) -> bool:
        """Whether it is too early, at n labelled texts, to start again after a failure."""
        failure = self._failure
        if failure is None:
            return False
        if failure.until is not None:
            return time.monotonic() < failure.until
        return n < failure.n_labeled + self._session.query_size()

    def _look(self) -> None:
        """Take note of a round that is done, and of the end of the process."""
        if self._asked is not None and len(self._session.store.rounds()) > self._asked:
            self._asked, self._deaths = None, 0
        if self._process is None or self._process.poll() is None:
            return
        _hang_up(self._process)
        code, self._process, self._asked = self._process.returncode, None, None
        n = len(self._session.store.labels())
        if code < 0:
            wait = min(FIRST_WAIT * 2**self._deaths, LONGEST_WAIT)
            self._deaths += 1
            self._failure = _Failure(f"it was ended by signal {-code}", time.monotonic() + wait, n)
        elif code > 0:
            self._failure = _Failure(self._said() or f"exit status {code}", None, n)

    def _said(self) -> str:
        """The last line of what the process had to say."""
        try:
            said = (self._session.folder / LOG).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""
        return (said.splitlines() or [""])[-1]


def _hang_up(process: subprocess.Popen[str]) -> None:
    """Close the input of a process, which may have ended before it read what is there."""
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
