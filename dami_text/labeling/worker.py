"""The trainer's process: it encodes a session's texts once, and then does each round that its page asks for.

    python -m dami_text.labeling.worker SESSION

Its page writes the number of a round, from 0, on a line of its input. Where the input ends, the page has gone: the
round that was asked for is still done. The process holds the session's lock while it trains, and no longer. It opens
the session anew for each round, so that the round is what a new process would make of it.
"""

import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import torch
from filelock import FileLock

from dami_text.data.hub import no_progress_bars
from dami_text.errors import DamiError
from dami_text.files import remove_unfinished
from dami_text.labeling.encoding import teller
from dami_text.labeling.lock import LOCK
from dami_text.labeling.rounds import encoded_texts, train_round
from dami_text.labeling.session import MODEL, Session, SessionConfig
from dami_text.learning.preparation import EncodedPool
from dami_text.progress import progress_told


class PageGone(Exception):  # noqa: N818 - the end, not a failure
    """The page has gone and has asked for no round."""


class Page:
    """The page at the other end of the input. A thread listens, so that its end is noticed during long work, too."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._changed = threading.Condition()
        self._round: int | None = None
        self._gone = False
        threading.Thread(target=self._listen, args=(lines,), daemon=True).start()

    def _listen(self, lines: Iterable[str]) -> None:
        try:
            for line in lines:
                self._take(int(line), gone=False)
        finally:
            self._take(self._round, gone=True)

    def _take(self, number: int | None, *, gone: bool) -> None:
        with self._changed:
            self._round, self._gone = number, gone
            self._changed.notify()

    def next_round(self) -> int:
        """The number of the round that the page asks for, as soon as it does.

        Raises:
            PageGone: as soon as that has happened.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._gone or self._round is not None)
            self._require()
            number, self._round = self._round, None
            assert number is not None
            return number

    def require(self) -> None:
        """Raise PageGone if nothing is left to do."""
        with self._changed:
            self._require()

    def _require(self) -> None:
        if self._gone and self._round is None:
            raise PageGone


class Texts:
    """A session's encoded texts, kept as long as its texts and options are the same."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._of: tuple[str, SessionConfig] | None = None
        self._kept: EncodedPool | None = None

    def of(self, session: Session) -> EncodedPool:
        """The texts of the session as it is now; PageGone where nobody waits for them any more."""
        session_now = (session.pool_name, session.config)
        if self._kept is None or self._of != session_now:
            self._kept = None  # no two at a time are in memory
            tell = teller(session.store)

            def told(work: str, done: int, n: int, share: float) -> None:
                self._page.require()
                tell(work, done, n, share)

            try:
                with progress_told(told):
                    self._kept, self._of = encoded_texts(session), session_now
            finally:
                session.store.set_meta(encoding=None)
        return self._kept


def work(folder: Path, page: Page) -> None:
    """Encode the texts of the session in `folder`, and do the rounds that the page asks for until it has gone."""
    texts = Texts(page)
    with Session(folder) as session:
        texts.of(session)
    # Threads wait for each other at each small step. If one of them has to share its core with the page and the
    # browser, a round takes ten times as long: so a core is left to these.
    torch.set_num_threads(max(1, torch.get_num_threads() - 1))
    while True:
        number = page.next_round()
        with Session(folder) as session:
            texts.of(session)  # where texts were added, that takes long: not while others wait for the lock
        with FileLock(folder / LOCK), Session(folder) as session:
            if len(session.store.rounds()) == number:  # otherwise another page's trainer has done it
                remove_unfinished(folder / MODEL)
                train_round(session, texts.of(session))


def main() -> int:
    """Work for the page that has started this process, on the session that the command line names."""
    no_progress_bars()
    try:
        work(Path(sys.argv[1]), Page(sys.stdin))
    except PageGone:
        return 0
    except DamiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
