"""Half precision in passes, where `--mixed-precision` asks for it.

The last layer stays in float32: logits in half precision have too few digits to rank texts by. So does what reads
features, a frozen encoder's or a table's: there is nothing to gain.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from dami_text.data.texts import FeatureTexts
from dami_text.models.last_layer import head_of
from dami_text.models.mlp import MLPForSequenceClassification
from dami_text.processes import asked_half


@contextmanager
def asked_precision(model: PreTrainedModel, texts: Any = None, *, for_gradients: bool = False) -> Iterator[None]:
    """The model computes in the precision that the process has begun with, but for its last layer.

    Passes `for_gradients` do so in bfloat16 only: in float16, gradients that nothing scales would become 0. And only of
    an encoder with a head: where a network takes maxima over the words, rounding decides which word has the gradient.
    """
    half = asked_half()
    reads_features = isinstance(texts, FeatureTexts) or isinstance(model, MLPForSequenceClassification)
    if reads_features or (for_gradients and (half != torch.bfloat16 or model.base_model is model)):
        half = None
    with nullcontext() if half is None else half_precision(model, half):
        yield


@contextmanager
def half_precision(model: PreTrainedModel, half: torch.dtype) -> Iterator[None]:
    """The model computes in `half` what loses little by it, as `torch.autocast` does, and its last layer in float32."""
    device = next(model.parameters()).device.type
    try:
        head: nn.Linear | None = head_of(model)
    except ValueError:
        head = None

    def in_full(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device, enabled=False):
            return functional.linear(inputs[0].float(), module.weight, module.bias)  # type: ignore[arg-type]

    handle = None if head is None else head.register_forward_hook(in_full)
    try:
        with torch.autocast(device, half):
            yield
    finally:
        if handle is not None:
            handle.remove()
