"""CNN and BiLSTM: small networks over the words of a text, which start from vectors of these words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dami_text.config.kinds import ModelKind
from dami_text.config.registry import find

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from dami_text.config.options import ModelConfig
    from dami_text.config.run import RunConfig
    from dami_text.data.texts import EncodedTexts
    from dami_text.data.word_vectors import Vectors
    from dami_text.models.word_level import WordLevelForSequenceClassification


@dataclass(frozen=True)
class WordLevel(ModelKind):
    """Word-level models of one class.

    Attributes:
        network: the place of the class.
        spread: the standard deviation of the word vectors from which it learns best, see `build_word_vectors`.
        options: what new models' configurations have in place of the class's defaults, which saved models rely on.
    """

    network: str
    spread: float
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    takes = frozenset({"dropout"})
    gives = frozenset({"features", "last layer", "words", "word gradients", "weight gradients"})
    is_small = True

    def require(self, config: "RunConfig") -> None:
        """Raise ConfigError if the word vectors need gensim, and it is not installed."""
        from dami_text.data.word_vectors import require_gensim

        require_gensim(config.word_vectors)

    def reads_files(self, config: "RunConfig") -> bool:
        """Whether the word vectors are in a file."""
        from dami_text.data.word_vectors import METHODS

        return config.word_vectors.word_vectors not in METHODS

    def source(self, config: "RunConfig", train: "Dataset", class_names: Sequence[str]) -> "WordLevelSource":
        """Models over the vocabulary of the training texts."""
        return WordLevelSource(self, config, train, class_names)

    def new_model(
        self,
        config: "ModelConfig",
        class_names: Sequence[str],
        tokenizer: "PreTrainedTokenizerFast",
        vectors: "Vectors",
        *,
        multilabel: bool = False,
    ) -> "WordLevelForSequenceClassification":
        """A new model whose embedding starts at vectors (V, D) of the tokenizer's words."""
        import torch

        import dami_text.models.auto  # noqa: F401 - what is saved can be loaded in this process
        from dami_text.models.word_level import label_names

        network: Any = find(self.network)
        model: WordLevelForSequenceClassification = network(
            network.config_class(
                vocab_size=len(tokenizer),
                embedding_dim=vectors.shape[1],
                dropout=config.dropout,
                pad_token_id=tokenizer.pad_token_id,
                **self.options,
                **label_names(class_names, multilabel=multilabel),
            )
        )
        with torch.no_grad():
            model.embedding.weight.copy_(torch.from_numpy(vectors))
        return model


class WordLevelSource:
    """Word-level models of one run; see `models.source.ModelSource`."""

    commit = None

    def __init__(self, kind: WordLevel, config: "RunConfig", train: "Dataset", class_names: Sequence[str]) -> None:
        from dami_text.data.long_texts import set_long_texts
        from dami_text.data.tokenization import build_tokenizer

        self._kind, self._config, self._class_names = kind, config, class_names
        self.preprocessor = build_tokenizer(train, config.tokenization)
        set_long_texts(self.preprocessor, config.tokenization.long_texts)
        self.gives = kind.gives | ({"dropout"} if config.model.dropout > 0 else set())

    def encode(self, parts: "Sequence[Dataset]") -> "list[EncodedTexts]":
        """The texts of each data set by their words."""
        from dami_text.data.tokenization import encode_all

        return encode_all(parts, self.preprocessor)

    def pretrain(self, texts: "EncodedTexts") -> None:
        """Make or read the word vectors that the options name."""
        from dami_text.data.word_vectors import build_word_vectors

        config = self._config
        self.vectors = build_word_vectors(texts, config.word_vectors, config.loop.seed, self._kind.spread)

    def new_model(self) -> "PreTrainedModel":
        """A new model that starts from the word vectors."""
        return self._kind.new_model(
            self._config.model,
            self._class_names,
            self.preprocessor,
            self.vectors,
            multilabel=self._config.data.is_multilabel,
        )


CNN = WordLevel("dami_text.models.text_cnn:TextCNNForSequenceClassification", spread=0.25 / 3**0.5)  # Kim's
BILSTM = WordLevel("dami_text.models.bilstm:BiLSTMForSequenceClassification", spread=1.0, options={"pooling": "max"})
