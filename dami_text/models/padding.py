"""Lengths that an architecture needs its texts padded to, and cannot pad to by itself."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import PretrainedConfig


def needed_multiple(config: PretrainedConfig) -> int:
    """What number of tokens the length of a batch must be a multiple of; 1 where any will do.

    A Nystromformer takes means over segments of one length only, so that longer texts are cut to it. What a Funnel
    Transformer pools depends on where its blocks halve the text.
    """
    if config.model_type == "nystromformer" and config.num_landmarks != config.segment_means_seq_len:
        return int(config.segment_means_seq_len)
    if config.model_type == "funnel":
        return int(2 ** len(config.block_sizes))
    return 1


def pad_to_multiple(transformer: nn.Module, config: PretrainedConfig) -> None:
    """Have the transformer pad on the right what it is called with, `input_ids` (B, T) and `attention_mask` (B, T).

    Its states are as long as it has padded them. One that takes texts of any length is left as it is.
    """
    multiple = needed_multiple(config)
    if multiple == 1:
        return

    def pad(module: nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        ids, rest = (args[0], args[1:]) if args else (given["input_ids"], args)
        more = -ids.shape[1] % multiple
        mask = functional.pad(given["attention_mask"], (0, more))
        if config.model_type == "nystromformer":  # whose scores are by landmark: transformers' own mask is by token
            dtype = next(module.parameters()).dtype
            mask = torch.zeros_like(mask, dtype=dtype).masked_fill(mask == 0, torch.finfo(dtype).min)[:, None, None]
        padded = {"input_ids": functional.pad(ids, (0, more), value=config.pad_token_id), "attention_mask": mask}
        return rest, {**given, **padded}

    transformer.register_forward_pre_hook(pad, with_kwargs=True)
