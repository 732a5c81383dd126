"""Tiny encoders with random weights and their tokenizers, built here without a network."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
#: The words w0..w39 of conftest.make_texts are two pieces each, and so are the reviews' adjectives; z is unknown.
PIECES = [
    *("w", *(f"##{i}" for i in range(40)), *"0123456789", *(f"##{i}" for i in range(40, 100))),
    *("the", "is", "and", "times", "plot", "cast", "film", "music", "ending", "camera", ",", ".", "[", "]", "sep"),
    *("go", "##od", "gr", "##eat", "live", "##ly", "fre", "##sh", "ba", "##d", "du", "##ll", "bor", "##ing"),
    *("sta", "##le"),
]


def tiny_tokenizer(max_length: int = 32) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer as BERT's."""
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys([*SPECIAL, *PIECES]))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    ends = (("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    tokenizer.post_processor = processors.BertProcessing(*ends)
    names = {"unk": "[UNK]", "pad": "[PAD]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    options: dict[str, Any] = {f"{name}_token": token for name, token in names.items()}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_length, **options)


SIZES: dict[str, Any] = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "initializer_range": 0.5,  # so that outputs differ from text to text
    "hidden_dropout_prob": 0.1,
}


def tiny_model(kind: str = "bert", n_classes: int = 2, seed: int = 0, **options: Any) -> PreTrainedModel:
    """A tiny classifier, out of training mode."""
    size = len(tiny_tokenizer())
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        options = {"vocab_size": size, "num_labels": n_classes, "pad_token_id": 0, **SIZES, **options}
        if kind == "bert":
            return BertForSequenceClassification(BertConfig(max_position_embeddings=32, **options)).eval()
        options |= {"bos_token_id": 2, "eos_token_id": 3, "type_vocab_size": 1}
        return RobertaForSequenceClassification(RobertaConfig(max_position_embeddings=33, **options)).eval()


def save_encoder(folder: Path, kind: str = "bert", **options: Any) -> Path:
    """A folder as `--model` takes it: the classifier and its tokenizer."""
    tiny_model(kind, **options).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder
