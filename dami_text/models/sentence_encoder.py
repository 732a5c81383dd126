"""A sentence encoder with a head: a transformer, what pools its states, and a linear layer (Reimers & Gurevych 2019).

What `SentenceTransformer.encode` gives of a text is what the last layer reads here.
"""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import (
    MODEL_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForTextEncoding,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput

# Relative, so that transformers finds the file and copies it along (publishing.push.export_code).
from .lexicon import Lexicon
from .mlp import MLPConfig, MLPForSequenceClassification
from .padding import pad_to_multiple

#: The ways to pool, in the order in which several are joined.
POOLING: tuple[str, ...] = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")

#: Architectures whose encoders have a class of their own.
T5 = ("t5", "mt5", "umt5")

#: The activation functions of dense layers, by the last part of torch's name.
ACTIVATIONS = {"Identity": nn.Identity, "Tanh": nn.Tanh, "ReLU": nn.ReLU, "GELU": nn.GELU, "Sigmoid": nn.Sigmoid}


class SentenceEncoderConfig(PretrainedConfig):
    """The configuration of the transformer, and what follows it.

    Attributes:
        encoder: the transformer's own configuration.
        pooling: names of POOLING.
        layers: what comes after the pooling, in order. Each is a dict with its `kind`: "normalize" (to unit length) or
            "dense", which has in_features, out_features, bias, activation (a name of ACTIVATIONS) and residual.
        skipped: tokens at a text's beginning that have no part in the pooling, such as a prompt's.
        lexicon: how many tokens have weights in the head (see `lexicon`); 0 for none.
        contrastive: whether the encoder is fine-tuned on pairs of labelled texts (see `contrastive`).
        regions: whether there is a small ReLU network beside the head (see `regions`).
    """

    model_type = "dami_text_sentence_encoder"
    sub_configs = {"encoder": AutoConfig}  # noqa: RUF012 - transformers reads it from the class

    def __init__(
        self,
        encoder: PretrainedConfig | Mapping[str, Any] | None = None,
        pooling: Sequence[str] = ("mean",),
        layers: Sequence[Mapping[str, Any]] = (),
        skipped: int = 0,
        regions: bool = False,
        contrastive: bool = False,
        lexicon: int = 0,
        **kwargs: Any,
    ) -> None:
        if isinstance(encoder, Mapping):
            options = dict(encoder)
            encoder = AutoConfig.for_model(options.pop("model_type"), **options)
        self.encoder = encoder if encoder is not None else AutoConfig.for_model("bert")
        self.pooling = list(pooling)
        self.layers = [dict(layer) for layer in layers]
        self.skipped = skipped
        self.regions = regions
        self.contrastive = contrastive
        self.lexicon = lexicon
        super().__init__(**kwargs)

    @property
    def feature_dim(self) -> int:
        """H, the number of features that the classifier reads."""
        sizes = [layer["out_features"] for layer in self.layers if layer["kind"] == "dense"]
        return int(sizes[-1]) if sizes else int(self.encoder.hidden_size) * len(self.pooling)


class Normalize(nn.Module):
    """Vectors at unit length."""

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Vectors (B, H), each divided by its length."""
        return functional.normalize(vectors, dim=-1)


class Dense(nn.Module):
    """A linear layer, its activation function, and the input added where the layer is residual."""

    def __init__(self, in_features: int, out_features: int, bias: bool, activation: str, residual: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, bias=bias)
        self.activation = ACTIVATIONS[activation]()
        if residual:
            same = in_features == out_features
            self.residual = nn.Identity() if same else nn.Linear(in_features, out_features, bias=False)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Vectors (B, out) of vectors (B, in)."""
        found: torch.Tensor = self.activation(self.linear(vectors))
        return found + self.residual(vectors) if hasattr(self, "residual") else found


def _layer(kind: str, **options: Any) -> nn.Module:
    return Normalize() if kind == "normalize" else Dense(**options)


class SentenceEncoder(nn.Module):
    """The transformer and what pools its states."""

    def __init__(self, config: SentenceEncoderConfig, transformer: PreTrainedModel | None = None) -> None:
        super().__init__()
        self.pooling, self.skipped = config.pooling, config.skipped
        self.transformer = transformer if transformer is not None else new_transformer(config.encoder)
        pad_to_multiple(self.transformer, config.encoder)
        self.layers = nn.ModuleList(_layer(**layer) for layer in config.layers)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any
    ) -> BaseModelOutputWithPooling:
        """States (B, T, D) of tokens (B, T), and features (B, H) of the texts."""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        states = self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        states = states[:, : attention_mask.shape[1]]  # some pad to a multiple
        features = pooled(states, attention_mask, self.pooling, self.skipped)
        for layer in self.layers:
            features = layer(features)
        return BaseModelOutputWithPooling(last_hidden_state=states, pooler_output=features)


class SentenceEncoderForSequenceClassification(PreTrainedModel):
    """A sentence encoder and one linear layer, and a network for the linear regions where `config.regions` is true."""

    config_class = SentenceEncoderConfig
    config: Any
    base_model_prefix = "encoder"
    supports_gradient_checkpointing = True

    def __init__(self, config: SentenceEncoderConfig, transformer: PreTrainedModel | None = None) -> None:
        """A model whose transformer is the given one, or a new one that is not trained."""
        super().__init__(config)
        self.encoder = SentenceEncoder(config, transformer)
        if config.regions:  # before the classifier, which is the last layer
            problem, n_labels = config.problem_type, config.num_labels
            network = MLPConfig(config.feature_dim, num_labels=n_labels, problem_type=problem)
            self.regions = MLPForSequenceClassification(network)
        if config.lexicon:
            self.lexicon = Lexicon(
                config.encoder.get_text_config().vocab_size, config.lexicon, int(config.num_labels or 2)
            )
        self.classifier = nn.Linear(config.feature_dim, int(config.num_labels or 2))
        self.post_init()  # type: ignore[no-untyped-call]  # transformers leaves it untyped

    def _init_weights(self, module: nn.Module) -> None:
        """Draw a linear layer's weights as torch does; the transformer draws its own."""
        if isinstance(module, nn.Linear):
            module.reset_parameters()

    def get_input_embeddings(self) -> nn.Module:
        """The transformer's embeddings of tokens."""
        found: nn.Module = self.encoder.transformer.get_input_embeddings()
        return found

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        lexical: torch.Tensor | None = None,
        **inputs: Any,
    ) -> SequenceClassifierOutput:
        """Logits (B, C), and the loss where labels (B,) are given, of tokens (B, T) whose mask is (B, T).

        `lexical` (B, K) stands in for the tokens where the encoder is left out (see `heads.head_alone`).
        """
        features = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **inputs).pooler_output
        logits = self.classifier(features)
        if lexical is not None:
            logits = logits + lexical @ self.lexicon.weight[:-1]
        elif self.config.lexicon and input_ids is not None:
            mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            logits = logits + self.lexicon(input_ids, mask)
        loss = None if labels is None else self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def pooled(
    states: torch.Tensor, attention_mask: torch.Tensor, pooling: Sequence[str], skipped: int = 0
) -> torch.Tensor:
    """The features (B, P * D) of texts from the states (B, T, D) of their tokens, padded on the right.

    A text without tokens has features 0, but for the first token's.

    Args:
        states: the last layer's.
        attention_mask: (B, T), 1 for a token and 0 for padding.
        pooling: P names of POOLING, joined in the order given.
        skipped: tokens at the beginning that do not count.
    """
    mask = attention_mask.to(states.dtype)
    if skipped:
        mask = mask * (torch.arange(mask.shape[1], device=mask.device) >= skipped)
    mask = mask.unsqueeze(-1)  # (B, T, 1)
    count = mask.sum(dim=1).clamp(min=1)
    places = torch.arange(1, mask.shape[1] + 1, device=mask.device, dtype=mask.dtype).view(1, -1, 1)

    def one(way: str) -> torch.Tensor:
        if way == "cls":
            return states[torch.arange(len(states), device=states.device), mask.squeeze(-1).argmax(dim=1)]
        if way == "lasttoken":
            last = (mask * places).squeeze(-1).argmax(dim=1)
            return states[torch.arange(len(states), device=states.device), last] * (mask.sum(dim=1) > 0)
        if way == "max":
            highest = states.masked_fill(mask == 0, -torch.inf).max(dim=1).values
            return highest.masked_fill(mask.sum(dim=1) == 0, 0.0)
        if way == "weightedmean":
            weights = mask * places
            return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        total = (states * mask).sum(dim=1)
        return total / (count if way == "mean" else count.sqrt())

    return torch.cat([one(way) for way in pooling], dim=-1)


def new_transformer(config: PretrainedConfig) -> PreTrainedModel:
    """A transformer of this configuration, not trained, without a pooler or a decoder, which nothing reads here."""
    model: PreTrainedModel = auto_class(config).from_config(config, **without_pooler(config))
    return encoder_alone(model)


def auto_class(config: PretrainedConfig) -> Any:
    """The Auto class that loads the transformer: T5's checkpoints may be of encoders without a decoder."""
    return AutoModelForTextEncoding if config.model_type in T5 else AutoModel


def has_decoder(config: PretrainedConfig) -> bool:
    """Whether the architecture is an encoder with a decoder, even where a checkpoint has the encoder alone."""
    return config.model_type in T5 or bool(config.is_encoder_decoder)


def encoder_alone(model: PreTrainedModel) -> PreTrainedModel:
    """The encoder of a transformer that has a decoder too; any other as it is."""
    encoder: PreTrainedModel = model.get_encoder() if has_decoder(model.config) else model
    return encoder


def without_pooler(config: PretrainedConfig) -> dict[str, Any]:
    """The argument that leaves out the pooler of a transformer of this configuration, where it takes one."""
    kind: Any = MODEL_MAPPING[type(config)]
    takes_one = "add_pooling_layer" in signature(kind).parameters
    return {"add_pooling_layer": False} if takes_one else {}
