"""A session's labels in a file for another tool."""

from pathlib import Path

from dami_text.errors import ConfigError
from dami_text.labeling.exchange.events import write_events
from dami_text.labeling.exchange.formats import READABLE, advice, check_safe_csv, checked, write_records
from dami_text.labeling.exchange.matching import records_of, write_file
from dami_text.labeling.exchange.scheme import LabelScheme
from dami_text.labeling.session import Session


def export_labels(
    session: Session,
    file: Path,
    name: str,
    *,
    whole: bool = False,
    safe_csv: bool = False,
    separator: str | None = None,
    columns: bool = False,
) -> tuple[int, str | None]:
    """Write the labels in the format `name`; how many texts (or events) they are, and what a person needs to know.

    Args:
        session: whose labels they are.
        file: where they go.
        name: one of READABLE.
        whole: write texts without labels, too.
        safe_csv: keep spreadsheets from calculating cells of a csv.
        separator, columns: how several labels a text are written (see `LabelScheme`).

    Raises:
        ConfigError: there is no such format, or options that do not go together.
        DataError: the file cannot be written, or the format cannot hold the labels.
    """
    check_export(name, whole=whole, safe_csv=safe_csv)
    form = LabelScheme(names=session.class_names, multilabel=session.multilabel, separator=separator, columns=columns)
    scheme = checked(name, form)
    if name == "events":
        content, n_events = write_events(session)
        write_file(session, file, content)
        return n_events, None
    records = records_of(session, only_decided=not whole)
    write_file(session, file, write_records(name, records, scheme, safe_csv))
    return len({record.id for record in records}), advice(name, scheme)


def check_export(name: str, *, whole: bool, safe_csv: bool) -> None:
    """Raise ConfigError for a format that is unknown, and for options that have no effect on it."""
    if name not in READABLE:
        raise ConfigError(f"--format is {name!r}; it must be one of {', '.join(READABLE)}")
    check_safe_csv(name, safe_csv)
    if whole and name == "events":
        raise ConfigError("--all adds texts without labels, and --format events is of events; leave one of them out")
