"""What a frozen encoder makes of texts: computed once, kept in the cache, and all that its head trains on."""

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import nullcontext

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
from dami_text.models.precision import half_precision
from dami_text.processes import ALONE, HALVES

logger = logging.getLogger(__name__)

#: Tokens, padded, of the texts that are read before what they became is kept: some seconds for a small encoder.
PART = 16_384

#: Texts whose features in half precision are compared with those in float32, and the largest change of a feature, as
#: a share of the text's largest one.
COMPARED, TOLERATED = 64, 1e-2

#: Options of a classifier's configuration that decide nothing about the features.
OF_HEAD = ("id2label", "label2id", "problem_type", "regions", "lexicon")


def frozen_features(
    model: PreTrainedModel, texts: EncodedTexts, batch_size: int = BATCH_SIZE, *, precision: str = "no"
) -> StoredRows:
    """The features (N, H) of all texts, as the sentence encoder `model.base_model` pools them.

    They come from the cache where the same encoder has read the same texts before, in whatever order: copies are read
    once, and the others in the order of their hashes, so that all splits of a data set have the same features.

    With `precision` bf16 or fp16 they are computed in half precision, if that changes those of a sample of the texts by
    little (see `checked_half`).
    """
    half = checked_half(model, texts, precision)
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
    if half is not None:
        content.update(str(half).encode())
    rows = np.array([row_of[digest] for digest in distinct], np.int64)
    parts = list(_parts(texts.lengths[rows], batch_size))
    work = [float(texts.lengths[rows[part]].sum() + len(part)) for part in parts]

    def make(part: Rows) -> NDArray[np.float32]:
        return features_of(model, texts, rows[part], batch_size, half=half)

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


def checked_half(model: PreTrainedModel, texts: EncodedTexts, precision: str) -> torch.dtype | None:
    """The type of half precision that is asked for; None where none is, or it would change a feature too much.

    That is by more than `TOLERATED` times the largest of its text. Texts of all lengths are compared with float32.
    """
    half = HALVES.get(precision)
    if half is None or not len(texts):
        return None
    order = np.argsort(texts.lengths, kind="stable")
    rows = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), COMPARED)).astype(np.int64))]
    full, found = (features_of(model, texts, rows, half=each) for each in (None, half))
    largest = np.abs(full).max(axis=1, initial=np.finfo(np.float32).tiny, keepdims=True)
    change = float((np.abs(found - full) / largest).max())
    if change <= TOLERATED:  # and so is a number
        return half
    logger.warning(
        "--mixed-precision %s would change features by up to %.1f%% of a text's largest one, and %.0f%% is the most: "
        "the encoder's features stay in float32%s",
        *(precision, 100 * change, 100 * TOLERATED, "; fp16 has more digits" if half == torch.bfloat16 else ""),
    )
    return None


def features_of(
    model: PreTrainedModel,
    texts: Texts,
    rows: Rows,
    batch_size: int = BATCH_SIZE,
    *,
    half: torch.dtype | None = None,
) -> NDArray[np.float32]:
    """The features (n, H) of the texts at `rows` (n,), as the sentence encoder `model.base_model` pools them.

    This process computes them alone; others find what is cached. `half`: the type of half precision to compute in.
    """

    def read(batch: Batch) -> torch.Tensor:
        features: torch.Tensor = model.base_model(**batch.inputs).pooler_output
        return features.float()

    precision = nullcontext() if half is None else half_precision(model, half)
    with evaluation_mode(model), torch.no_grad(), precision:
        return over_batches(read, texts, rows, device=device_of(model), batch_size=batch_size, processes=ALONE)
