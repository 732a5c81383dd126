"""BALD: the texts on which samples of the model disagree (Houlsby et al. 2011), dropout's samples (Gal et al. 2017).

With a text's probabilities p_s (C,) under dropout samples s = 1..S, the acquisition score is the mutual information of
its class and the weights,

    H[mean_s p_s] - mean_s H[p_s],     H[p] = - sum_c p_c log p_c.

Where a text has any number of labels, it is the mean over the labels of the mutual information of each with the
weights: of two classes, with p and 1 - p. Their sum bounds that of all labels together from above, for given weights
leave labels independent.

The samples are of the dropout that the model was trained with, at its own rate and in its own places: with any other
they are no samples of what the model has learned. Most decoders and all heads of frozen encoders were trained without.
There, what the last layer reads is thinned out: the samples say how much the decision hangs on single features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from dami_text.config.defaults import BALD_HEAD_DROPOUT, BALD_SAMPLES, BATCH_SIZE
from dami_text.config.options import StrategyConfig
from dami_text.data.batches import Batch, FeatureBatch
from dami_text.data.pool import Pool
from dami_text.errors import ConfigError
from dami_text.models.inference import (
    device_of,
    dropout_mode,
    from_features,
    has_dropout,
    head_logits,
    over_batches,
    predict_features,
    predict_logits,
)
from dami_text.models.last_layer import head_of
from dami_text.models.mlp import MLPForSequenceClassification
from dami_text.models.precision import asked_precision
from dami_text.models.tasks import Task, task_of
from dami_text.models.word_level import WordLevelForSequenceClassification
from dami_text.randomness import hashed_noise, torch_stream
from dami_text.strategies.base import Query, highest

BLOCK = 256  # texts whose samples are in memory at a time


@dataclass(frozen=True)
class Bald:
    """The texts of the highest mutual information under `samples` samples of the model's dropout.

    Of a CNN, a BiLSTM and an MLP, and of an encoder or a decoder without dropout, what dropout leaves alone is computed
    once for all samples, and a text's noise depends on the text itself. Any other model runs once for each sample, and
    noise depends on the batch.

    Attributes:
        head_dropout: the rate for the input of the last layer of encoders and decoders that have none of their own.

    Raises:
        ConfigError: a CNN, a BiLSTM or an MLP has no dropout.
    """

    samples: int = BALD_SAMPLES
    batch_size: int = BATCH_SIZE
    head_dropout: float = BALD_HEAD_DROPOUT

    needs: ClassVar[frozenset[str]] = frozenset({"dropout"})
    multilabel: ClassVar[bool] = True

    @classmethod
    def of(cls, config: StrategyConfig) -> Self:
        """The strategy as the options say."""
        return cls(config.bald_samples, config.inference_batch_size, config.bald_head_dropout)

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """The n unlabelled rows of the highest scores."""
        seed = int(rng.integers(2**63))
        if isinstance(model, WordLevelForSequenceClassification | MLPForSequenceClassification):
            check_dropout(model)
            layers, rate = thinned_layers(model), float(model.dropout.p)
        elif has_dropout(from_features(model, pool.texts)[0]):
            return highest(self._scores_by_passes(model, pool, seed), pool, n)
        else:
            layers, rate = [head_of(model)], self.head_dropout
        return highest(self._scores_by_layers(model, pool, seed, layers, rate=rate), pool, n)

    def _scores_by_layers(
        self, model: PreTrainedModel, pool: Pool, seed: int, layers: Sequence[nn.Linear], *, rate: float
    ) -> NDArray[np.float64]:
        """The scores (n,) of the unlabelled texts, from the features that dropout thins out first.

        `layers` are those that read what is thinned out, the last one among them.
        """
        features = predict_features(model, pool.texts, pool.unlabeled, self.batch_size, layer=layers[0])
        rest = self._rest_of_logits(model, pool, features)
        keys = pool.texts.keys(pool.unlabeled)
        blocks, task = [slice(start, start + BLOCK) for start in range(0, len(keys), BLOCK)], task_of(model)
        with torch.no_grad():
            scores = [
                disagreement(task, self._logits(layers, rate, features[b], keys[b], seed, rest=rest[b])) for b in blocks
            ]
        return np.concatenate([part.numpy() for part in scores])

    def _rest_of_logits(self, model: PreTrainedModel, pool: Pool, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the logits of the unlabelled texts have beside the last layer's (n, C or 1): the weights of tokens."""
        if getattr(model, "lexicon", None) is None:
            return np.zeros((len(features), 1), np.float32)
        logits = predict_logits(model, pool.texts, pool.unlabeled, self.batch_size)
        return logits - head_logits(model, features)

    def _logits(
        self,
        layers: Sequence[nn.Linear],
        rate: float,
        features: NDArray[np.float32],
        keys: NDArray[np.uint64],
        seed: int,
        *,
        rest: NDArray[np.float32],
    ) -> torch.Tensor:
        """Logits (B, S, C) under dropout of what each layer reads, the first one features (B, H).

        What is kept is scaled by 1 / (1 - rate). `rest` (B, C or 1) is added.
        """
        sizes = [layer.in_features for layer in layers]
        noise = hashed_noise(seed, keys, self.samples * sum(sizes)).reshape(len(keys), self.samples, -1)
        kept = torch.from_numpy(noise >= round(rate * 65_536)).to(layers[0].weight) / (1 - rate)
        units = torch.from_numpy(features).to(layers[0].weight).unsqueeze(1)
        for layer, mask in zip(layers, kept.split(sizes, dim=-1), strict=True):
            outputs = layer(units * mask)
            units = torch.relu(outputs)
        logits: torch.Tensor = outputs.float() + torch.from_numpy(rest).to(outputs.device).unsqueeze(1)
        return logits

    def _scores_by_passes(self, model: PreTrainedModel, pool: Pool, seed: int) -> NDArray[np.float64]:
        """The scores (n,) of the unlabelled texts, from as many passes as samples."""
        reader, source = from_features(model, pool.texts)
        task = task_of(model)

        def scores(batch: Batch | FeatureBatch) -> torch.Tensor:
            inputs = next(iter(batch.inputs.values()))
            with torch_stream(seed, crc32(inputs.cpu().numpy().tobytes()), "dropout"):
                passes = [reader(**batch.inputs).logits.float() for _ in range(self.samples)]
            return disagreement(task, torch.stack(passes, dim=1))

        with dropout_mode(reader), torch.no_grad(), asked_precision(reader, source):
            # A batch's noise depends on which texts are in it, and so must not depend on what memory is free.
            device, size = device_of(reader), self.batch_size
            return over_batches(scores, source, pool.unlabeled, device, size, is_measured=False)


def thinned_layers(model: WordLevelForSequenceClassification | MLPForSequenceClassification) -> list[nn.Linear]:
    """The layers that read what dropout thins out: the last one; of an MLP all but the first, with ReLUs between."""
    if isinstance(model, MLPForSequenceClassification):
        return [*model.hidden, model.classifier][1:]
    return [model.classifier]


def check_dropout(model: PreTrainedModel) -> None:
    """Raise ConfigError if the model has no dropout, whose samples BALD compares."""
    if not has_dropout(model):
        raise ConfigError(
            f"--strategy bald compares samples of the model's dropout, and {type(model).__name__} has none; "
            "choose another model, or another strategy"
        )


def disagreement(task: Task, logits: torch.Tensor) -> torch.Tensor:
    """The scores (B,) of logits (B, S, C) of S samples."""
    p = task.probabilities(logits)
    if not task.multilabel:
        return mutual_information(p)
    of_two = torch.stack([p, 1 - p], dim=-1)  # (B, S, C, 2)
    each = mutual_information(of_two.transpose(1, 2).flatten(0, 1))
    return each.reshape(len(p), -1).mean(dim=1)


def mutual_information(probabilities: torch.Tensor) -> torch.Tensor:
    """The mutual information (B,) of probabilities (B, S, C); a probability of 0 adds nothing."""
    p = probabilities.cpu().double()
    scores: torch.Tensor = torch.special.entr(p.mean(dim=1)).sum(dim=-1) - torch.special.entr(p).sum(dim=-1).mean(dim=1)
    return scores
