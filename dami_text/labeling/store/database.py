"""A SQLite file that several threads and processes write at the same time, each change on disk when it is made."""

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dami_text.errors import RecordError
from dami_text.labeling.labels import with_label_sets
from dami_text.labeling.store import schema

#: What to do about the errors of SQLite that are not the program's own, by their primary codes.
REMEDIES = {
    sqlite3.SQLITE_FULL: "make room on the disk",
    sqlite3.SQLITE_IOERR: "look after the disk, which may be full",
    sqlite3.SQLITE_BUSY: "another process writes to it; try again when that is done",
    sqlite3.SQLITE_READONLY: "make the file and its folder writable",
    sqlite3.SQLITE_CANTOPEN: "make the file and its folder writable",
    sqlite3.SQLITE_CORRUPT: "restore it",
    sqlite3.SQLITE_NOTADB: "restore it",
}


def _code(error: sqlite3.Error) -> int:
    """The primary code of an error; 0 for those that Python's module raises by itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


class Database:
    """The file at `path`, in write-ahead mode with synchronous=FULL, brought to the newest schema.

    It may be used by several threads; other processes may have their own on the same file. A file that may not be
    written is read. What it holds is of one class a text, or of any number of labels if it was made with `multilabel`.

    Attributes:
        path: where it is.
        multilabel: whether a text has any number of labels.

    Raises:
        RecordError: the file is missing (unless `create`), of a newer version, or no database of this kind; later, from
            any method: it cannot be read or written.
    """

    def __init__(self, path: Path, create: bool = False, *, multilabel: bool = False) -> None:
        self.path = path
        if not create and not path.is_file():
            raise RecordError(f"no labels at {path}; wanted a session's folder, as `dami-text label FILE` makes it")
        if create:
            path.touch(mode=0o600)  # it may hold the hashes of passwords
        self._place, self._opened = path.absolute(), path.stat()
        self._lock = threading.RLock()
        with self._told("restore it"):
            try:
                self._open("mode=rw")
            except sqlite3.OperationalError as error:
                if _code(error) not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
                    raise
                # Readers share a file beside it, which cannot be made here. Without a log of writes they need none.
                self._open("mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1")
        if create and multilabel:
            self.set_meta(multilabel=True)
        self.multilabel = bool(self.meta("multilabel"))
        if self.multilabel:
            self._connection.row_factory = with_label_sets

    def _open(self, how: str) -> None:
        name = f"{self._place.as_uri()}?{how}"
        self._connection = sqlite3.connect(name, timeout=60, isolation_level=None, check_same_thread=False, uri=True)
        try:
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA synchronous = FULL")
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version != len(schema.MIGRATIONS):
                self._connection.execute("PRAGMA journal_mode = WAL")  # which the file keeps
                with self.transaction() as connection:
                    schema.migrate(connection, self.path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; what the write-ahead log holds goes into it where no other process has it open."""
        self._connection.close()

    def meta(self, key: str) -> Any:
        """What was set for `key`, or None."""
        value = self._one("SELECT value FROM meta WHERE key = ?", key)
        return None if value is None else json.loads(value)

    def set_meta(self, **values: Any) -> None:
        """Set values that JSON can hold."""
        with self.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)", [(key, json.dumps(value)) for key, value in values.items()]
            )

    def require_writable(self) -> None:
        """Raise RecordError if nothing can be written: SQLite itself says so at the first change only."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM meta WHERE FALSE")

    @contextmanager
    def _told(self, otherwise: str | None = None) -> Iterator[None]:
        """Errors of SQLite that a user can mend as RecordErrors; `otherwise` is the remedy of all others."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if (remedy := REMEDIES.get(_code(error), otherwise)) is None:
                raise
            raise RecordError(f"{self.path} cannot be used as the labels of a session ({error}); {remedy}") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that is written inside the block, or nothing where it raises; it is on disk at the block's end.

        The write lock is held from the start. A block inside of another is undone alone where it raises, and is on
        disk at the end of the outer one.
        """
        with self._lock, self._told():
            if self._connection.in_transaction:
                begin, end, undo = "SAVEPOINT inner", "RELEASE inner", "ROLLBACK TO inner"
            else:
                begin, end, undo = "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"
                self._check_place()
            self._connection.execute(begin)
            try:
                yield self._connection
                self._connection.execute(end)
            except BaseException:
                if self._connection.in_transaction:  # some failures, such as a full disk, have ended it already
                    self._connection.execute(undo)
                raise

    def _check_place(self) -> None:
        """Raise RecordError if the file is not where it was: what is written to one that was deleted is lost."""
        try:
            is_there = os.path.samestat(self._place.stat(), self._opened)
        except FileNotFoundError:
            is_there = False
        if not is_there:
            raise RecordError(f"{self.path} was moved or deleted while it was open; open the session where it is now")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything that is read inside the block is of one moment; other processes go on writing."""
        with self._lock, self._told():
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("COMMIT")

    def _all(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock, self._told():
            return self._connection.execute(query, values).fetchall()

    def _one(self, query: str, *values: Any) -> Any:
        """The first column of the first row, or None."""
        with self._lock, self._told():
            found = self._connection.execute(query, values).fetchone()
        return found[0] if found else None
