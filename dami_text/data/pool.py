"""Texts as models and strategies see them: memory-mapped token ids, batches of them, and which rows have labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Self

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Padded texts: input_ids (B, T) and attention_mask (B, T), int64; T is at least 1. Every token is a word.

    Of a table's rows, T is 1 and input_ids (B, 1, D) float32 are the features.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor

    def to(self, device: torch.device | str) -> Self:
        """The same batch on another device."""
        return replace(self, input_ids=self.input_ids.to(device), attention_mask=self.attention_mask.to(device))


def batches_by_length(lengths: NDArray[np.int64], batch_size: int) -> list[Rows]:
    """The positions of `lengths` (n,) dealt into batches of like length, shortest first.

    A batch has at most `batch_size` texts and, padded, at most 256 tokens a text of a full batch, so that memory is
    bounded where texts are long; a text alone may be longer.
    """
    order = np.argsort(lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        taken = lengths[order[start : start + batch_size]]
        tokens = taken * np.arange(1, len(taken) + 1)  # the last text taken decides the batch's width
        size = max(1, int(np.searchsorted(tokens, 256 * batch_size, side="right")))
        batches.append(order[start : start + size])
        start += size
    return batches


class EncodedTexts:
    """N texts with their token ids, as `tokenization.encode` made them; ids and texts stay in Arrow's memory map.

    Labels are left behind: what holds an EncodedTexts cannot reach them.
    """

    def __init__(self, dataset: Dataset, tokenizer: PreTrainedTokenizerFast) -> None:
        dataset = dataset.select_columns(["text", "input_ids"])
        if dataset._indices is not None:
            dataset = dataset.flatten_indices()
        self._texts = dataset.select_columns("text")
        self.tokenizer = tokenizer
        chunks = dataset.data.column("input_ids").chunks
        self._values = [chunk.values.to_numpy() for chunk in chunks]
        self._offsets = [chunk.offsets.to_numpy() for chunk in chunks]
        self._first_rows = np.cumsum([0, *(len(chunk) for chunk in chunks)])
        #: (N,) int64, tokens of each text
        self.lengths: Rows = np.concatenate([np.zeros(0, np.int64), *map(np.diff, self._offsets)]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.lengths)

    def text(self, row: int) -> str:
        """The text of a row, as it came."""
        return str(self._texts[int(row)]["text"])

    def token_ids(self, row: int) -> NDArray[np.int32]:
        """The token ids of a row, without padding: a view of the memory map."""
        chunk = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        offsets, local = self._offsets[chunk], row - self._first_rows[chunk]
        ids: NDArray[np.int32] = self._values[chunk][offsets[local] : offsets[local + 1]]
        return ids

    def token_id_blocks(self) -> Iterator[bytes]:
        """All token ids in order, in large pieces, then the lengths: the content, for hashing."""
        for values, offsets in zip(self._values, self._offsets, strict=True):
            yield values[offsets[0] : offsets[-1]].tobytes()
        yield self.lengths.tobytes()

    def word(self, row: int, index: int) -> str | None:
        """Word number `index` of a row as it stands in the text."""
        text = self.text(row)
        offsets = self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).offsets
        start, end = offsets[index]
        following = offsets[index + 1][0] if index + 1 < len(offsets) else len(text)
        # A character that was composed of several ends, for the tokenizer, after the first of them.
        return text[start:end] + text[end:following].rstrip()

    def collate(self, rows: Rows) -> Batch:
        """The texts of `rows`, padded on the right to the longest of them."""
        width = max(1, int(self.lengths[rows].max(initial=0)))
        input_ids = np.full((len(rows), width), self.tokenizer.pad_token_id, np.int64)
        for padded, row in zip(input_ids, rows, strict=True):
            ids = self.token_ids(row)
            padded[: len(ids)] = ids
        mask = np.arange(width) < self.lengths[rows, None]
        return Batch(torch.from_numpy(input_ids), torch.from_numpy(mask.astype(np.int64)))

    @cached_property
    def _content(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Hash of each text (N,) and its place among the texts of the same hash (N,)."""
        hashes = np.empty(len(self), np.uint64)
        start = 0
        for batch in self._texts.iter(10_000):
            digests = b"".join(
                blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in batch["text"]
            )
            hashes[start : start + len(batch["text"])] = np.frombuffer(digests, ">u8")
            start += len(batch["text"])
        order = np.argsort(hashes, kind="stable")
        first = np.searchsorted(hashes[order], hashes[order], side="left")
        places = np.empty(len(self), np.int64)
        places[order] = np.arange(len(self)) - first
        return hashes, places

    def keys(self, rows: Rows) -> NDArray[np.uint64]:
        """A number for each of `rows` (n,) that depends on what `stable_id` does: a seed of the row's own noise."""
        hashes, places = self._content
        return hashes[rows] + places[rows].astype(np.uint64)

    def stable_id(self, row: int) -> str:
        """An id that depends on the text and on its place among its duplicates, not on the row's number."""
        hashes, places = self._content
        return f"{int(hashes[row]):016x}-{places[row]}"


@dataclass(frozen=True)
class LabeledTexts:
    """Texts whose labels are known, to train or to evaluate on: rows (n,) of `texts` and labels (n,), int64."""

    texts: EncodedTexts
    rows: Rows
    labels: NDArray[np.int64]


class Pool:
    """The texts to choose from and which of them are labelled; immutable, and without any label.

    `labeled` and `unlabeled` are sorted int64 row numbers of the whole pool; `unlabeled` are those to choose from, all
    that are not labelled but for a pool that `sample` made.

    Raises:
        ValueError: a row that is not in the pool.
    """

    def __init__(self, texts: EncodedTexts, labeled: Sequence[int] | Rows = ()) -> None:
        self.texts = texts
        self.labeled: Rows = np.unique(np.asarray(labeled, np.int64))
        if len(self.labeled) and not 0 <= self.labeled[0] <= self.labeled[-1] < len(texts):
            raise ValueError(f"got labelled rows from {self.labeled[0]} to {self.labeled[-1]} of {len(texts)} texts")
        mask = np.ones(len(texts), bool)
        mask[self.labeled] = False
        self.unlabeled: Rows = np.flatnonzero(mask)

    def __len__(self) -> int:
        return len(self.texts)

    def with_labeled(self, rows: Rows) -> "Pool":
        """The pool in which `rows` are labelled too."""
        return Pool(self.texts, np.concatenate([self.labeled, rows]))

    def sample(self, n: int, rng: np.random.Generator) -> "Pool":
        """The pool in which only n random rows of the unlabelled ones are there to choose from; all, if n is more."""
        sampled = Pool(self.texts, self.labeled)
        if n < len(self.unlabeled):
            sampled.unlabeled = np.sort(rng.choice(self.unlabeled, n, replace=False))
        return sampled


class Oracle:
    """Reveals the labels of rows that were asked for: a simulated annotator who is always right."""

    def __init__(self, labels: NDArray[np.int64]) -> None:
        self._labels = labels

    def reveal(self, rows: Rows) -> NDArray[np.int64]:
        """The labels (n,) of `rows` (n,)."""
        return self._labels[rows]
