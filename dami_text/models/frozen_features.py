"""What a frozen encoder makes of texts: computed once, kept in the cache, and all that its head trains on."""

import hashlib
import json
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.config.defaults import BATCH_SIZE
from dami_text.data.batches import Batch, batches_by_length
from dami_text.data.cache import StoredRows, cached_rows
from dami_text.data.ids import Rows
from dami_text.data.texts import EncodedTexts, Texts
from dami_text.models.inference import device_of, evaluation_mode, over_batches
from dami_text.processes import ALONE

#: Tokens, padded, of the texts that are read before what they became is kept: some seconds for a small encoder.
PART = 16_384

#: Options of a classifier's configuration that decide nothing about the features.
OF_HEAD = ("id2label", "label2id", "problem_type", "regions", "lexicon")


def frozen_features(model: PreTrainedModel, texts: EncodedTexts, batch_size: int = BATCH_SIZE) -> StoredRows:
    """The features (N, H) of all texts, as the sentence encoder `model.base_model` pools them.

    They come from the cache where the same encoder has read the same texts before, in whatever order: copies are read
    once, and the others in the order of their hashes, so that all splits of a data set have the same features.
    """
    config = json.loads(model.config.to_json_string())
    of_encoder = {name: value for name, value in config.items() if name not in OF_HEAD}
    content = hashlib.sha256(json.dumps(of_encoder, sort_keys=True).encode())
    for name, weight in model.base_model.state_dict().items():
        content.update(name.encode())
        content.update(weight.cpu().numpy().tobytes())
    digests = [hashlib.blake2b(texts.token_ids(row).tobytes(), digest_size=16).digest() for row in range(len(texts))]
    row_of = dict(zip(reversed(digests), reversed(range(len(texts))), strict=True))
    distinct = sorted(row_of)
    for digest in distinct:
        content.update(digest)
    rows = np.array([row_of[digest] for digest in distinct], np.int64)
    parts = list(_parts(texts.lengths[rows], batch_size))
    work = [float(texts.lengths[rows[part]].sum() + len(part)) for part in parts]

    def make(part: Rows) -> NDArray[np.float32]:
        return features_of(model, texts, rows[part], batch_size)

    number_of = {digest: i for i, digest in enumerate(distinct)}
    stored = cached_rows("features", content.hexdigest()[:32], parts, work, make)
    return StoredRows(stored, np.array([number_of[digest] for digest in digests], np.int64))


def _parts(lengths: NDArray[np.int64], batch_size: int) -> Iterator[Rows]:
    """The places of texts of `lengths` (N,) in parts that are whole batches of `features_of` all of them.

    So each part is computed as if all were.
    """
    part: list[Rows] = []
    for batch in batches_by_length(lengths, batch_size):
        part.append(batch)
        if sum(len(places) * int(lengths[places].max()) for places in part) >= PART:
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
