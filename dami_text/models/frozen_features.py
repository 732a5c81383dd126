"""What a frozen encoder makes of texts: computed once a run, kept in the cache, and all that its head trains on."""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.config.defaults import BATCH_SIZE
from dami_text.data.batches import Batch, FeatureBatch
from dami_text.data.cache import cached_array
from dami_text.data.texts import EncodedTexts, FeatureTexts
from dami_text.errors import ConfigError
from dami_text.models.encoder import head_alone
from dami_text.models.inference import device_of, evaluation_mode, over_batches
from dami_text.processes import ALONE


def frozen_features(model: PreTrainedModel, texts: EncodedTexts, batch_size: int = BATCH_SIZE) -> FeatureTexts:
    """The features of all texts; from the cache where the same encoder has read the same tokens before.

    They are what the encoder pools of a text, or the state of its first token where it pools nothing.

    Raises:
        ConfigError: the model's head reads something else.
    """
    content = hashlib.sha256(model.config.to_json_string().encode())
    for name, weight in model.base_model.state_dict().items():
        content.update(name.encode())
        content.update(weight.cpu().numpy().tobytes())
    for part in texts.token_id_blocks():
        content.update(part)

    def read(batch: Batch) -> torch.Tensor:
        output = model.base_model(**batch.inputs)
        pooled = getattr(output, "pooler_output", None)
        features: torch.Tensor = output.last_hidden_state[:, 0] if pooled is None else pooled
        return features.float()

    def make() -> NDArray[np.float32]:
        rows, device = np.arange(len(texts)), device_of(model)
        with evaluation_mode(model), torch.no_grad():
            few = texts.collate(rows[:4]).to(device)
            _check_head(model, few, read(few))
            # One process computes them, the others find them in the cache.
            return over_batches(read, texts, rows, device=device, batch_size=batch_size, processes=ALONE)

    return FeatureTexts(cached_array("features", content.hexdigest()[:32], make))


def _check_head(model: PreTrainedModel, batch: Batch, features: torch.Tensor) -> None:
    """Raise ConfigError unless the head alone gives from the features what the model gives from the tokens."""
    expected, found = model(**batch.inputs).logits, head_alone(model)(**FeatureBatch(features).inputs).logits
    if found.shape != expected.shape or not torch.allclose(found, expected, rtol=1e-4, atol=1e-4):
        raise ConfigError(
            f"--freeze-encoder: the head of {type(model).__name__} reads more of its encoder than one vector a text; "
            "leave it out, or choose another model"
        )
