"""CNN and BiLSTM for a stack of S models: what their `features` compute, by products of stacked weights.

Weights have the names and shapes of the model's own, with an axis of models before them.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from dami_text.models.bilstm import BiLSTMForSequenceClassification
from dami_text.models.stacked.lstm import lstm_states
from dami_text.models.text_cnn import TextCNNForSequenceClassification

Weights = Mapping[str, torch.Tensor]

#: The features (S, B, H) of texts by a configuration, weights, embeddings (S, B, T, D) and which are words (S, B, T).
Features = Callable[[Any, Weights, torch.Tensor, torch.Tensor], torch.Tensor]


def cnn_features(config: Any, weights: Weights, embedded: torch.Tensor, is_word: torch.Tensor) -> torch.Tensor:
    """As `TextCNNForSequenceClassification.features`: all filters as one product with the widest windows of words."""
    n_models, n_texts, length, dim = embedded.shape
    widest = max(config.filter_sizes)
    padded = functional.pad(embedded * is_word.unsqueeze(-1), (0, 0, 0, widest - 1))
    windows = torch.cat([padded[:, :, first : first + length] for first in range(widest)], dim=3)
    kernels, biases = [], []
    for i, size in enumerate(config.filter_sizes):
        kernel = weights[f"convolutions.{i}.weight"].squeeze(3)  # (S, n_filters, D, size)
        by_word = kernel.permute(0, 3, 2, 1).flatten(1, 2)  # (S, size * D, n_filters)
        kernels.append(functional.pad(by_word, (0, 0, 0, (widest - size) * dim)))
        biases.append(weights[f"convolutions.{i}.bias"])
    bias = torch.cat(biases, dim=1).unsqueeze(1)
    maps = torch.baddbmm(bias, windows.view(n_models, n_texts * length, -1), torch.cat(kernels, dim=2))
    outside = torch.zeros_like(is_word, dtype=maps.dtype).masked_fill(~is_word, -torch.inf)
    maps = maps.view(n_models, n_texts, length, -1).add_(outside.unsqueeze(-1))
    return torch.relu(maps.max(dim=2).values)


def bilstm_features(config: Any, weights: Weights, embedded: torch.Tensor, is_word: torch.Tensor) -> torch.Tensor:
    """As `BiLSTMForSequenceClassification.features`: both directions of all models take a word at a time."""
    n_models, n_texts, length, _ = embedded.shape
    embedded = embedded * is_word.unsqueeze(-1)
    last = is_word.sum(2).clamp(min=1).unsqueeze(-1) - 1  # (S, B, 1)
    place = torch.arange(length, device=embedded.device).expand(n_models, n_texts, length)
    mirrored = torch.where(place <= last, last - place, place)
    reversed_words = embedded.gather(2, mirrored.unsqueeze(-1).expand_as(embedded))

    def of_both(name: str) -> torch.Tensor:
        both = [weights[f"{direction}_lstm.{name}_l0"] for direction in ("forward", "backward")]
        return torch.stack(both, dim=1).flatten(0, 1)  # (2 S, ...)

    bias: torch.Tensor = (of_both("bias_ih") + of_both("bias_hh")).unsqueeze(1)
    read = torch.stack([embedded, reversed_words], dim=1).flatten(0, 1).transpose(1, 2)  # (2 S, T, B, D)
    inputs = torch.baddbmm(bias, read.flatten(1, 2), of_both("weight_ih").transpose(1, 2))
    inputs = inputs.unflatten(1, (length, n_texts))
    states = lstm_states(inputs, of_both("weight_hh").transpose(1, 2))
    states = states.unflatten(0, (n_models, 2))  # (S, 2, T, B, H / 2)
    if config.pooling == "max":
        padding = (place > last).transpose(1, 2)[:, None, :, :, None]  # (S, 1, T, B, 1)
        pooled: torch.Tensor = states.masked_fill(padding, -torch.inf).amax(dim=2)
    else:
        ends = last.squeeze(-1)[:, None, None, :, None].expand(-1, 2, 1, -1, states.shape[-1])
        pooled = states.gather(2, ends).squeeze(2)
    return pooled.transpose(1, 2).flatten(2)  # (S, B, H)


#: Into how many parts the models of a step are dealt, by the length of their batches, so that the short ones are not
#: padded to the longest of all. A CNN's step takes as long as there are words, a BiLSTM's as its longest text.
PARTS: dict[type[PreTrainedModel], int] = {TextCNNForSequenceClassification: 4, BiLSTMForSequenceClassification: 1}

#: By the class of a model.
FEATURES: dict[type[PreTrainedModel], Features] = {
    TextCNNForSequenceClassification: cnn_features,
    BiLSTMForSequenceClassification: bilstm_features,
}
