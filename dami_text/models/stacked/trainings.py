"""Trainings of many models side by side, each as if it were alone."""

import gc
import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from transformers import PreTrainedModel

from dami_text.config.options import TrainingConfig
from dami_text.data.texts import EncodedTexts
from dami_text.errors import DamiError
from dami_text.models.jobs import TrainingJob, train_alone
from dami_text.models.stacked.memory import slots_that_fit
from dami_text.models.stacked.networks import FEATURES
from dami_text.models.stacked.run import RunningJob
from dami_text.models.stacked.stack import Stack
from dami_text.models.training import TOKENS_A_TEXT, Training, result
from dami_text.models.unseen import has_nothing_to_learn, never_predicted, unseen_classes

logger = logging.getLogger(__name__)


def can_train_together(model: PreTrainedModel, config: TrainingConfig) -> bool:
    """Whether models of this kind can be stacked, and trained so with these options."""
    all_trained = all(weight.requires_grad for weight in model.parameters())
    return type(model) in FEATURES and all_trained and stacks_can_take(config)


def stacks_can_take(config: TrainingConfig) -> bool:
    """Whether stacks take steps with these options."""
    whole = config.gradient_accumulation_steps == 1 and not config.distributed_training
    return whole and config.mixed_precision == "no"


def train_together(
    jobs: Sequence[TrainingJob], accelerator: Accelerator, side_by_side: int | None = None
) -> list[Training | DamiError]:
    """Do all jobs, `side_by_side` at a time; how each went, in their order. See `trained_as_they_end`."""
    places = {id(job): place for place, job in enumerate(jobs)}
    found = {places[id(job)]: outcome for job, outcome in trained_as_they_end(deque(jobs), accelerator, side_by_side)}
    return [found[place] for place in range(len(jobs))]


def trained_as_they_end(
    waiting: deque[TrainingJob], accelerator: Accelerator, side_by_side: int | None = None
) -> Iterator[tuple[TrainingJob, Training | DamiError]]:
    """Do the jobs that wait, until none does, and give each with how it went as soon as it ends.

    What is put into `waiting` between two jobs' ends takes the place of those that have ended: a caller can go on with
    a run at once, and let its next training join those that are under way.

    Each job's model gets the weights that `train_alone` would give it, but for rounding: on a CPU the random numbers
    are the same ones, on a card they depend on the job's streams alone. Jobs of other sizes or options than those under
    way wait for the next stack, and what cannot be stacked is done alone. Where memory runs out, half as many are done
    at a time, and those that were under way begin again.

    Args:
        waiting: the jobs. Those that are taken are removed from it.
        accelerator: what trains.
        side_by_side: how many at a time; by default as many as fit into a card's memory and, on a CPU, one.

    Yields:
        Each job and how it went: `seconds` is its share of the time. What ends one job, such as weights that are not
        finite, is given in place of that.
    """
    most = side_by_side
    while waiting:
        alike = [] if most == 1 else _alike(waiting, accelerator)
        room = most or slots_that_fit(alike, accelerator.device)
        n_slots = min(len(alike), room)
        # On a card, dropout in a stack is not that of a model alone, and must not depend on how many others there are.
        if not alike or room == 1 or (n_slots == 1 and accelerator.device.type == "cpu"):
            job = waiting.popleft()
            yield job, _alone(job, accelerator)
            continue
        slots = _Slots(alike, accelerator, has_room=n_slots < room)
        try:
            yield from slots.outcomes(waiting, n_slots)
            continue
        except torch.OutOfMemoryError:
            waiting.extendleft(run.job for run in reversed(slots.runs))
        most = max(1, n_slots // 2)
        logger.info("the memory is not enough for %d models side by side; it goes on with %d", n_slots, most)
        gc.collect()
        torch.cuda.empty_cache()


def _alike(waiting: Sequence[TrainingJob], accelerator: Accelerator) -> list[TrainingJob]:
    """The jobs that can be stacked with the first one, among them this one itself; none if it cannot be stacked."""
    if not _can_be_stacked(waiting[0], accelerator):
        return []
    kind = _kind(waiting[0])
    return [job for job in waiting if _kind(job) == kind and _can_be_stacked(job, accelerator)]


def _alone(job: TrainingJob, accelerator: Accelerator) -> Training | DamiError:
    try:
        return train_alone(job, accelerator)
    except DamiError as error:
        return error


def _can_be_stacked(job: TrainingJob, accelerator: Accelerator) -> bool:
    """Whether a job takes steps that a stack can take: a text so long that its batch would be split is none."""
    data, validation = job.data, job.validation
    of_words = isinstance(data.texts, EncodedTexts) and data.texts.frozen_features is None
    return (
        can_train_together(job.model, job.config)
        and accelerator.device.type in ("cpu", "cuda")
        and of_words
        and int(data.texts.lengths[data.rows].max(initial=0)) <= TOKENS_A_TEXT
        and len(data.rows) > 0
        and not has_nothing_to_learn(job.model, data.labels)
        and (validation is None or len(validation.rows) > 0)
    )


def _kind(job: TrainingJob) -> tuple[Any, ...]:
    """What jobs of one stack have in common."""
    options = job.model.config.to_dict()
    sizes = {name: value for name, value in options.items() if name not in ("vocab_size", "id2label", "label2id")}
    return type(job.model), job.model.config.num_labels, job.model.dtype, sizes, job.config


class _Slots:
    """Slots of a stack, and the runs in them."""

    def __init__(self, jobs: Sequence[TrainingJob], accelerator: Accelerator, *, has_room: bool) -> None:
        """Slots for jobs of the kind of these; whether there is room for more jobs than these."""
        self._has_room = has_room
        self._accelerator, self._kind, self._first = accelerator, _kind(jobs[0]), jobs[0]
        self._vocab_size = max(job.model.config.vocab_size for job in jobs)
        self.runs: list[RunningJob] = []

    def outcomes(self, waiting: deque[TrainingJob], n_slots: int) -> Iterator[tuple[TrainingJob, Training | DamiError]]:
        """Do the jobs that fit, in so many slots, until none is left, and give each as it ends.

        Where memory runs out, `runs` are those that are not done.
        """
        model, config = self._first.model, self._first.config
        self._stack = Stack(model, n_slots, config, self._accelerator.device, vocab_size=self._vocab_size)
        try:
            self._fill(waiting)
            while self.runs:
                ended = [run for run in self.runs if run.is_over or run.error]
                for run in ended:
                    outcome = self._outcome(run)
                    self.runs.remove(run)
                    yield run.job, outcome
                if not ended:
                    self._advance()
                elif self._suit(waiting):
                    self._fill(waiting)
        finally:
            del self._stack  # the next one needs the memory

    def _suit(self, waiting: Sequence[TrainingJob]) -> bool:
        """Whether the slots suit the jobs that are left; otherwise they run empty, and others take their place.

        They are too few for jobs that have come up since and that there is room for, too many where most would be
        empty for good, or too small for a vocabulary.
        """
        alike = [job for job in waiting if _kind(job) == self._kind and _can_be_stacked(job, self._accelerator)]
        n_jobs, n_slots = len(self.runs) + len(alike), self._stack.n_slots
        too_few, too_many = self._has_room and n_jobs >= 2 * n_slots, 2 * n_jobs <= n_slots
        return not (too_few or too_many) and all(self._fits(job) for job in alike)

    def _fill(self, waiting: deque[TrainingJob]) -> None:
        """Put jobs that wait and fit into free slots."""
        free = sorted(set(range(self._stack.n_slots)) - {run.slot for run in self.runs})
        for job in [*waiting] if free else []:
            if free and self._fits(job):
                self.runs.append(self._begun(job, free.pop(0)))
                waiting.remove(job)

    def _fits(self, job: TrainingJob) -> bool:
        fits = job.model.config.vocab_size <= self._vocab_size and _kind(job) == self._kind
        return fits and _can_be_stacked(job, self._accelerator)

    def _begun(self, job: TrainingJob, slot: int) -> RunningJob:
        """A job in a slot, from its beginning."""
        with never_predicted(job.model, unseen_classes(job.model, job.data.labels)):
            guess = self._stack.load(slot, job)
        places = self._stack.places(job.data)
        held_out = None if job.validation is None else self._stack.places(job.validation)
        return RunningJob(job, slot, places, held_out, guess)

    def _advance(self) -> None:
        """Take a step of all runs, and look at the validation splits of those whose turn it is."""
        start, runs = time.perf_counter(), self.runs
        batches = {run.slot: run.next_batch() for run in runs}
        self._stack.step(batches, {run.slot: run.taken for run in runs})
        for run in runs:
            run.taken += 1
            run.go_on()
        self._validate([run for run in runs if run.is_validating])
        for run in runs:
            run.seconds += (time.perf_counter() - start) / len(runs)

    def _validate(self, runs: Sequence[RunningJob]) -> None:
        if not runs:
            return
        for run in runs:
            if run.stopping is not None:
                self._stack.average(run.slot, run.stopping.share_of_newest)
        places = [run.held_out for run in runs if run.held_out is not None]
        found, losses = self._stack.probabilities([run.slot for run in runs], places), self._stack.losses()
        for run, probabilities in zip(runs, found, strict=True):
            try:
                if run.offer(probabilities, losses[run.slot]):
                    self._stack.keep(run.slot)
                run.go_on()
            except DamiError as error:  # of a metric of one's own
                run.error = error

    def _outcome(self, run: RunningJob) -> Training | DamiError:
        """How a run went that has ended; its model has its weights then."""
        if run.error is not None:
            return run.error
        model, job, stopping = run.job.model, run.job, run.stopping
        model.to(self._accelerator.device).train()
        with never_predicted(model, unseen_classes(model, job.data.labels)):
            self._stack.write(run.slot, model, best=stopping is not None and stopping.score is not None)
            try:
                begun = run.has_begun(self._stack.losses()[run.slot])
                training = result(model, job.config, run.taken, stopping, has_begun=begun)
            except DamiError as error:
                return error
        return replace(training, seconds=run.seconds)
