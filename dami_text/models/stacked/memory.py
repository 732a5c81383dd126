"""How many models fit side by side into a device's memory."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from dami_text.models.jobs import TrainingJob
from dami_text.models.room import free_bytes
from dami_text.models.stacked.networks import PARTS
from dami_text.models.stacked.stack import Stack

#: Copies of the weights that a training keeps at most: their gradients, two moments, their average, the best ones, and
#: they themselves.
COPIES = 6

#: The gradients by what is kept for the backward pass are as large as that, and a pass over texts takes no more.
ACTIVATIONS = 2

#: The share of what is free that trainings may take: what asks the trained models takes some, too.
SHARE = 0.7


def slots_that_fit(jobs: Sequence[TrainingJob], device: torch.device) -> int:
    """How many jobs like these suit the device at a time: as many as fit into a card's memory.

    On a CPU it is one: there, CNNs side by side take as long as one after another, and BiLSTMs half as long again.
    """
    if device.type == "cpu" or not jobs:
        return 1
    return max(1, int(SHARE * free_bytes(device) / bytes_a_job(jobs, device)))


def bytes_a_job(jobs: Sequence[TrainingJob], device: torch.device) -> int:
    """What a job takes at most while it is done with others, as measured in a step of one model on the longest text."""
    job = max(jobs, key=lambda job: int(job.data.texts.lengths[job.data.rows].max()))
    vocab_size = max(job.model.config.vocab_size for job in jobs)
    stack = Stack(job.model, 1, job.config, device, vocab_size=vocab_size)
    places, n_texts = stack.places(job.data), job.config.train_batch_size
    longest = np.full(n_texts, stack.tokens.lengths[places].argmax())
    stack.load(0, job)
    step = {0: (places[longest], job.data.labels[longest])}
    kept = bytes_kept(lambda: stack.step(step, {0: 0}))
    return COPIES * stack.bytes_of_weights + ACTIVATIONS * kept // PARTS[type(job.model)]


def bytes_kept(work: Callable[[], Any]) -> int:
    """The bytes that `work`, which computes gradients, keeps from its forward for its backward passes."""
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        work()
    return sum(kept.values())
