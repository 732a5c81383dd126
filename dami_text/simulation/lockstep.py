"""Runs of a grid side by side in one process: what they train, they train together.

Each run is a generator that stops where it needs a training (see `learning.jobs`), and the trainings of all runs are
done side by side (see `models.stacked`). A run whose training has ended evaluates its model, chooses texts and commits
its round at once, while the trainings of the others stand still; then its next training joins theirs.
"""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from accelerate import Accelerator

from dami_text.config.options import StrategyConfig
from dami_text.config.run import RunConfig
from dami_text.learning.jobs import PAUSE, Work
from dami_text.models.jobs import TrainingJob
from dami_text.models.kinds.word_level import WordLevel
from dami_text.models.stacked.trainings import stacks_can_take, trained_as_they_end
from dami_text.models.training import Training
from dami_text.simulation.cells import Cell, Job, Outcome, failure, run_of, set_up_worker
from dami_text.simulation.records import Line

#: How many runs are under way at most where the card's memory decides how many are trained at a time.
MOST = 128


def can_go_together(config: RunConfig) -> bool:
    """Whether a run's trainings can be done side by side with those of others."""
    return isinstance(config.model.kind, WordLevel) and stacks_can_take(config.training)


class Lockstep:
    """Cells whose runs go side by side in this process, those of one data set and model at a time."""

    def __init__(self, cells: Sequence[Cell], job: Job, side_by_side: int | None) -> None:
        """The cells, of which `side_by_side` are under way at a time; None lets the device's memory decide."""
        self._job, self._side_by_side = job, side_by_side
        self._groups: dict[RunConfig, deque[Cell]] = {}
        for cell in cells:
            self._groups.setdefault(_shared(cell.config), deque()).append(cell)
        self._under_way: list[_CellWork] = []
        self._jobs: deque[TrainingJob] = deque()

    @property
    def running(self) -> list[Cell]:
        """The cells that have begun and have not ended."""
        return [work.cell for work in self._under_way]

    def outcomes(self) -> Iterator[Outcome]:
        """Each cell's outcome as it ends; errors are recorded, not raised."""
        try:
            for cells in self._groups.values():
                yield from self._go_on(cells)
                while self._under_way:
                    if not self._jobs:
                        time.sleep(PAUSE)  # they all wait for another process
                    yield from self._train(cells)
                    yield from self._go_on(cells)
        finally:
            for work in self._under_way:
                work.close()

    def _train(self, cells: deque[Cell]) -> Iterator[Outcome]:
        """Train until no run waits for a training: one that has been trained goes on, and `cells` take its place."""
        if not self._jobs:
            return
        accelerator = next(work.accelerator for work in self._under_way if work.job is not None)
        ends = trained_as_they_end(self._jobs, accelerator, self._side_by_side)
        while True:
            try:
                job, training = next(ends)
            except StopIteration:
                return
            except Exception as error:  # it is that of all trainings that had begun
                waiting = {id(job) for job in self._jobs}
                for work in [work for work in self._under_way if work.job is not None and id(work.job) not in waiting]:
                    yield from self._advance(work, error)
                return
            (work,) = (work for work in self._under_way if work.job is job)
            yield from self._advance(work, training)
            yield from self._go_on(cells)

    def _go_on(self, cells: deque[Cell]) -> Iterator[Outcome]:
        """Ask again those runs that wait for another process, and begin as many of `cells` as there is room for."""
        for work in [work for work in self._under_way if work.job is None]:
            yield from self._advance(work, None)
        while cells and len(self._under_way) < (self._side_by_side or MOST):
            self._under_way.append(_CellWork(cells.popleft(), self._job))
            yield from self._advance(self._under_way[-1], None)

    def _advance(self, work: "_CellWork", answer: Training | Exception | None) -> Iterator[Outcome]:
        """Let a run go on to its next training, whose turn comes after those that wait; or to its end."""
        outcome = work.advance(answer)
        if outcome is not None:
            self._under_way.remove(work)
            yield outcome
        elif work.job is not None:
            self._jobs.append(work.job)


class _CellWork:
    """A cell's run under way.

    Attributes:
        cell: the cell.
        job: the training that it waits for; None where it has not begun, or waits for another process.
        accelerator: what its models are trained with, once it has begun.
    """

    def __init__(self, cell: Cell, job: Job) -> None:
        self.cell, self._grid = cell, job
        self.job: TrainingJob | None = None
        self.accelerator: Accelerator
        self._steps: Work[Line, None] | None = None

    def advance(self, answer: Training | Exception | None) -> Outcome | None:
        """Go on to the next training, or to where the run has to wait; the outcome, if it ends.

        Args:
            answer: how the training went that it waits for, or why there is none; None where it waits for none.
        """
        self.job, ended = None, False

        def go_on() -> None:
            nonlocal ended
            if self._steps is None:
                set_up_worker(self.cell, self._grid)
                run = run_of(self.cell, self._grid)
                self._steps, self.accelerator = run.steps(), run.accelerator
            try:
                step = self._steps.throw(answer) if isinstance(answer, Exception) else self._steps.send(answer)
                while step is not None and not isinstance(step, TrainingJob):
                    step = next(self._steps)
                self.job = step
            except StopIteration:
                ended = True

        return failure(self.cell, go_on) or (Outcome(self.cell, "finished") if ended else None)

    def close(self) -> None:
        """Let go of the run's folder, and of what else it holds."""
        if self._steps is not None:
            self._steps.close()


def _shared(config: RunConfig) -> RunConfig:
    """What the configs of runs have in common whose trainings can be done together."""
    return replace(config, strategy=StrategyConfig(), loop=replace(config.loop, seed=0))
