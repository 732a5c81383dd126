"""BALD: the texts on which samples of the model disagree (Houlsby et al. 2011), dropout's samples (Gal et al. 2017).

With a text's probabilities p_s (C,) under dropout samples s = 1..S, the acquisition score is the mutual information of
its class and the weights,

    H[mean_s p_s] - mean_s H[p_s],     H[p] = - sum_c p_c log p_c.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from dami_text.data.pool import Pool
from dami_text.inference import BATCH_SIZE, head_of, predict_features
from dami_text.randomness import hashed_noise
from dami_text.strategies.base import Query, highest

BLOCK = 256  # texts whose samples are in memory at a time


@dataclass(frozen=True)
class Bald:
    """The texts of the highest mutual information under `samples` samples of dropout, of rate `dropout` in [0, 1).

    Dropout is applied to the features, what the last layer reads, so the model runs once for all samples.
    """

    samples: int = 10
    dropout: float = 0.5
    batch_size: int = BATCH_SIZE

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """The n unlabelled rows of the highest scores; a text's noise depends on `rng` and on the text's own id."""
        seed = int(rng.integers(2**63))
        features = predict_features(model, pool.texts, pool.unlabeled, self.batch_size)
        keys = pool.texts.keys(pool.unlabeled)
        blocks = [slice(start, start + BLOCK) for start in range(0, len(keys), BLOCK)]
        with torch.no_grad():
            scores = [
                mutual_information(self._probabilities(head_of(model), features[block], keys[block], seed))
                for block in blocks
            ]
        return highest(torch.cat(scores).cpu().numpy(), pool, n)

    def _probabilities(
        self, head: nn.Linear, features: NDArray[np.float32], keys: NDArray[np.uint64], seed: int
    ) -> torch.Tensor:
        """Probabilities (B, S, C) under dropout of features (B, H); kept ones are scaled by 1 / (1 - dropout)."""
        n, size = features.shape
        noise = hashed_noise(seed, keys, self.samples * size).reshape(n, self.samples, size)
        kept = np.where(noise >= round(self.dropout * 65_536), features[:, None] / np.float32(1 - self.dropout), 0)
        return torch.softmax(head(torch.from_numpy(kept).to(head.weight)).float(), dim=-1)


def mutual_information(probabilities: torch.Tensor) -> torch.Tensor:
    """The mutual information (B,) of probabilities (B, S, C); a probability of 0 adds nothing."""
    p = probabilities.double()
    scores: torch.Tensor = torch.special.entr(p.mean(dim=1)).sum(dim=-1) - torch.special.entr(p).sum(dim=-1).mean(dim=1)
    return scores
