"""EGL: the texts that would change the model most, the expected gradient length (Settles, Craven, Ray 2008).

    sum_c p(c|x) ||d loss(x, c) / d theta||_2

theta are all weights of the model, or those of its last layer alone: there, with features h and e_c = p - onehot(c),
the length is ||e_c|| sqrt(||h||^2 + 1).

Where a text has any number C of labels, the expectation over all 2^C sets of them cannot be computed. So each label is
a problem of two classes, as where texts are ranked label by label (Esuli and Sebastiani 2009, "Active learning
strategies for multi-label text classification"), and the score is the mean of their expected lengths. With logit z_c,
whose loss has the gradients (p_c - 1) dz_c with the label and p_c dz_c without it, that is

    1/C sum_c 2 p_c (1 - p_c) ||dz_c / d theta||_2

C times that bounds the expected length for whole sets from above, by the triangle inequality. It is that length for one
label. The last layer's ||dz_c / d theta|| is sqrt(||h||^2 + 1).
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
from dami_text.models.tasks import task_of
from dami_text.strategies.base import Query, highest
from dami_text.strategies.gradient_lengths import expected_gradient_lengths


@dataclass(frozen=True)
class Egl:
    """The texts of the highest expected gradient length."""

    parameters: Literal["all", "head"] = "all"
    batch_size: int = BATCH_SIZE

    needs: ClassVar[frozenset[str]] = frozenset({"weight gradients"})
    multilabel: ClassVar[bool] = True

    @classmethod
    def of(cls, config: StrategyConfig) -> Self:
        """The strategy as the options say."""
        return cls(config.egl_parameters, config.inference_batch_size)

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """The n unlabelled rows of the highest scores."""
        if self.parameters == "head":
            features = predict_features(model, pool.texts, pool.unlabeled, self.batch_size)
            lengths = head_lengths(head_probabilities(model, features), features, multilabel=task_of(model).multilabel)
            return highest(lengths, pool, n)

        def of_batch(batch: Batch) -> torch.Tensor:
            return expected_gradient_lengths(model, batch)

        return highest(over_batches(of_batch, pool.texts, pool.unlabeled, device_of(model), self.batch_size), pool, n)


def head_lengths(
    probabilities: NDArray[np.float32], features: NDArray[np.float32], *, multilabel: bool = False
) -> NDArray[np.float64]:
    """The scores (N,) of probabilities (N, C) and features (N, H) with theta the last layer's weights and biases."""
    p = probabilities.astype(np.float64)
    squares = np.einsum("nh,nh->n", features, features, dtype=np.float64)
    if multilabel:
        expected = (2 * p * (1 - p)).mean(axis=1)
    else:
        # ||p - onehot(c)||^2 = ||p||^2 - 2 p_c + 1
        errors = np.sqrt(np.maximum((p**2).sum(axis=1, keepdims=True) - 2 * p + 1, 0))
        expected = (p * errors).sum(axis=1)
    return np.asarray(expected * np.sqrt(squares + 1))
