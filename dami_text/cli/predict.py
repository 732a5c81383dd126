"""The command `dami-text predict`: the classes of texts that nobody has labelled."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dami_text.cli.parsing import ErrorBoundary, Parser, tell_of_data
from dami_text.cli.session import add_device, session_parser
from dami_text.config.data_options import DataConfig
from dami_text.config.fields import flag
from dami_text.errors import ConfigError
from dami_text.escaping import printable

if TYPE_CHECKING:
    from dami_text.labeling.session import Session

OF_FILES = ("text_column", "columns", "delimiter", "quote", "encoding")


def predict(prog: str, arguments: Sequence[str], boundary: ErrorBoundary) -> None:
    """Write the classes of texts that nobody has labelled, with probabilities."""
    what = "Write the classes of texts that nobody has labelled, with probabilities."
    parser = session_parser(prog, what, "the session's folder, or that of a model or of a run")
    _add_arguments(parser)
    add_device(parser)
    _predict_files(parser.parse_args(arguments))


def _add_arguments(parser: Parser) -> None:
    """What the command takes beside a session or a model."""
    both = "the texts and where to write; with --rest OUT alone"
    parser.add_argument("files", nargs="+", metavar="FILE OUT", help=both)
    parser.add_argument("--rest", action="store_true", help="predict the texts of the session that have no label")
    parser.add_argument("--text-column", nargs="+", metavar="VALUE", help="the column that holds the texts, or several")
    parser.add_argument("--columns", nargs="+", metavar="VALUE", help="the columns' names, where the file has none")
    for name, what in (("delimiter", "separates the columns"), ("quote", "quotes cells"), ("encoding", "encodes it")):
        parser.add_argument(f"--{name}", metavar="VALUE", help=f"what {what}, as of dami-text label")
    parser.add_argument("--safe-csv", action="store_true", help="keep spreadsheets from calculating cells: ' before =")


def _predict_files(options: argparse.Namespace) -> None:
    """Write the predictions that the options ask for, and print how many texts are of each class."""
    from dami_text.labeling.prediction import require_writable
    from dami_text.labeling.session import Session, is_session

    wanted = "--rest OUT" if options.rest else "FILE OUT"
    if len(options.files) != (1 if options.rest else 2):
        raise ConfigError(f"got {' '.join(options.files)!r}; wanted: dami-text predict {options.session} {wanted}")
    given = {name: getattr(options, name) for name in OF_FILES if getattr(options, name) is not None}
    if options.rest and given:
        raise ConfigError(f"{flag(next(iter(given)))} is about a file, and --rest reads none; leave it out")
    *sources, out = options.files
    file = Path(out)
    require_writable(file)
    if options.safe_csv and file.suffix.lower() == ".jsonl":
        raise ConfigError(f"--safe-csv is about tables, and {file} is none; leave it out")
    with ExitStack() as opened:
        known = is_session(options.session)
        session = opened.enter_context(Session(options.session, options.device)) if known else None
        _predict(options, session, sources, file, given)


def _predict(
    options: argparse.Namespace, session: "Session | None", sources: list[str], file: Path, given: dict[str, Any]
) -> None:
    """Predict, and say what was written."""
    from tqdm import tqdm

    from dami_text.data.hub import no_progress_bars
    from dami_text.data.sources import read_texts
    from dami_text.labeling.exchange.matching import require_other_file
    from dami_text.labeling.prediction import Classifier, rest_of, write_predictions

    if options.rest and session is None:
        raise ConfigError(f"--rest is of a session, and {options.session} is none; name a file of texts")
    no_progress_bars()
    tell_of_data()
    data: Any = session.config.run.data if session else DataConfig()
    if session:
        require_other_file(session, file)
    _require_apart(file, [Path(source) for source in sources], options.session)
    texts = rest_of(session) if session and options.rest else read_texts(_of_file(data, sources[0], given))
    classifier = (
        Classifier.of_session(session) if session else Classifier.load(options.session, options.device or "auto")
    )
    with tqdm(total=len(texts), unit="text", disable=not sys.stderr.isatty()) as bar:
        done = write_predictions(classifier, texts, file, options.safe_csv, bar.update)
    print(f"{len(texts)} texts in {printable(str(file))}")
    print(f"classes  {', '.join(f'{printable(name)} {done.counts[name]}' for name in classifier.class_names)}")
    if done.n_empty:
        print(f"{done.n_empty} texts are empty and have no prediction")
    if done.n_cut:
        print(f"{done.n_cut} texts are longer than the {classifier.longest} tokens that the model takes, and were cut")


def _require_apart(file: Path, sources: list[Path], model: Path) -> None:
    """Raise ConfigError if a file to write is the file of the texts, or in its folder or that of the model."""
    place = file.absolute().resolve()
    for source in sources:
        if place == source.resolve():
            raise ConfigError(f"{file} is the file of the texts; choose another to write to")
        if source.resolve() in place.parents:
            raise ConfigError(f"{file} is in the folder of the texts; choose another to write to")
    if model.resolve() in place.parents:
        raise ConfigError(f"{file} is in {model}, which is the model's; choose another to write to")


def _of_file(data: DataConfig, file: str, given: dict[str, Any]) -> DataConfig:
    """How to read a file: as the session's own, with the options that are given."""
    return replace(data, dataset=file, dataset_split=None, dataset_config=None, revision=None, **given)
