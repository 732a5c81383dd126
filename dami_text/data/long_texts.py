"""What a model reads of a text that has more tokens than it takes (`--long-texts`).

truncate reads the beginning. head-tail reads the beginning and the end, half of the tokens each, where news and reviews
say most (Sun et al. 2019, "How to Fine-Tune BERT for Text Classification?"). windows reads all: the tokens are divided
into as few windows as there must be, of equal length but for one token, and each has the special tokens of a text.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding
from transformers import PreTrainedTokenizerFast

LongTexts = Literal["truncate", "head-tail", "windows"]

#: Windows of a text, at most: a training step then takes no more memory for one long text than for 16 others.
MOST_WINDOWS = 16


def set_long_texts(tokenizer: PreTrainedTokenizerFast, how: LongTexts) -> None:
    """Have the tokenizer, and those that are loaded from where it is saved, keep what `how` says of long texts."""
    tokenizer.init_kwargs.pop("long_texts", None)
    if how != "truncate":  # which other programs do as well
        tokenizer.init_kwargs["long_texts"] = how


def long_texts_of(tokenizer: PreTrainedTokenizerFast) -> LongTexts:
    """What was set; "truncate" where nothing was."""
    found: LongTexts = tokenizer.init_kwargs.get("long_texts", "truncate")
    return found


def tokens_read(encoding: Encoding, longest: int, how: LongTexts) -> NDArray[np.int64]:
    """The places (T,) of the tokens that are read of a text, in order; those of special tokens once a window.

    Args:
        encoding: the whole text, with its special tokens.
        longest: the tokens that a model takes.
        how: see the module.
    """
    every = np.arange(len(encoding.ids))
    if len(every) <= longest:
        return every
    own = np.flatnonzero(np.array(encoding.special_tokens_mask) == 0)
    before, content, after = np.split(every, [own[0], own[-1] + 1])
    room = longest - len(before) - len(after)
    if how == "windows":
        parts = np.array_split(content[: MOST_WINDOWS * room], min(MOST_WINDOWS, -(-len(content) // room)))
    else:
        tail = room // 2 if how == "head-tail" else 0
        parts = [np.concatenate([content[: room - tail], content[len(content) - tail :]])]
    return np.concatenate([tokens for part in parts for tokens in (before, part, after)])


def words_left_out(words: NDArray[np.int64], read: NDArray[np.int64]) -> range:
    """The numbers of the words between the beginning and the end of a text that are read; none without such a gap.

    Args:
        words: (N,) the number of the word that each token of the text is a piece of, -1 for none.
        read: (T,) the places of the tokens that are read, see `tokens_read`; each once.
    """
    gaps = np.flatnonzero(np.diff(read) > 1) + 1
    if not len(gaps):
        return range(0)
    head, tail = np.split(words[read], gaps[:1])
    begin = int(head.max(initial=-1)) + 1
    return range(begin, max(begin, int(tail[tail >= 0].min(initial=words.max() + 1))))


def most_tokens(tokenizer: PreTrainedTokenizerFast) -> int:
    """The tokens of the longest text that is read whole, special tokens among them."""
    longest: int = tokenizer.model_max_length
    special = tokenizer.num_special_tokens_to_add()
    return MOST_WINDOWS * (longest - special) + special if long_texts_of(tokenizer) == "windows" else longest


def of_long_texts(lengths: Sequence[NDArray[np.integer]], tokenizer: PreTrainedTokenizerFast, unit: str) -> str | None:
    """A sentence on the texts that have more tokens than the tokenizer's maximum, and what is read of them.

    None where there are no such texts. `lengths` are those of texts (N,), special tokens among them, in parts; `unit`
    is what their tokens are.
    """
    every = np.concatenate([np.zeros(0, np.int64), *lengths])
    longest, how = tokenizer.model_max_length, long_texts_of(tokenizer)
    n = int((every > longest).sum())
    if not n:
        return None
    told = f"{n} of {len(every)} texts are longer than {longest} {unit} (the longest has {every.max()})"
    if how == "truncate":
        return f"{told} and were cut"
    if how == "head-tail":
        return f"{told}: their first and last tokens are read, half of {longest} each"
    cut = int((every > most_tokens(tokenizer)).sum())
    return f"{told} and are read in windows" + (f", {cut} of them up to the {MOST_WINDOWS}th window" if cut else "")
