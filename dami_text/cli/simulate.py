"""The command `dami-text simulate`: what choosing would have saved on the labels of a session, or of a file."""

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dami_text.cli.parsing import ErrorBoundary, tell_of_data
from dami_text.cli.session import add_device, session_parser
from dami_text.config.metrics import WANTED, in_words
from dami_text.config.registry import AUTO
from dami_text.errors import ConfigError
from dami_text.escaping import printable

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset
    from numpy.typing import NDArray

    from dami_text.config.run import RunConfig
    from dami_text.data.ids import Rows

#: Options that say how a file of labelled texts is read and by what model; a session has its own.
OF_FILES = ("text_column", "label_column", "model", "freeze_encoder")

SEEDS = 2


def simulate(prog: str, arguments: Sequence[str], boundary: ErrorBoundary) -> None:
    """Say whether choosing beats random on the labels that are there."""
    what = "What does choosing save on your data? Simulates strategies on the labels that a session has."
    parser = session_parser(prog, what, "the session's folder, or a file of labelled texts")
    asked = "those to compare with random (default: the session's own, or margin where that is random)"
    parser.add_argument("--strategies", nargs="+", metavar="NAME", help=asked)
    parser.add_argument("--metric", metavar="NAME", help=f"{WANTED} (default: the session's, or accuracy)")
    seeds = f"learning curves of each strategy on each fold (default: {SEEDS})"
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help=seeds)
    parser.add_argument("--text-column", nargs="+", metavar="VALUE", help="of a file: the column of texts, or several")
    parser.add_argument("--label-column", metavar="VALUE", help="of a file: the column of labels")
    parser.add_argument("--model", metavar="NAME", help="of a file: linear, auto or an encoder (default: auto)")
    parser.add_argument("--freeze-encoder", action="store_true", default=None, help="of a file: freeze the encoder")
    add_device(parser)
    _simulate(parser.parse_args(arguments))


def _simulate(options: argparse.Namespace) -> None:
    """Simulate, and print what came of it."""
    from tqdm import tqdm

    from dami_text.data.hub import no_progress_bars
    from dami_text.learning.preparation import encoded_pool
    from dami_text.models.kinds.automatic import settled
    from dami_text.simulation.crossfit import MOST, n_curves, require_enough, require_quick, trial

    if options.seeds < 1:
        raise ConfigError(f"--seeds is {options.seeds}; it must be at least 1")
    no_progress_bars()
    tell_of_data()
    texts, names, rows, labels, config = _labeled(options)
    require_enough(labels, names)
    config, _ = settled(config, texts)
    require_quick(config)
    own = config.strategy.strategy
    strategies = list(dict.fromkeys(options.strategies or [own if own != "random" else "margin"]))
    # A frozen encoder has a network of linear regions if the options' strategy reads it: then it serves all of them.
    asked = [config.changed(strategy=name) for name in strategies]
    config = next((one for one in asked if one.strategy.interprets_features), asked[0])
    metric = options.metric or config.training.metric
    config = config.changed(metric=metric)
    pool = encoded_pool(texts, names, config)
    logging.getLogger("dami_text").setLevel(logging.ERROR)  # what is told of one model is of hundreds here
    total = n_curves(strategies, options.seeds)
    with tqdm(total=total, unit="curve", disable=not sys.stderr.isatty()) as bar:
        found = trial(
            pool,
            rows,
            labels,
            strategies,
            metric=metric,
            seeds=options.seeds,
            progress=bar.update,
        )
    n = len(rows)
    drawn = f"{MOST:,} drawn at random from the {n:,} labelled texts" if n > MOST else f"{n:,} labelled texts"
    print(f"{drawn}: {found.n_test} are tested on, and {found.sizes[0]} to {found.sizes[-1]} of the others have labels")
    measure = in_words(metric)
    for strategy in strategies:
        value = found.difference(strategy)
        points = f"{100 * value.estimate:+.1f} points of {measure} against random"
        between = f"95% interval {100 * value.low:+.1f} to {100 * value.high:+.1f}"
        print(printable(f"{strategy}: {points} ({between}): {found.verdict(strategy)}"))


def _labeled(
    options: argparse.Namespace,
) -> "tuple[Dataset, list[str], Rows, NDArray[np.int64], RunConfig]":
    """The texts, the classes, the rows (n,) that have a label, the numbers (n,) of their classes, and the options."""
    import numpy as np

    from dami_text.labeling.session import Session, is_session
    from dami_text.labeling.snapshot import LabelSnapshot

    given = {name: getattr(options, name) for name in OF_FILES if getattr(options, name) is not None}
    if is_session(options.session):
        if given:
            name = next(iter(given)).replace("_", "-")
            raise ConfigError(f"--{name} is about a file, and {options.session} is a session; leave it out")
        with Session(options.session, options.device) as session:
            if session.multilabel:
                raise ConfigError(
                    f"dami-text simulate is for one class a text, and {options.session} has any number of labels; "
                    "export them, and compare strategies with dami-text grid --task multilabel"
                )
            labels = LabelSnapshot.of(session).all
            texts, names, config = session.texts, session.class_names, session.config.run
        return texts, names, np.array([*labels], np.int64), np.array([*labels.values()], np.int64), config
    return _of_file(options, given)


def _of_file(
    options: argparse.Namespace, given: dict[str, object]
) -> "tuple[Dataset, list[str], Rows, NDArray[np.int64], RunConfig]":
    """The same of a file, all of whose texts have a label."""
    import numpy as np
    from datasets import concatenate_datasets

    from dami_text.config.run import RunConfig
    from dami_text.data.sources import load_source
    from dami_text.data.splits import labels_of
    from dami_text.errors import RecordError

    if options.session.is_dir() and not any(options.session.iterdir()):
        raise RecordError(f"{options.session} is empty; name a session or a file of labelled texts")
    given = {"model": AUTO} | given | ({} if options.device is None else {"device": options.device})
    config = RunConfig.of_options({**given, "dataset": str(options.session)})
    rows = concatenate_datasets([*load_source(config.data).values()])
    names = rows.features["label"].names
    return rows, names, np.arange(len(rows)), labels_of(rows), config
