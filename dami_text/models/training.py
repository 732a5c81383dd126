"""One round's training, on accelerate: a new model goes in and comes out with its best weights."""

import logging
import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import AutocastKwargs
from numpy.typing import NDArray
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from dami_text.config.options import TrainingConfig
from dami_text.data.ids import Rows
from dami_text.data.texts import LabeledTexts
from dami_text.errors import TrainingError
from dami_text.models.averaged_weights import AveragedWeights
from dami_text.models.best_weights import BestWeights
from dami_text.models.captured import MAX_TOKENS, CapturedSteps
from dami_text.models.early_stopping import EarlyStopping
from dami_text.models.evaluation import scorer_of
from dami_text.models.fitted_heads import fit_by_pairs, fit_frozen
from dami_text.models.inference import predict_probabilities
from dami_text.models.resident import resident
from dami_text.models.room import StepRoom
from dami_text.models.tasks import task_of
from dami_text.models.unseen import has_nothing_to_learn, never_predicted, unseen_classes
from dami_text.models.used_rows import in_place, used_rows
from dami_text.models.word_level import class_names_of
from dami_text.processes import ALONE, Processes
from dami_text.progress import tell_progress

logger = logging.getLogger(__name__)

#: A training has begun to learn once its loss is below this share of the loss of the best constant guess.
BEGUN = 0.98

#: The loss of a training is a moving average in which each step weighs this much.
NEWEST = 0.05

#: In fewer steps a training can be too short to have learned anything, without having failed.
FEW_STEPS = 100

#: Tokens for each text of a training batch that memory is thought to have room for, padding among them.
TOKENS_A_TEXT = 512

#: Steps between two lines of progress.
AT_ONCE = 100

BUCKET = 20  # batches whose texts are sorted by length among each other


@dataclass(frozen=True)
class Training:
    """How a training went: epochs and steps that ran, and the metric on the validation split of the weights kept.

    Attributes:
        epochs: how many were begun.
        has_learned: False where the training failed: after many steps its loss is not below that of a constant guess.
        seconds: those of building the model and training it.
        cross_validated: (n, C) probabilities for each text that was trained on, in the order of the data, by a fit that
            did not see it; NaN for a text that was never held out. None where the training did not cross-validate.
    """

    epochs: int
    steps: int
    validation_score: float | None
    has_learned: bool = True
    seconds: float = field(default=0.0, compare=False)
    cross_validated: NDArray[np.floating[Any]] | None = field(default=None, compare=False, repr=False)


@runtime_checkable
class Fitted(Protocol):
    """A model that finds the best weights for labelled texts by itself, without steps or a validation split."""

    def fit(self, data: LabeledTexts, config: TrainingConfig) -> Training:
        """Set the weights to what is best for the labelled texts."""


def _score(model: PreTrainedModel, validation: LabeledTexts, config: TrainingConfig) -> float:
    """The metric of a model on the validation split."""
    probabilities = predict_probabilities(model, validation.texts, validation.rows, processes=ALONE)
    return scorer_of(model, config.metric)(probabilities, validation.labels)


def train(
    model: PreTrainedModel,
    data: LabeledTexts,
    validation: LabeledTexts | None,
    config: TrainingConfig,
    accelerator: Accelerator,
    *,
    rng: np.random.Generator,
) -> Training:
    """Train `model` in place on `data` with Adam or AdamW; labels are as its task has them (see `tasks`).

    Where the texts have a frozen encoder's features, its head alone is found, by logistic regression on them (see
    `logistic`); an encoder that learns from pairs does so before (see `contrastive`). A model that is `Fitted` finds
    its weights by itself. None of these uses a validation split. A class without a label is never predicted (see
    `unseen`). Where all labels are of one class, there is nothing to learn: it is always predicted, and a warning says
    so; where no text has any label, none is ever predicted.

    With a validation split, the model is evaluated after every epoch: a pass over the texts or, where there are few, as
    many passes as make `epoch_steps` steps, because a model that has hardly moved says nothing about what to expect.
    Where there are many, it is evaluated within epochs, too, about every `evaluation_steps` steps: the best of a small
    model can come within the first passes. What is evaluated and kept is the average of the weights over about
    `averaging_steps` steps, or a pass where that is less, unless an epoch has several (see `averaged_weights`).

    Training stops after `patience` evaluations that neither raised the metric nor lowered the loss, counted from when
    it has begun to learn, and the weights of the highest metric are restored, of the lowest loss where several have it.
    Without a validation split, it trains for `steps` steps. Dropout draws from torch's global generator (see
    `randomness.torch_stream`), the order of the texts from `rng`.

    Raises:
        TrainingError: there is no text to train on, or the weights or probabilities are not finite.
    """
    if not len(data.rows):
        raise TrainingError("there is no labelled text to train on; label one at least")
    unseen, nothing_to_learn = unseen_classes(model, data.labels), has_nothing_to_learn(model, data.labels)
    if nothing_to_learn and task_of(model).multilabel:
        logger.warning("no labelled text has any label: the model predicts none; label others too")
    elif nothing_to_learn:
        name = class_names_of(model.config)[data.labels[0]]
        logger.warning("all labels are of one class, %r: the model always predicts it; label others too", name)
    balanced = config.class_weights == "balanced"
    with never_predicted(model, unseen):
        if isinstance(model, Fitted):
            training = model.fit(data, config)
        elif getattr(model.config, "contrastive", False):
            training = Training(1, fit_by_pairs(model, data, rng, balanced=balanced), None)
        elif data.texts.frozen_features is not None:
            fit = fit_frozen(model, data, data.texts.frozen_features, balanced=balanced)
            training = Training(1, fit.iterations, None, cross_validated=fit.cross_validated)
        elif nothing_to_learn:
            training = Training(0, 0, None)
        else:
            return _train(model, data, validation, config, accelerator, rng=rng)
    return training if validation is None else replace(training, validation_score=_score(model, validation, config))


def _train(
    model: PreTrainedModel,
    data: LabeledTexts,
    validation: LabeledTexts | None,
    config: TrainingConfig,
    accelerator: Accelerator,
    *,
    rng: np.random.Generator,
) -> Training:
    """Train by steps, as `train` says."""
    steps, stopping = _Steps(model, data, config, accelerator, rng), None
    try:
        if validation is None:
            _train_by_steps(steps, config)
        else:
            stopping = _train_by_epochs(steps, model, validation, config)
    finally:
        steps.end()
    return result(model, config, steps.taken, stopping, has_begun=steps.has_begun)


def result(
    model: PreTrainedModel, config: TrainingConfig, steps: int, stopping: EarlyStopping | None, *, has_begun: bool
) -> Training:
    """How a training by steps went that is over, and has left the model with its weights.

    Raises:
        TrainingError: the weights or all probabilities are not finite.
    """
    nothing_kept = stopping is not None and stopping.score is None
    if nothing_kept or not all(bool(weight.isfinite().all()) for weight in model.parameters()):
        raise TrainingError(
            f"after {steps} training steps the model's weights or outputs are not finite; lower --learning-rate "
            f"(it is {config.learning_rate}) or use --mixed-precision no"
        )
    has_learned = has_begun or steps < FEW_STEPS
    if stopping is None:
        return Training(1, steps, None, has_learned)
    return Training(math.ceil(stopping.epochs), steps, stopping.score, has_learned)


def _train_by_steps(steps: "_Steps", config: TrainingConfig) -> None:
    """Take `config.steps` steps."""
    while steps.taken < config.steps:
        tell_progress("training", steps.taken, config.steps)
        steps.take(min(AT_ONCE, config.steps - steps.taken))


def _train_by_epochs(
    steps: "_Steps", model: PreTrainedModel, validation: LabeledTexts, config: TrainingConfig
) -> EarlyStopping:
    """Train until the validation split says stop; the model then has the best weights."""
    best, score = BestWeights(steps.model), scorer_of(model, config.metric)
    stopping = EarlyStopping(task_of(model), score, config, steps.n_texts)
    average, rows = AveragedWeights(steps.model, steps.used), validation.rows
    while not stopping.is_over:
        tell_progress("training, in epochs", math.floor(stopping.epochs), config.epochs)
        steps.take(stopping.next_steps)
        if stopping.span:
            average.add(stopping.share_of_newest)
        stopping.has_begun = stopping.has_begun or steps.has_begun
        with average.as_weights() if stopping.span else nullcontext():
            probabilities = predict_probabilities(model, validation.texts, rows, processes=steps.processes)
            if stopping.offer(probabilities, validation.labels):
                best.keep()
    best.restore()
    return stopping


def has_begun(loss: float, guess: float) -> bool:
    """Whether a training has begun to learn: its loss is below that of the best constant guess, which is `guess`."""
    return guess == 0 or loss < BEGUN * guess


class _Steps:
    """Training steps of one model on one set of labelled texts.

    Attributes:
        model: what is trained: the model, or its head alone where the texts have a frozen encoder's features.
        n_texts: how many texts they are on.
        taken: how many steps were taken.
        used: the rows that are trained in place of the model's embedding; None where that is trained itself.
        processes: those that train together.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        data: LabeledTexts,
        config: TrainingConfig,
        accelerator: Accelerator,
        rng: np.random.Generator,
    ) -> None:
        self._data, self._config, self._accelerator = data, config, accelerator
        self.processes = Processes.all() if config.distributed_training else ALONE
        model.to(accelerator.device)
        self.model, self.n_texts, self._texts = model, len(data.rows), data.texts
        self._lengths = data.texts.lengths[data.rows]
        # Processes that train together must do the same passes: there is no going back for one of them.
        tokens, alone = config.train_batch_size * TOKENS_A_TEXT, self.processes.count == 1
        self._room = StepRoom(self._lengths, config.train_batch_size, tokens, may_halve=alone)
        self._trained = accelerator.prepare_model(self.model) if config.distributed_training else self.model
        captures = self._captures()
        # Weight decay moves rows that have no gradient, and a recorded step reads the embedding.
        few = alone and not config.weight_decay and not captures
        self.used = used_rows(model, data) if few else None
        with in_place(model, self.used):
            adam, self._schedule = _optimizer(model, config, capturable=captures)
        # The wrapper scales fp16's gradients. Where there is nothing to scale, it costs as much as a small model's
        # step.
        self._optimizer = accelerator.prepare_optimizer(adam) if accelerator.scaler else adam
        n_classes = len(model.config.id2label or ())
        self._task, balanced = task_of(model), config.class_weights == "balanced"
        self._class_weights = self._task.weights(data.labels, n_classes, balanced=balanced).to(accelerator.device)
        self.taken = 0
        self._groups = _groups(self._lengths, config, rng)
        self._guess = self._task.guess_loss(data.labels, self._class_weights.cpu().numpy())
        # This process's part; all start as if nothing were learned.
        self._loss = torch.full((), self._guess / self.processes.count, device=accelerator.device)
        self._captured = self._captured_steps(adam) if captures else None

    @property
    def has_begun(self) -> bool:
        """Whether the training has begun to learn."""
        loss = self._accelerator.reduce(self._loss) if self.processes.count > 1 else self._loss
        return has_begun(float(loss), self._guess)

    def take(self, n: int) -> None:
        """Take n steps, which go on in the pass over the texts where the last ones ended."""
        self._trained.train()
        groups = list(islice(self._groups, n))
        if self._captured is not None:
            done = self._captured.take([batch for (batch,) in groups], self._schedule)
            self.taken, groups = self.taken + done, groups[done:]
            if not groups:
                return
            self._captured = None  # memory has run out: it goes on in halves
            self._optimizer.zero_grad()
            for weights in self._optimizer.param_groups:
                weights["capturable"] = False
        with in_place(self.model, self.used):
            for group in groups:
                self._take(group)

    def _take(self, group: list[Rows]) -> None:
        """Take a step on batches of positions of the labelled texts."""
        self._room.add_up(group, self._add_gradients, self._optimizer.zero_grad)
        self._optimizer.step()
        if self._schedule is not None:
            self._schedule.step()
        self._optimizer.zero_grad()
        self.taken += 1

    def _add_gradients(self, parts: list[Rows]) -> None:
        """Add up the gradients of a step, part by part of its texts."""
        n, total = sum(map(len, parts)), torch.zeros_like(self._loss)
        for positions in parts:
            mine = self.processes.share(positions)
            batch = self._texts.collate(self._data.rows[mine]).to(self._accelerator.device)
            labels = torch.from_numpy(self._data.labels[mine]).to(self._accelerator.device)
            with self._accelerator.autocast():
                logits = self._trained(**batch.inputs).logits
            loss = self._task.loss(logits, labels, self._class_weights, reduction="sum")
            # The mean over the step's texts, also where processes hold a part each and average their gradients.
            self._accelerator.backward(loss * (self.processes.count / n))
            total += loss.detach()
        self._loss.mul_(1 - NEWEST).add_(total * (NEWEST / n))

    def _captures(self) -> bool:
        """Whether steps are recorded: on a CUDA card, of one batch whole, without gradients to scale.

        A text's number of windows (see `windows`) is known on the card only, which a graph cannot wait for.
        """
        longest = int(self._lengths.max(initial=1))
        window: int | None = getattr(self.model.config, "text_window", None)
        fits = longest <= min(TOKENS_A_TEXT, window or TOKENS_A_TEXT) and self.n_texts * longest <= MAX_TOKENS
        whole = self._config.gradient_accumulation_steps == 1 and not self._config.distributed_training
        return fits and whole and self._accelerator.device.type == "cuda" and self._accelerator.scaler is None

    def _captured_steps(self, optimizer: Optimizer) -> CapturedSteps:
        device = self._accelerator.device
        return CapturedSteps(
            self.model,
            optimizer,
            resident(self._texts, device).collate(self._data.rows).to(device),
            torch.from_numpy(self._data.labels).to(device),
            batch_size=min(self._config.train_batch_size, self.n_texts),
            class_weights=self._class_weights,
            loss=self._loss,
            newest=NEWEST,
            # The cache of weights in half precision would be filled in one replay and read in others.
            autocast=partial(self._accelerator.autocast, AutocastKwargs(cache_enabled=False)),
        )

    def end(self) -> None:
        """Free what was prepared."""
        if self._accelerator.scaler or self._config.distributed_training:
            self._accelerator.free_memory()


def training_batches(lengths: NDArray[np.int64], batch_size: int, rng: np.random.Generator) -> Iterator[Rows]:
    """Positions 0..n-1 of texts of `lengths` (n,), every one once, in random batches of like length."""
    shuffled = rng.permutation(len(lengths))
    batches = []
    for start in range(0, len(shuffled), BUCKET * batch_size):
        bucket = shuffled[start : start + BUCKET * batch_size]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        batches += [bucket[i : i + batch_size] for i in range(0, len(bucket), batch_size)]
    for i in rng.permutation(len(batches)):
        yield batches[i]


def endless_batches(lengths: NDArray[np.int64], batch_size: int, rng: np.random.Generator) -> Iterator[Rows]:
    """The batches of one pass after another, each in an order of its own."""
    while True:
        yield from training_batches(lengths, batch_size, rng)


def _groups(lengths: NDArray[np.int64], config: TrainingConfig, rng: np.random.Generator) -> Iterator[list[Rows]]:
    """The batches of each training step, without end; the last step of a pass has those that are left."""
    while True:
        batches = training_batches(lengths, config.train_batch_size, rng)
        while group := list(islice(batches, config.gradient_accumulation_steps)):
            yield group


def _optimizer(model: nn.Module, config: TrainingConfig, capturable: bool) -> tuple[Optimizer, LambdaLR | None]:
    """The optimizer of the weights that are to be trained, `capturable` in graphs, and its warm-up, if there is one."""
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    # A graph reads the learning rate from where it lies.
    rate = torch.tensor(config.learning_rate, device=weights[0].device) if capturable else config.learning_rate
    optimizer = kind(weights, rate, weight_decay=config.weight_decay, fused=True, capturable=capturable)
    if config.warmup_steps <= 1:
        return optimizer, None
    return optimizer, LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / config.warmup_steps))
