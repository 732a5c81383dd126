"""Logistic regression on TF-IDF: needs no weights, works in every language, and trains in hundredths of a second."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dami_text.config.kinds import OF_STEPS, ModelKind

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

    from dami_text.config.run import RunConfig
    from dami_text.data.tfidf import TfidfTexts


class Linear(ModelKind):
    """Logistic regression on the words and characters of a text."""

    gives = frozenset({"features"})
    ignores = OF_STEPS | {"word_vectors", "word_vector_dim", "word_vector_texts", "max_length", "long_texts"}
    is_small = True
    in_pipeline = False

    def defaults(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Margin sampling: its gradient is the same everywhere, so that DAMI has nothing to go by."""
        return {"strategy": "margin"}

    def source(self, config: "RunConfig", train: "Dataset", class_names: Sequence[str]) -> "LinearSource":
        """Models over the vocabulary of the training texts."""
        return LinearSource(config, train, class_names)


class LinearSource:
    """Linear models of one run; see `models.source.ModelSource`."""

    commit, gives = None, Linear.gives

    def __init__(self, config: "RunConfig", train: "Dataset", class_names: Sequence[str]) -> None:
        from dami_text.data.tfidf import TfidfEncoder

        self._labels = class_names, config.data.is_multilabel
        self.preprocessor = TfidfEncoder.fit(train, config.tokenization)

    def encode(self, parts: "Sequence[Dataset]") -> "list[TfidfTexts]":
        """The TF-IDF of each data set's texts."""
        from dami_text.data.tfidf import TfidfTexts

        return [TfidfTexts(part, self.preprocessor) for part in parts]

    def pretrain(self, texts: "TfidfTexts") -> None:
        """Nothing more is learned without labels."""

    def new_model(self) -> "PreTrainedModel":
        """A new model, whose weights are 0."""
        from dami_text.models.linear import LinearConfig, LinearForSequenceClassification
        from dami_text.models.word_level import label_names

        names, multilabel = self._labels
        config = LinearConfig(len(self.preprocessor), **label_names(names, multilabel=multilabel))
        return LinearForSequenceClassification(config)


LINEAR = Linear()
