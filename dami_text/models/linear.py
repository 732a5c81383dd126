"""Logistic regression over sparse features: the yardstick that every other model has to beat."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import nn
from torch.nn import functional
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from dami_text.config.options import TrainingConfig
from dami_text.data.texts import LabeledTexts
from dami_text.data.tfidf import TfidfTexts
from dami_text.models.logistic import LogisticFit, Ways, fit_logistic
from dami_text.models.one_vs_rest import fit_each_label
from dami_text.models.tasks import task_of
from dami_text.models.training import Training

#: How to fit. A flat balanced fit is one that leaves the decision to the shares: half of a film review's phrases are
#: neutral, and single words hardly tell which.
WAYS = Ways(balanced=800.0, free=60.0, flattest=0.35)


class LinearConfig(PretrainedConfig):
    """The number of features; `num_labels`, `id2label` and `label2id` are transformers' own."""

    model_type = "dami_text_linear"

    def __init__(self, n_features: int = 1, **kwargs: Any) -> None:
        self.n_features = n_features
        super().__init__(**kwargs)


class LinearForSequenceClassification(PreTrainedModel):
    """One linear layer over the features of a text."""

    config_class = LinearConfig
    config: Any
    main_input_name = "columns"

    def __init__(self, config: LinearConfig) -> None:
        super().__init__(config)
        self.classifier = nn.Linear(config.n_features, int(config.num_labels or 2))
        self.post_init()  # type: ignore[no-untyped-call]  # transformers leaves it untyped

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)

    def forward(
        self, columns: torch.Tensor, values: torch.Tensor, starts: torch.Tensor, **_: Any
    ) -> SequenceClassifierOutput:
        """Logits (B, C) of sparse features (B, V), as `data.tfidf.SparseBatch` has them."""
        weight = self.classifier.weight.T.contiguous()
        sums = functional.embedding_bag(
            columns, weight, starts, mode="sum", per_sample_weights=values, include_last_offset=True
        )
        return SequenceClassifierOutput(logits=sums + self.classifier.bias)

    def fit(self, data: LabeledTexts, config: TrainingConfig) -> Training:
        """Find the weights by multinomial logistic regression, or by one for each label; see `logistic`.

        What a text has outside the vocabulary is a feature of its own, which is gone after the fit. So a text of rare
        words needs less of the other features' weights, as it would if its words were known.

        A class without a label is never predicted. With labels of one class alone, it is always predicted.
        """
        assert isinstance(data.texts, TfidfTexts)
        own = sparse.diags(np.sqrt(data.texts.unknown[data.rows]), format="csr")
        features, means = (data.texts.matrix[data.rows], own), (data.texts.mean, np.zeros(len(data.rows)))
        n_features, balanced = data.texts.matrix.shape[1], config.class_weights == "balanced"

        def fit_classes(labels: NDArray[np.int64], n_classes: int) -> tuple[LogisticFit, None]:
            fit = fit_logistic(features, labels, n_classes, means, WAYS, balanced=balanced)
            return replace(fit, weight=fit.weight[:, :n_features]), None

        several, n_classes = task_of(self).multilabel, self.classifier.out_features
        fit, _ = fit_each_label(data.labels, fit_classes) if several else fit_classes(data.labels, n_classes)
        fit.write(self.classifier)
        return Training(1, fit.iterations, None, cross_validated=fit.cross_validated)

    def word_weights(self, texts: TfidfTexts, row: int) -> NDArray[np.float64]:
        """How much each word (W,) of a row's text speaks for the predicted class, against the mean of the others.

        Of any number of labels it is the most probable one, against its absence.

        A word's weight is the sum over its features (the word, its pairs, its characters) of their values times their
        weights; a pair counts half for each of its words. Words that speak against the class have 0.
        """
        text, places = texts.text(row), texts.word_places(row)
        weight = self.classifier.weight.detach().cpu().numpy()
        logits = texts.matrix[row] @ weight.T + self.classifier.bias.detach().cpu().numpy()
        best = int(np.argmax(logits))
        others = 0 if task_of(self).multilabel else np.delete(weight, best, axis=0).mean(axis=0)
        direction = weight[best] - others
        words = [text[start:end] for start, end in places]
        alone = texts.encoder.counts(words) @ direction
        pairs = texts.encoder.counts([f"{a} {b}" for a, b in pairwise(words)]) @ direction
        weights = np.array(alone, np.float64)
        for i, both in enumerate(pairs):
            extra = (both - alone[i] - alone[i + 1]) / 2  # what the pair has beyond its words
            weights[i] += extra
            weights[i + 1] += extra
        return np.maximum(weights, 0)
