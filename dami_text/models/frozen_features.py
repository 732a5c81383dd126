"""What a frozen encoder makes of texts: computed once a run, kept in the cache, and all that its head trains on."""

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.config.defaults import BATCH_SIZE
from dami_text.data.batches import Batch, batches_by_length
from dami_text.data.cache import cached_rows
from dami_text.data.ids import Rows
from dami_text.data.texts import EncodedTexts, FeatureTexts, Texts
from dami_text.models.inference import device_of, evaluation_mode, over_batches
from dami_text.processes import ALONE

#: Tokens, padded, of the texts that are read before what they became is kept: some seconds for a small encoder.
PART = 16_384


def frozen_features(model: PreTrainedModel, texts: EncodedTexts, batch_size: int = BATCH_SIZE) -> FeatureTexts:
    """The features of all texts, as the sentence encoder `model.base_model` pools them.

    They come from the cache where the same encoder has read the same tokens before, all of them or a part.
    """
    content = hashlib.sha256(model.config.to_json_string().encode())
    for name, weight in model.base_model.state_dict().items():
        content.update(name.encode())
        content.update(weight.cpu().numpy().tobytes())
    for part in texts.token_id_blocks():
        content.update(part)

    parts = list(_parts(texts, batch_size))
    work = [float(texts.lengths[rows].sum() + len(rows)) for rows in parts]

    def make(rows: Rows) -> NDArray[np.float32]:
        return features_of(model, texts, rows, batch_size)

    return FeatureTexts(cached_rows("features", content.hexdigest()[:32], parts, work, make))


def _parts(texts: EncodedTexts, batch_size: int) -> Iterator[Rows]:
    """All rows in parts that are whole batches of `features_of` all texts, which so gives the same of each part."""
    part: list[Rows] = []
    for batch in batches_by_length(texts.lengths, batch_size):
        part.append(batch)
        if sum(len(rows) * int(texts.lengths[rows].max()) for rows in part) >= PART:
            yield np.concatenate(part)
            part = []
    if part:
        yield np.concatenate(part)


def features_of(model: PreTrainedModel, texts: Texts, rows: Rows, batch_size: int = BATCH_SIZE) -> NDArray[np.float32]:
    """The features (n, H) of the texts at `rows` (n,), as the sentence encoder `model.base_model` pools them.

    This process computes them alone; others find what is cached.
    """

    def read(batch: Batch) -> torch.Tensor:
        features: torch.Tensor = model.base_model(**batch.inputs).pooler_output
        return features.float()

    with evaluation_mode(model), torch.no_grad():
        return over_batches(read, texts, rows, device=device_of(model), batch_size=batch_size, processes=ALONE)
