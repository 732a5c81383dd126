"""Which word of a text each token is a piece of."""

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

#: What stands for a blank at the beginning of a piece (SentencePiece), and for blanks and line ends in bytes (GPT-2).
BLANK, BLANKS = "▁", "▁ĠĊĉč"


def words_of(encoding: Encoding, splits: bool) -> list[int | None]:
    """The number of the word that each token is a piece of; None for special tokens and for what is only blanks.

    Where the tokenizer does not split texts into words (see `splits_words`), a word begins with each piece that begins
    with a blank.
    """
    words = list(encoding.word_ids) if splits else _begun_by_blanks(encoding)
    telling = {word for word, token in zip(words, encoding.tokens, strict=True) if token.strip(BLANKS)}
    return [word if word in telling else None for word in words]


def word_numbers(encoding: Encoding, splits: bool) -> NDArray[np.int64]:
    """The same as an array (N,), with -1 for None."""
    return np.array([-1 if word is None else word for word in words_of(encoding, splits)], np.int64)


def _begun_by_blanks(encoding: Encoding) -> list[int | None]:
    words: list[int | None] = []
    word = -1
    for token, own in zip(encoding.tokens, encoding.word_ids, strict=True):
        if own is not None and (word < 0 or token.startswith(BLANK)):
            word += 1
        words.append(None if own is None else word)
    return words


def splits_words(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer numbers the words of a text; some of SentencePiece's take a whole text for one word."""
    return len(set(tokenizer.encode("a a", add_special_tokens=False).word_ids)) != 1
