"""EGL-word: the texts of which one word's embedding would change most (Zhang, Lease, Wallace 2017).

    max over the text's words w of  sum_c p(c|x) ||d loss(x, c) / d E_w||_2

The maximum is of the words' expected lengths: one word decides, whatever the class. (small-text has the maximum for
each class and then the expectation, for which another word may decide in each class. For two classes both are the same:
their gradients are collinear.)

E_w is the embedding of w, so the gradients of a word's occurrences in the text are summed. Padding, unknown and special
tokens do not compete; a text without a word that does has score 0. Where words come in pieces, w is a piece: it is the
pieces that have embeddings. Of any number of labels, the expectation is the mean over the labels (see `egl`).
"""

from functools import partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.data.batches import Batch
from dami_text.data.ids import Rows
from dami_text.data.pool import Pool
from dami_text.data.texts import Texts
from dami_text.interpretation.word_gradients import weights_by_word
from dami_text.models.inference import device_of, over_batches
from dami_text.processes import where_float64_is
from dami_text.strategies.base import InBatches, Query, highest, word_to_show
from dami_text.strategies.gradient_lengths import expected_word_gradients


class EglWord(InBatches):
    """The texts of the highest expected gradient length of a single word's embedding."""

    needs: ClassVar[frozenset[str]] = frozenset({"words", "word gradients"})

    def explain(self, model: PreTrainedModel, texts: Texts, rows: Rows) -> list[NDArray[np.float64]]:
        """For each text of `rows` (n,) the expected gradient length (W,) of each word's embedding.

        Of a word in pieces it is the highest of theirs; of words that do not compete it is 0.
        """

        def lengths(batch: Batch) -> torch.Tensor:
            found = self._lengths(model, batch, texts).clamp(min=0)
            if batch.word_ids is None:
                return found
            places = batch.word_ids + 1  # what is no piece comes first
            n_places = int(places.max()) + 1
            return found.new_zeros(len(found), n_places).scatter_reduce_(1, places, found, "amax")[:, 1:]

        return weights_by_word(lengths, model, texts, rows)

    def _lengths(self, model: PreTrainedModel, batch: Batch, texts: Texts) -> torch.Tensor:
        """The expected gradient lengths (B, T) of the words, or pieces; -1 of those that do not compete."""
        special = torch.tensor(texts.special_ids, device=batch.input_ids.device)
        competes = batch.attention_mask.bool() & ~torch.isin(batch.input_ids, special)
        return expected_word_gradients(model, batch).masked_fill(~competes, -1)

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """The n unlabelled rows of the highest scores; the reasons: the score and its word (`word_to_show`)."""

        def best_word(batch: Batch) -> torch.Tensor:
            """The score of each text and the number of its word (B, 2)."""
            scores, words = self._lengths(model, batch, pool.texts).max(dim=1)
            if batch.word_ids is not None:
                words = batch.word_ids.gather(1, words.unsqueeze(1)).squeeze(1)
            scores, words = where_float64_is(scores, words)
            return torch.stack([scores.clamp(min=0).double(), torch.where(scores < 0, -1, words).double()], dim=1)

        rows = pool.unlabeled
        scores, words = over_batches(best_word, pool.texts, rows, device_of(model), self.batch_size).T
        query = highest(scores, pool, n)
        places = np.searchsorted(rows, query.rows)
        reasons = []
        for reason, row, word in zip(query.reasons, query.rows.tolist(), words[places].astype(int), strict=True):
            shown = word_to_show(pool.texts, row, word, partial(self.explain, model, pool.texts))
            reasons.append({**reason, "word": shown})
        return Query.of(query.rows, reasons)
