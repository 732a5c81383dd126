"""Annotators and their passwords, kept as salted scrypt hashes, and waits for those who guess them."""

import hashlib
import hmac
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dami_text.errors import ConfigError
from dami_text.labeling.store.events import Store

logger = logging.getLogger(__name__)

COST = {"n": 2**14, "r": 8, "p": 1}


def hash_password(password: str, salt: str | None = None) -> str:
    """The salt and the hash of a password, as text."""
    salt = secrets.token_hex(16) if salt is None else salt
    return f"{salt}${hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), **COST).hex()}"


def password_fits(store: Store, annotator: str, password: str) -> bool:
    """Whether this is the annotator's password; as slow for a name that nobody has."""
    stored = store.password(annotator)
    salt = stored.partition("$")[0] if stored else "00" * 16
    return hmac.compare_digest(hash_password(password, salt), stored or "")


def read_passwords(file: str, annotators: Sequence[str]) -> dict[str, str]:
    """The annotators' passwords from a file of lines NAME:PASSWORD; spaces around either are none of it.

    Raises:
        ConfigError: the file cannot be read or lacks an annotator, or a password is empty.
    """
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read --passwords {file}: {error}") from error
    given = {
        name.strip(): password.strip() for name, colon, password in (line.partition(":") for line in lines) if colon
    }
    missing = [name for name in annotators if not given.get(name)]
    if missing:
        raise ConfigError(f"--passwords {file} lacks {', '.join(missing)}; wanted a line NAME:PASSWORD for each")
    return {name: given[name] for name in annotators}


def ask_for_passwords(store: Store, annotators: Sequence[str], prompt: Callable[[str], str]) -> dict[str, str]:
    """The passwords of those annotators who have none yet, as they are typed.

    Raises:
        ConfigError: a password is empty.
    """
    given = {name: prompt(f"Password for {name}: ") for name in annotators if store.password(name) is None}
    for name, password in given.items():
        if not password:
            raise ConfigError(f"the password of {name} is empty; choose one")
    return given


def set_passwords(store: Store, passwords: Mapping[str, str]) -> None:
    """Keep the hashes of the passwords, by annotator."""
    for name, password in passwords.items():
        store.set_password(name, hash_password(password))


class Attempts:
    """Wrong passwords, by whose name or from which address they came.

    After FREE wrong ones in a row there is a wait before the next, which doubles from one second to LONGEST; what comes
    in the meantime is refused unread. Others are not held up. The log says once that somebody waits.
    """

    FREE, LONGEST, MOST = 5, 60.0, 10_000  # the last: names and addresses that are remembered

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how many in a row, and when the wait ends
        self._lock = threading.Lock()

    def must_wait(self, who: str) -> bool:
        """Whether an attempt is refused unread."""
        with self._lock:
            return self._clock() < self._wrong.get(who, (0, 0.0))[1]

    def was_wrong(self, who: str) -> None:
        """Count a wrong password."""
        with self._lock:
            n = self._wrong.pop(who, (0, 0.0))[0] + 1
            wait = min(self.LONGEST, 2.0 ** min(n - self.FREE, 10)) if n >= self.FREE else 0.0
            self._wrong[who] = (n, self._clock() + wait)
            if len(self._wrong) > self.MOST:
                self._wrong.popitem(last=False)
        if n == self.FREE:
            logger.warning("%d wrong passwords in a row for %r: the next has to wait", n, who)

    def was_right(self, who: str) -> None:
        """Forget the wrong ones."""
        with self._lock:
            self._wrong.pop(who, None)
