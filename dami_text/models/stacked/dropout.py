"""Dropout in a stack of models: each model's masks come from a generator of its own."""

from collections.abc import Mapping

import torch

from dami_text.randomness import TorchState

#: Steps whose masks are drawn at once on a card, which would wait for the launch of each model's draw otherwise.
AHEAD = 32


class Dropout:
    """The masks of the features of S models' batches.

    On a CPU each mask is the one that `nn.Dropout` would draw for the model alone. On a card it is as random, and
    depends on the model's stream alone, but it is another one.

    Attributes:
        masks: (S, B, H), 1 / (1 - rate) for what stays and 0 for what goes; they stay where they are in memory.
    """

    def __init__(self, rate: float, masks: torch.Tensor, ahead: int | None = None) -> None:
        """Dropout of `rate` into `masks`; `ahead` steps at once, by default one on a CPU and AHEAD on a card."""
        self.masks, self._keep = masks, 1 - rate
        n_models, *shape = masks.shape
        self._ahead = ahead or (1 if masks.device.type == "cpu" else AHEAD)
        self._generators: dict[int, torch.Generator] = {}
        self._taken = [0] * n_models
        self._firsts = self._ahead * torch.arange(n_models)
        stored = (n_models, self._ahead, *shape) if self._ahead > 1 else 0
        self._drawn = torch.zeros(stored, dtype=torch.uint8, device=masks.device)

    def begin(self, slot: int, state: TorchState) -> None:
        """Draw from there for the model in a slot."""
        self._generators[slot], self._taken[slot] = state.generator(self.masks.device), 0

    def draw(self, n_texts: Mapping[int, int]) -> None:
        """Set the masks of the next step, of the models in these slots, whose batches have so many texts."""
        if self._ahead == 1:
            for slot, n in n_texts.items():
                self.masks[slot, :n].bernoulli_(self._keep, generator=self._generators[slot]).div_(self._keep)
            return
        steps = torch.zeros_like(self._firsts)
        for slot in n_texts:
            step = self._taken[slot] % self._ahead
            if step == 0:
                self._drawn[slot].bernoulli_(self._keep, generator=self._generators[slot])
            steps[slot], self._taken[slot] = step, self._taken[slot] + 1
        places = (self._firsts + steps).to(self.masks.device, non_blocking=True)
        torch.div(self._drawn.flatten(0, 1).index_select(0, places), self._keep, out=self.masks)
