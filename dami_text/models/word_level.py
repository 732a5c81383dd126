"""What the word-level models share: an embedding, features of a text, dropout, and a linear layer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


def class_names_of(config: PretrainedConfig) -> list[str]:
    """The names (C,) of the classes that a classifier tells apart."""
    names: Any = config.id2label
    return [str(names[i]) for i in sorted(names)]


#: What transformers calls a model that says of each label whether it holds.
MULTILABEL = "multi_label_classification"


def label_names(class_names: Sequence[str], *, multilabel: bool = False) -> dict[str, Any]:
    """The options of a configuration that name the classes, or the labels of which a text has any number."""
    names = {"id2label": dict(enumerate(class_names)), "label2id": {name: i for i, name in enumerate(class_names)}}
    return names | ({"problem_type": MULTILABEL} if multilabel else {})


class WordLevelConfig(PretrainedConfig):
    """Sizes of a word-level model; `num_labels`, `id2label` and `label2id` are transformers' own."""

    def __init__(
        self,
        vocab_size: int = 2,
        embedding_dim: int = 100,
        dropout: float = 0.5,
        pad_token_id: int = 0,
        **kwargs: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.embedding_dim = embedding_dim
        self.dropout = dropout
        super().__init__(**{"pad_token_id": pad_token_id, **kwargs})


def torch_initialization(module: nn.Module) -> None:
    """Draw a module's weights as torch does: transformers' default would draw every weight from N(0, 0.02)."""
    reset = getattr(module, "reset_parameters", None)
    if reset is not None:
        reset()


class WordLevelForSequenceClassification(PreTrainedModel):
    """Base of TextCNN and BiLSTM, which give the features and inherit the rest. Padding never changes a logit."""

    config_class: type[PretrainedConfig] = WordLevelConfig
    config: Any
    _input_embed_layer = "embedding"  # where get_input_embeddings finds it

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_dim, padding_idx=config.pad_token_id)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.feature_dim, config.num_labels)

    def _init_weights(self, module: nn.Module) -> None:
        torch_initialization(module)

    def features(self, embedded: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The features (B, H) that the classifier's last layer reads, from embeddings (B, T, D) and mask (B, T)."""
        raise NotImplementedError

    def features_of_ids(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The same from the ids of words (B, T) where no gradient is wanted, for which there may be a quicker way."""
        return self.features(self.embedding(input_ids), attention_mask)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Logits (B, C), and the loss where labels (B,) are given.

        Args:
            input_ids: (B, T); padding is told by attention_mask, or by the padding id where there is none.
            attention_mask: (B, T), 1 for a word and 0 for padding.
            inputs_embeds: (B, T, D), instead of input_ids.
            labels: (B,).
        """
        if inputs_embeds is None:
            if input_ids is None:
                raise ValueError("neither input_ids nor inputs_embeds were given; give one of them")
            features = self._of_ids(input_ids.long(), attention_mask)  # of nothing but empty texts they are floats
        else:
            features = self._of_embeddings(inputs_embeds, attention_mask)
        logits = self.classifier(self.dropout(features))
        loss = None if labels is None else self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def _of_ids(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        if attention_mask is None:
            attention_mask = (input_ids != self.config.pad_token_id).long()
        if torch.is_grad_enabled() or not input_ids.shape[1]:
            return self._of_embeddings(self.embedding(input_ids), attention_mask)
        return self.features_of_ids(input_ids, attention_mask)

    def _of_embeddings(self, embedded: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        if attention_mask is None:
            attention_mask = embedded.new_ones(embedded.shape[:2], dtype=torch.long)
        if embedded.shape[1] == 0:
            embedded = nn.functional.pad(embedded, (0, 0, 0, 1))
            attention_mask = nn.functional.pad(attention_mask, (0, 1))
        return self.features(embedded, attention_mask)
