"""The commands of a session: status, export, import, add, rename, select and train."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from dami_text.cli.parsing import ErrorBoundary, Parser, tell_of_data
from dami_text.config.conflicts import check_saved
from dami_text.config.fields import Device
from dami_text.errors import ConfigError, DamiError
from dami_text.escaping import printable
from dami_text.labeling.exchange.formats import FORMATS, READABLE, check_safe_csv


def session_parser(prog: str, description: str, session: str = "the session's folder, such as reviews.dami") -> Parser:
    """A parser of a command that takes a session."""
    parser = Parser(prog, description)
    parser.add_argument("session", type=Path, help=session)
    return parser


def add_device(parser: Parser) -> None:
    """The option of commands that compute."""
    parser.add_argument("--device", choices=get_args(Device), help="what computes (default: as the session says)")


def add_separator(parser: Parser, told: str) -> None:
    """The option of commands that write or read several labels a text."""
    parser.add_argument("--label-separator", metavar="TEXT", help=told)


def export(prog: str, arguments: Sequence[str], boundary: ErrorBoundary) -> None:
    """Write the labels for another tool."""
    parser = session_parser(prog, "Write the labels for another tool.")
    parser.add_argument("out", type=Path, help="the file to write")
    choices = (*READABLE,)
    parser.add_argument(
        "--format", choices=choices, default="csv", help="events is all that ever happened, as jsonl (default: csv)"
    )
    parser.add_argument("--all", action="store_true", help="write texts without labels too")
    parser.add_argument("--safe-csv", action="store_true", help="keep spreadsheets from calculating cells: ' before =")
    add_separator(parser, "write several labels a text with this between them, such as ';' (default: as a list)")
    each = "write several labels a text as a column of 0 and 1 for each label"
    parser.add_argument("--label-columns", action="store_true", help=each)
    options = parser.parse_args(arguments)

    from dami_text.labeling.exchange.exporting import check_export, export_labels
    from dami_text.labeling.session import Session

    check_export(options.format, whole=options.all, safe_csv=options.safe_csv)
    with Session(options.session) as session:
        n, told = export_labels(
            session,
            options.out,
            options.format,
            whole=options.all,
            safe_csv=options.safe_csv,
            separator=options.label_separator,
            columns=options.label_columns,
        )
        print(f"{n} {'events' if options.format == 'events' else 'texts'} in {printable(str(options.out))}")
        if told:
            print(printable(told))


def import_labels(prog: str, arguments: Sequence[str], boundary: ErrorBoundary) -> None:
    """Add labels that were made elsewhere, matched by id and text."""
    parser = session_parser(prog, "Add labels that were made elsewhere, matched by id and text.")
    parser.add_argument("file", type=Path, help="the file to read, in one of the formats of dami-text export")
    formats = (*READABLE,)
    parser.add_argument("--format", choices=formats, help="the file's format (default: as it looks)")
    parser.add_argument(
        "--annotator",
        metavar="NAME",
        help="whose labels they are where the file does not say (default: who gave a text its label, or import)",
    )
    add_separator(parser, "what is between several labels of a text in a cell, such as ';'")
    options = parser.parse_args(arguments)

    from dami_text.labeling.exchange.formats import guess_format, read_decisions
    from dami_text.labeling.exchange.matching import import_decisions
    from dami_text.labeling.exchange.scheme import LabelScheme
    from dami_text.labeling.session import Session

    with Session(options.session) as session:
        try:
            content = options.file.read_bytes()
        except OSError as error:
            raise DamiError(f"cannot read {options.file}: {error}") from error
        name = options.format or guess_format(options.file.name, content)
        names, multilabel = session.class_names, session.multilabel
        scheme = LabelScheme(names=names, multilabel=multilabel, separator=options.label_separator)
        done = import_decisions(session, read_decisions(name, content, scheme), options.annotator)
        print(f"{done.added} labels and skips added, {done.known} were known")
        if done.marks:
            print(f"{done.marks} flags and notes added")
        if done.changed:
            print(f"{done.changed} of the added change what the same annotator had decided before")
        if done.unmatched:
            print(f"{done.unmatched} are about texts that the session does not have: left out")
        if done.ambiguous:
            print(f"{done.ambiguous} have no id and fit two texts, with and without an apostrophe: left out")
        if done.contradictory:
            print(f"{done.contradictory} texts have several labels by the same annotator in the file: left out")
        if done.unusable:
            examples = "; ".join(dict.fromkeys(done.unusable[:3]))
            print(f"{len(done.unusable)} cannot be taken: left out (such as: {printable(examples)})")
        if not (done.added or done.known or done.marks):
            raise DamiError(
                f"nothing was taken from {options.file}; its texts or ids must be those of the session, and its labels "
                f"{session.class_names}"
            )


def add(prog: str, arguments: Sequence[str], boundary: ErrorBoundary) -> None:
    """Add the texts that a file has and the session has not."""
    parser = session_parser(prog, "Add the texts that a file has and the session has not; labels stay as they are.")
    parser.add_argument("file", help="a file like the one that the session was made of")
    options = parser.parse_args(arguments)

    from dami_text.data.hub import no_progress_bars
    from dami_text.labeling.creation import add_texts
    from dami_text.labeling.lock import locked
    from dami_text.labeling.session import Session

    no_progress_bars()
    tell_of_data()
    with Session(options.session) as session:
        with locked(session):
            added, known = add_texts(session, options.file)
        print(f"{added} texts added, {known} were there; the session has {len(session)}")


def rename(prog: str, arguments: Sequence[str], boundary: ErrorBoundary) -> None:
    """Give a class another name."""
    parser = session_parser(prog, "Give a class another name; its labels stay what they are.")
    parser.add_argument("old", help="the class's name")
    parser.add_argument("new", help="its new name")
    options = parser.parse_args(arguments)

    from dami_text.labeling.lock import locked
    from dami_text.labeling.session import Session

    with Session(options.session) as session:
        with locked(session):
            session.rename_class(options.old, options.new)
        print(f"classes  {', '.join(map(printable, session.class_names))}")
        print("a page that is open shows the old name until it is started again, and so do models until the next round")


def select(prog: str, arguments: Sequence[str], boundary: ErrorBoundary) -> None:
    """Write the next texts to label, with reasons, for another tool."""
    parser = session_parser(prog, "Write the next texts to label, with reasons, for another tool.")
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("--n", type=int, default=100, metavar="N", help="texts (default: 100)")
    add_device(parser)
    parser.add_argument("--format", choices=FORMATS, default="csv", help="the file's format (default: csv)")
    parser.add_argument("--safe-csv", action="store_true", help="keep spreadsheets from calculating cells: ' before =")
    options = parser.parse_args(arguments)

    from dami_text.data.hub import no_progress_bars
    from dami_text.labeling.exchange.formats import checked, write_records
    from dami_text.labeling.exchange.matching import write_file
    from dami_text.labeling.exchange.scheme import LabelScheme
    from dami_text.labeling.exchange.selection import selected_records
    from dami_text.labeling.session import Session

    if options.n < 1:
        raise ConfigError(f"--n is {options.n}; it must be at least 1")
    check_safe_csv(options.format, options.safe_csv)
    no_progress_bars()
    with Session(options.session, options.device) as session:
        scheme = LabelScheme(names=session.class_names, multilabel=session.multilabel)
        checked(options.format, scheme)  # before the training
        records = selected_records(session, options.n)
        write_file(session, options.out, write_records(options.format, records, scheme, options.safe_csv))
        print(f"{len(records)} texts in {printable(str(options.out))}")


def train(prog: str, arguments: Sequence[str], boundary: ErrorBoundary) -> None:
    """Train the final model and write it with its card."""
    parser = session_parser(prog, "Train the final model on all labels but the held-out ones.")
    parser.add_argument("--output-dir", type=Path, required=True, metavar="DIR", help="where model and card go")
    parser.add_argument("--push-to-hub", metavar="ORG/NAME", help="push them to this Hub id, too")
    code = "put the model's code beside it, for where dami_text is not installed"
    parser.add_argument("--export-code", action="store_true", help=code)
    merge = "save the model of a session with --lora whole, its adapter merged into its base"
    parser.add_argument("--export-merged", action="store_true", help=merge)
    parser.add_argument("--private", action="store_true", help="make what is pushed private")
    tune = "fine-tune the session's encoder on pairs of labelled texts first; on a CPU it takes minutes"
    parser.add_argument("--fine-tune", action="store_true", help=tune)
    rarer = "f1: predict the rarer of two classes, or each of any number of labels, from that probability on at which "
    rarer += "its cross-validated F1 is highest (default: none)"
    parser.add_argument("--threshold", choices=("none", "f1"), default="none", help=rarer)
    add_device(parser)
    options = parser.parse_args(arguments)

    from dami_text.data.hub import no_progress_bars
    from dami_text.labeling.final import fine_tuning, train_final
    from dami_text.labeling.session import Session
    from dami_text.labeling.status import final_text, final_warnings
    from dami_text.publishing.push import add_code, check_push, push_model

    if options.private and not options.push_to_hub:
        raise ConfigError("--private has no effect without --push-to-hub ORG/NAME; add that, or leave --private out")
    with Session(options.session, options.device) as session:
        if options.fine_tune:
            session.config = fine_tuning(session.config)
        check_saved(
            session.config.run.model,
            merged=options.export_merged,
            code=options.export_code,
            pushed=options.push_to_hub is not None,
        )
        if options.push_to_hub:
            check_push(options.push_to_hub, "model", options.private)
        no_progress_bars()
        threshold = options.threshold == "f1"
        final = train_final(session, options.output_dir, options.export_merged, threshold=threshold)
        print(final_text(final))
        for told in final_warnings(session, final):
            print(f"WARNING: {told}", file=sys.stderr)
        print(f"model    {printable(str(options.output_dir))}")
        if options.export_code and not add_code(options.output_dir):
            print("--export-code: transformers has this model's code, there is none to export")
        if options.push_to_hub:
            print(f"pushed   {printable(push_model(options.output_dir, options.push_to_hub, options.private))}")


def status(prog: str, arguments: Sequence[str], boundary: ErrorBoundary) -> None:
    """Say how far a session is."""
    options = session_parser(prog, "Say how far a session is.").parse_args(arguments)

    from dami_text.labeling.session import Session
    from dami_text.labeling.status import session_status

    with Session(options.session) as session:
        print(session_status(session))
