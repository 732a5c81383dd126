"""The command line: options in, one run out, errors in one line each."""

import argparse
import io
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import yaml
from transformers import HfArgumentParser
from transformers.hf_argparser import string_to_bool

from dami_text.config.defaults import implied_options
from dami_text.config.fields import Options, Size, option
from dami_text.config.options import JOIN
from dami_text.config.run import RunConfig
from dami_text.errors import ConfigError, DamiError
from dami_text.escaping import printable, terminal_line
from dami_text.models.scores import ClassReport
from dami_text.processes import Processes, disconnect
from dami_text.simulation.records import CURVE, MODEL, QUERIES, RECORDS, ROUNDS, Line

DESCRIPTION = "Simulate active learning on a labelled data set: from a few labels to a learning curve."

#: The classes of a run's options.
TOPICS = {topic.name: type(topic.default) for topic in fields(RunConfig)}

_UNSET = object()

if TYPE_CHECKING:
    from dami_text.simulation.run import Run


@dataclass(frozen=True)
class OutputConfig(Options):
    """Where a run goes and how it is told; not part of what it computes."""

    _argument_group_name: ClassVar[str] = "output"

    output_dir: str | None = option(None, "the run's folder (default: runs/ and a name made of the options)")
    overwrite: bool = option(False, "replace a run that the folder holds")
    config: str | None = option(None, "a YAML file of options, which flags override; a run's config.yaml is one")
    debug: bool = option(False, "show the traceback of an error")
    report_to: str | None = option(
        None, "trackers to report the rounds to: tensorboard, wandb, ..., or several by commas"
    )
    push_to_hub: str | None = option(
        None, "push the model, its card and the records, texts that were asked for among them, to this Hub id"
    )
    push_dataset: str | None = option(None, "push the labelled texts as a data set to this Hub id")
    private: bool = option(False, "make what is pushed private")
    export_code: bool = option(False, "put the model's code beside it, for where dami_text is not installed")


def run_al(arguments: Sequence[str] | None = None, prog: str = "run_al.py") -> int:
    """Run active learning as the options say and return the exit status: what scripts/run_al.py does.

    `prog` is what --help calls the command.
    """
    topics = [*TOPICS.values(), OutputConfig]
    return command(arguments, topics, lambda given, *configs: _run(_run_config(configs), configs[-1]), prog)


def command(
    arguments: Sequence[str] | None,
    topics: Sequence[Any],
    work: Callable[..., int | None],
    prog: str = "run_al.py",
    description: str = DESCRIPTION,
) -> int:
    """Do `work` with the options that are given, by name, and the configs of `topics`, and return the exit status.

    The last config has `config` and `debug`. The status is what `work` returns, 0 for None, 1 for an error, which is
    one line on standard error.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    show_whatever_comes()
    given: dict[str, Any] = {}
    try:
        given, configs = _configs(arguments, topics, prog, description)
        debug = configs[-1].debug
        with logging_restored():
            return work(given, *configs) or 0
    except DamiError as error:
        disconnect()
        if debug:
            raise
        if _speaks():
            print(f"error: {terminal_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        disconnect()
        if _speaks():
            again = "the same command without --overwrite" if given.get("overwrite") else "the same command"
            print(f"stopped; {again} goes on after the last finished round", file=sys.stderr)
        return 130


def show_whatever_comes() -> None:
    """Have standard output show characters that its encoding lacks, as on many Windows consoles, as escapes.

    Otherwise the first of them, in the name of a class or a folder, would end the command.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def parse(arguments: Sequence[str]) -> tuple[RunConfig, OutputConfig]:
    """The options of a run: the command line over the file that --config names, over what data and model imply.

    Raises:
        ConfigError: an option that is unknown or cannot work.
    """
    _, (*configs, output) = _configs(arguments, [*TOPICS.values(), OutputConfig])
    return _run_config(configs), output


def _run_config(configs: Sequence[Any]) -> RunConfig:
    return RunConfig(**dict(zip(TOPICS, configs, strict=False)))


def _configs(
    arguments: Sequence[str], topics: Sequence[Any], prog: str = "run_al.py", description: str = DESCRIPTION
) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """The options that are given, by flag or in the file that --config names, and the configs of `topics`."""
    parser = _parser(topics, prog, description)
    flags = given_flags(parser, arguments)
    file = flags.get("config")
    from_file = _read_options(Path(file), parser) if file is not None else {}
    given = from_file | flags
    parser.set_defaults(**implied_options(given) | from_file)
    return given, parser.parse_args_into_dataclasses(list(arguments), look_for_args_file=False)


def given_flags(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> dict[str, Any]:
    """What the arguments themselves say, by name: no defaults."""
    unset = argparse.Namespace(**dict.fromkeys((action.dest for action in parser._actions), _UNSET))
    return {name: v for name, v in vars(parser.parse_args(arguments, unset)).items() if v is not _UNSET}


def tell_of_data() -> None:
    """Show what the package has to say about the data, on standard error."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("dami_text").setLevel(logging.INFO if _speaks() else logging.ERROR)


@contextmanager
def logging_restored() -> Iterator[None]:
    """Leave the package's logging at its level after the block: `tell_of_data` is for one command."""
    logger = logging.getLogger("dami_text")
    level = logger.level
    try:
        yield
    finally:
        logger.setLevel(level)


def _speaks() -> bool:
    """Whether this process is the one of its machine that tells the user what all of them find."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


class _Parser(HfArgumentParser):
    """Errors as exceptions; values that cannot be converted are left to the configs, which say what they want."""

    def parse_known_args(self, *arguments: Any, **options: Any) -> Any:
        """Several text columns are one option of the configs."""
        found, rest = super().parse_known_args(*arguments, **options)
        if isinstance(getattr(found, "text_column", None), list):
            found.text_column = JOIN.join(found.text_column)
        return found, rest

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; --help lists the options")

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        try:
            return super()._get_value(action, arg_string)
        except argparse.ArgumentError:
            return arg_string

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Choices are checked by the configs too."""


def _parser(topics: Sequence[Any], prog: str = "run_al.py", description: str = DESCRIPTION) -> _Parser:
    parser = _Parser(
        topics,
        prog=prog,
        description=description,
        formatter_class=argparse.HelpFormatter,
        allow_abbrev=False,
    )
    metavars = {int: "N", float: "X", Size: "SIZE", str: "VALUE", string_to_bool: "true|false"}
    for action in parser._actions:
        if action.dest == "text_column":
            action.nargs = "+"
        # Flags with underscores are understood but not shown, and so are defaults that say nothing.
        action.option_strings = [name for name in action.option_strings if "_" not in name]
        if action.choices is None:
            action.metavar = metavars.get(action.type)
        if isinstance(action, argparse._StoreFalseAction):
            action.help = f"do not {action.help}"
        elif action.dest != "help" and action.default is not None and action.default is not False:
            action.help = f"{action.help} (default: {'true' if action.default is True else action.default})"
    return parser


def _read_options(file: Path, parser: _Parser) -> dict[str, Any]:
    """The options of a YAML file, by their names with underscores or hyphens."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read --config {file}: {error}; it must be a YAML file of options") from error
    content = {} if content is None else content  # nothing but comments
    if not isinstance(content, dict):
        raise ConfigError(f"--config {file} holds {type(content).__name__}; it must be a mapping, such as 'seed: 3'")
    options = {str(name).replace("-", "_"): value for name, value in content.items()}
    for action in parser._actions:
        if options.get(action.dest) is False and "no" in (action.choices or ()):
            options[action.dest] = "no"  # which YAML takes for false where it stands without quotes
    unknown = options.keys() - {action.dest for action in parser._actions} | options.keys() & {"config", "help"}
    if unknown:
        raise ConfigError(f"--config {file} holds unknown options {sorted(unknown)}; --help lists the options")
    return options


def _run(config: RunConfig, output: OutputConfig) -> None:
    """Run with a progress bar and end with a table of the rounds and where everything is."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    from dami_text.data.hub import no_progress_bars
    from dami_text.simulation.run import Run
    from dami_text.simulation.tracking import check_trackers, trackers

    if output.export_code and config.data.task == "tabular":
        raise ConfigError("--export-code is for CNN and BiLSTM, and --task is tabular; leave it out")
    names = check_trackers(output.report_to)
    pushes = {"model": output.push_to_hub, "dataset": output.push_dataset}
    if any(pushes.values()):
        from dami_text.publishing.push import check_push

        for kind, repository in pushes.items():
            if repository is not None:
                Processes.all().on_main(partial(check_push, repository, kind, output.private))
    path = Path(output.output_dir) if output.output_dir else default_output_dir(config)
    tell_of_data()
    no_progress_bars()

    run = Run(config, path, output.overwrite)
    main = run.accelerator.is_main_process
    with (
        trackers(names if main else [], path, config, run.folder.rounds) as reports,
        logging_redirect_tqdm(),
        tqdm(
            total=len(run.sizes),
            initial=len(run.folder.rounds),
            desc=config.strategy.strategy,
            unit="round",
            disable=not main,
        ) as bar,
    ):
        for line in run.rounds():
            reports.log(line)
            bar.update()
            bar.set_postfix({"labelled": line["n_labeled"], run.metric: f"{line['metrics'][run.metric]:.3f}"})
    if main:
        print(table(run.folder.rounds, run.metric))
        if report := ClassReport.of_round(run.folder.rounds[-1]):
            for told in report.warnings():
                logging.getLogger(__name__).warning("%s", printable(told))
        for what, name in (("curve", CURVE), ("records", ROUNDS), ("queries", QUERIES), ("model", MODEL)):
            print(f"{what:8} {printable(str(path / name))}")
        _publish(run, output)


def _publish(run: "Run", output: OutputConfig) -> None:
    """Export the code, and push, as the options say."""
    from dami_text.publishing import push as hub

    if output.export_code and not run.export_code():
        logging.getLogger(__name__).info("--export-code: transformers has this model's code, there is none to export")
    if output.push_to_hub is not None:
        url = hub.push_run(run.folder.path, MODEL, RECORDS, output.push_to_hub, output.private)
        print(f"pushed   {printable(url)}")
    if output.push_dataset is not None:
        labeled = run.labeled_dataset()
        url = hub.push_labels(labeled, output.push_dataset, output.private, run.folder.path)
        print(f"pushed   {printable(url)}")


def default_output_dir(config: RunConfig) -> Path:
    """runs/ and a name made of the data set, the model, the strategy and the seed."""
    parts = (config.data.dataset, config.model.model, config.strategy.strategy, f"seed{config.loop.seed}")
    return Path("runs") / "-".join(re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip("-.") or "data" for part in parts)


def table(rounds: Sequence[Line], metric: str = "accuracy") -> str:
    """Labelled share, metric and seconds of each round.

    Beside an accuracy stand macro F1, which a class that is never found lowers, and the share of the largest class, the
    accuracy of a model that always says it.
    """
    names = [metric]
    if metric in ("accuracy", "micro_f1"):
        names += ["macro F1", "largest class"]
    titles = [printable(Path(name).name) for name in names]
    widths = [max(8, len(title)) for title in titles]
    head = "  ".join(f"{title:>{width}}" for title, width in zip(titles, widths, strict=True))
    lines = [f"labelled   share  {head}  seconds"]
    for line in rounds:
        share, seconds, report = (
            100 * line["labeled_fraction"],
            sum(line["seconds"].values()),
            ClassReport.of_round(line),
        )
        known = {
            metric: line["metrics"][metric],
            "macro F1": line["metrics"].get("macro_f1"),
            "largest class": report.largest_share if report else None,
        }
        cells = ("-" if known[name] is None else f"{known[name]:.4f}" for name in names)
        scores = "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        lines.append(f"{line['n_labeled']:8}  {share:5.1f}%  {scores}  {seconds:7.1f}")
    return "\n".join(lines)
