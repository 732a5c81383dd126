"""BALD: the texts on which samples of the model disagree (Houlsby et al. 2011), dropout's samples (Gal et al. 2017).

With a text's probabilities p_s (C,) under dropout samples s = 1..S, the acquisition score is the mutual information of
its class and the weights,

    H[mean_s p_s] - mean_s H[p_s],     H[p] = - sum_c p_c log p_c.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from dami_text.data.pool import Pool
from dami_text.inference import BATCH_SIZE, head_of, predict_features
from dami_text.models.mlp import MLPForSequenceClassification
from dami_text.randomness import hashed_noise
from dami_text.strategies.base import Query, highest

BLOCK = 256  # texts whose samples are in memory at a time


@dataclass(frozen=True)
class Bald:
    """The texts of the highest mutual information under `samples` samples of dropout, of rate `dropout` in [0, 1).

    Dropout is applied to the features, what the last layer reads, so the model runs once for all samples. In an MLP it
    is applied after each hidden layer: what comes after the first runs for each sample.
    """

    samples: int = 10
    dropout: float = 0.5
    batch_size: int = BATCH_SIZE

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """The n unlabelled rows of the highest scores; a text's noise depends on `rng` and on the text's own id."""
        seed = int(rng.integers(2**63))
        layers = thinned_layers(model)
        features = predict_features(model, pool.texts, pool.unlabeled, self.batch_size, layer=layers[0])
        keys = pool.texts.keys(pool.unlabeled)
        blocks = [slice(start, start + BLOCK) for start in range(0, len(keys), BLOCK)]
        with torch.no_grad():
            scores = [
                mutual_information(self._probabilities(layers, features[block], keys[block], seed)) for block in blocks
            ]
        return highest(torch.cat(scores).cpu().numpy(), pool, n)

    def _probabilities(
        self, layers: Sequence[nn.Linear], features: NDArray[np.float32], keys: NDArray[np.uint64], seed: int
    ) -> torch.Tensor:
        """Probabilities (B, S, C) under dropout of what each layer reads, the first one features (B, H).

        What is kept is scaled by 1 / (1 - dropout).
        """
        sizes = [layer.in_features for layer in layers]
        noise = hashed_noise(seed, keys, self.samples * sum(sizes)).reshape(len(keys), self.samples, -1)
        kept = torch.from_numpy(noise >= round(self.dropout * 65_536)).to(layers[0].weight) / (1 - self.dropout)
        units = torch.from_numpy(features).to(layers[0].weight).unsqueeze(1)
        for layer, mask in zip(layers, kept.split(sizes, dim=-1), strict=True):
            outputs = layer(units * mask)
            units = torch.relu(outputs)
        return torch.softmax(outputs.float(), dim=-1)


def thinned_layers(model: PreTrainedModel) -> list[nn.Linear]:
    """The layers that read what dropout thins out: the last one; of an MLP all but the first, with ReLUs between."""
    if isinstance(model, MLPForSequenceClassification):
        return [*model.hidden, model.classifier][1:]
    return [head_of(model)]


def mutual_information(probabilities: torch.Tensor) -> torch.Tensor:
    """The mutual information (B,) of probabilities (B, S, C); a probability of 0 adds nothing."""
    p = probabilities.double()
    scores: torch.Tensor = torch.special.entr(p.mean(dim=1)).sum(dim=-1) - torch.special.entr(p).sum(dim=-1).mean(dim=1)
    return scores
