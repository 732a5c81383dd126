"""Work that comes to trainings, which may be done elsewhere: one at a time, or those of several learners together.

Such work is a generator. It yields a job where it needs a training and is sent how the training went; it yields None
where it has to wait for another process and is to be asked again. Nothing global is changed while it is suspended, so
that several of them can take turns.
"""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any, Never, TypeAlias, TypeVar, cast

from dami_text.models.jobs import TrainingJob
from dami_text.models.training import Training

T = TypeVar("T")
R = TypeVar("R")

#: Work that yields T beside jobs and waiting, and returns R. What it is sent are trainings, or None.
Work: TypeAlias = Generator[TrainingJob | T | None, Any, R]

#: What trains a learner, and returns how that went in all.
Trainings: TypeAlias = Work[Never, Training]

#: Seconds until work that waits for another process is asked again.
PAUSE = 0.05


def in_turn(work: Work[T, R], train: Callable[[TrainingJob], Training]) -> Generator[T, None, R]:
    """What the work yields beside jobs, each of which `train` does when it comes; returns what the work returns."""
    answer = None
    with closing(work):
        while True:
            try:
                step = work.send(answer)
            except StopIteration as end:
                return cast(R, end.value)
            answer = None
            if isinstance(step, TrainingJob):
                answer = train(step)
            elif step is None:
                time.sleep(PAUSE)
            else:
                yield step


def result_of(work: Generator[object, None, R]) -> R:
    """What the work returns when it has been done to its end."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return cast(R, end.value)
