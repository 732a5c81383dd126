"""Rounds in the background: when a training is due, a process of its own, and what became of it."""

import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Literal

from filelock import FileLock, Timeout

from dami_text.labeling.rounds import LOCK
from dami_text.labeling.session import LOG, Session


@dataclass(frozen=True)
class TrainerState:
    """What the trainer does: nothing, train, or nothing after a training that failed, with what it said last."""

    kind: Literal["idle", "training", "failed"]
    message: str = ""


class Trainer:
    """Starts a round's training in a process of its own when one is due; it outlives the page, and a page its death.

    A training that failed is tried again after as many labels as lie between trainings.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._process: subprocess.Popen[bytes] | None = None
        self._failed: tuple[int, str] | None = None  # labelled texts then, and why
        self._lock = threading.Lock()

    def state(self) -> TrainerState:
        """What the trainer does now."""
        with self._lock:
            self._reap()
            if self._process is not None or self._is_locked():
                return TrainerState("training")
            return TrainerState("failed", self._failed[1]) if self._failed else TrainerState("idle")

    def start_if_due(self, exhausted: bool = False) -> None:
        """Start a training if the labels for it are there; `exhausted` says that the queue has nothing more to give."""
        with self._lock:
            self._reap()
            if self._process is not None or not self._is_due(exhausted) or self._is_locked():
                return
            try:
                self._process = self._started()
            except OSError as error:  # a full disk, or no memory for a process: labelling goes on
                self._failed = (len(self._session.store.labels()), str(error))

    def _started(self) -> subprocess.Popen[bytes]:
        with (self._session.folder / LOG).open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dami_text.labeling.rounds", str(self._session.folder.absolute())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # ctrl-c at the page does not reach it: its round is not lost
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )

    def _is_due(self, exhausted: bool) -> bool:
        rounds, n = self._session.store.rounds(), len(self._session.store.labels())
        known = rounds[-1].n_labeled if rounds else 0
        wanted = known + self._session.query_size() if rounds else self._session.initial_size()
        if self._failed:
            return n >= max(wanted, self._failed[0] + self._session.query_size())
        return n >= wanted or (exhausted and n > known)

    def _is_locked(self) -> bool:
        """Whether a process trains that another page, or this one before it was killed, has started."""
        if not self._session.folder.is_dir():  # the lock would make it
            return False
        try:
            with FileLock(self._session.folder / LOCK, timeout=0):
                return False
        except Timeout:
            return True

    def _reap(self) -> None:
        """Take note of the end of the process."""
        if self._process is None or self._process.poll() is None:
            return
        code, self._process = self._process.returncode, None
        try:
            said = (self._session.folder / LOG).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            said = ""
        why = f"it was ended by signal {-code}" if code < 0 else (said.splitlines() or [f"exit status {code}"])[-1]
        self._failed = (len(self._session.store.labels()), why) if code else None
