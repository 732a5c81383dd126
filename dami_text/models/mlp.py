"""A multilayer perceptron for the rows of a table."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

# Relative, so that transformers finds the file and copies it along (publishing.push.export_code).
from .word_level import label_names, torch_initialization


class MLPConfig(PretrainedConfig):
    """Sizes of an MLP, and its dropout after each hidden layer.

    `n_features` is the number of features of a row, `hidden_sizes` the units of each hidden layer.
    """

    model_type = "dami_text_mlp"

    def __init__(
        self, n_features: int = 1, hidden_sizes: Sequence[int] = (16, 8), dropout: float = 0.0, **kwargs: Any
    ) -> None:
        self.n_features = n_features
        self.hidden_sizes = list(hidden_sizes)
        self.dropout = dropout
        super().__init__(**kwargs)


class MLPForSequenceClassification(PreTrainedModel):
    """Linear layers with ReLU and dropout between them. A row is a text of one word, its features the embedding."""

    config_class = MLPConfig
    config: Any
    _input_embed_layer = "embedding"  # where get_input_embeddings finds it

    def __init__(self, config: MLPConfig) -> None:
        super().__init__(config)
        self.embedding = nn.Identity()  # passes the features through, so that they can be hooked like words' embeddings
        sizes = [config.n_features, *config.hidden_sizes]
        self.hidden = nn.ModuleList(nn.Linear(given, units) for given, units in pairwise(sizes))
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(sizes[-1], int(config.num_labels or 2))
        self.post_init()  # type: ignore[no-untyped-call]  # transformers leaves it untyped

    def _init_weights(self, module: nn.Module) -> None:
        torch_initialization(module)

    def features(self, rows: torch.Tensor) -> torch.Tensor:
        """What the last layer reads (B, H), from the rows' features (B, D)."""
        for layer in self.hidden:
            rows = self.dropout(torch.relu(layer(rows)))
        return rows

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Logits (B, C), and the loss where labels (B,) are given.

        Args:
            input_ids: (B, 1, D), the features of each row, under the name that all models share.
            attention_mask: not read; a row has no padding.
            labels: (B,).
        """
        rows = self.embedding(input_ids.to(self.classifier.weight.dtype))
        logits = self.classifier(self.features(rows.squeeze(1)))
        loss = None if labels is None else self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def build_mlp(class_names: Sequence[str], n_features: int, dropout: float = 0.0) -> MLPForSequenceClassification:
    """A new MLP for rows of `n_features` features, drawn from torch's generator."""
    return MLPForSequenceClassification(MLPConfig(n_features, dropout=dropout, **label_names(class_names)))
