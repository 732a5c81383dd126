"""A small ReLU network beside a frozen encoder's head, for its linear regions.

The gradient of a linear head is the same at all texts: there is one region. This network learns the same labels from
the same features and has the paper's hidden layers for tables, so that DAMI on it is the paper's Algorithm 1.
"""

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from dami_text.data.batches import Batch
from dami_text.data.ids import Rows
from dami_text.data.texts import FeatureTexts
from dami_text.models.mlp import MLPForSequenceClassification
from dami_text.models.tasks import task_of

#: Adam's full-batch steps and learning rate.
STEPS, LEARNING_RATE = 300, 1e-2

#: Texts in a pass through the network at least.
FEWEST_ROWS = 1_024


def regions_of(model: PreTrainedModel) -> MLPForSequenceClassification | None:
    """The network beside the head of a model, if it has one."""
    found: MLPForSequenceClassification | None = getattr(model, "regions", None)
    return found


class FeatureRows:
    """N texts as the network reads them: of one word, whose embedding is the text's features (H,).

    The features are centred and of mean square length 1.
    """

    def __init__(self, features: FeatureTexts) -> None:
        self._features, self.lengths = features.features, features.lengths
        self.least_batch = FEWEST_ROWS
        self._mean, self._scale = features.mean.astype(np.float32), features.spread

    def collate(self, rows: Rows) -> Batch:
        """The features of `rows` (B,) as texts of one word."""
        features = torch.from_numpy((self._features[rows] - self._mean) / self._scale).unsqueeze(1)
        return Batch(features, torch.ones(features.shape[:2], dtype=torch.long))


def fit_regions(network: MLPForSequenceClassification, batch: Batch, labels: NDArray[np.int64]) -> None:
    """Train the network on labels (n,), or (n, C) of any number of labels, of a batch of n texts."""
    inputs, wanted = batch.to(network.device).inputs, torch.from_numpy(labels).to(network.device)
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = functional.cross_entropy
    if task_of(network).multilabel:
        loss, wanted = functional.binary_cross_entropy_with_logits, wanted.float()
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE, fused=True)
    with torch.enable_grad():
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss(network(**inputs).logits, wanted).backward()
            optimizer.step()


def in_fewer_numbers(gradients: NDArray[np.float32], network: MLPForSequenceClassification) -> NDArray[np.float32]:
    """Gradients (N, C * H) by the features, of C classes, as (N, C * U) numbers with the same distances and lengths.

    A gradient is a sum of the U rows of the first layer's weights (U, H), so it is told by its coordinates in an
    orthonormal basis of these. Where that would not be fewer numbers, the gradients are returned as they are.
    """
    weight = cast(nn.Linear, network.hidden[0]).weight.detach().double().cpu().numpy()
    units, n_features = weight.shape
    if units >= n_features:
        return gradients
    basis = np.linalg.qr(weight.T)[0].astype(np.float32)
    return np.ascontiguousarray((gradients.reshape(-1, n_features) @ basis).reshape(len(gradients), -1))
