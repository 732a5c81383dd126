"""One of the trainings that are done side by side: which batches come next, and when it is over."""

import copy
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from dami_text.data.ids import Rows
from dami_text.errors import DamiError
from dami_text.models.early_stopping import EarlyStopping
from dami_text.models.evaluation import scorer_of
from dami_text.models.jobs import TrainingJob
from dami_text.models.tasks import task_of
from dami_text.models.training import endless_batches, has_begun


class RunningJob:
    """A job in a slot.

    Attributes:
        job, slot: the job and its slot.
        places, held_out: the places (n,) of its texts in the table of tokens, and those of its validation split.
        batch: the positions (B,) of the next batch among its texts; None where there is none.
        is_validating: whether its validation split is to be looked at before the next batch is known.
        is_over: whether there is nothing more to do.
        taken: how many steps it has taken.
        seconds: its share of the time.
        error: what ended it before its end, if anything did.
    """

    def __init__(self, job: TrainingJob, slot: int, places: Rows, held_out: Rows | None, guess: float) -> None:
        """A job from its beginning; `guess` is the loss of the best constant guess."""
        self.job, self.slot, self.places, self.held_out, self._guess = job, slot, places, held_out, guess
        self.stopping: EarlyStopping | None = None
        if job.validation is not None:
            score = scorer_of(job.model, job.config.metric)
            self.stopping = EarlyStopping(task_of(job.model), score, job.config, len(job.data.rows))
        self.taken, self.seconds = 0, 0.0
        self.error: DamiError | None = None
        self._course = self._batches()
        self.go_on()

    def go_on(self) -> None:
        """Find out what comes next."""
        self.batch, self.is_over = None, False
        try:
            self.batch = next(self._course)
        except StopIteration:
            self.is_over = True
        self.is_validating = self.batch is None and not self.is_over

    def next_batch(self) -> tuple[Rows, NDArray[np.int64]]:
        """The places (B,) in the table of tokens and labels, (B,) or (B, C), of the next batch."""
        return self.places[self.batch], self.job.data.labels[self.batch]

    def has_begun(self, loss: float) -> bool:
        """Whether it has begun to learn, by the moving average of its loss."""
        return has_begun(loss, self._guess)

    def offer(self, probabilities: NDArray[np.float32], loss: float) -> bool:
        """Take what its model predicts of its validation split; whether the weights are to be kept."""
        stopping, validation = self.stopping, self.job.validation
        assert stopping is not None
        assert validation is not None
        stopping.has_begun = stopping.has_begun or self.has_begun(loss)
        return stopping.offer(probabilities, validation.labels)

    def _batches(self) -> Iterator[Rows | None]:
        """The batches that `training.train` would take, one after another, and None before each evaluation.

        They are drawn by a copy of the job's generator: a job whose memory ran out is begun again.
        """
        config, rng = self.job.config, copy.deepcopy(self.job.rng)
        lengths = self.job.data.texts.lengths[self.job.data.rows]
        batches = endless_batches(lengths, config.train_batch_size, rng)
        if self.stopping is None:
            yield from islice(batches, config.steps)
            return
        while not self.stopping.is_over:
            yield from islice(batches, self.stopping.next_steps)
            yield None
