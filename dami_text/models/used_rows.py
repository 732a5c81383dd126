"""Training the rows of an embedding that the labelled texts use.

No other row has a gradient, so Adam leaves it as it is. Its step over all of a vocabulary, with gradients of zeros, is
a good part of a small model's step: a tenth of MR's texts use four words in ten of its vocabulary.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from dami_text.data.texts import EncodedTexts, LabeledTexts
from dami_text.models.word_level import WordLevelForSequenceClassification


class UsedRows(nn.Module):
    """The rows of an embedding (V, D) that some texts use, to stand in its place while they are trained.

    Attributes:
        weight: (U, D).
    """

    def __init__(self, embedding: nn.Embedding, tokens: torch.Tensor) -> None:
        """The rows of tokens (U,), distinct ones, of which one is padding."""
        super().__init__()
        self._tokens = tokens
        self._places = torch.full((embedding.num_embeddings,), -1)
        self._places[tokens] = torch.arange(len(tokens))
        self._padding = int(self._places[embedding.padding_idx])
        self.weight = nn.Parameter(embedding.weight.detach()[tokens])

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """The vectors (B, T, D) of token ids (B, T)."""
        return functional.embedding(self._places[ids], self.weight, self._padding)

    def write_to(self, embedding: nn.Embedding) -> None:
        """Give the rows to the embedding that they are of."""
        with torch.no_grad():
            embedding.weight[self._tokens] = self.weight


def used_rows(model: PreTrainedModel, data: LabeledTexts) -> UsedRows | None:
    """The rows of a word-level model's embedding that the labelled texts use; None for other models and off the CPU."""
    if not isinstance(model, WordLevelForSequenceClassification) or not isinstance(data.texts, EncodedTexts):
        return None
    embedding = model.embedding
    if type(embedding) is not nn.Embedding or embedding.weight.device.type != "cpu" or embedding.padding_idx is None:
        return None
    tokens = [np.array([embedding.padding_idx]), *(data.texts.token_ids(int(row)) for row in data.rows)]
    return UsedRows(embedding, torch.from_numpy(np.unique(np.concatenate(tokens)).astype(np.int64)))


@contextmanager
def in_place(model: PreTrainedModel, rows: UsedRows | None) -> Iterator[None]:
    """The model reads `rows`, if there are any, inside the block, and afterwards its embedding, which has them then."""
    if rows is None:
        yield
        return
    whole: Any = model.embedding
    model.embedding = rows
    try:
        yield
    finally:
        model.embedding = whole
        rows.write_to(whole)
