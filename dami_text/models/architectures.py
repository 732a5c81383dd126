"""Which of transformers' architectures are taken, and how the texts of a batch are padded for them."""

from typing import Any, Literal

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from dami_text.errors import ConfigError
from dami_text.escaping import short_message
from dami_text.models.last_layer import head_of
from dami_text.models.word_level import WordLevelConfig

WANTED = "choose an encoder such as BERT, RoBERTa or DeBERTa, or a decoder such as Qwen or Llama"


def check_kind(config: PretrainedConfig, name: str) -> None:
    """Raise ConfigError unless the configuration is of an encoder or a decoder that can classify texts."""
    kind = type(config)
    if issubclass(kind, WordLevelConfig):
        raise ConfigError(
            f"--model {name} is a trained {config.model_type}; --init-model takes it for the first query, and "
            "--model cnn or bilstm trains a new one"
        )
    if kind not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise ConfigError(f"--model {name} is a {config.model_type}, which has no text classifier; {WANTED}")
    if config.is_encoder_decoder and config.get_text_config() is not config:
        raise ConfigError(
            f"--model {name} is a {config.model_type}, an encoder and a decoder with a configuration each; {WANTED}"
        )
    if kind in MODEL_FOR_MASKED_LM_MAPPING and getattr(config, "is_decoder", False):
        raise ConfigError(
            f"--model {name} is a {config.model_type} that reads left to right (is_decoder), and its head reads the "
            f"first token; {WANTED}"
        )


def set_padding(
    tokenizer: PreTrainedTokenizerFast, config: PretrainedConfig, name: str, side: Literal["left", "right"]
) -> None:
    """Give the tokenizer a padding token where it has none, and the side to pad on; and both configurations the token.

    The padding token of a tokenizer without one is its end token.

    Raises:
        ConfigError: the tokenizer has neither a padding token nor an end token.
    """
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise ConfigError(
                f"the tokenizer of --model {name} has no padding token and no end token; choose another model, or give "
                "it one"
            )
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = tokenizer.init_kwargs["padding_side"] = side  # the second is what is saved
    for each in (config, config.get_text_config()):
        each.pad_token_id = tokenizer.pad_token_id


def padding_side(config: PretrainedConfig) -> Literal["left", "right"]:
    """The side on which the texts of a batch are padded for the architecture's own classifier.

    On the right: a decoder's head reads the last token that is not the padding token, and what comes after a token does
    not change it. A head that reads the last place instead (XLNet) has padding on the left.
    """
    return "left" if getattr(config, "summary_type", None) == "last" else "right"


def check_works(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, name: str) -> None:
    """Classify two short texts, and differentiate by their words, as what follows will.

    Raises:
        ConfigError: the model cannot do this; the message says what it lacks.
    """
    try:
        head_of(model)
    except ValueError as error:
        raise ConfigError(f"--model {name} has no classification head: {error}; {WANTED}") from error
    padding = int(tokenizer.pad_token_id)
    texts = [torch.tensor(tokenizer(text)["input_ids"] or [padding]) for text in ("a", "a b a b")]
    ids = pad_sequence(texts, batch_first=True, padding_value=padding, padding_side=tokenizer.padding_side)
    ones = [torch.ones_like(text) for text in texts]
    mask = pad_sequence(ones, batch_first=True, padding_side=tokenizer.padding_side)
    embedded: list[torch.Tensor] = []

    def capture(_: object, inputs: object, output: Any) -> Any:
        several = isinstance(output, tuple)
        embedded.append((output[0] if several else output).detach().requires_grad_())  # whatever weights are frozen
        copied = embedded[-1].clone()  # which the model may change in place
        return (copied, *output[1:]) if several else copied

    try:
        hook = model.get_input_embeddings().register_forward_hook(capture)
        try:
            with torch.enable_grad():
                torch.autograd.grad(model(input_ids=ids, attention_mask=mask).logits.sum(), embedded)
        finally:
            hook.remove()
    except Exception as error:  # whatever an architecture raises that needs other inputs, or has no embeddings
        raise ConfigError(
            f"--model {name} is a {model.config.model_type}, which cannot classify texts by their tokens alone, with "
            f"gradients by the tokens' embeddings: {short_message(error)}; {WANTED}"
        ) from error
