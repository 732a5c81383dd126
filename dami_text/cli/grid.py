"""The command line of the grid: options in, progress and a summary out."""

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from dami_text.cli.parsing import TOPICS, ErrorBoundary, Parser, config_of, read_arguments, run_command, run_config_of
from dami_text.config.fields import Options, option
from dami_text.config.run import RunConfig
from dami_text.errors import ConfigError, DamiError
from dami_text.escaping import printable, terminal_line
from dami_text.simulation.grid_config import GridConfig

if TYPE_CHECKING:
    from dami_text.simulation.cells import Outcome

DESCRIPTION = "Run a grid of simulations, one for each data set, model, strategy and seed; finished ones are skipped."


@dataclass(frozen=True)
class GridOutputConfig(Options):
    """Where the runs go."""

    _argument_group_name: ClassVar[str] = "output"

    output_dir: str = option("runs/grid", "the folder of the runs")
    overwrite: bool = option(False, "replace runs that the folder holds")


def run_grid(arguments: Sequence[str] | None = None) -> int:
    """Run a grid as the options say and return the exit status: what scripts/run_grid.py does."""
    return run_command(grid, "run_grid.py", arguments)


def grid(prog: str, arguments: Sequence[str], boundary: ErrorBoundary) -> int:
    """Run the cells that are not finished; 1 if any failed or was another process's."""
    parser = Parser(prog, DESCRIPTION, [*TOPICS.values(), GridConfig, GridOutputConfig], reads_file=True)
    given, options = read_arguments(parser, arguments, boundary)
    output = config_of(GridOutputConfig, options)
    run_config_of(options)  # an error of the common options comes before all others
    return _run(given, config_of(GridConfig, options), output)


def _run(given: dict[str, Any], grid: GridConfig, output: GridOutputConfig) -> int:
    """Run the cells that are not finished; 1 if any failed or was another process's."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    from dami_text.simulation.cells import Job, forget_first_rounds
    from dami_text.simulation.grid import GridRun, cells_of, record_asked
    from dami_text.simulation.grid_progress import grid_bar, unfinished

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("run_grid.py was started several times over; start one process of it and give it --workers")
    root = Path(output.output_dir)
    names = RunConfig().options().keys()
    every = cells_of({name: value for name, value in given.items() if name in names}, grid, root)
    cells = every[grid.shard_slice()]
    left, problems = unfinished(cells, grid.save_models, output.overwrite)
    record_asked(every, root)
    skipped = len(cells) - len(left) - len(problems)
    job = Job(
        root=root.absolute(),
        working_directory=Path.cwd(),
        process=os.getpid(),
        overwrite=output.overwrite,
        save_models=grid.save_models,
    )
    run = GridRun(left, job, grid)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    with logging_redirect_tqdm(), grid_bar(run, len(cells), problems, tqdm) as bar:
        for outcome in run.outcomes():
            if outcome.status != "finished":
                problems.append(outcome)
                bar.write(f"{outcome.status}: {_described(outcome)}", file=sys.stderr)
    print(f"{len(cells) - len(problems)} of {len(cells)} runs are finished in {printable(str(root))}", end="")
    print(f", {skipped} of them before" if skipped else "")
    if problems:
        print(f"{len(problems)} are not; the same command tries them again:", file=sys.stderr)
        for outcome in problems:
            print(f"{outcome.status}: {_described(outcome)}", file=sys.stderr)
    else:
        own = {cell.number for cell in cells}
        if unfinished([cell for cell in every if cell.number not in own], False) == ([], []):  # of other shards
            forget_first_rounds(root)
    return 1 if problems else 0


def _described(outcome: "Outcome") -> str:
    return f"{printable(str(outcome.cell.path))}: {terminal_line(DamiError(outcome.message))}"
