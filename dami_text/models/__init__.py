"""The classifiers, registered with transformers' Auto classes, and how a run builds a new one."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerFast

from dami_text.config.options import ModelConfig
from dami_text.data.word_vectors import Vectors
from dami_text.models.bilstm import BiLSTMConfig, BiLSTMForSequenceClassification
from dami_text.models.encoder import Encoder
from dami_text.models.mlp import MLPConfig, MLPForSequenceClassification
from dami_text.models.text_cnn import TextCNNConfig, TextCNNForSequenceClassification
from dami_text.models.word_level import WordLevelForSequenceClassification

KINDS: dict[str, tuple[type[Any], type[WordLevelForSequenceClassification]]] = {
    "cnn": (TextCNNConfig, TextCNNForSequenceClassification),
    "bilstm": (BiLSTMConfig, BiLSTMForSequenceClassification),
}

_registered: list[tuple[type[Any], type[Any]]] = [*KINDS.values(), (MLPConfig, MLPForSequenceClassification)]
for _config_class, _model_class in _registered:
    AutoConfig.register(_config_class.model_type, _config_class, exist_ok=True)
    AutoModelForSequenceClassification.register(_config_class, _model_class, exist_ok=True)


def build_model(
    config: ModelConfig, class_names: Sequence[str], tokenizer: PreTrainedTokenizerFast, start: Vectors | Encoder
) -> PreTrainedModel:
    """A new model, what `start` does not give drawn from torch's RNG.

    `start` is a pretrained encoder, or vectors (V, D) of the tokenizer's words, which the embedding is set to.
    """
    if isinstance(start, Encoder):
        return start.new_model()
    config_class, model_class = KINDS[config.model]
    model = model_class(
        config_class(
            vocab_size=len(tokenizer),
            embedding_dim=start.shape[1],
            dropout=config.dropout,
            pad_token_id=tokenizer.pad_token_id,
            **_labels(class_names),
        )
    )
    with torch.no_grad():
        model.embedding.weight.copy_(torch.from_numpy(start))
    return model


def build_mlp(class_names: Sequence[str], n_features: int, dropout: float = 0.0) -> MLPForSequenceClassification:
    """A new MLP for rows of `n_features` features, drawn from torch's RNG."""
    return MLPForSequenceClassification(MLPConfig(n_features, dropout=dropout, **_labels(class_names)))


def _labels(class_names: Sequence[str]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(class_names)), "label2id": {name: i for i, name in enumerate(class_names)}}
