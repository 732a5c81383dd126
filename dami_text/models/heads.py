"""The head of an encoder: what comes after it, up to the logits."""

import copy
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling


def head_modules(model: PreTrainedModel) -> list[nn.Module]:
    """What comes after the encoder: dropout, pooling of its own, and the layers up to the logits."""
    return [module for name, module in model.named_children() if name != model.base_model_prefix]


class _Features(nn.Module):
    """Stands in for an encoder: its output is the features that it is given."""

    def forward(self, *_: Any, inputs_embeds: torch.Tensor, **__: Any) -> BaseModelOutputWithPooling:
        """Features (B, 1, H) as the states of texts of one token, and as what was pooled of them."""
        return BaseModelOutputWithPooling(last_hidden_state=inputs_embeds, pooler_output=inputs_embeds[:, 0])


def head_alone(model: PreTrainedModel) -> PreTrainedModel:
    """The model's head, from features (`FeatureBatch.inputs`) to logits; it shares its weights with `model`."""
    head = copy.copy(model)
    head.__dict__["_modules"] = {**model._modules, model.base_model_prefix: _Features()}
    return head


def draw(model: PreTrainedModel, module: nn.Module) -> None:
    """Draw the weights of a module anew, as the model's kind does it, from torch's generator."""
    with torch.no_grad():
        for part in module.modules():
            for weight in part.parameters(recurse=False):
                weight._is_hf_initialized = False  # type: ignore[attr-defined]  # or transformers leaves it
            model._init_weights(part)
