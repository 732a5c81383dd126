"""The command dami-text review: a second look at labels, on the page or as a table."""

from collections.abc import Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from dami_text.cli.label import serve_page
from dami_text.cli.parsing import ErrorBoundary, Parser
from dami_text.cli.session import add_device
from dami_text.config.fields import flag
from dami_text.config.page_options import PageConfig
from dami_text.errors import ConfigError
from dami_text.escaping import printable
from dami_text.labeling.exchange.formats import FORMATS, check_safe_csv
from dami_text.labeling.opening import read_guidelines


def review(prog: str, arguments: Sequence[str], boundary: ErrorBoundary) -> None:
    """Open the page with a second look at labels, the most doubtful first, or write them into a file."""
    parser = Parser(prog, "Look again at labels, the most doubtful first, to confirm or correct them.", [PageConfig])
    parser.remove(["session"])
    parser.add_argument("session", type=Path, help="the session's folder, such as reviews.dami")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write them into a file, and open no page")
    parser.add_argument("--format", choices=FORMATS, default="csv", help="the file's format (default: csv)")
    parser.add_argument("--safe-csv", action="store_true", help="keep spreadsheets from calculating cells: ' before =")
    add_device(parser)
    options = parser.parse_args(arguments)
    _check(parser.given(arguments))
    check_safe_csv(options.format, options.safe_csv)

    from dami_text.data.hub import no_progress_bars
    from dami_text.labeling.exchange.formats import write_records
    from dami_text.labeling.exchange.matching import write_file
    from dami_text.labeling.exchange.scheme import LabelScheme
    from dami_text.labeling.page.accounts import read_passwords
    from dami_text.labeling.page.server import require_gradio
    from dami_text.labeling.review import doubtful_records, find_doubts
    from dami_text.labeling.session import Session

    page = PageConfig(**{f.name: getattr(options, f.name) for f in _page_fields()})
    page.require_login()
    guidelines = read_guidelines(page.guidelines)
    passwords = read_passwords(page.passwords, page.annotators or []) if page.passwords else {}
    no_progress_bars()
    with Session(options.session, options.device) as session:
        session.store.require_writable()
        if options.output is None:
            require_gradio()
        find_doubts(session)
        if options.output is None:
            serve_page(session, page, guidelines, passwords, review=True)
            return
        records = doubtful_records(session)
        scheme = LabelScheme(names=session.class_names, multilabel=session.multilabel)
        content = write_records(options.format, records, scheme, options.safe_csv)
        write_file(session, options.output, content)
        print(f"{len(records)} labelled texts in {printable(str(options.output))}, the most doubtful first")


def _page_fields() -> list[Field[Any]]:
    """The options of the page, but for the one that names the session."""
    return [f for f in fields(PageConfig) if f.name != "session"]


def _check(given: dict[str, Any]) -> None:
    """Raise ConfigError for options of the page without a page, and for those of a file without a file."""
    if given.get("output") is None:
        names, where = ["format", "safe_csv"], "without --output FILE"
    else:
        names, where = [f.name for f in _page_fields()], "with --output, which opens no page"
    for name in names:
        if name in given:
            raise ConfigError(f"{flag(name)} has no effect {where}; leave it out")
