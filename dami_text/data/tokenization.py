"""The word-level tokenizer, and texts with their token ids in an Arrow table."""

import hashlib
import logging
from collections.abc import Iterator
from typing import Any

from datasets import Dataset, Features, List, Value
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from dami_text.config import TokenizationConfig

logger = logging.getLogger(__name__)

PAD, UNKNOWN = "[PAD]", "[UNK]"


def build_tokenizer(dataset: Dataset, config: TokenizationConfig) -> PreTrainedTokenizerFast:
    """A word-level tokenizer whose vocabulary is the most frequent words of `dataset`'s column `text`.

    Words are runs of letters and digits, or of punctuation. Nothing in a text is taken for a special token: a text
    that holds "[PAD]" holds three words.
    """
    steps = [normalizers.NFC(), *([normalizers.Lowercase()] if config.lowercase else [])]
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(
        vocab_size=config.max_vocabulary, special_tokens=[PAD, UNKNOWN], show_progress=False
    )

    def texts() -> Iterator[list[str]]:
        for batch in dataset.select_columns("text").iter(1000):
            yield batch["text"]

    tokenizer.train_from_iterator(texts(), trainer, length=len(dataset))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        model_max_length=config.max_length,
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )


def encode(dataset: Dataset, tokenizer: PreTrainedTokenizerFast) -> Dataset:
    """`dataset` with two columns more: `input_ids`, cut to the tokenizer's maximum, and `length`, before the cut.

    The result is cached beside the data set's own files, under a fingerprint of the data and of the tokenizer. One
    warning counts the texts that were cut.
    """
    longest = tokenizer.model_max_length
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True

    def encode_batch(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        ids = [encoding.ids for encoding in backend.encode_batch_fast(batch["text"], add_special_tokens=False)]
        return {"input_ids": [i[:longest] for i in ids], "length": [len(i) for i in ids]}

    content = f"{dataset._fingerprint} {longest} {backend.to_str()}"
    encoded = dataset.map(
        encode_batch,
        batched=True,
        features=Features({**dataset.features, "input_ids": List(Value("int32")), "length": Value("int32")}),
        new_fingerprint=hashlib.sha256(content.encode()).hexdigest()[:32],
        desc="tokenize" if len(dataset) >= 100_000 else None,
    )
    lengths = encoded.data.column("length").to_numpy()
    cut = int((lengths > longest).sum())
    if cut:
        logger.warning(
            "%d of %d texts are longer than %d words (the longest has %d) and were cut; --max-length sets the limit",
            *(cut, len(lengths), longest, lengths.max()),
        )
    return encoded
