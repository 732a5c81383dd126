"""Pretrained encoders, whole or with a head alone that is trained on frozen features."""

import logging
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from dami_text.config.kinds import OF_PASSES, OF_STEPS, ModelKind

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

    from dami_text.config.run import RunConfig
    from dami_text.data.texts import EncodedTexts
    from dami_text.models.encoder import Encoder
    from dami_text.models.lexicon import Lexicon

logger = logging.getLogger(__name__)

DEFAULTS: dict[str, Any] = {
    "learning_rate": 5e-5,
    "weight_decay": 0.01,
    "optimizer": "adamw",
    "warmup_steps": 20,
    "train_batch_size": 16,
    "evaluation_steps": 0,
    "averaging_steps": 0,
}
#: An adapter starts from nothing, and takes a higher learning rate than the whole encoder.
OF_ADAPTER: dict[str, Any] = DEFAULTS | {"learning_rate": 2e-4}


class PretrainedEncoder(ModelKind):
    """An encoder of transformers, by its folder or its Hub id."""

    takes = frozenset({"model_revision", "freeze_encoder", "contrastive", "new_head", "lora"})
    gives = frozenset({"features", "last layer", "words", "word gradients", "weight gradients", "dropout"})
    is_pretrained = True

    def defaults(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What suits fine-tuning; a head alone takes no steps."""
        if _finds_head(options):
            return {}
        return DEFAULTS if options.get("lora") is None else OF_ADAPTER

    def ignored(self, options: Mapping[str, Any]) -> frozenset[str]:
        """The options of steps and of a head to start from, where the head is found by logistic regression."""
        return OF_STEPS - OF_PASSES | {"new_head"} if _finds_head(options) else self.ignores

    def require(self, config: "RunConfig") -> None:
        """Raise ConfigError if there is to be an adapter, and peft is not installed."""
        if config.model.lora is not None:
            from dami_text.models.adapters import require_peft

            require_peft()

    def reads_files(self, config: "RunConfig") -> bool:
        """True: the encoder itself."""
        return True

    def source(self, config: "RunConfig", train: "Dataset", class_names: Sequence[str]) -> "EncoderSource":
        """Copies of the encoder with heads to be trained."""
        from dami_text.config.data_options import TokenizationConfig
        from dami_text.config.options import StrategyConfig
        from dami_text.errors import ConfigError
        from dami_text.models.encoder import load_encoder
        from dami_text.models.windows import read_long_texts

        longest, seed = config.tokenization.max_length, config.loop.seed
        regions = config.strategy.interprets_features
        encoder = load_encoder(
            config.model, class_names, longest, seed, regions=regions, multilabel=config.data.is_multilabel
        )
        taken = encoder.tokenizer.model_max_length
        if taken < longest != TokenizationConfig.max_length:
            logger.warning("--max-length is %d, and %s takes %d tokens at most", longest, config.model.model, taken)
        read_long_texts(encoder.pretrained, encoder.tokenizer, config.tokenization.long_texts)
        source, rate = EncoderSource(encoder, config.training.mixed_precision), config.strategy.bald_head_dropout
        if source.has_dropout and rate != StrategyConfig.bald_head_dropout:
            raise ConfigError(
                f"--bald-head-dropout is {rate}, and --model {config.model.model} has dropout of its own, which bald "
                "samples; leave it out"
            )
        return source


def _finds_head(options: Mapping[str, Any]) -> bool:
    """Whether the head is found by logistic regression."""
    return True in (options.get("freeze_encoder"), options.get("contrastive"))


class EncoderSource:
    """The models of one run, each a copy of one encoder with a head to be trained; see `models.source.ModelSource`."""

    def __init__(self, encoder: "Encoder", precision: str = "no") -> None:
        """`precision`: that of a frozen encoder's features, as `--mixed-precision` names it."""
        self._precision = precision
        self.encoder, self.preprocessor, self.commit = encoder, encoder.tokenizer, encoder.commit
        self.gives = ENCODER.gives | ({"classes"} if encoder.knows_classes else set())

    @property
    def has_dropout(self) -> bool:
        """Whether what is trained has dropout of its own."""
        from dami_text.models.heads import head_alone
        from dami_text.models.inference import has_dropout

        model = self.encoder.pretrained
        sampled = head_alone(model) if self.encoder.frozen else model
        return has_dropout(sampled) or self.encoder.adapter is not None

    def encode(self, parts: "Sequence[Dataset]") -> "list[EncodedTexts]":
        """The texts of each data set in the encoder's pieces of words; with its features where it is frozen.

        The head's lexicon then is that of the first data set, the pool.
        """
        import numpy as np

        from dami_text.data.texts import EncodedTexts, FeatureTexts
        from dami_text.data.tokenization import encode_all, warn_of_unknown_pieces
        from dami_text.models.frozen_features import frozen_features
        from dami_text.models.lexical import lexical_features
        from dami_text.processes import on_own_device

        encoded = encode_all(parts, self.preprocessor)
        warn_of_unknown_pieces(encoded, self.preprocessor)
        if not self.encoder.frozen:
            return encoded
        features = frozen_features(
            on_own_device(self.encoder.pretrained), EncodedTexts.joined(encoded), precision=self._precision
        )
        ends = np.cumsum([0, *map(len, encoded)]).tolist()
        lexicon = self._lexicon(encoded[0])
        return [
            texts.with_features(
                FeatureTexts(features.part(start, end), None if lexicon is None else lexical_features(lexicon, texts))
            )
            for texts, (start, end) in zip(encoded, pairwise(ends), strict=True)
        ]

    def _lexicon(self, pool: "EncodedTexts") -> "Lexicon | None":
        """The lexicon of the head: that of the pool, if there is none yet; None where no token is in two texts."""
        from dami_text.models.lexical import lexicon_of

        model: Any = self.encoder.pretrained
        if not model.config.lexicon:
            size = model.config.encoder.get_text_config().vocab_size
            lexicon = lexicon_of(pool, size, model.config.num_labels)
            n_tokens = len(lexicon.idf) - 1
            if n_tokens == 0:
                return None
            model.config.lexicon, model.lexicon = n_tokens, lexicon.to(model.device)
        found: Lexicon = model.lexicon
        return found

    def pretrain(self, texts: "EncodedTexts") -> None:
        """Nothing is learned: the encoder is trained already."""

    def new_model(self) -> "PreTrainedModel":
        """A copy of the encoder with a head to be trained."""
        return self.encoder.new_model()


ENCODER = PretrainedEncoder()
