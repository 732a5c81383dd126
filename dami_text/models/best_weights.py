"""The weights of the best evaluation of a training so far."""

import torch
from transformers import PreTrainedModel

from dami_text.models.shared_weights import own_weights


class BestWeights:
    """A copy of a model's weights, to return to."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._weights: dict[str, torch.Tensor] = {}

    def keep(self) -> None:
        """Keep the weights that the model has now."""
        self._weights = {name: weight.clone() for name, weight in own_weights(self._model).items()}

    def restore(self) -> None:
        """Give the model the weights that were kept, if any."""
        if self._weights:
            self._model.load_state_dict(self._weights, strict=False)
