"""The moving average of the weights that a model has at its evaluations, which is steadier than those of any step.

Source: Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging", whose mean is of all steps. A
moving average forgets the first ones, and weights between two evaluations differ little.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel

from dami_text.models.used_rows import UsedRows, in_place


class AveragedWeights:
    """The average of the weights that a model has had."""

    def __init__(self, model: PreTrainedModel, rows: UsedRows | None = None) -> None:
        """Of a model, all of it, or with these rows in place of its embedding, of which no others are trained.

        What else training moves is averaged, too: the means and variances of a batch normalization.
        """
        self._model, self._rows = model, rows
        with in_place(model, rows):
            self._weights: list[torch.Tensor] = [weight for weight in model.parameters() if weight.requires_grad]
            self._weights += [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        self._average: list[torch.Tensor] = []

    @torch.no_grad()
    def add(self, share: float) -> None:
        """Have the weights of now make up this share of the average; 1 for the first ones."""
        if share == 1:
            self._average = [weight.clone() for weight in self._weights]
        else:
            torch._foreach_lerp_(self._average, self._weights, share)

    @contextmanager
    def as_weights(self) -> Iterator[None]:
        """A context in which the model has the average for its weights."""
        own = [weight.detach().clone() for weight in self._weights]
        try:
            self._give(self._average)
            yield
        finally:
            self._give(own)

    @torch.no_grad()
    def _give(self, weights: list[torch.Tensor]) -> None:
        with in_place(self._model, self._rows):
            torch._foreach_copy_(self._weights, weights)
