"""One run of a grid, as a worker makes it: an ordinary run, which shares what other runs have made.

What depends on the data set, the model and the seed alone is made once for all strategies: the split, the tokenizer and
the word vectors in each process, the first round's model in the grid's folder.
"""

import logging
import os
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Literal

import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from dami_text.config.options import StrategyConfig
from dami_text.config.run import RunConfig
from dami_text.data.hub import no_progress_bars
from dami_text.errors import BusyError, DamiError
from dami_text.files import remove_unfinished, whole_file
from dami_text.learning.jobs import Trainings
from dami_text.learning.learner import ActiveLearner
from dami_text.learning.preparation import PreparedData, prepare
from dami_text.models.shared_weights import own_weights
from dami_text.models.training import Training
from dami_text.orphans import end_with
from dami_text.simulation.records import RunFolder
from dami_text.simulation.run import Run

#: In a cell's folder: why its last run failed.
ERROR = "error.txt"
#: In the grid's folder: the first rounds' models, as long as runs are left that want them.
FIRST_ROUNDS = ".first-rounds"

Status = Literal["finished", "failed", "busy"]


@dataclass(frozen=True)
class Cell:
    """One run of a grid: its number, its options and, below the grid's folder, its own."""

    number: int
    config: RunConfig
    path: Path


@dataclass(frozen=True)
class Outcome:
    """How a cell ended; `message` says what went wrong in one that failed or in which another process is at work."""

    cell: Cell
    status: Status
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all cells of a grid have in common; `process` is the one that hands them out."""

    root: Path
    working_directory: Path
    process: int
    overwrite: bool = False
    save_models: bool = True


_ONE_AT_A_TIME = threading.Lock()  # a run's random streams are the process's


def run_cell(cell: Cell, job: Job) -> Outcome:
    """Run one cell, on one thread, or what is left of it; errors are recorded, not raised."""

    def run() -> None:
        for _ in run_of(cell, job).rounds():
            pass

    with _ONE_AT_A_TIME:
        set_up_worker(cell, job)
        return failure(cell, run) or Outcome(cell, "finished")


def failure(cell: Cell, work: Callable[[], object]) -> Outcome | None:
    """How the cell ends if this work on it fails; None where it does not. An error of the run itself is recorded."""
    try:
        work()
    except BusyError as error:
        return Outcome(cell, "busy", str(error))
    except Exception as error:
        message = str(error) if isinstance(error, DamiError) else f"{type(error).__name__}: {error}"
        record_error(cell, f"{message}\n\n{traceback.format_exc()}")
        return Outcome(cell, "failed", message)
    return None


def record_error(cell: Cell, text: str) -> None:
    """Write into the cell's folder why its run failed, if that is possible."""
    with suppress(OSError):
        cell.path.mkdir(parents=True, exist_ok=True)
        (cell.path / ERROR).write_text(text + "\n", encoding="utf-8")


def set_up_worker(cell: Cell, job: Job) -> None:
    """Its thread, its GPU and its folder; no output but results; and it ends with the grid's process."""
    torch.set_num_threads(1)
    if torch.cuda.device_count() > 1:  # read once, by the worker's first run
        os.environ.setdefault("ACCELERATE_TORCH_DEVICE", f"cuda:{cell.number % torch.cuda.device_count()}")
    os.chdir(job.working_directory)  # where relative paths and a strategy of one's own are found
    logging.getLogger("dami_text").setLevel(logging.ERROR)
    no_progress_bars()
    tqdm.set_lock(threading.RLock())  # its own would outlive a worker that is killed
    if os.getppid() == job.process:
        end_with(job.process)  # its runs are free then for whoever goes on with them


def run_of(cell: Cell, job: Job) -> Run:
    """The cell's run, which goes on where its folder ends; why it failed before is forgotten."""
    (cell.path / ERROR).unlink(missing_ok=True)
    config = RunFolder(cell.path, cell.config, job.overwrite).config
    common = _common(config)
    data = _prepare(common)

    def trainings(learner: ActiveLearner) -> Trainings:
        if learner.round > 0:
            return learner.training_jobs()
        return _first_round(learner, common, data, job.root / FIRST_ROUNDS)

    return Run(config, cell.path, job.overwrite, data=data, trainings=trainings, save_model=job.save_models)


def _common(config: RunConfig) -> RunConfig:
    """The config with a strategy that stands for all which share the data and the first round's model.

    Those that interpret a frozen encoder's features have models of their own, with a network beside the head.
    """
    alone = config.model.freeze_encoder and not config.strategy.interprets_features
    return replace(config, strategy=StrategyConfig(strategy="random") if alone else StrategyConfig())


@lru_cache(maxsize=1)
def _prepare(config: RunConfig) -> PreparedData:
    return prepare(config, any_strategy=True)  # the config has the default one for all


def _first_round(learner: ActiveLearner, config: RunConfig, data: PreparedData, folder: Path) -> Trainings:
    """Train the learner's first model, or take it from a cell that has trained it on the same labelled texts.

    While another cell trains it, be it of this process, this waits.
    """
    content = sha256(repr((config, data.class_names)).encode() + learner.pool.labeled.tobytes())
    for texts in filter(None, (data.train, data.validation)):
        content.update(texts.texts.keys(texts.rows).tobytes() + texts.labels.tobytes())
    file = folder / f"{content.hexdigest()[:32]}.pt"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file.with_suffix(".lock"), blocking=False)
    while True:
        with suppress(Timeout):
            lock.acquire()
            break
        yield None
    try:
        if file.exists():
            saved = torch.load(file, map_location="cpu", weights_only=True)
            held_out = saved.get("cross_validated")  # None in files of versions without it
            held_out = None if held_out is None else held_out.numpy()
            training = replace(Training(**saved["training"]), cross_validated=held_out)
            learner.restore(saved["weights"], training)
            return training
        training = yield from learner.training_jobs()
        held_out = training.cross_validated
        told = {
            "weights": own_weights(learner.trained_model()),
            "training": asdict(replace(training, cross_validated=None)),
            "cross_validated": None if held_out is None else torch.from_numpy(held_out),
        }
        with whole_file(file) as unfinished:
            torch.save(told, unfinished)
        return training
    finally:
        lock.release()


def forget_first_rounds(root: Path) -> None:
    """Remove the first rounds' models, but for one that another grid in the same folder is about to use."""
    for file in (root / FIRST_ROUNDS).glob("*.lock"):
        with suppress(Timeout), FileLock(file, blocking=False):
            file.with_suffix(".pt").unlink(missing_ok=True)
            remove_unfinished(file.with_suffix(".pt"))
