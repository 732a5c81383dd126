"""The heads that logistic regression finds: on a frozen encoder's features, and after contrastive fine-tuning."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.data.texts import FeatureTexts, LabeledTexts
from dami_text.models.contrastive import SAMPLE, tune_encoder
from dami_text.models.frozen_features import features_of
from dami_text.models.last_layer import head_of
from dami_text.models.lexical import fit_with_tokens
from dami_text.models.logistic import Choices, LogisticFit, Regression, Ways
from dami_text.models.one_vs_rest import fit_each_label
from dami_text.models.regions import FeatureRows, fit_regions, regions_of
from dami_text.models.tasks import task_of

#: How to fit a head on an encoder's features.
WAYS = Ways(balanced=5.0, free=10.0)


def fit_frozen(model: PreTrainedModel, data: LabeledTexts, texts: FeatureTexts, *, balanced: bool) -> LogisticFit:
    """Find the head of a frozen encoder, and the network of its linear regions, if it has one.

    Args:
        model: gets the weights.
        data: the labelled texts.
        texts: their features.
        balanced: whether all classes weigh the same.
    """
    head, features = head_of(model), texts.features[data.rows]
    lexical, mean = (None, None) if texts.lexical is None else (texts.lexical[data.rows], texts.lexical_mean)

    def fit_classes(labels: NDArray[np.int64], n_classes: int) -> tuple[LogisticFit, NDArray[np.floating[Any]] | None]:
        regression = Regression(features, labels, n_classes, texts.mean, WAYS, balanced=balanced)
        if lexical is None or mean is None:
            return regression.fit(), None
        return fit_with_tokens(regression, features, texts.mean, lexical, mean, labels, n_classes, balanced=balanced)

    several = task_of(model).multilabel
    fit, tokens = fit_each_label(data.labels, fit_classes) if several else fit_classes(data.labels, head.out_features)
    if tokens is not None:
        lexicon: Any = model.lexicon
        with torch.no_grad():
            lexicon.weight[:-1] = torch.from_numpy(tokens.T)
    fit.write(head)
    if (network := regions_of(model)) is not None:
        fit_regions(network, FeatureRows(texts).collate(data.rows), data.labels)
    return fit


def fit_by_pairs(model: PreTrainedModel, data: LabeledTexts, rng: np.random.Generator, *, balanced: bool) -> int:
    """Fine-tune the encoder on pairs of labelled texts, and find the last layer's weights; the number of steps.

    A fine-tuned encoder has seen every labelled text with its label: none can be held out. So what cross-validation
    chooses for the regression is chosen with the encoder as it was before.
    """
    n, head = len(data.texts), head_of(model)
    sample = np.unique(np.linspace(0, n - 1, min(n, SAMPLE)).astype(np.int64))

    def regression(choices: Choices | None) -> Regression:
        mean = features_of(model, data.texts, sample).mean(axis=0, dtype=np.float64)
        features = features_of(model, data.texts, data.rows)
        classes, labels = head.out_features, data.labels
        return Regression(features, labels, classes, mean, WAYS, balanced=balanced, choices=choices)

    choices = regression(None).choices
    steps = tune_encoder(model, data, rng)
    regression(choices).fit().write(head)
    return steps
