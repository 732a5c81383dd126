"""The command line of the grid: options in, progress and a summary out."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dami_text.cli import TOPICS, OutputConfig, command, one_line, printable
from dami_text.config import GridConfig, RunConfig
from dami_text.errors import DamiError

DESCRIPTION = "Run a grid of simulations, one for each data set, model, strategy and seed; finished ones are skipped."


def run_grid(arguments: Sequence[str] | None = None) -> int:
    """Run a grid as the options say and return the exit status: what scripts/run_grid.py does."""
    topics = [*TOPICS.values(), GridConfig, OutputConfig]
    return command(arguments, topics, _run, "run_grid.py", DESCRIPTION)


def _run(*configs: Any) -> int:
    """Run the cells that are not finished; 1 if any failed or was busy."""
    from tqdm import tqdm

    from dami_text.experiments.grid import Cell, Job, Outcome, cells_of, finished, forget_first_rounds, run_cells

    *run_configs, grid, output = configs
    config = RunConfig(**dict(zip(TOPICS, run_configs, strict=True)))
    root = Path(output.output_dir or "runs/grid")
    every = cells_of(config, grid, root)
    cells = every[grid.shard_slice()]
    problems: list[Outcome] = []

    def to_run(cell: Cell) -> bool:
        try:
            return output.overwrite or not finished(cell)
        except DamiError as error:
            problems.append(Outcome(cell, "failed", str(error)))
            return False

    left = [cell for cell in cells if to_run(cell)]
    job = Job(root.absolute(), Path.cwd(), output.overwrite, grid.save_models)
    done = len(cells) - len(left) - len(problems)
    with tqdm(total=len(cells), initial=done, desc="grid", unit="run") as bar:
        for outcome in run_cells(left, job, grid.workers):
            if outcome.status != "finished":
                problems.append(outcome)
                bar.write(f"{outcome.status}: {printable(str(outcome.cell.path))}: {printable(outcome.message)}")
            bar.update()
            bar.set_postfix(failed=len(problems))
    for outcome in problems:
        print(f"{outcome.status}: {outcome.cell.path}: {one_line(DamiError(outcome.message))}", file=sys.stderr)
    print(f"{len(cells) - len(problems)} of {len(cells)} runs are finished in {printable(str(root))}")
    if not problems and len(cells) == len(every):
        forget_first_rounds(root)
    return 1 if problems else 0
