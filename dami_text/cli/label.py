"""The command dami-text label: a session is made of a file of texts, or goes on, and the page is served."""

import argparse
import getpass
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import fields
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from dami_text.cli.parsing import TOPICS, ErrorBoundary, Parser, tell_of_data
from dami_text.config.page_options import PageConfig
from dami_text.config.registry import AUTO
from dami_text.config.run import LabelingConfig
from dami_text.errors import ConfigError
from dami_text.escaping import printable
from dami_text.labeling.opening import SESSION_OPTIONS, UNUSED, open_session, read_guidelines

if TYPE_CHECKING:
    from dami_text.labeling.session import Session


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

    options = parser.given(arguments)
    page = PageConfig(**{f.name: getattr(given, f.name) for f in fields(PageConfig)})
    page.require_login()
    tell_of_data()
    guidelines = read_guidelines(page.guidelines)
    passwords = read_passwords(page.passwords, page.annotators or []) if page.passwords else {}
    no_progress_bars()
    of_session = {name: value for name, value in options.items() if name in SESSION_OPTIONS}
    session = opened.enter_context(open_session(given.file, of_session, page))
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
    serve(session, page, guidelines, review)


#: Options of several values, which take a file's name that follows them for one of these.
SEVERAL = ("--describe", "--labels", "--annotators", "--columns", "--label-names", "--label-columns")


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
    parser.remove(UNUSED)
    return parser
