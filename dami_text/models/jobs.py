"""Trainings as jobs, which are done one at a time here, or side by side (see `models.stacked`)."""

import time
from dataclasses import dataclass, replace

import numpy as np
from accelerate import Accelerator
from transformers import PreTrainedModel

from dami_text.config.options import TrainingConfig
from dami_text.data.texts import LabeledTexts
from dami_text.models.training import Training, train
from dami_text.randomness import TorchState


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingJob:
    """A training that is to be done: what `training.train` takes, and where its random numbers come from.

    Attributes:
        model: a new model, which gets the weights that are found.
        data, validation, config, rng: as in `training.train`. The job has `rng` for itself.
        state: where torch's generators go on, for dropout.
    """

    model: PreTrainedModel
    data: LabeledTexts
    validation: LabeledTexts | None
    config: TrainingConfig
    rng: np.random.Generator
    state: TorchState


def train_alone(job: TrainingJob, accelerator: Accelerator) -> Training:
    """Do a job by itself.

    Raises:
        TrainingError: as `training.train`.
    """
    start = time.perf_counter()
    with job.state.resumed():
        training = train(job.model, job.data, job.validation, config=job.config, accelerator=accelerator, rng=job.rng)
    return replace(training, seconds=time.perf_counter() - start)
