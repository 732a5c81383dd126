"""The command `run`: options in, one simulated run out."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from dami_text.cli.parsing import (
    TOPICS,
    ErrorBoundary,
    Parser,
    config_of,
    read_arguments,
    run_command,
    run_config_of,
    tell_of_data,
)
from dami_text.config.conflicts import check_saved
from dami_text.config.fields import Options, option
from dami_text.config.metrics import short_name
from dami_text.config.run import RunConfig
from dami_text.escaping import printable

if TYPE_CHECKING:
    from dami_text.simulation.run import Run

DESCRIPTION = "Simulate active learning on a labelled data set: from a few labels to a learning curve."


@dataclass(frozen=True, kw_only=True)
class OutputConfig(Options):
    """Where a run goes and how it is told; not part of what it computes."""

    _argument_group_name: ClassVar[str] = "output"

    output_dir: str | None = option(None, "the run's folder (default: runs/ and a name made of the options)")
    overwrite: bool = option(False, "replace a run that the folder holds")
    report_to: str | None = option(
        None, "trackers to report the rounds to: tensorboard, wandb, ..., or several by commas"
    )
    push_to_hub: str | None = option(
        None, "push the model, its card and the records, texts that were asked for among them, to this Hub id"
    )
    push_dataset: str | None = option(None, "push the labelled texts as a data set to this Hub id")
    private: bool = option(False, "make what is pushed private")
    export_merged: bool = option(
        False, "save the model of --lora whole, its adapter merged into its base, and so without need of peft"
    )
    export_code: bool = option(False, "put the model's code beside it, for where dami_text is not installed")


def run_al(arguments: Sequence[str] | None = None) -> int:
    """Run active learning as the options say and return the exit status: what scripts/run_al.py does."""
    return run_command(run, "run_al.py", arguments)


def run(prog: str, arguments: Sequence[str], boundary: ErrorBoundary) -> None:
    """Run active learning as the arguments say."""
    config, output = _parsed(prog, arguments, boundary)
    simulate_run(config, output)


def parse(arguments: Sequence[str]) -> tuple[RunConfig, OutputConfig]:
    """The options of a run: the command line over the file that --config names, over what data and model imply.

    Raises:
        ConfigError: an option that is unknown or cannot work.
    """
    return _parsed("run_al.py", arguments, ErrorBoundary(arguments))


def run_parser(prog: str) -> Parser:
    """The parser of a run's options."""
    return Parser(prog, DESCRIPTION, [*TOPICS.values(), OutputConfig], reads_file=True)


def _parsed(prog: str, arguments: Sequence[str], boundary: ErrorBoundary) -> tuple[RunConfig, OutputConfig]:
    _, options = read_arguments(run_parser(prog), arguments, boundary)
    output = config_of(OutputConfig, options)
    return run_config_of(options), output


def simulate_run(config: RunConfig, output: OutputConfig) -> None:
    """Run with a progress bar and end with a table of the rounds and where everything is."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    from dami_text.data.hub import no_progress_bars
    from dami_text.models.scores import ClassReport
    from dami_text.processes import Processes
    from dami_text.publishing.cards import labels_counted
    from dami_text.simulation.records import CURVE, MODEL, QUERIES, ROUNDS
    from dami_text.simulation.run import Run
    from dami_text.simulation.stopping import summary
    from dami_text.simulation.tracking import check_trackers, trackers

    check_saved(
        config.model, merged=output.export_merged, code=output.export_code, pushed=output.push_to_hub is not None
    )
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
        print(f"counted  {labels_counted([run.n_validation])}")
        for told in summary(run.folder.rounds):
            print(told)
        if report := ClassReport.of_round(run.folder.rounds[-1]):
            for told in report.warnings():
                logging.getLogger(__name__).warning("%s", printable(told))
        for what, name in (("curve", CURVE), ("records", ROUNDS), ("queries", QUERIES), ("model", MODEL)):
            print(f"{what:8} {printable(str(path / name))}")
        _publish(run, output)


def _publish(run: "Run", output: OutputConfig) -> None:
    """Merge the adapter, export the code, and push, as the options say."""
    from dami_text.publishing import push as hub
    from dami_text.simulation.records import MODEL, RECORDS

    if output.export_merged:
        run.export_merged()
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


def table(rounds: Sequence[Mapping[str, Any]], metric: str = "accuracy") -> str:
    """Labelled share, metric and seconds of each round.

    Beside an accuracy stand macro F1, which a class that is never found lowers, and the share of the largest class, the
    accuracy of a model that always says it. Of texts with any number of labels, the share of those all of whose labels
    are right stands in its place.
    """
    from dami_text.models.scores import ClassReport

    names = [metric]
    multilabel = "subset_accuracy" in rounds[0]["metrics"]
    if metric in ("accuracy", "micro_f1"):
        names += ["macro F1", "subset accuracy" if multilabel else "largest class"]
    titles = [printable(short_name(name)) for name in names]
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
            "subset accuracy": line["metrics"].get("subset_accuracy"),
            "largest class": report.largest_share if report else None,
        }
        cells = ("-" if known[name] is None else f"{known[name]:.4f}" for name in names)
        scores = "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        lines.append(f"{line['n_labeled']:8}  {share:5.1f}%  {scores}  {seconds:7.1f}")
    return "\n".join(lines)
