"""The command dami-text label: a session is made of a file of texts, or goes on, and the page is served."""

import argparse
import getpass
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from ipaddress import IPv4Address
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from dami_text.cli.parsing import TOPICS, ErrorBoundary, Parser, tell_of_data
from dami_text.config.conflicts import WITH_VALIDATION
from dami_text.config.data_options import DataConfig, TabularConfig
from dami_text.config.defaults import PATIENCE, PRESETS, implied_options, session_query_size
from dami_text.config.fields import Options, flag, option
from dami_text.config.paths import PATHS
from dami_text.config.registry import AUTO
from dami_text.config.run import LabelingConfig, RunConfig
from dami_text.errors import ConfigError
from dami_text.escaping import printable

if TYPE_CHECKING:
    from dami_text.labeling.session import Session

LOCAL_HOST = "127.0.0.1"  # this machine alone

#: Options of a session that may be others on another day.
CHANGEABLE = ("budget", "lease_minutes", "device", "ask", "near_duplicates")


@dataclass(frozen=True, kw_only=True)
class PageConfig(Options):
    """How the page is served; not part of the session."""

    _argument_group_name: ClassVar[str] = "page"

    session: str | None = option(None, "the session's folder (default: the file's name with .dami in place of its end)")
    annotators: list[str] | None = option(None, "who may label, each with a password (default: only you, without one)")
    passwords: str | None = option(
        None, "a file with a line NAME:PASSWORD for each annotator (default: they are asked for once)"
    )
    guidelines: str | None = option(None, "a Markdown file that the page shows on g")
    port: int = option(7860, "the page's port; where it is taken, the next free one")
    host: str = option(
        LOCAL_HOST, "the address to listen at; 0.0.0.0 lets other machines open the page (with --annotators only)"
    )
    public_url: str | None = option(
        None, "where a reverse proxy shows the page, such as https://lab.example/labels (with --annotators only)"
    )
    browser: bool = option(True, "open the page in a browser")

    def _check(self) -> None:
        self.require(1 <= self.port <= 65535, "port", "from 1 to 65535")
        names = self.annotators
        fit = names is None or (len(set(names)) == len(names) and all(re.fullmatch(r"[\w.@-]{1,64}", n) for n in names))
        self.require(fit, "annotators", "different names of letters, digits and . _ @ -")
        self.require(self.passwords is None or names is not None, "passwords", "given with --annotators")
        self.require(_is_ipv4(self.host), "host", "an IPv4 address, such as 127.0.0.1 or 0.0.0.0")
        closed = "given with --annotators, who log in: whoever can open the page could label under your name"
        self.require(self.host == LOCAL_HOST or names is not None, "host", closed)
        if self.public_url is not None:
            wanted = "the whole address of the page, such as https://lab.example/labels"
            self.require(_is_address(self.public_url), "public_url", wanted)
            self.require(names is not None, "public_url", closed)


def _is_ipv4(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
    return fits and not (parts.query or parts.fragment or parts.username) and url.isprintable() and " " not in url


def label(prog: str, arguments: Sequence[str], boundary: ErrorBoundary) -> None:
    """Open the session that the arguments name, or make it, and serve its page until ctrl-c."""
    with ExitStack() as opened:
        _label(prog, list(arguments), opened)


def _label(prog: str, arguments: list[str], opened: ExitStack) -> None:
    """The same; `opened` closes the session at the end."""
    parser = _label_parser(prog)
    given, arguments = _parsed(parser, arguments)

    from dami_text.data.hub import no_progress_bars
    from dami_text.labeling.page.accounts import read_passwords
    from dami_text.labeling.page.server import require_gradio
    from dami_text.labeling.session import Session, SessionConfig, is_session, require_texts

    options = {"model": AUTO} | parser.given(arguments)
    size = session_query_size(options)
    sizes = {"initial_size": size, "query_size": size}
    parser.set_defaults(**{"clustering_seconds": PATIENCE} | sizes | implied_options(options))
    require_texts(given.task)
    _check_labels(given.labels)
    if given.file in PRESETS:
        raise ConfigError(f"{given.file} is a table, and people label texts, not rows of a table; give a file of texts")
    tell_of_data()
    folder = Path(given.session) if given.session else session_folder(given.file)
    session = opened.enter_context(Session(folder)) if is_session(folder) else None
    if session is not None:
        session.store.require_writable()
        if Path(given.file).resolve() != folder.resolve():
            from dami_text.labeling.creation import require_source

            no_progress_bars()
            require_source(session, given.file)
        parser.set_defaults(**session.config.options())
        arguments = _without_auto(arguments)
    page, labeling, config = _configs(parser, arguments)
    annotators, guidelines = page.annotators or [], read_guidelines(page.guidelines)
    passwords = read_passwords(page.passwords, annotators) if page.passwords else {}
    if session is not None:
        changes = _changes(session, vars(parser.parse_args(arguments)))
        require_gradio()
        session.change(**changes)
    else:
        if folder.exists():
            raise ConfigError(f"{folder} is there and holds no session; choose another with --session")
        if labeling.overlap > 1 and not annotators:
            raise ConfigError(
                f"--overlap is {labeling.overlap}, and only you label; name all with --annotators NAME ..."
            )
        from dami_text.labeling.rounds import create_session  # torch, which going on with a session does without

        require_gradio()
        no_progress_bars()
        session = opened.enter_context(create_session(folder, SessionConfig(config, labeling)))
    serve_page(session, page, guidelines, passwords)


def serve_page(
    session: "Session", page: PageConfig, guidelines: str | None, passwords: dict[str, str], review: bool = False
) -> None:
    """Say which session it is and serve its page, which opens with a second look at labels where `review` says so.

    Passwords that `passwords` lacks are asked for, unless there is a file of them.
    """
    from dami_text.labeling.page.accounts import ask_for_passwords, set_passwords
    from dami_text.labeling.page.server import serve

    names = ", ".join(map(printable, session.class_names))
    n_copies = len(session.copies.others)
    told = f"{len(session)} texts" + (f", {n_copies} of them copies that are not asked" if n_copies else "")
    print(f"session  {printable(str(session.folder))}: {told}; classes {names}")
    print(f"model    {printable(session.model_told)}")
    annotators = page.annotators or []
    if not page.passwords:
        passwords = ask_for_passwords(session.store, annotators, getpass.getpass)
    set_passwords(session.store, passwords)
    serve(
        session,
        annotators,
        guidelines,
        page.port,
        page.browser,
        host=page.host,
        public_url=page.public_url,
        review=review,
    )


def _changes(session: "Session", values: dict[str, Any]) -> dict[str, Any]:
    """What the options change in a session; ConfigError where they would change what it was made with."""
    changes = {name: values.pop(name) for name in CHANGEABLE}
    if grown := _grown(session.class_names, values["labels"]):
        changes["labels"] = grown
        values.pop("labels")
    _refuse_changes(values, session.config.options(), session.folder)
    return changes


def _without_auto(arguments: list[str]) -> list[str]:
    """The arguments without `--model auto`: the model was chosen when the session was made."""
    kept = [argument for argument in arguments if argument != f"--model={AUTO}"]
    places = [i for i in range(len(kept) - 1) if kept[i : i + 2] == ["--model", AUTO]]
    return [argument for i, argument in enumerate(kept) if i not in places and i - 1 not in places]


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


#: Options of several values, which take a file's name that follows them for one of these.
SEVERAL = ("--describe", "--labels", "--annotators", "--columns", "--label-names")


def _parsed(parser: Parser, arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """What the arguments say, and the arguments with the file first where it was the last of the text columns.

    Raises:
        ConfigError: the arguments cannot be read; it names the file where another option has taken it.
    """
    try:
        return parser.parse_args(arguments), arguments
    except ConfigError as error:
        if file := _file_after(arguments, "--text-column"):
            place = arguments.index("--text-column") + _values_of(arguments, "--text-column").index(file) + 1
            arguments = [file, *arguments[:place], *arguments[place + 1 :]]
            return parser.parse_args(arguments), arguments
        for name in SEVERAL:
            if file := _file_after(arguments, name):
                raise ConfigError(
                    f"{file} was taken for one of {name}; write it first: dami-text label {file} ..."
                ) from error
        raise


def _values_of(arguments: list[str], name: str) -> list[str]:
    """What stands between an option and the next."""
    rest = arguments[arguments.index(name) + 1 :] if name in arguments else []
    return list(takewhile(lambda value: not value.startswith("--"), rest))


def _file_after(arguments: list[str], name: str) -> str | None:
    """The file's name where it is the last of several values of an option."""
    values = _values_of(arguments, name)
    return values[-1] if len(values) > 1 and Path(values[-1]).exists() else None


def _label_parser(prog: str) -> Parser:
    """The parser of the options of a session and of its page."""
    description = "Label the texts of a file on a page in the browser, or go on with a session."
    parser = Parser(prog, description, [PageConfig, LabelingConfig, *TOPICS.values()])
    parser.add_argument(
        "file", help="a file (csv, tsv, jsonl, txt, xlsx, parquet), a folder, a Hub id, demo, a session"
    )
    parser.set_defaults(model=AUTO, cold_start="auto")
    # What the file's name stands for, and what labelling has no use for: it has no validation split.
    unused = ["splits", "rarefy", "validation", *WITH_VALIDATION, *(f.name for f in fields(TabularConfig))]
    parser.remove(["dataset", *unused])
    return parser


def _configs(parser: Parser, arguments: list[str]) -> tuple[PageConfig, LabelingConfig, RunConfig]:
    """The configs of the page, of the labelling and of the rounds."""
    values = vars(parser.parse_args(arguments))

    def made(kind: Any, **more: Any) -> Any:
        return kind(**{f.name: values[f.name] for f in fields(kind) if f.name in values} | more)

    run = {
        name: made(kind, dataset=values.get("dataset", values["file"])) if kind is DataConfig else made(kind)
        for name, kind in TOPICS.items()
    }
    return made(PageConfig), made(LabelingConfig), RunConfig(**run)


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
