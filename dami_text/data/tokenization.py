"""The word-level tokenizer, and texts with their token ids in an Arrow table."""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from datasets import Dataset, Features, List, Value
from numpy.typing import NDArray
from tokenizers import Encoding, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from dami_text.config.data_options import TokenizationConfig
from dami_text.data.long_texts import long_texts_of, most_tokens, of_long_texts, tokens_read, words_left_out
from dami_text.data.texts import EncodedTexts
from dami_text.data.words import splits_words, word_numbers

logger = logging.getLogger(__name__)

PAD, UNKNOWN = "[PAD]", "[UNK]"

# Patterns for Oniguruma, whose syntax the tokenizer is saved in.
_WITHOUT_SPACES = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_IN_WORDS = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}"

#: A letter of a script that is written without spaces between words, with the marks on it.
LETTER_WITHOUT_SPACES = rf"[{_WITHOUT_SPACES}][\p{{M}}ー]*"

#: A letter or digit of any other script.
CHARACTER = rf"[{_IN_WORDS}&&[^{_WITHOUT_SPACES}]]"

#: Up to the last character that no sentence would put behind it.
URL = rf"(?i:https?://|www\.)(?:{CHARACTER}|[-.~:/?#\[\]@!$&'()*+,;=%])*(?:{CHARACTER}|[-~/#&=+%])"

USER_NAME = rf"(?<!{CHARACTER})@{CHARACTER}+"

HTML_ENTITY = r"&(?:[A-Za-z][A-Za-z0-9]{1,31}|#[0-9]{1,7}|#[Xx][0-9A-Fa-f]{1,6});"

#: A flag of a country, a key of a telephone, or pictographs, which have modifiers or tags and are joined to one another
#: (Unicode Technical Standard 51).
_PICTOGRAPH = r"\p{Extended_Pictographic}(?:\p{Emoji_Modifier}|[\x{FE0E}\x{FE0F}])*(?:[\x{E0020}-\x{E007E}]+\x{E007F})?"
EMOJI = rf"\p{{Regional_Indicator}}{{2}}|[0-9#*]\x{{FE0F}}?\x{{20E3}}|{_PICTOGRAPH}(?:\x{{200D}}{_PICTOGRAPH})*"

PUNCTUATION = rf"(?:(?!{USER_NAME}|{HTML_ENTITY}|{EMOJI})[^\s{_IN_WORDS}{_WITHOUT_SPACES}])+"

#: What is one word of a text.
WORD = "|".join([URL, USER_NAME, HTML_ENTITY, EMOJI, LETTER_WITHOUT_SPACES, f"{CHARACTER}+", PUNCTUATION])


def build_tokenizer(dataset: Dataset, config: TokenizationConfig) -> PreTrainedTokenizerFast:
    """A word-level tokenizer whose vocabulary is the most frequent words of `dataset`'s column `text`.

    Words of fewer than `config.min_document_frequency` texts are left out: the vocabulary is published with the model,
    and such words may name a person. Words are runs of letters and digits, or of punctuation; in scripts without
    spaces, such as Chinese, Japanese and Thai, each letter is a word. A URL, a user name (@name), an HTML entity
    (&amp;) and an emoji with all its parts are a word each. Nothing in a text is taken for a special token: a text that
    holds "[PAD]" holds three words.
    """
    steps = [normalizers.NFC(), *([normalizers.Lowercase()] if config.lowercase else [])]
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), "removed", invert=True)  # what is no word is
    fewest = config.min_document_frequency
    trainer = trainers.WordLevelTrainer(
        vocab_size=config.max_vocabulary if fewest == 1 else 2**31,
        min_frequency=min(fewest, 2**31),  # a word of n texts occurs n times or more
        special_tokens=[PAD, UNKNOWN],
        show_progress=False,
    )

    def texts() -> Iterator[list[str]]:
        for batch in dataset.select_columns("text").iter(1000):
            yield batch["text"]

    tokenizer.train_from_iterator(texts(), trainer, length=len(dataset))
    if fewest > 1:
        frequencies = _document_frequencies(tokenizer, texts())
        frequencies[:2] = fewest  # the special tokens
        kept = np.flatnonzero(frequencies >= fewest)[: config.max_vocabulary].tolist()
        words = {str(tokenizer.id_to_token(word)): i for i, word in enumerate(kept)}
        tokenizer.model = models.WordLevel(words, unk_token=UNKNOWN)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        model_max_length=config.max_length,
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )


def _document_frequencies(tokenizer: Tokenizer, batches: Iterator[list[str]]) -> NDArray[np.int64]:
    """In how many texts each word (V,) of the vocabulary is."""
    frequencies = np.zeros(tokenizer.get_vocab_size(), np.int64)
    for batch in batches:
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            frequencies[np.unique(encoding.ids).astype(np.int64)] += 1
    return frequencies


def encode(dataset: Dataset, tokenizer: PreTrainedTokenizerFast, warn: bool = True) -> Dataset:
    """`dataset` with columns more: `input_ids`, what is read of each text (`long_texts`), and `length`, of the whole.

    A tokenizer that is not word-level adds its special tokens, and a column `word_ids`: the number of the word that
    each token is a piece of, -1 for special tokens. Nothing in a text is taken for a special token.

    The result is cached beside the data set's own files, under a fingerprint of the data and of the tokenizer. With
    `warn`, a line counts the long texts; see `warn_of_long_texts` for several parts of a source.
    """
    longest, how = tokenizer.model_max_length, long_texts_of(tokenizer)
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    in_pieces = not isinstance(backend.model, models.WordLevel)
    splits = splits_words(backend)
    columns = {"input_ids": List(Value("int32")), "length": Value("int32")}
    if in_pieces:
        columns["word_ids"] = List(Value("int32"))

    def encode_batch(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        fast = not in_pieces and how == "truncate"  # where ids are all that is asked for
        encodings = (backend.encode_batch_fast if fast else backend.encode_batch)(batch["text"])
        read = [tokens_read(each, longest, how) for each in encodings]
        columns: dict[str, list[Any]] = {
            "input_ids": [np.array(each.ids, np.int32)[tokens] for each, tokens in zip(encodings, read, strict=True)],
            "length": [len(each.ids) for each in encodings],
        }
        if in_pieces:
            columns["word_ids"] = list(map(words_read, encodings, read))
        return columns

    def words_read(encoding: Encoding, read: NDArray[np.int64]) -> NDArray[np.int64]:
        words = word_numbers(encoding, splits)
        left_out = words_left_out(words, read) if how == "head-tail" else range(0)
        return (words - len(left_out) * (words >= left_out.stop))[read]

    content = f"{dataset._fingerprint} {longest} {how} {backend.to_str()}"
    encoded = dataset.map(
        encode_batch,
        batched=True,
        features=Features({**dataset.features, **columns}),
        new_fingerprint=hashlib.sha256(content.encode()).hexdigest()[:32],
        desc="tokenize" if len(dataset) >= 100_000 else None,
    )
    if warn:
        warn_of_long_texts([encoded], tokenizer)
    return encoded


def encode_all(parts: Sequence[Dataset], tokenizer: PreTrainedTokenizerFast) -> list[EncodedTexts]:
    """Each data set's texts by their token ids; the long texts of all of them are counted in one line."""
    encoded = [encode(part, tokenizer, warn=False) for part in parts]
    warn_of_long_texts(encoded, tokenizer)
    return [EncodedTexts(part, tokenizer) for part in encoded]


def warn_of_long_texts(encoded: Sequence[Dataset], tokenizer: PreTrainedTokenizerFast) -> None:
    """Say, once for all that `encode` made of a source, how many texts are longer than the tokenizer's maximum."""
    in_pieces = any("word_ids" in part.column_names for part in encoded)
    lengths = [part.data.column("length").to_numpy() for part in encoded]
    if told := of_long_texts(lengths, tokenizer, "pieces of words" if in_pieces else "words"):
        read_whole = max(part.max(initial=0) for part in lengths) <= most_tokens(tokenizer)
        level = logging.INFO if read_whole else logging.WARNING
        logger.log(level, "%s; see --max-length and --long-texts", told)


def warn_of_unknown_pieces(parts: Sequence[EncodedTexts], tokenizer: PreTrainedTokenizerFast) -> None:
    """Warn, once for all parts of a source, of texts most of whose pieces an encoder's tokenizer does not know."""
    if tokenizer.unk_token_id is None:
        return
    special = tokenizer.num_special_tokens_to_add()
    unknown = [np.flatnonzero(2 * part.counts_of(tokenizer.unk_token_id) > part.lengths - special) for part in parts]
    if n := sum(map(len, unknown)):
        first = next(part.text(int(rows[0])) for part, rows in zip(parts, unknown, strict=True) if len(rows))
        logger.warning(
            "most pieces of %d of %d texts are unknown to the tokenizer of the encoder, such as %r; choose an encoder "
            "of their language, or --model linear",
            *(n, sum(map(len, parts)), first if len(first) <= 40 else first[:40] + "..."),
        )
