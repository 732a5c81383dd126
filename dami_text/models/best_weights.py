"""The best weights of a training so far, by a validation split."""

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.models.evaluation import Scorer
from dami_text.models.shared_weights import own_weights
from dami_text.models.tasks import task_of


class BestWeights:
    """The model's best weights so far: by the validation metric and, where that is equal, by the lower loss."""

    def __init__(self, model: PreTrainedModel, score: Scorer) -> None:
        self.model, self._score = model, score
        self.score: float | None = None
        self.rank = (-np.inf, -np.inf)  # a metric of one's own may be no number where a class is missing: the lowest
        self.lowest_loss = np.inf
        self.age = 0
        self.weights: dict[str, torch.Tensor] = {}

    def offer(self, probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        """Keep the model's weights if its validation probabilities (n, C) are the best so far."""
        score = self._score(probabilities, labels)
        loss = task_of(self.model).surprise(probabilities, labels)
        # A model that learns slowly shows it in the loss long before the metric moves.
        self.age = 0 if loss < self.lowest_loss else self.age + 1
        self.lowest_loss = min(loss, self.lowest_loss)
        rank = (-np.inf if np.isnan(score) else score, -loss)
        if self.score is None or rank > self.rank:
            self.score, self.rank, self.age = score, rank, 0
            self.weights = {name: weight.clone() for name, weight in own_weights(self.model).items()}

    def restore(self) -> None:
        """Give the model the weights that were kept, if any."""
        if self.weights:
            self.model.load_state_dict(self.weights, strict=False)
