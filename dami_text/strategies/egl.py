"""EGL: the texts that would change the model most, the expected gradient length (Settles, Craven, Ray 2008).

    sum_c p(c|x) ||d loss(x, c) / d theta||_2

theta are all weights of the model, or those of its last layer alone: there, with features h and e_c = p - onehot(c),
the length is ||e_c|| sqrt(||h||^2 + 1).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.config.defaults import BATCH_SIZE
from dami_text.config.options import StrategyConfig
from dami_text.data.batches import Batch
from dami_text.data.pool import Pool
from dami_text.models.inference import device_of, head_probabilities, over_batches, predict_features
from dami_text.strategies.base import Query, highest
from dami_text.strategies.gradient_lengths import expected_gradient_lengths


@dataclass(frozen=True)
class Egl:
    """The texts of the highest expected gradient length."""

    parameters: Literal["all", "head"] = "all"
    batch_size: int = BATCH_SIZE

    needs: ClassVar[frozenset[str]] = frozenset({"weight gradients"})

    @classmethod
    def of(cls, config: StrategyConfig) -> Self:
        """The strategy as the options say."""
        return cls(config.egl_parameters, config.inference_batch_size)

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """The n unlabelled rows of the highest scores."""
        if self.parameters == "head":
            features = predict_features(model, pool.texts, pool.unlabeled, self.batch_size)
            return highest(head_lengths(head_probabilities(model, features), features), pool, n)

        def lengths(batch: Batch) -> torch.Tensor:
            return expected_gradient_lengths(model, batch)

        return highest(over_batches(lengths, pool.texts, pool.unlabeled, device_of(model), self.batch_size), pool, n)


def head_lengths(probabilities: NDArray[np.float32], features: NDArray[np.float32]) -> NDArray[np.float64]:
    """The scores (N,) of probabilities (N, C) and features (N, H) with theta the last layer's weights and biases."""
    p = probabilities.astype(np.float64)
    # ||p - onehot(c)||^2 = ||p||^2 - 2 p_c + 1
    errors = np.sqrt(np.maximum((p**2).sum(axis=1, keepdims=True) - 2 * p + 1, 0))
    squares = np.einsum("nh,nh->n", features, features, dtype=np.float64)
    return np.asarray((p * errors).sum(axis=1) * np.sqrt(squares + 1))
