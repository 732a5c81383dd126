"""Weights that all models of a run share: those of a pretrained base that is not trained."""

import torch
from torch import nn
from transformers import PreTrainedModel


def shared_weights(model: PreTrainedModel) -> list[nn.Parameter]:
    """The frozen weights of the model's base; none where the base is trained, or the model has none apart from itself.

    The models of a run have these very tensors in common: no training may change them.
    """
    if model.base_model is model:
        return []
    return [weight for weight in model.base_model.parameters() if not weight.requires_grad]


def own_weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """The weights and buffers, by name, that the model does not share with the others of its run."""
    shared = {id(weight) for weight in shared_weights(model)}
    named = model.state_dict(keep_vars=True).items()
    return {name: weight.detach() for name, weight in named if id(weight) not in shared}
