"""Training steps on a CUDA card, each of them a graph that is replayed.

A small model's step is dozens of short kernels, and a card waits for Python to launch each of them. So the step is
recorded as a CUDA graph, once for each width of batches, and then replayed as one launch. What a batch needs lies on
the card already: all token ids are there, and a batch is a list of their rows.

What the step computes is what `training` does without a graph: dropout draws from torch's generator, which a graph
advances with each replay.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import PreTrainedModel

from dami_text.data.batches import Batch
from dami_text.data.ids import Rows
from dami_text.models.recording import EAGER_STEPS, Record, recorder, take_step, tell_not_recorded
from dami_text.models.tasks import task_of

#: Batches are padded to a multiple of so many tokens, so that a few graphs do for all of them.
WIDTH = 16

#: Tokens of all labelled texts, padded to the longest, that are kept on the card: 1 GiB with their mask.
MAX_TOKENS = 2**26


class Replays:
    """Parts of steps, such as one at several widths, each of which is recorded and from then on replayed.

    Attributes:
        is_recording: False without anything to record with, and once recording has failed: the step is then taken as
            it comes.
    """

    def __init__(self, name: str, record: Record | None) -> None:
        """Replays of steps of what has that name."""
        self._name, self._record = name, record
        self._replays: dict[Hashable, Callable[[], object]] = {}
        self._taken: Counter[Hashable] = Counter()
        self.is_recording = record is not None

    def take(self, step: Callable[[], None], key: Hashable) -> None:
        """Take a step on what lies on the device; steps of one key do the same on the same tensors."""
        self._taken[key] += 1
        if self._record and self.is_recording and key not in self._replays and self._taken[key] > EAGER_STEPS:
            try:
                self._replays[key] = self._record(step)
            except RuntimeError as error:
                self.is_recording = False
                self._replays.clear()
                tell_not_recorded(f"a training step of {self._name}", error)
        self._replays.get(key, step)()

    def forget(self) -> None:
        """Record anew, because the step now works on other tensors."""
        self._replays.clear()


class CapturedSteps:
    """Training steps on batches of labelled texts that lie on the device."""

    def __init__(
        self,
        model: PreTrainedModel,
        optimizer: Optimizer,
        texts: Batch,
        labels: torch.Tensor,
        *,
        batch_size: int,
        class_weights: torch.Tensor,
        loss: torch.Tensor,
        newest: float,
        autocast: Callable[[], AbstractContextManager[Any]],
        record: Record | None = None,
    ) -> None:
        """Steps of `model` by `optimizer`.

        Args:
            model, optimizer: on the device; the optimizer is `capturable`.
            texts: all labelled texts (n) as one batch, on the device.
            labels: (n,), or (n, C) of any number of labels, on the device.
            batch_size: texts in a batch, B; a batch of fewer is filled up with texts that do not count.
            class_weights: of the loss, as `Task.weights` makes them.
            loss: the moving average of the loss, a number on the device that each step changes.
            newest: the weight of a step's loss in it.
            autocast: makes the context of a forward pass.
            record: makes graphs; by default of CUDA.
        """
        self._model, self._optimizer, self._task = model, optimizer, task_of(model)
        self._ids, self._mask, self._labels = texts.input_ids, texts.attention_mask, labels
        self._on_the_left = bool(texts.attention_mask[:, -1].all())  # all texts end where the batch does
        self._widths = texts.attention_mask.sum(dim=1).clamp(min=1).cpu()
        self._class_weights, self._loss, self._newest = class_weights, loss, newest
        self._autocast, self._replays = autocast, Replays(type(model).__name__, record or recorder())
        self._rows = torch.zeros(batch_size, dtype=torch.long, device=labels.device)
        self._counts = class_weights.new_zeros(batch_size)  # 1 / n for the n texts of the batch, 0 for others

    @property
    def is_recording(self) -> bool:
        """Whether recording has not failed so far."""
        return self._replays.is_recording

    def take(self, batches: Iterable[Rows], schedule: LRScheduler | None) -> int:
        """Take a step on each batch of places (B,) among the labelled texts; how many steps that were.

        They are fewer than the batches where the device's memory has no room for one.
        """
        batches = list(batches)
        if not batches:
            return 0
        size = len(self._rows)
        rows = torch.zeros(len(batches), size, dtype=torch.long)
        counts = torch.zeros(len(batches), size)
        for i, batch in enumerate(batches):
            rows[i, : len(batch)] = torch.from_numpy(batch)
            counts[i, : len(batch)] = 1 / len(batch)
        rows_there, counts_there = rows.to(self._rows.device), counts.to(self._counts)
        for i, batch in enumerate(batches):
            longest = int(self._widths[torch.from_numpy(batch)].max())
            self._rows.copy_(rows_there[i])
            self._counts.copy_(counts_there[i])
            width = min(-(-longest // WIDTH) * WIDTH, self._ids.shape[1])
            try:
                self._replays.take(partial(self._step, width), width)
            except torch.OutOfMemoryError:
                self._replays.forget()
                return i
            if schedule is not None:
                schedule.step()
        return len(batches)

    def _step(self, width: int) -> None:
        """The step itself; nothing of it waits for the device."""
        self._optimizer.zero_grad(set_to_none=False)  # graphs write to where the first steps' gradients are
        part = slice(-width, None) if self._on_the_left else slice(width)
        ids, mask = self._ids[self._rows, part], self._mask[self._rows, part]
        with self._autocast():
            logits = self._model(input_ids=ids, attention_mask=mask).logits
        labels, weights = self._labels[self._rows], self._class_weights
        losses = self._task.loss(logits, labels, weights, reduction="none")
        loss = losses @ self._counts.to(losses)
        loss.backward()
        self._loss.mul_(1 - self._newest).add_(loss.detach() * self._newest)
        take_step(self._optimizer)
