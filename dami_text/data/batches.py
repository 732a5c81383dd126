"""Batches: padded texts, or their features, as a model takes them."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from dami_text.data.ids import Rows


@dataclass(frozen=True)
class Batch:
    """Padded texts.

    Attributes:
        input_ids, attention_mask: (B, T) int64; T is at least 1. Of a table's rows, T is 1 and input_ids (B, 1, D)
            float32 are the features.
        word_ids: (B, T) int64, the number of the word that each token is a piece of, -1 for padding and special tokens;
            None where every token is a word.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    word_ids: torch.Tensor | None = None

    def to(self, device: torch.device | str) -> Self:
        """The same batch on another device."""
        words = None if self.word_ids is None else self.word_ids.to(device)
        ids, mask = self.input_ids.to(device), self.attention_mask.to(device)
        return replace(self, input_ids=ids, attention_mask=mask, word_ids=words)

    @property
    def inputs(self) -> dict[str, torch.Tensor]:
        """What a model is called with."""
        return {"input_ids": self.input_ids, "attention_mask": self.attention_mask}

    @property
    def is_word(self) -> torch.Tensor:
        """Which places (B, W) of `by_word` are words; W is T where every token is a word."""
        if self.word_ids is None:
            return self.attention_mask.bool()
        return self.by_word((self.word_ids >= 0).long().unsqueeze(-1)).squeeze(-1) > 0

    def by_word(self, values: torch.Tensor) -> torch.Tensor:
        """The sums (B, W, D) over each word's pieces of the tokens' values (B, T, D); 0 where there is no word."""
        if self.word_ids is None:
            return values.masked_fill(self.attention_mask.unsqueeze(-1) == 0, 0)
        n_words = max(1, int(self.word_ids.max()) + 1)
        places = self.word_ids.where(self.word_ids >= 0, n_words)  # what is no piece goes to a place of its own
        sums = values.new_zeros(len(values), n_words + 1, values.shape[-1])
        return sums.scatter_add_(1, places.unsqueeze(-1).expand_as(values), values)[:, :n_words]


@dataclass(frozen=True)
class FeatureBatch:
    """Texts as features (B, H) that a frozen encoder has of them, and lexical ones (B, K), sparse, if there are any."""

    features: torch.Tensor
    lexical: torch.Tensor | None = None

    def to(self, device: torch.device | str) -> Self:
        """The same batch on another device."""
        lexical = None if self.lexical is None else self.lexical.to(device)
        return replace(self, features=self.features.to(device), lexical=lexical)

    @property
    def inputs(self) -> dict[str, torch.Tensor]:
        """What a head without its encoder is called with (see `models.heads.head_alone`)."""
        mask = torch.ones(len(self.features), 1, dtype=torch.long, device=self.features.device)
        lexical = {} if self.lexical is None else {"lexical": self.lexical}
        return {"inputs_embeds": self.features.unsqueeze(1), "attention_mask": mask, **lexical}


@dataclass(frozen=True)
class TextBatch:
    """Texts (B,) as they are."""

    texts: list[str]

    def to(self, device: torch.device | str) -> Self:
        """The same batch: texts are on no device."""
        return self

    @property
    def inputs(self) -> dict[str, list[str]]:
        """What a model is called with."""
        return {"texts": self.texts}


def sparse_tensor(matrix: sparse.csr_matrix) -> torch.Tensor:
    """A sparse matrix (B, V) for torch."""
    part = matrix.tocoo()
    places, values = torch.from_numpy(np.stack([part.row, part.col]).astype(np.int64)), torch.from_numpy(part.data)
    return torch.sparse_coo_tensor(places, values, part.shape, check_invariants=False)


#: Tokens for each text of a full batch that a pass over texts has at most, padding among them.
TOKENS_A_TEXT = 256


def batches_by_length(lengths: NDArray[np.int64], batch_size: int, tokens_a_text: float = TOKENS_A_TEXT) -> list[Rows]:
    """The positions of `lengths` (n,) dealt into batches of like length, shortest first.

    A batch has at most `batch_size` texts and, padded, at most `tokens_a_text` tokens a text of a full batch, so that
    memory is bounded where texts are long; a text alone may be longer.
    """
    order = np.argsort(lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        taken = lengths[order[start : start + batch_size]]
        tokens = taken * np.arange(1, len(taken) + 1)  # the last text taken decides the batch's width
        size = max(1, int(np.searchsorted(tokens, tokens_a_text * batch_size, side="right")))
        batches.append(order[start : start + size])
        start += size
    return batches
