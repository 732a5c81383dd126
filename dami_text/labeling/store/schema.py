"""The tables of a session's SQLite file, and how an older file becomes a newer one."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from dami_text.errors import RecordError

#: Each step brings the file from the version before to the next; a new file goes through all of them.
MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE annotator (name TEXT PRIMARY KEY, password TEXT);
    CREATE TABLE round (
        number INTEGER PRIMARY KEY,   -- from 0, the first model
        through INTEGER NOT NULL,     -- the last event that it knew
        n_labeled INTEGER NOT NULL,   -- labelled texts, those that are held out among them
        time TEXT NOT NULL,
        details TEXT NOT NULL,        -- JSON
        predictions BLOB NOT NULL     -- the class of each text to hold out, one byte or more each
    );
    CREATE TABLE queue (
        round INTEGER NOT NULL,       -- of the labels: 0 is the start, r + 1 is what round r's model asked for
        rank INTEGER NOT NULL,
        row INTEGER NOT NULL,
        kind TEXT NOT NULL,           -- start, asked, held-out, reserve
        wanted INTEGER NOT NULL,      -- annotators
        reason TEXT NOT NULL,         -- JSON
        PRIMARY KEY (round, rank)
    );
    CREATE INDEX queue_row ON queue (row, round);
    CREATE TABLE lease (row INTEGER PRIMARY KEY, annotator TEXT NOT NULL, since REAL NOT NULL, until REAL NOT NULL);
    CREATE TABLE event (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        action TEXT NOT NULL CHECK (action IN ('label', 'relabel', 'skip', 'flag', 'unflag', 'undo')),
        row INTEGER NOT NULL,
        annotator TEXT NOT NULL,
        label INTEGER CHECK ((label IS NOT NULL) = (action IN ('label', 'relabel'))),
        undoes INTEGER UNIQUE REFERENCES event CHECK ((undoes IS NOT NULL) = (action = 'undo')),
        round INTEGER NOT NULL,
        time TEXT NOT NULL,
        seconds REAL
    );
    CREATE INDEX event_row ON event (row, annotator, number);
    CREATE INDEX event_annotator ON event (annotator, number);
    CREATE TRIGGER event_is_kept BEFORE DELETE ON event BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END;
    CREATE TRIGGER event_is_final BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
    -- What each annotator has decided about each row: the last decision that was not undone.
    CREATE VIEW decision AS
        SELECT number, action, row, annotator, label, round, time, seconds FROM event AS e
        WHERE action IN ('label', 'relabel', 'skip')
        AND NOT EXISTS (SELECT 1 FROM event AS u WHERE u.undoes = e.number)
        AND NOT EXISTS (
            SELECT 1 FROM event AS later
            WHERE later.row = e.row AND later.annotator = e.annotator AND later.number > e.number
            AND later.action IN ('label', 'relabel', 'skip')
            AND NOT EXISTS (SELECT 1 FROM event AS u WHERE u.undoes = later.number)
        );
    -- The label of each row: of most annotators, and of the first where two labels have as many.
    CREATE VIEW label AS
        SELECT row, label, annotator, time, seconds, round FROM (
            SELECT *, ROW_NUMBER() OVER (PARTITION BY row ORDER BY votes DESC, first, number) AS place FROM (
                SELECT *, COUNT(*) OVER same AS votes, MIN(number) OVER same AS first FROM decision
                WHERE label IS NOT NULL WINDOW same AS (PARTITION BY row, label)
            )
        ) WHERE place = 1;
    CREATE VIEW flag AS
        SELECT row, annotator FROM event AS e WHERE action = 'flag' AND NOT EXISTS (
            SELECT 1 FROM event AS later WHERE later.row = e.row AND later.annotator = e.annotator
            AND later.number > e.number AND later.action IN ('flag', 'unflag')
        );
    """,
    """
    ALTER TABLE event ADD COLUMN imported INTEGER NOT NULL DEFAULT 0;  -- whether a file brought it, not the page
    DROP VIEW flag;
    -- A flag, too, counts unless it was undone; so does its removal.
    CREATE VIEW flag AS
        SELECT row, annotator FROM event AS e WHERE action = 'flag'
        AND NOT EXISTS (SELECT 1 FROM event AS u WHERE u.undoes = e.number)
        AND NOT EXISTS (
            SELECT 1 FROM event AS later
            WHERE later.row = e.row AND later.annotator = e.annotator AND later.number > e.number
            AND later.action IN ('flag', 'unflag')
            AND NOT EXISTS (SELECT 1 FROM event AS u WHERE u.undoes = later.number)
        );
    """,
    """
    CREATE TABLE note (                -- each change of a note; the latest counts
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        row INTEGER NOT NULL,
        annotator TEXT NOT NULL,
        text TEXT NOT NULL,
        time TEXT NOT NULL
    );
    CREATE INDEX note_row ON note (row, annotator, number);
    CREATE VIEW current_note AS
        SELECT row, annotator, text, time FROM note AS n WHERE text != '' AND NOT EXISTS (
            SELECT 1 FROM note AS later
            WHERE later.row = n.row AND later.annotator = n.annotator AND later.number > n.number
        );
    """,
    """
    ALTER TABLE round ADD COLUMN stop_set BLOB NOT NULL DEFAULT x'';  -- see `settled`
    ALTER TABLE event ADD COLUMN review INTEGER NOT NULL DEFAULT 0;  -- whether it was a second look at a label
    CREATE TABLE doubt (               -- of the labels that the last model knew; see `review`
        row INTEGER PRIMARY KEY,
        label INTEGER NOT NULL,
        quality REAL NOT NULL,
        guess INTEGER NOT NULL,
        probability REAL NOT NULL
    );
    DROP VIEW decision;
    CREATE VIEW decision AS
        SELECT number, action, row, annotator, label, round, time, seconds, review FROM event AS e
        WHERE action IN ('label', 'relabel', 'skip')
        AND NOT EXISTS (SELECT 1 FROM event AS u WHERE u.undoes = e.number)
        AND NOT EXISTS (
            SELECT 1 FROM event AS later
            WHERE later.row = e.row AND later.annotator = e.annotator AND later.number > e.number
            AND later.action IN ('label', 'relabel', 'skip')
            AND NOT EXISTS (SELECT 1 FROM event AS u WHERE u.undoes = later.number)
        );
    -- What each annotator has decided about each row by themselves, without the label of others before them.
    CREATE VIEW opinion AS
        SELECT row, annotator, label FROM event AS e
        WHERE action IN ('label', 'relabel', 'skip') AND NOT review
        AND NOT EXISTS (SELECT 1 FROM event AS u WHERE u.undoes = e.number)
        AND NOT EXISTS (
            SELECT 1 FROM event AS later
            WHERE later.row = e.row AND later.annotator = e.annotator AND later.number > e.number
            AND later.action IN ('label', 'relabel', 'skip') AND NOT later.review
            AND NOT EXISTS (SELECT 1 FROM event AS u WHERE u.undoes = later.number)
        );
    DROP VIEW label;
    -- The label of each row: of the last second look, else of most annotators, and of the first where two labels have
    -- as many.
    CREATE VIEW label AS
        SELECT row, label, annotator, time, seconds, round FROM (
            SELECT *, ROW_NUMBER() OVER (
                PARTITION BY row ORDER BY reviewed DESC, votes DESC, first, review DESC, number
            ) AS place FROM (
                SELECT *, COUNT(*) OVER same AS votes, MIN(number) OVER same AS first,
                    MAX(review * number) OVER same AS reviewed
                FROM decision WHERE label IS NOT NULL WINDOW same AS (PARTITION BY row, label)
            )
        ) WHERE place = 1;
    """,
    """
    CREATE TABLE copy (row INTEGER PRIMARY KEY, first INTEGER NOT NULL);  -- of rows that another one stands for
    """,
    """
    ALTER TABLE queue ADD COLUMN annotator TEXT;  -- who asked for this text and gets it; NULL is everyone
    CREATE INDEX queue_annotator ON queue (annotator);
    """,
    # From here on `event.label`, `doubt.label` and `doubt.guess` hold the number of a class or, where a text has any
    # number of labels, their numbers in ascending order as JSON text, such as [0, 2].
    """
    INSERT INTO meta VALUES ('multilabel', 'false');
    """,
)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file at `path` to this version's schema, inside the caller's transaction.

    Raises:
        RecordError: it is of a newer version.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise RecordError(
            f"{path} is of version {version}, and this dami_text knows {len(MIGRATIONS)} at most; upgrade dami_text"
        )
    if version < len(MIGRATIONS):
        for step in MIGRATIONS[version:]:
            for statement in _statements(step):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one: `executescript` would end the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
