"""Texts whose token ids lie on a card: they go there once, and batches are gathered there."""

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from dami_text.data.batches import Batch
from dami_text.data.ids import Rows
from dami_text.data.texts import EncodedTexts
from dami_text.processes import is_card

#: Tokens of all texts up to which their ids are kept on a card: 1 GiB, and as much where words are in pieces.
MOST = 2**28

#: What lies on a card, for as long as the texts themselves are there.
_there: "WeakKeyDictionary[EncodedTexts, ResidentTexts]" = WeakKeyDictionary()


class ResidentTexts:
    """The token ids of N texts on a device."""

    def __init__(self, texts: EncodedTexts, device: torch.device) -> None:
        self.device, self.lengths = device, texts.lengths
        ids, words = texts.all_token_ids(), texts.all_word_ids()
        self._ids, self._words = self._sent(ids), None if words is None else self._sent(words)
        self._starts = self._sent(np.cumsum(texts.lengths) - texts.lengths)
        self._lengths = self._sent(texts.lengths)
        self._on_the_left = texts.tokenizer.padding_side == "left"
        self._padding = int(texts.tokenizer.pad_token_id)

    def _sent(self, values: NDArray[Any]) -> torch.Tensor:
        """The values there; one more at the end, so that there is something to read where there are none."""
        return torch.from_numpy(np.append(values, values.dtype.type(0))).to(self.device)

    def collate(self, rows: Rows) -> Batch:
        """The batch that `EncodedTexts.collate` makes of `rows`, on the device."""
        width = max(1, int(self.lengths[rows].max(initial=0)))
        there = torch.from_numpy(np.ascontiguousarray(rows)).to(self.device)
        lengths, places = self._lengths[there][:, None], torch.arange(width, device=self.device)
        places = places - (width - lengths) if self._on_the_left else places.expand(len(rows), width)
        is_token = (places >= 0) & (places < lengths)
        tokens = (self._starts[there][:, None] + places).where(is_token, len(self._ids) - 1)
        ids = self._ids[tokens].long().where(is_token, self._padding)
        if self._words is None:
            return Batch(ids, is_token.long())
        least = lengths.clamp(min=1)  # a text without tokens is one padding token
        mask = places >= lengths - least if self._on_the_left else places < least
        return Batch(ids, mask.long(), self._words[tokens].long().where(is_token, -1))


def resident(texts: Any, device: torch.device) -> Any:
    """What collates the texts for the device: on a CUDA card their ids lie there, if they are not too many."""
    if not is_card(device) or not isinstance(texts, EncodedTexts) or int(texts.lengths.sum()) > MOST:
        return texts
    found = _there.get(texts)
    if found is None or found.device != device:
        found = _there[texts] = ResidentTexts(texts, device)
    return found
