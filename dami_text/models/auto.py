"""Our models for transformers' Auto classes and pipelines: import this module before they load one of them."""

from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from dami_text.models.bilstm import BiLSTMForSequenceClassification
from dami_text.models.linear import LinearForSequenceClassification
from dami_text.models.mlp import MLPForSequenceClassification
from dami_text.models.sentence_encoder import SentenceEncoderForSequenceClassification
from dami_text.models.text_cnn import TextCNNForSequenceClassification

_NETWORKS = (
    TextCNNForSequenceClassification,
    BiLSTMForSequenceClassification,
    LinearForSequenceClassification,
    MLPForSequenceClassification,
    SentenceEncoderForSequenceClassification,
)
for _network in _NETWORKS:
    AutoConfig.register(_network.config_class.model_type, _network.config_class, exist_ok=True)
    AutoModelForSequenceClassification.register(_network.config_class, _network, exist_ok=True)


def is_own(model: PreTrainedModel) -> bool:
    """Whether the model's architecture is dami_text's, which transformers knows only where dami_text is installed."""
    return isinstance(model, _NETWORKS)
