"""What a classifier's logits (N, C) say: which one class a text has, or of each label whether the text has it.

A model's configuration says which of the two, as transformers has it (`problem_type`). Labels are numbers (N,) of
classes, or 0 and 1 for each label (N, C). All that depends on the one or the other is here, but for the metrics (see
`evaluation`) and the regression (see `one_vs_rest`).
"""

from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import PreTrainedModel

from dami_text.data.labels import label_counts
from dami_text.models.word_level import MULTILABEL

Labels = NDArray[np.int64]

Reduction = Literal["none", "sum"]

#: Probabilities that are 0 are taken for this.
LEAST = 1e-12


class Task(Protocol):
    """One of the two tasks.

    Attributes:
        multilabel: whether a text has any number of labels.
    """

    multilabel: bool

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """The probabilities (N, C) of the classes, or of each label."""

    def predicted(self, probabilities: NDArray[np.float32]) -> Labels:
        """The labels, as an array of labels is, that these probabilities (N, C) predict."""

    def loss(
        self, logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, *, reduction: Reduction
    ) -> torch.Tensor:
        """The loss of each text (N,), weighted by what `weights` gives, or their sum; of half precision in single."""

    def stacked_losses(self, logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """The losses (S, B) of S models' texts, of logits (S, B, C), each model with weights of its own (S, ...)."""

    def weights(self, labels: Labels, n_classes: int, *, balanced: bool) -> torch.Tensor:
        """The weights of a training's loss: 1, or so that rare classes count as much as others."""

    def guess_loss(self, labels: Labels, weights: NDArray[np.float32]) -> float:
        """The lowest mean loss that the same probabilities for all texts can have."""

    def surprise(self, probabilities: NDArray[np.float32], labels: Labels) -> float:
        """The mean loss of probabilities (N, C), unweighted."""


class OneClass:
    """A text has one class: softmax and cross-entropy. Weights are (C,)."""

    multilabel = False

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """The softmax."""
        return torch.softmax(logits, dim=-1)

    def predicted(self, probabilities: NDArray[np.float32]) -> Labels:
        """The most probable class (N,)."""
        return np.asarray(probabilities.argmax(axis=1))

    def loss(
        self, logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, *, reduction: Reduction
    ) -> torch.Tensor:
        """The cross-entropy."""
        logits = _at_least_single(logits)
        return functional.cross_entropy(logits, labels, weights.to(logits), reduction=reduction)

    def stacked_losses(self, logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """The cross-entropies; labels are (S, B)."""
        losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        return losses.view_as(labels) * weights.to(losses).gather(1, labels)

    def weights(self, labels: Labels, n_classes: int, *, balanced: bool) -> torch.Tensor:
        """Of each class 1, or n / (number of classes present * count) where they are balanced; 0 for none."""
        counts = label_counts(labels, n_classes)
        if not balanced:
            return torch.ones(n_classes)
        found = np.where(counts > 0, counts.sum() / ((counts > 0).sum() * np.maximum(counts, 1)), 0.0)
        return torch.tensor(found, dtype=torch.float32)

    def guess_loss(self, labels: Labels, weights: NDArray[np.float32]) -> float:
        """The entropy of the classes' weighted shares, times the mean weight."""
        found = np.bincount(labels, weights[labels], len(weights))
        found = found[found > 0]
        return float(-(found * np.log(found / found.sum())).sum() / len(labels))

    def surprise(self, probabilities: NDArray[np.float32], labels: Labels) -> float:
        """The mean of -log of the probability of the class."""
        return float(-np.log(probabilities[np.arange(len(labels)), labels] + LEAST).mean())


class AnyLabels:
    """A text has any number of labels: a sigmoid for each, and the mean over labels of their binary cross-entropies.

    Weights are (2, C): of texts without and with the label.
    """

    multilabel = True

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """The sigmoids."""
        return torch.sigmoid(logits)

    def predicted(self, probabilities: NDArray[np.float32]) -> Labels:
        """1 for each label (N, C) that is more probable than not."""
        return (probabilities > 0.5).astype(np.int64)

    def loss(
        self, logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, *, reduction: Reduction
    ) -> torch.Tensor:
        """The mean of the labels' binary cross-entropies."""
        logits = _at_least_single(logits)
        weight = torch.where(labels > 0, weights[1], weights[0])
        found = functional.binary_cross_entropy_with_logits(logits, labels.to(logits), weight, reduction="none")
        losses = found.mean(dim=1)
        return losses if reduction == "none" else losses.sum()

    def stacked_losses(self, logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """The means of the labels' binary cross-entropies; labels are (S, B, C)."""
        weight = torch.where(labels > 0, weights[:, 1, None], weights[:, 0, None])
        found = functional.binary_cross_entropy_with_logits(logits, labels.to(logits), weight, reduction="none")
        return found.mean(dim=2)

    def weights(self, labels: Labels, n_classes: int, *, balanced: bool) -> torch.Tensor:
        """1, or where they are balanced n / (2 * count) of the texts with the label, and of those without it."""
        found = np.ones((2, n_classes))
        if balanced:
            counts = np.stack([len(labels) - labels.sum(axis=0), labels.sum(axis=0)])
            both = (counts > 0).all(axis=0)
            found[:, both] = len(labels) / (2 * counts[:, both])
        return torch.tensor(found, dtype=torch.float32)

    def guess_loss(self, labels: Labels, weights: NDArray[np.float32]) -> float:
        """The mean over labels of the entropy of having it or not, by weighted shares, times the mean weight."""
        counts = np.stack([len(labels) - labels.sum(axis=0), labels.sum(axis=0)]) * weights  # (2, C)
        shares = counts / counts.sum(axis=0)
        return float(-(counts * np.log(np.where(counts > 0, shares, 1))).sum() / labels.size)

    def surprise(self, probabilities: NDArray[np.float32], labels: Labels) -> float:
        """The mean over texts and labels of -log of the probability of what is so."""
        right = np.where(labels == 1, probabilities, 1 - probabilities)
        return float(-np.log(right + LEAST).mean())


def _at_least_single(values: torch.Tensor) -> torch.Tensor:
    """The values in single precision where they are in half, which a loss would lose too much of."""
    return values if values.dtype == torch.float64 else values.float()


ONE_CLASS, ANY_LABELS = OneClass(), AnyLabels()


def task_of(model: PreTrainedModel) -> Task:
    """What the model's logits say."""
    return ANY_LABELS if getattr(model.config, "problem_type", None) == MULTILABEL else ONE_CLASS
