"""The token ids of all texts that runs side by side are trained on, once on the device."""

import numpy as np
import torch
from numpy.typing import NDArray

from dami_text.data.ids import Rows
from dami_text.data.texts import EncodedTexts, LabeledTexts


class TokenTable:
    """The tokens of texts, of which batches are gathered on the device.

    Attributes:
        lengths: (N,) of the texts, on the host.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._texts: list[tuple[EncodedTexts, int]] = []  # with the place of their first one in the table
        self._ids: NDArray[np.int32] = np.zeros(0, np.int32)
        self.lengths: Rows = np.zeros(0, np.int64)

    def places(self, data: LabeledTexts) -> Rows:
        """The places (n,) in the table of rows (n,) of texts, all of which are added to it where they are new.

        Texts that another run has read anew, and that have the same tokens, are not.

        Raises:
            TypeError: they have no tokens.
        """
        texts = data.texts
        if not isinstance(texts, EncodedTexts):
            raise TypeError(f"got {type(texts).__name__}; wanted texts with token ids")
        for known, first in self._texts:
            if known is texts:
                return first + data.rows
        for known, first in self._texts:
            same_lengths = np.array_equal(known.lengths, texts.lengths)
            if same_lengths and np.array_equal(known.all_token_ids(), texts.all_token_ids()):
                self._texts.append((texts, first))
                return first + data.rows
        first = len(self.lengths)
        self._texts.append((texts, first))
        self._ids = np.concatenate([self._ids, texts.all_token_ids()])
        self.lengths = np.concatenate([self.lengths, texts.lengths])
        starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self._ids_there = torch.from_numpy(np.append(self._ids, 0)).to(self._device)  # (tokens + 1,)
        self._starts_there = torch.from_numpy(starts).to(self._device)  # (N + 1,): the last is an empty text
        self._lengths_there = torch.from_numpy(np.append(self.lengths, 0)).to(self._device)
        return first + data.rows

    @property
    def n_texts(self) -> int:
        """How many texts there are, N."""
        return len(self.lengths)

    def batch(self, places: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids (..., width) of the texts at places (...), and which of them are words; -1 is a text of no word."""
        starts, lengths = self._starts_there[places].unsqueeze(-1), self._lengths_there[places].unsqueeze(-1)
        steps = torch.arange(width, device=places.device)
        is_word = steps < lengths
        ids = self._ids_there[torch.where(is_word, starts + steps, len(self._ids_there) - 1)]
        return ids.long(), is_word
