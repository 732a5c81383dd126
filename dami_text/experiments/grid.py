"""A grid of runs, one for each data set, model, strategy and seed: each an ordinary run in a folder of its own.

joblib runs them side by side. What depends on the data set, the model and the seed alone is made once for all
strategies: the split, the tokenizer and the word vectors in each worker, the first round's model in the grid's folder.
"""

import itertools
import logging
import os
import re
import shutil
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, cast

import joblib
import torch
from filelock import FileLock

from dami_text.active_learning import ActiveLearner
from dami_text.config import GridConfig, RunConfig, StrategyConfig
from dami_text.errors import BusyError, ConfigError, DamiError
from dami_text.experiments.run import PreparedData, Run, is_finished, prepare
from dami_text.records import RunFolder
from dami_text.training import Training

#: In a cell's folder: why its last run failed.
ERROR = "error.txt"
#: In the grid's folder: the first rounds' models, as long as runs are left that want them.
FIRST_ROUNDS = ".first-rounds"

Status = Literal["finished", "failed", "busy"]


@dataclass(frozen=True)
class Cell:
    """One run of a grid: its options and, below the grid's folder, its own."""

    config: RunConfig
    path: Path


@dataclass(frozen=True)
class Outcome:
    """How a cell ended; `message` says what went wrong in one that failed or in which another process is at work."""

    cell: Cell
    status: Status
    message: str = ""


@dataclass(frozen=True)
class Job:
    """What all cells of a grid have in common."""

    root: Path
    working_directory: Path
    overwrite: bool = False
    save_models: bool = True


def cells_of(config: RunConfig, grid: GridConfig, root: Path) -> list[Cell]:
    """The grid's cells, those of a seed, data set and model side by side: `config` with each combination of the lists.

    A cell's folder is root/DATASET/MODEL/STRATEGY/seed-S.

    Raises:
        ConfigError: an option that cannot work, or two cells with the same folder.
    """
    seeds = grid.seed_list() or [config.loop.seed]
    datasets, models = grid.datasets or [config.data.dataset], grid.models or [config.model.model]
    strategies = grid.strategies or [config.strategy.strategy]
    cells: dict[Path, Cell] = {}
    for seed, dataset, model, strategy in itertools.product(seeds, datasets, models, strategies):
        cell_config = replace(
            config,
            data=replace(config.data, dataset=dataset),
            model=replace(config.model, model=cast(Any, model)),  # which the config checks
            strategy=replace(config.strategy, strategy=strategy),
            loop=replace(config.loop, seed=seed),
        )
        path = root / folder_name(dataset) / folder_name(model) / folder_name(strategy) / f"seed-{seed}"
        if path in cells:
            first = cells[path].config
            raise ConfigError(
                f"{first.data.dataset}, {first.model.model}, {first.strategy.strategy} and {dataset}, {model}, "
                f"{strategy} would share the folder {path}; run them with an --output-dir each"
            )
        cells[path] = Cell(cell_config, path)
    return list(cells.values())


def folder_name(value: str) -> str:
    """The last part of a name or path, safe as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", value.rstrip("/").rpartition("/")[2]).strip("-.") or "data"


def finished(cell: Cell) -> bool:
    """Whether the cell's run has all its rounds.

    Raises:
        DamiError: the cell's folder cannot be used, or holds a run with other options.
    """
    return is_finished(RunFolder(cell.path, cell.config))


def run_cells(cells: Sequence[Cell], job: Job, workers: int) -> Iterator[Outcome]:
    """Run the cells and yield each one's outcome as it ends."""
    with joblib.parallel_config("loky", n_jobs=workers, inner_max_num_threads=1):
        parallel = joblib.Parallel(return_as="generator_unordered", pre_dispatch="n_jobs", batch_size=1)
        yield from parallel(joblib.delayed(run_cell)(cell, job) for cell in cells)


# In a worker ------------------------------------------------------------------------------------------------------

_ONE_AT_A_TIME = threading.Lock()  # a run's random streams are the process's


def run_cell(cell: Cell, job: Job) -> Outcome:
    """Run one cell, on one thread, or what is left of it; errors are recorded, not raised."""
    with _ONE_AT_A_TIME:
        torch.set_num_threads(1)
        os.chdir(job.working_directory)  # which relative paths and a strategy of one's own are found from
        logging.getLogger("dami_text").setLevel(logging.ERROR)
        _quiet()
        try:
            (cell.path / ERROR).unlink(missing_ok=True)
            for _ in _run_of(cell, job).rounds():
                pass
        except BusyError as error:
            return Outcome(cell, "busy", str(error))
        except Exception as error:
            message = str(error) if isinstance(error, DamiError) else f"{type(error).__name__}: {error}"
            with suppress(OSError):
                cell.path.mkdir(parents=True, exist_ok=True)
                (cell.path / ERROR).write_text(f"{message}\n\n{traceback.format_exc()}", encoding="utf-8")
            return Outcome(cell, "failed", message)
        return Outcome(cell, "finished")


def _quiet() -> None:
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()


def _run_of(cell: Cell, job: Job) -> Run:
    common = replace(cell.config, strategy=StrategyConfig())  # all that decides the data and the first round's model
    data = _prepare(common)

    def train(learner: ActiveLearner) -> Training:
        return learner.train() if learner.round > 0 else _first_round(learner, common, data, job.root / FIRST_ROUNDS)

    return Run(cell.config, cell.path, job.overwrite, data=data, train=train, save_model=job.save_models)


@lru_cache(maxsize=1)
def _prepare(config: RunConfig) -> PreparedData:
    return prepare(config)


def _first_round(learner: ActiveLearner, config: RunConfig, data: PreparedData, folder: Path) -> Training:
    """Train the learner's first model, or take it from a cell that has: it does not depend on the strategy."""
    content = sha256(repr((config, data.class_names)).encode())
    for texts in filter(None, (data.train, data.validation)):
        content.update(texts.texts.keys(texts.rows).tobytes() + texts.labels.tobytes())
    file = folder / f"{content.hexdigest()[:32]}.pt"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        if file.exists():
            saved = torch.load(file, map_location="cpu", weights_only=True)
            learner.restore(saved["weights"])
            return Training(**saved["training"])
        training = learner.train()
        unfinished = file.with_suffix(".unfinished")
        torch.save({"weights": learner.trained_model().state_dict(), "training": asdict(training)}, unfinished)
        unfinished.replace(file)
        return training


def forget_first_rounds(root: Path) -> None:
    """Remove the first rounds' models."""
    shutil.rmtree(root / FIRST_ROUNDS, ignore_errors=True)
