"""The last layer of a model, what it reads, and a bias for one that has none (the heads of decoders)."""

from collections.abc import Collection

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

#: Bias of a class that no label has. (Half precision goes to 65,504.)
UNSEEN = -1e4


def head_of(model: PreTrainedModel) -> nn.Linear:
    """The model's last layer: the linear one that gives the logits.

    Raises:
        ValueError: the model has none.
    """
    n_classes = model.config.num_labels
    linear = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == n_classes]
    if not linear:
        raise ValueError(f"{type(model).__name__} has no linear layer of {n_classes} outputs to be its last layer")
    return linear[-1]


def last_bias(model: PreTrainedModel) -> torch.Tensor | None:
    """The biases (C,) of the model's last layer, if it has them."""
    try:
        return head_of(model).bias
    except ValueError:
        return None


def read_by_head(
    values: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor, config: PretrainedConfig
) -> torch.Tensor:
    """Of values (B, T, H) that the last layer is given for all tokens (B, T), what counts for the logits, (B, H).

    As transformers has it, a decoder's head reads the last token that is not the padding token, or the first where all
    are; the mean of all tokens' logits (`classifier_pooling` "late") is the logit of the mean.
    """
    if getattr(config, "classifier_pooling", None) == "late":
        mask = attention_mask.unsqueeze(-1)
        return (values * mask).sum(dim=1) / mask.sum(dim=1)
    real = (input_ids != config.get_text_config().pad_token_id).long()
    places = (torch.arange(input_ids.shape[1], device=input_ids.device) * real).argmax(dim=1)
    return values[torch.arange(len(values), device=values.device), places]


def add_bias(model: PreTrainedModel) -> None:
    """Give a linear last layer without a bias one that is not trained: 0, and UNSEEN for `config.unseen_classes`.

    It keeps classes without labels unpredicted. transformers' own class has no place for it, so it is not saved:
    `record_unseen` writes the classes into the configuration. A last layer with a bias is left as it is.
    """
    if last_bias(model) is not None:
        return
    head = head_of(model)
    del head._parameters["bias"]
    head.register_buffer("bias", torch.zeros(head.out_features, dtype=head.weight.dtype, device=head.weight.device))
    set_unseen(model, getattr(model.config, "unseen_classes", ()))
    (name,) = (name for name, module in model.named_modules() if module is head)
    model._keys_to_ignore_on_save = {*(model._keys_to_ignore_on_save or ()), f"{name}.bias"}


def set_unseen(model: PreTrainedModel, classes: Collection[int]) -> None:
    """Have a model that `add_bias` gave a bias never predict `classes`, and its configuration say so."""
    if len(classes) and "bias" in head_of(model)._buffers:
        head_of(model).bias[list(classes)] = UNSEEN
        model.config.unseen_classes = list(classes)


def record_unseen(model: PreTrainedModel) -> None:
    """Write the classes that no label had into the configuration, before a model whose bias is not saved is saved.

    In the weights, each of them takes the mean of the other classes: its logit is then never above all of theirs, so
    that transformers alone, which does not know of the bias, gives it some probability but not the highest.
    """
    bias = last_bias(model)
    if bias is None or "bias" not in head_of(model)._buffers:
        return
    unseen = bias < UNSEEN / 2
    model.config.unseen_classes = torch.nonzero(unseen).flatten().tolist()
    if unseen.any():
        with torch.no_grad():
            weight = head_of(model).weight
            weight[unseen] = weight[~unseen].mean(dim=0)
