"""Trainings of many models side by side, each as if it were alone."""

from collections import deque
from collections.abc import Iterator, Sequence

from accelerate import Accelerator
from transformers import PreTrainedModel

from dami_text.config.options import TrainingConfig
from dami_text.errors import TrainingError
from dami_text.models.bilstm import BiLSTMForSequenceClassification
from dami_text.models.jobs import TrainingJob, train_alone
from dami_text.models.text_cnn import TextCNNForSequenceClassification
from dami_text.models.training import Training


def can_train_together(model: PreTrainedModel, config: TrainingConfig) -> bool:
    """Whether models of this kind can be stacked, and trained so with these options."""
    stackable = isinstance(model, TextCNNForSequenceClassification | BiLSTMForSequenceClassification)
    whole = config.gradient_accumulation_steps == 1 and not config.distributed_training
    return stackable and whole and config.mixed_precision == "no"


def train_together(
    jobs: Sequence[TrainingJob], accelerator: Accelerator, side_by_side: int | None = None
) -> list[Training | TrainingError]:
    """Do all jobs, `side_by_side` at a time; how each went, in their order. See `trained_as_they_end`."""
    places = {id(job): place for place, job in enumerate(jobs)}
    found = {places[id(job)]: outcome for job, outcome in trained_as_they_end(deque(jobs), accelerator, side_by_side)}
    return [found[place] for place in range(len(jobs))]


def trained_as_they_end(
    waiting: deque[TrainingJob], accelerator: Accelerator, side_by_side: int | None = None
) -> Iterator[tuple[TrainingJob, Training | TrainingError]]:
    """Do the jobs that wait, until none does, and give each with how it went as soon as it ends.

    What is put into `waiting` between two jobs' ends takes the place of those that have ended: a caller can go on with
    a run at once, and let its next training join those that are under way.

    Each job's model gets the weights that `train_alone` would give it, but for rounding: on a CPU the random numbers
    are the same ones, on a card they depend on the job's streams alone. What cannot be stacked is done alone.

    Args:
        waiting: the jobs; those that can be stacked are of one kind and size of model and have the same options. Those
            that are taken are removed from it.
        accelerator: what trains.
        side_by_side: how many at a time; by default as many as suits the device and fit into its memory.
    """
    while waiting:
        job = waiting.popleft()
        try:
            yield job, train_alone(job, accelerator)
        except TrainingError as error:
            yield job, error
