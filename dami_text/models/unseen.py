"""Classes without a labelled text: no model predicts them, and no strategy asks about them.

In the last layer their biases are so low that their probabilities are 0. The softmax of the other classes, and with it
the loss and its gradients, is then that of a model that has these classes only, and a saved model keeps to it (of a
decoder, where dami_text loads it; see `last_layer.record_unseen`).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.data.labels import label_counts
from dami_text.models.last_layer import UNSEEN, last_bias
from dami_text.models.tasks import task_of
from dami_text.models.word_level import class_names_of

logger = logging.getLogger(__name__)


def unseen_classes(model: PreTrainedModel, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The classes (U,) of the model that none of the labels, (n,) or (n, C), is of."""
    return np.flatnonzero(label_counts(labels, len(class_names_of(model.config))) == 0)


def has_nothing_to_learn(model: PreTrainedModel, labels: NDArray[np.int64]) -> bool:
    """Whether all labels are of one class or, of any number of labels, no text has any."""
    n_seen = len(class_names_of(model.config)) - len(unseen_classes(model, labels))
    return n_seen == (0 if task_of(model).multilabel else 1)


@contextmanager
def never_predicted(model: PreTrainedModel, classes: NDArray[np.int64]) -> Iterator[None]:
    """Set the biases of `classes` (n,) in the model's last layer to UNSEEN, for a training inside the block, and after.

    (Weight decay moves them inside, by a small part.) A model whose last layer is not linear, or has no bias, is left
    as it is, with a warning unless its class says `may_predict_unseen = False`.
    """
    bias = last_bias(model)
    if len(classes) and bias is None and getattr(model, "may_predict_unseen", True):
        logger.warning(
            "the last layer of %s has no bias: it may predict classes that no label has", type(model).__name__
        )
    _lower(bias, classes)
    yield
    _lower(last_bias(model), classes)


def _lower(bias: torch.Tensor | None, classes: NDArray[np.int64]) -> None:
    if bias is not None and len(classes):
        with torch.no_grad():
            bias[torch.from_numpy(classes).to(bias.device)] = UNSEEN


def seen_logits(model: PreTrainedModel, logits: torch.Tensor) -> torch.Tensor:
    """Of logits (B, C) those (B, S) of the S classes that the model can predict; all of them where these are below two.

    What is computed of them is what a model for these classes only would give.
    """
    if last_bias(model) is None:
        return logits
    seen = seen_classes(model)
    return logits[:, seen] if 2 <= len(seen) < logits.shape[1] else logits


def seen_classes(model: PreTrainedModel) -> NDArray[np.int64]:
    """The classes (S,) that the model can predict; all where its last layer has no bias to tell."""
    bias = last_bias(model)
    if bias is None:
        return np.arange(len(class_names_of(model.config)))
    return torch.nonzero(bias.detach() > UNSEEN / 2).flatten().cpu().numpy()
