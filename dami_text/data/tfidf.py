"""Texts as TF-IDF: the words and the characters that each text has, and few others have."""

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import FeatureUnion

from dami_text.config.data_options import TokenizationConfig
from dami_text.data.estimators import TEXT_ENCODER, read_estimator, write_estimator
from dami_text.data.ids import Rows
from dami_text.data.letters import word_pattern
from dami_text.data.texts import StoredTexts
from dami_text.errors import ConfigError, DataError

#: Dimensions that features are projected to (latent semantic analysis) for strategies that compare texts.
DENSE = 256

#: Times as many character n-grams as words may be in the vocabulary.
CHARACTERS = 4


@dataclass(frozen=True)
class SparseBatch:
    """Texts as sparse features (B, V), in compressed rows.

    Attributes:
        columns, values: (E,) of all entries, int64 and float32, row by row.
        starts: (B + 1,) int64, where the entries of each row begin and the last one's end.
    """

    columns: torch.Tensor
    values: torch.Tensor
    starts: torch.Tensor

    @classmethod
    def of(cls, matrix: sparse.csr_matrix) -> Self:
        """The rows of a matrix (B, V)."""
        columns, starts = matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)
        return cls(torch.from_numpy(columns), torch.from_numpy(matrix.data), torch.from_numpy(starts))

    def to(self, device: torch.device | str) -> Self:
        """The same batch on another device."""
        return replace(
            self, columns=self.columns.to(device), values=self.values.to(device), starts=self.starts.to(device)
        )

    @property
    def inputs(self) -> dict[str, torch.Tensor]:
        """What a model is called with."""
        return {"columns": self.columns, "values": self.values, "starts": self.starts}


class TfidfEncoder:
    """Makes features of texts: sublinear TF-IDF of words, pairs of words, and two to five characters within words.

    A text's features are divided by its length, once for words and once for characters. What is not in the vocabulary
    counts in the length as its rarest entries do. Without that, a text of rare words would be taken for one that is all
    about the few frequent words in it.

    Attributes:
        union: scikit-learn's vectorizers, fitted.
    """

    def __init__(self, union: FeatureUnion) -> None:
        self.union = union

    @classmethod
    def fit(cls, texts: Dataset, config: TokenizationConfig) -> Self:
        """Learn the vocabulary and how rare its entries are, from the column `text` and without any label.

        Entries of fewer texts than `min_document_frequency` are left out, unless that leaves none.

        Raises:
            DataError: no text has a word.
        """
        pattern = word_pattern()
        shared: dict[str, Any] = {"lowercase": config.lowercase, "dtype": np.float32, "sublinear_tf": True}
        shared["norm"] = None  # see `_weighed`
        n = config.max_vocabulary
        found = []
        for frequency in (config.min_document_frequency, 1):  # a few texts may have no word in common
            shared |= {"min_df": min(frequency, len(texts))}
            words = TfidfVectorizer(ngram_range=(1, 2), max_features=n, token_pattern=pattern, **shared)
            characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), max_features=CHARACTERS * n, **shared)
            union = FeatureUnion([("words", words), ("characters", characters)])
            try:
                union.fit(list(texts["text"]))
            except ValueError as error:  # an empty vocabulary
                found.append(error)
            else:
                return cls(union)
        raise DataError(f"no text has a word ({found[-1]}); give texts with words") from found[-1]

    def __len__(self) -> int:
        return sum(len(vectorizer.vocabulary_) for vectorizer in self._vectorizers)

    def encode(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """The features (N, V) of texts."""
        if not self.measures_all:
            return sparse.csr_matrix(self.union.transform(texts), dtype=np.float32)
        return sparse.csr_matrix(sparse.hstack([_weighed(vectorizer, texts) for vectorizer in self._vectorizers]))

    def unknown(self, features: sparse.csr_matrix) -> NDArray[np.float64]:
        """The square length (N,) that texts of these features (N, V) have outside the vocabulary, of 2 at most."""
        if not self.measures_all:
            return np.zeros(features.shape[0])
        known = np.asarray(features.multiply(features).sum(axis=1, dtype=np.float64)).ravel()
        rest: NDArray[np.float64] = np.maximum(len(self._vectorizers) - known, 0.0)
        return rest

    @property
    def measures_all(self) -> bool:
        """Whether a text's length is that of all its entries. With encoders of earlier versions it is of known ones."""
        return all(vectorizer.norm is None for vectorizer in self._vectorizers)

    def counts(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """The weights (N, V) of the entries that short texts have, not divided by their lengths."""
        if not texts:
            return sparse.csr_matrix((0, len(self)), dtype=np.float32)
        parts = []
        for vectorizer in self._vectorizers:
            presence = vectorizer.transform(texts)
            presence.data[:] = 1
            parts.append(presence @ sparse.diags(vectorizer.idf_))
        return sparse.csr_matrix(sparse.hstack(parts))

    def words(self, text: str) -> Iterator[tuple[int, int]]:
        """Where each word of a text begins and ends, as the vectorizer of words finds them."""
        pattern = re.compile(self._vectorizers[0].token_pattern)
        return (match.span() for match in pattern.finditer(text))

    @property
    def _vectorizers(self) -> list[TfidfVectorizer]:
        """The two parts: words and characters."""
        return [vectorizer for _, vectorizer in self.union.transformer_list]

    def save_pretrained(self, folder: Path) -> None:
        """Write it into a folder, in a format that runs nothing when it is loaded."""
        write_estimator(self.union, Path(folder) / TEXT_ENCODER)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it from a folder.

        Raises:
            ConfigError: the file is damaged, or holds something else.
        """
        file = Path(folder) / TEXT_ENCODER
        union = read_estimator(file, FeatureUnion)
        for _, part in union.transformer_list:
            if not isinstance(part, TfidfVectorizer):
                raise ConfigError(f"{file} holds a {type(part).__name__}; wanted TfidfVectorizers alone")
        return cls(union)


def _weighed(vectorizer: TfidfVectorizer, texts: Sequence[str]) -> sparse.csr_matrix:
    """The features (N, V) of texts by one vectorizer, each text divided by the length of all its entries."""
    entries_of, vocabulary, n = vectorizer.build_analyzer(), vectorizer.vocabulary_, len(vectorizer.vocabulary_)
    columns, counts, starts = array("i"), array("i"), array("q", [0])
    for text in texts:
        entries = Counter(entries_of(text))
        columns.extend(vocabulary.get(entry, n) for entry in entries)
        counts.extend(entries.values())
        starts.append(len(columns))
    places, ends = np.asarray(columns), np.asarray(starts)
    weights = (1 + np.log(np.asarray(counts))) * np.append(vectorizer.idf_, vectorizer.idf_.max())[places]
    rows = np.repeat(np.arange(len(texts)), np.diff(ends))
    lengths = np.sqrt(np.bincount(rows, weights**2, len(texts)))
    values, known = (weights / lengths[rows]).astype(np.float32), places < n
    return sparse.csr_matrix((values[known], (rows[known], places[known])), (len(texts), n))


class TfidfTexts(StoredTexts):
    """N texts by their TF-IDF.

    Attributes:
        matrix: (N, V) float32, sparse.
        encoder: what made it.
        lengths: (N,) ones: a text is one row of features.
    """

    least_batch = 4_096

    def __init__(self, texts: Dataset, encoder: TfidfEncoder) -> None:
        super().__init__(texts)
        self.encoder = encoder
        blocks = (encoder.encode(list(batch["text"])) for batch in self._texts.iter(2_000))
        self.matrix = sparse.vstack([sparse.csr_matrix((0, len(encoder)), dtype=np.float32), *blocks], format="csr")
        self.lengths: Rows = np.ones(len(texts), np.int64)

    @property
    def special_ids(self) -> Sequence[int]:
        """None: there are no tokens."""
        return ()

    def word_places(self, row: int) -> list[tuple[int, int]]:
        """Where each word of a row's text begins and ends, in characters."""
        return [*self.encoder.words(self.text(row))]

    def word(self, row: int, index: int) -> str | None:
        """Word number `index` of a row as it stands in the text."""
        start, end = self.word_places(row)[index]
        return self.text(row)[start:end]

    def collate(self, rows: Rows) -> SparseBatch:
        """The features of `rows`."""
        return SparseBatch.of(self.matrix[rows])

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """The mean (V,) of all texts' features."""
        return np.asarray(self.matrix.mean(axis=0, dtype=np.float64)).ravel()

    @cached_property
    def unknown(self) -> NDArray[np.float64]:
        """The square length (N,) that each text has outside the vocabulary."""
        return self.encoder.unknown(self.matrix)

    @cached_property
    def projected(self) -> NDArray[np.float32]:
        """The features projected to DENSE dimensions (N, DENSE) that keep most of them; fewer where there are fewer."""
        n = min(DENSE, min(self.matrix.shape) - 1)
        if n < 1:
            return np.ascontiguousarray(self.matrix.toarray(), np.float32)
        svd = TruncatedSVD(n, random_state=0)
        return np.ascontiguousarray(svd.fit_transform(self.matrix), np.float32)
