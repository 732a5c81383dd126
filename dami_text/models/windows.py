"""Texts that are longer than a model takes, read in windows (`data.long_texts`).

A batch holds the tokens of each text's windows one after another. The model is called with each window as a text of its
own, and a text's logits are the mean of its windows'. Its probabilities are then those of the windows' mean
log-probabilities: the two differ by what is the same for all classes. A sentence encoder's features are averaged, as
they come out of its last layer but the head: the head is linear, so that the logits are the same mean.

Training goes through the same mean, with the text's one label. So it trains what predicts, and a window that says
nothing of the label need not learn it.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from dami_text.data.long_texts import LongTexts, long_texts_of, set_long_texts
from dami_text.models.sentence_encoder import SentenceEncoderForSequenceClassification


@dataclass(frozen=True)
class Windows:
    """The windows (V) of the texts (B) of a batch of tokens (B, T).

    Attributes:
        is_token: (B, T), what is no padding; the M tokens are numbered in this order.
        window, column: (M,) the window that a token is in, and its place there.
        text: (V,) the text that a window is of.
    """

    is_token: torch.Tensor
    window: torch.Tensor
    column: torch.Tensor
    text: torch.Tensor

    @classmethod
    def of(cls, attention_mask: torch.Tensor, longest: int, padding_side: str = "right") -> Self:
        """The windows of texts whose mask is (B, T), as `long_texts.tokens_read` has divided them.

        Those of a text are as few as its tokens need, and the first ones have a token more where they are not equal.
        """
        is_token = attention_mask.bool()
        lengths = is_token.sum(dim=1)
        counts = ((lengths + longest - 1) // longest).clamp(min=1)
        first, sizes, longer = counts.cumsum(0) - counts, lengths // counts, lengths % counts
        texts = torch.arange(len(lengths), device=lengths.device)
        of = texts.repeat_interleave(lengths)  # (M,) the text of each token
        place = (is_token.cumsum(dim=1) - 1)[is_token]
        size, more = sizes[of], longer[of]
        edge = more * (size + 1)  # where the longer windows end
        in_longer = place < edge
        number = torch.where(in_longer, place // (size + 1), more + (place - edge) // size.clamp(min=1))
        column = torch.where(in_longer, place % (size + 1), (place - edge) % size.clamp(min=1))
        if padding_side == "left":
            column = column + (size + in_longer).max() - (size + in_longer)
        return cls(is_token, first[of] + number, column, texts.repeat_interleave(counts))

    def split(self, input_ids: torch.Tensor, padding: int) -> dict[str, torch.Tensor]:
        """The windows' `input_ids` (V, L) and `attention_mask` (V, L), of tokens (B, T)."""
        shape = len(self.text), int(self.column.max()) + 1
        ids, mask = input_ids.new_full(shape, padding), input_ids.new_zeros(shape)
        ids[self.window, self.column] = input_ids[self.is_token]
        mask[self.window, self.column] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def by_token(self, values: torch.Tensor) -> torch.Tensor:
        """Values (B, T, D) of the batch's tokens, 0 for padding, of values (V, L, D) of the windows'."""
        found = values.new_zeros(*self.is_token.shape, values.shape[-1])
        found[self.is_token] = values[self.window, self.column]
        return found

    def means(self, values: torch.Tensor) -> torch.Tensor:
        """The means (B, H) over each text's windows of values (V, H)."""
        n_texts = len(self.is_token)
        sums = values.new_zeros(n_texts, values.shape[-1]).index_add(0, self.text, values)
        return sums / self.text.bincount(minlength=n_texts).unsqueeze(1).to(values)


def windows_of(model: PreTrainedModel, attention_mask: torch.Tensor) -> Windows | None:
    """The windows in which the model reads a batch; None where it reads each text whole."""
    longest: int | None = getattr(model.config, "text_window", None)
    if longest is None or attention_mask.shape[1] <= longest:
        return None
    return Windows.of(attention_mask, longest, model.config.window_padding)


def read_long_texts(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, how: LongTexts | None = None) -> None:
    """Have the tokenizer and the model read long texts as `how` says; by default as the tokenizer does already."""
    if how is not None:
        set_long_texts(tokenizer, how)
    if long_texts_of(tokenizer) != "windows":
        for name in ("text_window", "window_padding"):  # of the model that this one starts from
            model.config.__dict__.pop(name, None)
        return
    model.config.text_window, model.config.window_padding = tokenizer.model_max_length, tokenizer.padding_side
    pools = isinstance(model, SentenceEncoderForSequenceClassification)
    hooks = _Hooks(
        tokenizer.model_max_length,
        tokenizer.padding_side,
        int(tokenizer.pad_token_id),
        "pooler_output" if pools else "logits",
    )
    reader: Any = model.encoder if pools else model
    reader.register_forward_pre_hook(hooks.split, with_kwargs=True)
    reader.register_forward_hook(hooks.join)


class _Hooks:
    """What calls a module with windows in the place of texts, and averages what comes out of it."""

    def __init__(self, longest: int, padding_side: str, padding: int, averaged: str) -> None:
        self._longest, self._side, self._padding, self._averaged = longest, padding_side, padding, averaged
        self._windows: Windows | None = None

    def split(self, module: nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
        """Before the module: its `input_ids` and `attention_mask`, by window where a text is too long."""
        self._windows, mask = None, given.get("attention_mask")
        if mask is None or mask.shape[1] <= self._longest:
            return None
        self._windows = Windows.of(mask, self._longest, self._side)
        return args, {**given, **self._windows.split(given["input_ids"], self._padding)}

    def join(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """After the module: one value a text of what is averaged."""
        windows, self._windows = self._windows, None
        if windows is not None:
            output[self._averaged] = windows.means(output[self._averaged])
        return output
