"""The command line of the report: folders of runs in, a report and figures out."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from dami_text.cli.parsing import ErrorBoundary, Parser, run_command
from dami_text.config.metrics import MULTILABEL, WANTED
from dami_text.errors import ConfigError
from dami_text.escaping import printable

DESCRIPTION = "Compare finished runs: learning curves, label savings and pairwise comparisons, with intervals."


def make_report(arguments: Sequence[str] | None = None) -> int:
    """Write the report as the options say and return the exit status: what scripts/make_report.py does."""
    return run_command(report, "make_report.py", arguments)


def report(prog: str, arguments: Sequence[str], boundary: ErrorBoundary) -> None:
    """Write the report that the arguments ask for."""
    parser = Parser(prog, DESCRIPTION)
    parser.add_argument("results", nargs="+", type=Path, help="folders that hold runs, or a records.jsonl.gz")
    parser.add_argument("--output-dir", type=Path, help="where the report goes (default: the first folder)")
    parser.add_argument("--on", choices=("test", "validation"), default="test", help="the split (default: test)")
    parser.add_argument(
        "--metric",
        default="accuracy",
        help=f"{WANTED}; of runs with --task multilabel {', '.join(MULTILABEL)}, NAME:LABEL (default: accuracy)",
    )
    parser.add_argument("--baseline", default="random", help="the strategy to save labels against (default: random)")
    of_class = "tell how well this class is found and predicted (default: the class of the runs' --rarefy)"
    parser.add_argument("--positive-class", metavar="CLASS", help=of_class)
    parser.add_argument("--strategies", nargs="+", help="only these, in this order (default: all that have runs)")
    parser.add_argument(
        "--save-records", type=Path, metavar="FILE", help="write all rounds to FILE, named records.jsonl.gz, too"
    )
    _report(parser.parse_args(arguments))


def _report(options: argparse.Namespace) -> None:
    from dami_text.simulation.report import write_report
    from dami_text.simulation.results import ARCHIVE, compare, failures, read_runs, write_archive

    if options.save_records and options.save_records.name != ARCHIVE:
        raise ConfigError(f"--save-records is {options.save_records}; it must be a file named {ARCHIVE}")
    first = options.results[0]
    folder = options.output_dir or (first if first.is_dir() else first.parent)
    runs = read_runs(options.results)
    if options.strategies:
        found = {run.options["strategy"] for run in runs}
        missing = [name for name in options.strategies if name not in found]
        if missing:
            raise ConfigError(f"--strategies names {missing}, of which there is no run; there are {sorted(found)}")
        runs = [run for run in runs if run.options["strategy"] in options.strategies]
        runs.sort(key=lambda run: options.strategies.index(run.options["strategy"]))
    comparisons = compare(runs, options.on, options.metric)
    write_report(
        comparisons,
        folder,
        options.on,
        metric=options.metric,
        baseline=options.baseline,
        failed=failures(options.results),
        runs=runs,
        positive_class=options.positive_class,
    )
    if options.save_records:
        write_archive(options.save_records, runs)
    for comparison in comparisons:
        for note in comparison.notes:
            print(printable(f"{comparison.dataset}, {comparison.model}: {note}"))
    for name in ("report.md", "report.html"):
        print(f"{name:12} {printable(str(folder / name))}")
