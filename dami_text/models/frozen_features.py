"""What a frozen encoder makes of texts: computed once a run, kept in the cache, and all that its head trains on."""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.config.defaults import BATCH_SIZE
from dami_text.data.batches import Batch
from dami_text.data.cache import cached_array
from dami_text.data.ids import Rows
from dami_text.data.texts import EncodedTexts, FeatureTexts, Texts
from dami_text.models.inference import device_of, evaluation_mode, over_batches
from dami_text.processes import ALONE


def frozen_features(model: PreTrainedModel, texts: EncodedTexts, batch_size: int = BATCH_SIZE) -> FeatureTexts:
    """The features of all texts, as the sentence encoder `model.base_model` pools them.

    They come from the cache where the same encoder has read the same tokens before.
    """
    content = hashlib.sha256(model.config.to_json_string().encode())
    for name, weight in model.base_model.state_dict().items():
        content.update(name.encode())
        content.update(weight.cpu().numpy().tobytes())
    for part in texts.token_id_blocks():
        content.update(part)

    def make() -> NDArray[np.float32]:
        return features_of(model, texts, np.arange(len(texts)), batch_size)

    return FeatureTexts(cached_array("features", content.hexdigest()[:32], make))


def features_of(model: PreTrainedModel, texts: Texts, rows: Rows, batch_size: int = BATCH_SIZE) -> NDArray[np.float32]:
    """The features (n, H) of the texts at `rows` (n,), as the sentence encoder `model.base_model` pools them.

    This process computes them alone; others find what is cached.
    """

    def read(batch: Batch) -> torch.Tensor:
        features: torch.Tensor = model.base_model(**batch.inputs).pooler_output
        return features.float()

    with evaluation_mode(model), torch.no_grad():
        return over_batches(read, texts, rows, device=device_of(model), batch_size=batch_size, processes=ALONE)
