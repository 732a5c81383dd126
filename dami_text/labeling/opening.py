"""Opening the session of a file of texts, or making it: what `dami-text label` and `dami_text.label` share."""

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dami_text.config.conflicts import WITH_VALIDATION
from dami_text.config.data_options import TabularConfig
from dami_text.config.defaults import PATIENCE, PRESETS, implied_options, session_query_size
from dami_text.config.fields import flag
from dami_text.config.page_options import PageConfig
from dami_text.config.paths import PATHS
from dami_text.config.registry import AUTO
from dami_text.config.run import LabelingConfig, RunConfig
from dami_text.errors import ConfigError

if TYPE_CHECKING:
    from dami_text.labeling.session import Session, SessionConfig

#: Options of a run that labelling has no use for: it has no validation split, and the file is named beside them.
UNUSED = (
    *("dataset", "splits", "rarefy", "validation", "stop", "stop_report", "threshold", *WITH_VALIDATION),
    *(f.name for f in fields(TabularConfig)),
)

#: The options of a session by name.
SESSION_OPTIONS = frozenset({*RunConfig().options(), *(f.name for f in fields(LabelingConfig))} - {*UNUSED})

#: Options of a session that may be others on another day.
CHANGEABLE = ("budget", "lease_minutes", "device", "ask", "near_duplicates")


def open_session(file: str, given: Mapping[str, Any], page: PageConfig) -> "Session":
    """The session of a file of texts; it is made where it is not there.

    Args:
        file: a file, a folder, a Hub id, demo, or a session.
        given: options of the session by name, those that are not left at their defaults.
        page: where the session is to be, and who labels.

    Raises:
        ConfigError: the options cannot work, or differ from those that the session was made with.
        DataError: the texts cannot be read.
        RecordError: the session is damaged, or cannot be written.
    """
    from dami_text.labeling.page.server import require_gradio
    from dami_text.labeling.session import Session, is_session, require_texts

    require_texts(given.get("task", "text"))
    _check_labels(given.get("labels"))
    if file in PRESETS:
        raise ConfigError(f"{file} is a table, and people label texts, not rows of a table; give a file of texts")
    folder = Path(page.session) if page.session else session_folder(file)
    if not is_session(folder):
        config = _new_config(file, given)
        if folder.exists():
            raise ConfigError(f"{folder} is there and holds no session; choose another with --session")
        if config.labeling.overlap > 1 and not page.annotators:
            raise ConfigError(
                f"--overlap is {config.labeling.overlap}, and only you label; name all with --annotators NAME ..."
            )
        from dami_text.labeling.rounds import create_session  # torch, which going on with a session does without

        require_gradio()
        return create_session(folder, config)
    session = Session(folder)
    try:
        session.store.require_writable()
        if Path(file).resolve() != folder.resolve():
            from dami_text.labeling.creation import require_source

            require_source(session, file)
        changes = _changes(session, given)
        require_gradio()
        session.change(**changes)
    except BaseException:
        session.close()
        raise
    return session


def _new_config(file: str, given: Mapping[str, Any]) -> "SessionConfig":
    """The options of a new session: those that are given, and what they imply for the rest."""
    from dami_text.labeling.session import SessionConfig

    given = {"model": AUTO} | dict(given)
    size = session_query_size(given)
    implied = {"initial_size": size, "query_size": size, "clustering_seconds": PATIENCE, "cold_start": "auto"}
    defaults = SessionConfig(RunConfig(), LabelingConfig()).options()
    return SessionConfig.of(defaults | implied | implied_options(given) | given | {"dataset": file})


def _changes(session: "Session", given: Mapping[str, Any]) -> dict[str, Any]:
    """What the options change in a session; ConfigError where they would change what it was made with."""
    from dami_text.labeling.session import SessionConfig

    task = session.config.run.data.task
    if given.get("task", task) != task:
        raise ConfigError(
            f"{session.folder} was made with --task {task}, and --task is {given['task']}; leave it out to go on, or "
            "make another session with --session"
        )
    settled = ("model", "cold_start")  # where they were left open, they were chosen when the session was made
    given = {name: value for name, value in given.items() if name not in settled or value != AUTO}
    stored = session.config.options()
    wanted = SessionConfig.of(stored | given).options()
    changes = {name: wanted[name] for name in CHANGEABLE}
    if grown := _grown(session.class_names, wanted["labels"]):
        changes["labels"] = grown
        given.pop("labels")
    _refuse_changes({name: wanted[name] for name in given if name not in CHANGEABLE}, stored, session.folder)
    return changes


def _check_labels(names: list[str] | None) -> None:
    """Raise ConfigError for classes that were written with commas, or that are alike but for blanks."""
    if names is None:
        return
    if len(names) == 1 and "," in names[0]:
        wanted = " ".join(part.strip() for part in names[0].split(","))
        raise ConfigError(f"--labels is {names[0]!r}; it must be names with blanks between them: --labels {wanted}")
    if len({name.strip() for name in names}) < len(set(names)):
        raise ConfigError(f"--labels is {names}; it must be names that differ by more than blanks around them")


def _grown(names: list[str], given: list[str]) -> list[str]:
    """The session's classes and the new ones of `given`; empty if that does not name all, or has none."""
    new = [name for name in given if name not in names]
    return [*names, *new] if new and set(names) <= set(given) else []


def session_folder(file: str) -> Path:
    """The session's folder for a file: beside it, its name ending in .dami; a session's folder is its own."""
    from dami_text.labeling.session import is_session

    path = Path(file)
    if path.suffix == ".dami" or is_session(path):
        return path
    if path.exists():
        name = path.name.removesuffix(".gz")
        return path.with_name((Path(name).stem or name) + ".dami")
    return Path(re.sub(r"[^A-Za-z0-9._-]+", "-", file).strip("-.") + ".dami")


def _refuse_changes(given: dict[str, Any], stored: dict[str, Any], folder: Path) -> None:
    """Raise ConfigError if an option says something else than the session was made with."""
    differing = [
        f"{flag(name)} {stored[name]} there, {value} now"
        for name, value in given.items()
        if name in stored
        and str(value) != str(stored[name])
        and not (name in PATHS and str(Path(str(value)).absolute()) == stored[name])
    ]
    if differing:
        raise ConfigError(
            f"{folder} was made with other options: {'; '.join(differing)}; leave them out to go on, or make another "
            "session with --session"
        )


def read_guidelines(file: str | None) -> str | None:
    """The guidelines' Markdown."""
    if file is None:
        return None
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read --guidelines {file}: {error}") from error
