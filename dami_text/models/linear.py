"""Logistic regression over sparse features: the yardstick that every other model has to beat."""

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from dami_text.config.options import TrainingConfig
from dami_text.data.texts import LabeledTexts
from dami_text.data.tfidf import TfidfTexts
from dami_text.models.training import Training
from dami_text.models.unseen import UNSEEN

#: Inverse strength of the penalty. Of 1, 3, 10, 30 and 100, 30 and 100 were best on subj and MR with 50 to 500 labels.
STRENGTH = 30.0


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
    main_input_name = "features"

    def __init__(self, config: LinearConfig) -> None:
        super().__init__(config)
        self.classifier = nn.Linear(config.n_features, int(config.num_labels or 2))
        self.post_init()  # type: ignore[no-untyped-call]  # transformers leaves it untyped

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)

    def forward(self, features: torch.Tensor, **_: Any) -> SequenceClassifierOutput:
        """Logits (B, C) of features (B, V), which may be sparse."""
        return SequenceClassifierOutput(logits=features @ self.classifier.weight.T + self.classifier.bias)

    def fit(self, data: LabeledTexts, config: TrainingConfig) -> Training:
        """Find the weights: L2-regularised multinomial logistic regression (scikit-learn's), to its optimum.

        A class without a label is never predicted. With labels of one class alone, it is always predicted.
        """
        assert isinstance(data.texts, TfidfTexts)
        present = np.unique(data.labels)
        weight = np.zeros((self.classifier.out_features, self.classifier.in_features))
        bias = np.full(self.classifier.out_features, UNSEEN)
        if len(present) == 1:
            bias[present] = 0
            steps = 0
        else:
            weight[present], bias[present], steps = _optimum(data, config)
        with torch.no_grad():
            self.classifier.weight.copy_(torch.from_numpy(weight))
            self.classifier.bias.copy_(torch.from_numpy(bias))
        return Training(1, steps, None)

    def word_weights(self, texts: TfidfTexts, row: int) -> NDArray[np.float64]:
        """How much each word (W,) of a row's text speaks for the predicted class, against the mean of the others.

        A word's weight is the sum over its features (the word, its pairs, its characters) of their values times their
        weights; a pair counts half for each of its words. Words that speak against the class have 0.
        """
        text, places = texts.text(row), texts.word_places(row)
        weight = self.classifier.weight.detach().cpu().numpy()
        logits = texts.matrix[row] @ weight.T + self.classifier.bias.detach().cpu().numpy()
        best = int(np.argmax(logits))
        others = np.delete(weight, best, axis=0).mean(axis=0)
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


def _optimum(data: LabeledTexts, config: TrainingConfig) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Weights (P, V) and biases (P,) of the classes that are present, and the number of iterations."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    assert isinstance(data.texts, TfidfTexts)
    balanced = "balanced" if config.class_weights == "balanced" else None
    model = LogisticRegression(C=STRENGTH, class_weight=balanced, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(data.texts.matrix[data.rows], data.labels)
    weight, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # of two classes there is one row, for the second
        weight, bias = np.vstack([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias, int(model.n_iter_.max())
