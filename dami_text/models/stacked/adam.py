"""Adam and AdamW for a stack of models, each with its own number of steps.

It is torch's own fused optimizer, to which each model's part of the stacked weights is a weight of its own: one kernel
updates all of them, and counts each one's steps.
"""

from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch

from dami_text.config.options import TrainingConfig
from dami_text.models.recording import take_step


class StackedAdam:
    """The optimizer of stacked weights (S, ...)."""

    def __init__(
        self, weights: Mapping[str, torch.Tensor], gradients: Mapping[str, torch.Tensor], config: TrainingConfig
    ) -> None:
        """An optimizer of `weights`, by name, that reads `gradients` where they are."""
        device = next(iter(weights.values())).device
        n_models, on_card = len(next(iter(weights.values()))), device.type == "cuda"
        self._parts: list[list[torch.Tensor]] = [[] for _ in range(n_models)]
        for name, weight in weights.items():
            for parts, part, gradient in zip(self._parts, weight.detach(), gradients[name], strict=True):
                part.grad = gradient
                parts.append(part)
        self._rate, self._warmup = config.learning_rate, config.warmup_steps
        # A card's kernel reads single precision.
        self._rates = torch.full((n_models,), self._rate, device=device, dtype=None if on_card else torch.float64)
        together: list[dict[str, Any]] = [{"params": list(chain(*self._parts)), "lr": self._rates[0]}]
        apart = [{"params": part, "lr": rate} for part, rate in zip(self._parts, self._rates, strict=True)]
        self._optimizer = (torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam)(
            together if self._warmup <= 1 else apart, weight_decay=config.weight_decay, fused=True, capturable=on_card
        )

    def begin(self, slot: int) -> None:
        """Forget what was learned of the model in a slot, for a new one."""
        for part in self._parts[slot]:
            if part in self._optimizer.state:
                for value in self._optimizer.state[part].values():
                    value.zero_()

    def warm_up(self, taken: Mapping[int, int]) -> None:
        """Set the learning rates of the models in these slots, which have taken so many steps."""
        if self._warmup <= 1:
            return
        rates = torch.full(self._rates.shape, self._rate, dtype=self._rates.dtype)
        for slot, steps in taken.items():
            rates[slot] = self._rate * min(1.0, (steps + 1) / self._warmup)
        self._rates.copy_(rates, non_blocking=True)

    def step(self) -> None:
        """Take a step of all models."""
        take_step(self._optimizer)
