"""The weights of many models of one architecture, stacked; a training step and a pass of all of them at once."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.config.options import TrainingConfig
from dami_text.data.batches import batches_by_length
from dami_text.data.ids import Rows
from dami_text.data.texts import LabeledTexts
from dami_text.models.captured import WIDTH, Replays
from dami_text.models.jobs import TrainingJob
from dami_text.models.recording import Record, recorder
from dami_text.models.stacked.adam import StackedAdam
from dami_text.models.stacked.dropout import Dropout
from dami_text.models.stacked.networks import FEATURES, PARTS
from dami_text.models.stacked.tokens import TokenTable
from dami_text.models.tasks import task_of
from dami_text.models.training import NEWEST
from dami_text.models.word_level import class_names_of

#: Texts, of all models together, in a batch of a pass.
PASS_TEXTS = {"cpu": 256, "cuda": 4_096}

#: The weights of the words' embeddings, which models of different vocabularies have different numbers of.
EMBEDDING = "embedding.weight"


class Stack:
    """S slots for models that are trained side by side, each with its batches, its dropout and its number of steps.

    A slot without a batch takes steps that mean nothing. Nothing is read back from the device but by `probabilities`
    and `losses`.

    Attributes:
        n_slots: S.
        tokens: the texts' tokens.
    """

    def __init__(
        self,
        like: PreTrainedModel,
        n_slots: int,
        config: TrainingConfig,
        device: torch.device,
        *,
        vocab_size: int,
        record: Record | None = None,
    ) -> None:
        """Empty slots.

        Args:
            like: a model of the architecture.
            n_slots: S.
            config: the options of all trainings.
            device: a CPU or a CUDA card.
            vocab_size: V, the largest of the models'.
            record: what records steps; by default, on a card alone, CUDA graphs.
        """
        self.n_slots, self.tokens, self._device = n_slots, TokenTable(device), device
        self._config, self._task, self._features = like.config, task_of(like), FEATURES[type(like)]
        shapes = {name: (n_slots, *weight.shape) for name, weight in like.named_parameters()}
        shapes[EMBEDDING] = (n_slots, vocab_size, like.config.embedding_dim)
        options: dict[str, Any] = {"dtype": like.dtype, "device": device}
        self._weights = {name: torch.zeros(shape, **options) for name, shape in shapes.items()}
        self._gradients = {name: torch.zeros(shape, **options) for name, shape in shapes.items()}
        self._best: dict[str, torch.Tensor] = {}
        #: What is evaluated and kept: averages of the weights, or themselves.
        self._evaluated = self._weights
        if config.averaging_steps:
            self._evaluated = {name: torch.zeros_like(weight) for name, weight in self._weights.items()}
        self._adam = StackedAdam(self._weights, self._gradients, config)
        n_texts, n_classes = config.train_batch_size, len(class_names_of(like.config))
        n_labels = n_classes if self._task.multilabel else 1
        self._plan = torch.zeros(n_slots, n_texts, 1 + n_labels, dtype=torch.long, device=device)
        of_class = (2, n_classes) if self._task.multilabel else (n_classes,)
        self._class_weights = torch.ones(n_slots, *of_class, device=device)
        self._losses = torch.zeros(n_slots, device=device)
        rate, masks = like.config.dropout, torch.zeros(n_slots, n_texts, like.config.feature_dim, **options)
        self._dropout = Dropout(rate, masks) if rate > 0 else None
        self._order = torch.arange(n_slots, device=device)  # by the length of their batches
        bounds = np.linspace(0, n_slots, min(n_slots, PARTS[type(like)]) + 1).astype(int).tolist()
        self._parts = [slice(*each) for each in pairwise(bounds)]
        on_card = device.type == "cuda"
        self._multiple = WIDTH if on_card or record else 1
        name, record = f"{n_slots} {type(like).__name__}", record or (recorder() if on_card else None)
        self._replays = Replays(name, record)

    @property
    def bytes_of_weights(self) -> int:
        """The bytes of the stacked weights."""
        return sum(weight.nbytes for weight in self._weights.values())

    @torch.no_grad()
    def load(self, slot: int, job: TrainingJob) -> float:
        """Put the model of a job that begins into a slot; the loss of the best constant guess."""
        for name, weight in job.model.named_parameters():
            self._weights[name][slot].zero_()[: len(weight)].copy_(weight)
        self.average(slot, 1.0)
        n_classes, balanced = len(class_names_of(job.model.config)), job.config.class_weights == "balanced"
        class_weights = self._task.weights(job.data.labels, n_classes, balanced=balanced)
        guess = self._task.guess_loss(job.data.labels, class_weights.numpy())
        self._class_weights[slot] = class_weights.to(self._device)
        self._losses[slot] = guess
        self._adam.begin(slot)
        if self._dropout is not None:
            self._dropout.begin(slot, job.state)
        return guess

    def places(self, data: LabeledTexts) -> Rows:
        """The places (n,) of labelled texts in the table of tokens."""
        before = self.tokens.n_texts
        places = self.tokens.places(data)
        if self.tokens.n_texts > before:
            self._replays.forget()
        return places

    @torch.no_grad()
    def average(self, slot: int, share: float) -> None:
        """Have the weights that the model in a slot has now make up this share of their average, if there is one."""
        if self._evaluated is self._weights:
            return
        for name, average in self._evaluated.items():
            if share < 1:
                average[slot].lerp_(self._weights[name][slot], share)
            else:  # whatever the slot held before, be it not finite
                average[slot].copy_(self._weights[name][slot])

    @torch.no_grad()
    def keep(self, slot: int) -> None:
        """Keep the weights that were evaluated last of the model in a slot as its best."""
        if not self._best:
            self._best = {name: torch.zeros_like(weight) for name, weight in self._weights.items()}
        for name, weight in self._evaluated.items():
            self._best[name][slot].copy_(weight[slot])

    @torch.no_grad()
    def write(self, slot: int, model: PreTrainedModel, *, best: bool) -> None:
        """Give a model the weights of a slot, those of now or the best."""
        weights = self._best if best else self._weights
        for name, weight in model.named_parameters():
            weight.copy_(weights[name][slot, : len(weight)])

    def losses(self) -> list[float]:
        """The moving average of each slot's loss."""
        found: list[float] = self._losses.tolist()
        return found

    def step(self, batches: Mapping[int, tuple[Rows, NDArray[np.int64]]], taken: Mapping[int, int]) -> None:
        """Take a training step of the models in slots.

        Args:
            batches: of each slot, places (B,) in the table of tokens and labels (B,) or (B, C).
            taken: how many steps each has taken before.
        """
        plan, longest = np.zeros(self._plan.shape, np.int64), np.ones(self.n_slots, np.int64)
        plan[:, :, 0] = -1
        for slot, (places, labels) in batches.items():
            plan[slot, : len(places), 0] = places
            plan[slot, : len(places), 1:] = labels.reshape(len(places), -1)
            longest[slot] = max(1, self.tokens.lengths[places].max())
        order = np.argsort(longest, kind="stable")
        self._plan.copy_(torch.from_numpy(plan), non_blocking=True)
        self._order.copy_(torch.from_numpy(order), non_blocking=True)
        if self._dropout is not None:
            self._dropout.draw({slot: len(places) for slot, (places, _) in batches.items()})
        self._adam.warm_up(taken)
        for part in self._parts:
            width = -(-int(longest[order[part]].max()) // self._multiple) * self._multiple
            self._replays.take(partial(self._differentiate, part, width), (part.start, width))
        self._replays.take(self._update, "update")

    @torch.no_grad()
    def _differentiate(self, part: slice, width: int) -> None:
        """Find the gradients of the models whose places in `_order` are `part`, on what lies on the device."""
        slots = self._order[part]
        plan, n_words = self._plan[slots], self._weights[EMBEDDING].shape[1]
        places, labels = plan[:, :, 0], plan[:, :, 1:] if self._task.multilabel else plan[:, :, 1]
        ids, is_word = self.tokens.batch(places, width)
        words = (ids + (slots * n_words)[:, None, None]).flatten()
        embedded = _embedded(self._weights, words).view(*ids.shape, -1).requires_grad_()
        trained = {name: weight[slots].requires_grad_() for name, weight in self._weights.items() if name != EMBEDDING}
        with torch.enable_grad():
            features = self._features(self._config, trained, embedded, is_word)
            if self._dropout is not None:
                features = features * self._dropout.masks[slots]
            losses = self._task.stacked_losses(_logits(trained, features), labels, self._class_weights[slots])
            counted = (places >= 0).to(losses)
            means = (losses * (counted / counted.sum(1, keepdim=True).clamp(min=1))).sum(1)  # (G,)
            of_words, *others = torch.autograd.grad(means.sum(), [embedded, *trained.values()])
        for name, gradient in zip(trained, others, strict=True):
            self._gradients[name].index_copy_(0, slots, gradient)
        self._gradients[EMBEDDING].flatten(0, 1).index_add_(0, words, of_words.flatten(0, 2))
        averages = self._losses[slots] * (1 - NEWEST) + means.detach() * NEWEST
        self._losses.index_copy_(0, slots, averages.to(self._losses))

    @torch.no_grad()
    def _update(self) -> None:
        """Move the weights of all models against their gradients."""
        self._gradients[EMBEDDING][:, self._config.pad_token_id] = 0  # as an embedding's padding has it
        self._adam.step()
        self._gradients[EMBEDDING].zero_()

    @torch.no_grad()
    def probabilities(self, slots: Sequence[int], places: Sequence[Rows]) -> list[NDArray[np.float32]]:
        """The probabilities (n, C) that each slot's model gives to the texts at places (n,), without dropout.

        Its weights are the averages where there are any.
        """
        orders = [np.argsort(self.tokens.lengths[each], kind="stable") for each in places]
        n_texts = max(map(len, places))
        table = np.full((len(slots), n_texts), -1)
        for line, each, order in zip(table, places, orders, strict=True):
            line[n_texts - len(each) :] = each[order]  # the long ones together
        lengths = np.where(table < 0, 0, self.tokens.lengths[table]).max(axis=0)
        there, chosen = torch.from_numpy(table).to(self._device), torch.tensor(slots, device=self._device)
        weights = {name: weight[chosen] for name, weight in self._evaluated.items() if name != EMBEDDING}
        first_words = (chosen * self._weights[EMBEDDING].shape[1])[:, None, None]
        found = []
        for batch in batches_by_length(lengths, max(1, PASS_TEXTS[self._device.type] // len(slots))):
            ids, is_word = self.tokens.batch(there[:, batch[0] : batch[-1] + 1], max(1, int(lengths[batch[-1]])))
            embedded = _embedded(self._evaluated, (ids + first_words).flatten()).view(*ids.shape, -1)
            logits = _logits(weights, self._features(self._config, weights, embedded, is_word))
            found.append(self._task.probabilities(logits.float()))
        values = torch.cat(found, dim=1).cpu().numpy()
        results = [np.empty((len(each), values.shape[2]), values.dtype) for each in places]
        for result, order, value in zip(results, orders, values, strict=True):
            result[order] = value[n_texts - len(order) :]
        return results


def _embedded(weights: Mapping[str, torch.Tensor], words: torch.Tensor) -> torch.Tensor:
    """The embeddings (n, D) of words (n,), numbered through the vocabularies of all models."""
    return weights[EMBEDDING].flatten(0, 1).index_select(0, words)


def _logits(weights: Mapping[str, torch.Tensor], features: torch.Tensor) -> torch.Tensor:
    """Logits (S, B, C) of features (S, B, H), by the last layers of S models."""
    bias, weight = weights["classifier.bias"].unsqueeze(1), weights["classifier.weight"].transpose(1, 2)
    return torch.baddbmm(bias, features, weight)
