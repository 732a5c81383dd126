"""A grid of runs, one for each data set, model, strategy and seed: each an ordinary run in a folder of its own.

One process runs them side by side (see `lockstep`), or joblib in several (see `cells`).
"""

import itertools
import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import torch
from filelock import FileLock
from joblib.externals.loky import get_reusable_executor

from dami_text.config.run import RunConfig
from dami_text.errors import ConfigError, RecordError
from dami_text.escaping import to_json
from dami_text.files import write_whole
from dami_text.simulation.cells import Cell, Job, Outcome, record_error, run_cell
from dami_text.simulation.grid_config import LOKY, GridConfig
from dami_text.simulation.lockstep import Lockstep, can_go_together
from dami_text.simulation.records import ROUNDS, RunFolder
from dami_text.simulation.run import is_finished

#: In the grid's folder: a line a run that was ever asked for, with its path in the folder and its options.
ASKED = "asked.jsonl"
#: Names that Windows keeps for devices, whatever follows a point.
DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(1, 10))}
TOGETHER = 2  # times that a cell may lose its worker beside others: any of them may be why

logger = logging.getLogger(__name__)


def cells_of(options: Mapping[str, Any], grid: GridConfig, root: Path) -> list[Cell]:
    """The grid's cells, those of a seed, data set and model side by side: `options` with each combination of the lists.

    What is not among the options, each cell's data set and model imply. A cell's folder is
    root/DATASET/MODEL/STRATEGY/seed-S.

    Raises:
        ConfigError: an option that cannot work or has no effect, or two cells with the same folder.
    """
    lists = {"dataset": grid.datasets, "model": grid.models, "strategy": grid.strategies}
    every = {"seed": grid.seed_list(), **lists}
    combined: dict[str, Any] = {name: values for name, values in every.items() if values is not None}
    cells: dict[Path, Cell] = {}
    for values in itertools.product(*combined.values()):
        config = RunConfig.of_options({**options, **dict(zip(combined, values, strict=True))})
        dataset, model, strategy = config.data.dataset, config.model.model, config.strategy.strategy
        path = root / folder_name(dataset) / folder_name(model) / folder_name(strategy) / f"seed-{config.loop.seed}"
        if path in cells:
            first = cells[path].config
            raise ConfigError(
                f"{first.data.dataset}, {first.model.model}, {first.strategy.strategy} and {dataset}, {model}, "
                f"{strategy} would share the folder {path}; run them with an --output-dir each"
            )
        cells[path] = Cell(len(cells), config, path)
    together, models = grid.side_by_side.value or 1, {cell.config.model.model for cell in cells.values()}
    if together > 1 and not any(can_go_together(cell.config) for cell in cells.values()):
        raise ConfigError(
            f"--side-by-side {together} is for cnn and bilstm without --mixed-precision, --gradient-accumulation-steps "
            f"and --distributed-training; --model is {', '.join(sorted(models))}; leave it out, or use --workers"
        )
    return list(cells.values())


def folder_name(value: str) -> str:
    """The last part of a name or path, safe as the name of a folder on any system."""
    last = re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-.") or "data"
    return f"{name}-" if name.partition(".")[0].upper() in DEVICES else name


def finished(cell: Cell, save_models: bool) -> bool:
    """Whether the cell's run has all its rounds and, if models are saved, its model.

    Raises:
        DamiError: the cell's folder cannot be used, or holds a run with other options.
    """
    folder = RunFolder(cell.path, cell.config)
    return is_finished(folder) and (folder.has_model() or not save_models)


def record_asked(cells: Sequence[Cell], root: Path) -> None:
    """Add the cells to those that were asked for in the grid's folder before, by this process or another."""
    file = root / ASKED
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{ASKED}.lock"):
            now = {cell.path.relative_to(root).as_posix(): cell.config.options() for cell in cells}
            lines = [to_json({"run": run, "options": value}) + "\n" for run, value in (read_asked(root) | now).items()]
            write_whole(file, "".join(lines).encode())
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RecordError(f"cannot use {file}: {error}; restore it, or choose another --output-dir") from error


def read_asked(root: Path) -> dict[str, dict[str, Any]]:
    """The options of all runs that were asked for in a grid's folder, by their paths in it."""
    file = root / ASKED
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return {line["run"]: line["options"] for line in map(json.loads, lines)}


def share_done(cell: Cell) -> float:
    """About what share of the cell's run is on disk, by its labels."""
    try:
        last = json.loads((cell.path / ROUNDS).read_bytes().split(b"\n")[-2])
    except (OSError, IndexError, ValueError):
        return 0.0
    budget = cell.config.sizes["budget"]
    done: float = last["labeled_fraction"] if budget.is_share else last["n_labeled"]
    return min(1.0, done / budget.value)


class GridRun:
    """The cells that are left, run side by side: in this process where `--side-by-side` says so, or by joblib."""

    def __init__(self, cells: Sequence[Cell], job: Job, grid: GridConfig) -> None:
        self._left = {cell.path: cell for cell in cells}
        self._job, self._grid = job, grid
        self._order: list[Cell] = []
        self._parallel: Any = None
        self._lockstep: Lockstep | None = None

    @property
    def left(self) -> list[Cell]:
        """The cells that have not ended."""
        return list(self._left.values())

    @property
    def running(self) -> list[Cell]:
        """The cells that have begun, or were handed to workers, and have not ended."""
        started = self._order[: self._parallel.n_dispatched_tasks] if self._parallel is not None else []
        started += self._lockstep.running if self._lockstep is not None else []
        return [cell for cell in started if cell.path in self._left]

    def outcomes(self) -> Iterator[Outcome]:
        """Each cell's outcome as it ends.

        Raises:
            ConfigError: the backend is not there, or runs nothing.
        """
        if together := [cell for cell in self.left if goes_together(cell.config, self._grid)]:
            self._lockstep = Lockstep(together, self._job, self._grid.side_by_side.value)
            for outcome in self._lockstep.outcomes():
                del self._left[outcome.cell.path]
                yield outcome
        yield from self._by_workers()

    def _by_workers(self) -> Iterator[Outcome]:
        """The outcomes of the cells that joblib runs.

        A worker that is killed may take the others with it: the cells that were running then are started again, and go
        on from their records. Those to which this happens repeatedly are run alone at the end, and the one whose worker
        is killed even then has failed.
        """
        lost: Counter[Path] = Counter()
        with _backend(self._grid):
            while self._left:
                together = [cell for cell in self.left if lost[cell.path] < TOGETHER]
                self._order = together or self.left
                self._parallel = joblib.Parallel(
                    return_as="generator_unordered", pre_dispatch="n_jobs" if together else 1, batch_size=1
                )
                try:
                    for outcome in self._parallel(joblib.delayed(run_cell)(cell, self._job) for cell in self._order):
                        del self._left[outcome.cell.path]
                        yield outcome
                except Exception as error:  # run_cell raises none: it is the backend's
                    running = self.running
                    if not running:
                        raise ConfigError(f"--backend {self._grid.backend} cannot run anything ({error})") from error
                    logger.warning("a worker died (%s); its runs go on from their records", type(error).__name__)
                    lost.update(cell.path for cell in running)
                    if not together:
                        yield self._failed(running[-1], str(error))

    def _failed(self, cell: Cell, error: str) -> Outcome:
        message = f"its worker died {TOGETHER + 1} times, of lack of memory perhaps ({error})"
        record_error(cell, message)
        del self._left[cell.path]
        return Outcome(cell, "failed", message)


def goes_together(config: RunConfig, grid: GridConfig) -> bool:
    """Whether a run goes side by side with others in one process; without a number, only where there is a card."""
    if grid.side_by_side.value is not None:
        wanted = grid.side_by_side.value > 1
    else:
        wanted = grid.workers == 1 and grid.backend == LOKY and config.training.device != "cpu"
        wanted = wanted and torch.cuda.is_available()
    return wanted and can_go_together(config)


@contextmanager
def _backend(grid: GridConfig) -> Iterator[None]:
    """joblib set to run cells with the grid's backend."""
    if grid.backend == "dask":
        with _dask_client(grid.scheduler) as client, joblib.parallel_config("dask", client=client, n_jobs=-1):
            yield
        return
    threads = {"inner_max_num_threads": 1} if grid.backend == LOKY else {}
    try:
        config = joblib.parallel_config(grid.backend, n_jobs=grid.workers, **threads)
    except ValueError as error:
        raise ConfigError(f"--backend is {grid.backend!r}, which joblib does not know ({error})") from error
    try:
        with config:
            yield
    finally:
        if grid.backend == LOKY and grid.workers > 1:  # else the workers stay for minutes, and this process with them
            get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=True)


def _dask_client(scheduler: str | None) -> Any:
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise ConfigError("--backend dask needs the extra dask: pip install 'dami_text[dask]'") from error
    try:
        client = Client(scheduler, timeout=30, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"no dask scheduler answers at --scheduler {scheduler} ({error})") from error
    threads = [worker["nthreads"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()]
    if any(n != 1 for n in threads):
        client.close()
        raise ConfigError(f"dask's workers have {threads} threads; start them with --nthreads 1, several a machine")
    return client
