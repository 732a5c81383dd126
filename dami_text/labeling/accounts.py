"""Annotators and their passwords, kept as salted scrypt hashes."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from dami_text.errors import ConfigError
from dami_text.labeling.store import Store

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


def set_passwords(store: Store, annotators: Sequence[str], file: str | None, prompt: Callable[[str], str]) -> None:
    """Set each annotator's password from a file of lines NAME:PASSWORD, or ask for those that are not set yet.

    Raises:
        ConfigError: the file cannot be read or lacks an annotator, or a password is empty.
    """
    given = {} if file is None else _read(file)
    missing = [name for name in annotators if file is not None and name not in given]
    if missing:
        raise ConfigError(f"--passwords {file} lacks {', '.join(missing)}; wanted a line NAME:PASSWORD for each")
    if file is None:
        given = {name: prompt(f"Password for {name}: ") for name in annotators if store.password(name) is None}
    for name, password in given.items():
        if not password:
            raise ConfigError(f"the password of {name} is empty; choose one")
    for name in given.keys() & set(annotators):
        store.set_password(name, hash_password(given[name]))


def _read(file: str) -> dict[str, str]:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read --passwords {file}: {error}") from error
    return {name.strip(): password for name, colon, password in (line.partition(":") for line in lines) if colon}
