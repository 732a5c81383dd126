"""Texts as models and strategies see them: token ids in Arrow's memory map, and ids that depend on content alone."""

import copy
import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from numpy.typing import NDArray
from scipy import sparse
from transformers import PreTrainedTokenizerFast

from dami_text.data.batches import Batch, FeatureBatch, TextBatch, sparse_tensor
from dami_text.data.cache import StoredRows
from dami_text.data.ids import Rows, content_hashes, stable_id
from dami_text.data.long_texts import long_texts_of, of_long_texts, tokens_read, words_left_out
from dami_text.data.words import splits_words, word_numbers


class FeatureTexts:
    """N texts as features (N, H) that a frozen encoder has of them; see `EncodedTexts.frozen_features`.

    Attributes:
        features: (N, H).
        lexical: (N, K), sparse, the TF-IDF of the texts' tokens where the encoder's head has weights for them.
    """

    least_batch = 4_096

    def __init__(self, features: NDArray[np.float32] | StoredRows, lexical: sparse.csr_matrix | None = None) -> None:
        self.features, self.lexical = features, lexical
        self.lengths: Rows = np.ones(len(features), np.int64)

    def _blocks(self) -> Iterator[NDArray[np.float32]]:
        """The features in blocks (B, H) that memory has room for."""
        return (self.features[start : start + 10_000] for start in range(0, len(self.features), 10_000))

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """The mean (H,) of all texts' features."""
        total = np.zeros(self.features.shape[1])
        for block in self._blocks():
            total += block.sum(axis=0, dtype=np.float64)
        return total / len(self.features)

    @cached_property
    def spread(self) -> float:
        """The root of the mean squared distance from the mean; 1 where all texts are the same."""
        squares = sum(float(np.square(block - self.mean).sum()) for block in self._blocks())
        return (squares / max(1, len(self.features))) ** 0.5 or 1.0

    def collate(self, rows: Rows) -> FeatureBatch:
        """The features of `rows`."""
        lexical = None if self.lexical is None else sparse_tensor(self.lexical[rows])
        return FeatureBatch(torch.from_numpy(self.features[rows]), lexical)

    @cached_property
    def lexical_mean(self) -> NDArray[np.float64]:
        """The mean (K,) of all texts' lexical features."""
        assert self.lexical is not None
        return np.asarray(self.lexical.mean(axis=0, dtype=np.float64)).ravel()


class _Lists:
    """A column of lists of integers, in Arrow's memory map."""

    def __init__(self, values: Sequence[NDArray[np.int32]], offsets: Sequence[NDArray[np.int32]]) -> None:
        """The values of each of Arrow's chunks, and where each of its lists begins in them and the last one ends."""
        self.values, self.offsets = values, offsets
        self._first_rows = np.cumsum([0, *(len(each) - 1 for each in offsets)])

    @classmethod
    def of(cls, dataset: Dataset, column: str) -> Self:
        """A column of a data set."""
        chunks = dataset.data.column(column).chunks
        return cls([chunk.values.to_numpy() for chunk in chunks], [chunk.offsets.to_numpy() for chunk in chunks])

    @classmethod
    def joined(cls, parts: "Sequence[_Lists]") -> Self:
        """The lists of all parts, one after another."""
        return cls([each for part in parts for each in part.values], [each for part in parts for each in part.offsets])

    def flat(self) -> NDArray[np.int32]:
        """The lists, one after another."""
        chunks = zip(self.values, self.offsets, strict=True)
        empty = np.zeros(0, np.int32)
        return np.concatenate([empty, *(values[offsets[0] : offsets[-1]] for values, offsets in chunks)])

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        chunk = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        offsets, local = self.offsets[chunk], row - self._first_rows[chunk]
        values: NDArray[np.int32] = self.values[chunk][offsets[local] : offsets[local + 1]]
        return values


class Texts(Protocol):
    """N texts, or rows of a table, as models and strategies read them. Labels are out of reach.

    Attributes:
        lengths: (N,) int64, tokens of each text.
        frozen_features: what a frozen encoder, whose head alone is trained, makes of the texts; otherwise None.
        long_texts: a sentence on those that are longer than the model takes; None where none is.
        least_batch: how many texts a pass takes at once at least, however few are asked for: of texts that are a row of
            few numbers, many cost little more than one.
    """

    lengths: Rows
    frozen_features: FeatureTexts | None
    long_texts: str | None
    least_batch: int

    def __len__(self) -> int: ...

    @property
    def projected(self) -> NDArray[np.float32] | None:
        """Features (N, H) of few dimensions to compare texts by, where those that the model reads are too many."""

    @property
    def special_ids(self) -> Sequence[int]:
        """The ids of tokens that are no words, such as padding, and of unknown words."""

    def as_dataset(self) -> Dataset:
        """The texts alone, as a data set of one column, for another tokenizer."""

    def text(self, row: int) -> str:
        """The text of a row, as it came."""

    def word(self, row: int, index: int) -> str | None:
        """Word number `index` of a row as it stands in the text; None where the texts have no words."""

    def word_places(self, row: int) -> list[tuple[int, int]]:
        """Where each word of a row's text begins and ends, in characters."""

    def collate(self, rows: Rows) -> Any:
        """The texts of `rows` as a batch: with `to(device)`, and `inputs`, by whose names a model is called."""

    def keys(self, rows: Rows) -> NDArray[np.uint64]:
        """A number for each of `rows` (n,) that depends on the text and its place among its duplicates."""

    def stable_id(self, row: int) -> str:
        """An id that depends on the text and on its place among its duplicates, not on the row's number."""


class StoredTexts:
    """Texts in Arrow's memory map, and ids that depend on their content; the base of what models read."""

    frozen_features: FeatureTexts | None = None
    long_texts: str | None = None
    least_batch: int = 1

    def __init__(self, dataset: Dataset) -> None:
        """The column `text` of a data set."""
        self._texts = dataset.select_columns("text")

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def projected(self) -> NDArray[np.float32] | None:
        """None: texts are compared by what the model's last layer reads."""
        return None

    def as_dataset(self) -> Dataset:
        """The texts alone, as a data set of one column, for another tokenizer."""
        return self._texts

    def text(self, row: int) -> str:
        """The text of a row, as it came."""
        return str(self._texts[int(row)]["text"])

    @cached_property
    def _content(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Hash of each text (N,) and its place among the texts of the same hash (N,)."""
        return content_hashes(self._texts)

    def keys(self, rows: Rows) -> NDArray[np.uint64]:
        """A number for each of `rows` (n,) that depends on what `stable_id` does: a seed of the row's own noise."""
        hashes, places = self._content
        return hashes[rows] + places[rows].astype(np.uint64)

    def stable_id(self, row: int) -> str:
        """An id that depends on the text and on its place among its duplicates, not on the row's number."""
        hashes, places = self._content
        return stable_id(hashes[row], places[row])


class PlainTexts(StoredTexts):
    """N texts as they are, for a model that makes its input itself.

    Attributes:
        lengths: (N,) ones: a text is one input.
    """

    least_batch = 1_024

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        self.lengths: Rows = np.ones(len(dataset), np.int64)

    @property
    def special_ids(self) -> Sequence[int]:
        """None: there are no tokens."""
        return ()

    def word_places(self, row: int) -> list[tuple[int, int]]:
        """Where each word of a row's text begins and ends, in characters."""
        return [match.span() for match in re.finditer(r"\w+", self.text(row))]

    def word(self, row: int, index: int) -> str | None:
        """Word number `index` of a row as it stands in the text."""
        start, end = self.word_places(row)[index]
        return self.text(row)[start:end]

    def collate(self, rows: Rows) -> TextBatch:
        """The texts of `rows`."""
        return TextBatch([str(text) for text in self._texts[rows]["text"]])


class EncodedTexts(StoredTexts):
    """N texts with their token ids, as `tokenization.encode` made them; ids and texts stay in Arrow's memory map.

    Examples:
        >>> from dami_text import make_learner, RunConfig
        >>> learner = make_learner(["a good film", "good"], ["no", "yes"], RunConfig.of(word_vectors="random"))
        >>> texts = learner.pool.texts
        >>> texts.text(0), texts.lengths.tolist(), texts.word(0, 2)
        ('a good film', [3, 1], 'film')

    Labels are left behind: what holds an EncodedTexts cannot reach them.

    Attributes:
        tokenizer: what made the ids.
        lengths: (N,) int64, tokens that are read of each text, special tokens among them.
        frozen_features: what a frozen encoder, whose head alone is trained, makes of the texts; otherwise None.
    """

    def __init__(self, dataset: Dataset, tokenizer: PreTrainedTokenizerFast) -> None:
        in_pieces = "word_ids" in dataset.column_names
        dataset = dataset.select_columns(["text", "input_ids", "length", *(["word_ids"] if in_pieces else [])])
        if dataset._indices is not None:
            dataset = dataset.flatten_indices()
        super().__init__(dataset)
        self.tokenizer = tokenizer
        self._ids = _Lists.of(dataset, "input_ids")
        self._word_ids = _Lists.of(dataset, "word_ids") if in_pieces else None
        lengths = [np.zeros(0, np.int64), *map(np.diff, self._ids.offsets)]
        self.lengths: Rows = np.concatenate(lengths).astype(np.int64)
        self.long_texts = of_long_texts(
            [dataset.data.column("length").to_numpy()], tokenizer, "pieces of words" if in_pieces else "words"
        )

    @cached_property
    def _splits_words(self) -> bool:
        return splits_words(self.tokenizer.backend_tokenizer)

    @property
    def special_ids(self) -> Sequence[int]:
        """The ids of tokens that are no words, such as padding, and of unknown words."""
        ids: list[int] = self.tokenizer.all_special_ids
        return ids

    def with_features(self, features: FeatureTexts) -> Self:
        """The same texts with what a frozen encoder makes of them."""
        texts = copy.copy(self)
        texts.frozen_features = features
        return texts

    @classmethod
    def joined(cls, parts: "Sequence[EncodedTexts]") -> "EncodedTexts":
        """The texts of all parts, which one tokenizer made, one after another."""
        texts = copy.copy(parts[0])
        texts._texts = concatenate_datasets([part._texts for part in parts])
        texts._ids = _Lists.joined([part._ids for part in parts])
        word_ids = [part._word_ids for part in parts if part._word_ids is not None]
        texts._word_ids = _Lists.joined(word_ids) if word_ids else None
        texts.lengths = np.concatenate([part.lengths for part in parts])
        return texts

    def token_ids(self, row: int) -> NDArray[np.int32]:
        """The token ids of a row, without padding: a view of the memory map."""
        return self._ids[row]

    def all_token_ids(self) -> NDArray[np.int32]:
        """The token ids of all texts, one text after another, without padding."""
        return self._ids.flat()

    def all_word_ids(self) -> NDArray[np.int32] | None:
        """The number of the word that each of `all_token_ids` is a piece of; None where every token is a word."""
        return None if self._word_ids is None else self._word_ids.flat()

    def counts_of(self, token_id: int) -> Rows:
        """How often a token is in each text (N,)."""
        counts = [np.zeros(0, np.int64)]
        for values, offsets in zip(self._ids.values, self._ids.offsets, strict=True):
            before = np.concatenate([[0], np.cumsum(values == token_id)])  # (tokens + 1,)
            counts.append(np.diff(before[offsets]))
        return np.concatenate(counts)

    def token_id_blocks(self) -> Iterator[bytes]:
        """All token ids in order, in large pieces, then the lengths: the content, for hashing."""
        for values, offsets in zip(self._ids.values, self._ids.offsets, strict=True):
            yield values[offsets[0] : offsets[-1]].tobytes()
        yield self.lengths.tobytes()

    def word(self, row: int, index: int) -> str | None:
        """Word number `index` of a row as it stands in the text."""
        text, (places, read) = self.text(row), self._words(row)
        number = read[index]
        start, end = places[number]
        following = places[number + 1][0] if number + 1 < len(places) else len(text)
        # A character that was composed of several ends, for the tokenizer, after the first of them.
        rest = re.split(r"\s", text[end:following], maxsplit=1)[0]
        return (text[start:end] + rest).strip(" ")

    def word_places(self, row: int) -> list[tuple[int, int]]:
        """Where each word of a row's text begins and ends, in characters, by the word's number.

        A word that the tokenizer has no pieces for, and drops, takes no place: where the one before it ends. Words
        after the last one that is read have places too.
        """
        places, read = self._words(row)
        return [places[number] for number in read]

    def _words(self, row: int) -> tuple[list[tuple[int, int]], list[int]]:
        """The places of all words of a row's text, and which of them are numbered: not those between head and tail."""
        encoding = self.tokenizer.backend_tokenizer.encode(self.text(row))
        numbers = word_numbers(encoding, self._splits_words)
        places: dict[int, tuple[int, int]] = {}
        for word, (start, end) in zip(numbers.tolist(), encoding.offsets, strict=True):
            first, last = places.get(word, (start, end))
            places[word] = (min(first, start), max(last, end))
        every, end = [], 0
        for word in range(max(places, default=-1) + 1):
            start, end = places.get(word, (end, end))
            every.append((start, end))
        if (how := long_texts_of(self.tokenizer)) != "head-tail":
            return every, [*range(len(every))]
        left_out = words_left_out(numbers, tokens_read(encoding, self.tokenizer.model_max_length, how))
        return every, [number for number in range(len(every)) if number not in left_out]

    def collate(self, rows: Rows) -> Batch:
        """The texts of `rows`, padded to the longest of them on the tokenizer's side.

        For a model that reads pieces of words, a text without tokens is one padding token, so that it has something to
        attend to.
        """
        width = max(1, int(self.lengths[rows].max(initial=0)))
        shape, left = (len(rows), width), self.tokenizer.padding_side == "left"

        def padded(lists: _Lists, padding: int) -> torch.Tensor:
            values = np.full(shape, padding, np.int64)
            for line, row in zip(values, rows, strict=True):
                own = lists[row]
                line[width - len(own) if left else 0 :][: len(own)] = own
            return torch.from_numpy(values)

        places = np.arange(width)[::-1] if left else np.arange(width)
        lengths = self.lengths[rows, None] if self._word_ids is None else self.lengths[rows, None].clip(min=1)
        mask = torch.from_numpy((places < lengths).astype(np.int64))
        words = None if self._word_ids is None else padded(self._word_ids, -1)
        return Batch(padded(self._ids, self.tokenizer.pad_token_id), mask, words)


def is_telling(word: str) -> bool:
    """Whether a word has a letter, a digit, or a symbol such as an emoji: punctuation and invisible signs have none.

    An HTML entity is what it stands for.
    """
    categories = {unicodedata.category(character) for character in html.unescape(word)}
    return any(category[0] in "LN" for category in categories) or bool(categories & {"So", "Sc", "Me"})


def telling_words(texts: Texts, row: int, n: int) -> NDArray[np.bool_]:
    """Which of the first n words (n,) of a row's text are telling; all of them where none is."""
    text, places = texts.text(row), texts.word_places(row)[:n]
    telling = np.array([is_telling(text[start:end]) for start, end in places], bool)
    return telling if telling.any() else ~telling


@dataclass(frozen=True)
class LabeledTexts:
    """Texts whose labels are known, to train or to evaluate on: rows (n,) of `texts` and labels (n,), int64.

    Examples:
        >>> from dami_text import make_learner, RunConfig
        >>> texts = make_learner(["good", "bad"], ["no", "yes"], RunConfig.of(word_vectors="random")).pool.texts
        >>> LabeledTexts(texts, np.array([0, 1]), np.array([1, 0])).labels.tolist()
        [1, 0]
    """

    texts: Texts
    rows: Rows
    labels: NDArray[np.int64]
