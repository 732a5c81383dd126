"""Annotators and their passwords, kept as salted scrypt hashes."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
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
