"""BADGE: texts of large and diverse gradients (Ash et al. 2020), by k-means++ seeding on gradient embeddings.

The gradient embedding of a text is the gradient of its loss with respect to the last layer's weights, were the
predicted class its label: with features h (H,) and probabilities p (C,),

    g = e outer h  (C * H),     e = p - onehot(argmax p).

Its norm ||e|| ||h|| falls as confidence rises. It is never built: g_i . g_j = (e_i . e_j)(h_i . h_j).

Where a text has any number of labels, the loss is the sum of the labels' binary cross-entropies, and the labels of
more than one half are taken for its own: e_c = p_c - [p_c > 1/2].
"""

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.data.ids import Rows
from dami_text.data.pool import Pool
from dami_text.models.inference import predict_both
from dami_text.models.scores import first_highest
from dami_text.models.tasks import ANY_LABELS, task_of
from dami_text.processes import Processes
from dami_text.strategies.base import OnFeatures, Query


class Badge(OnFeatures):
    """K-means++ seeding (Arthur and Vassilvitskii 2007) on the gradient embeddings of the unlabelled texts."""

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """n unlabelled rows; the reason: the gradient's norm and its distance to those chosen before."""
        features, probabilities = predict_both(model, pool.texts, pool.unlabeled, self.batch_size)
        errors = label_errors(probabilities) if task_of(model).multilabel else prediction_errors(probabilities)
        chosen, distances = Processes.all().on_main(lambda: k_means_plus_plus(errors, features, n, rng))
        norms = np.linalg.norm(errors[chosen], axis=1) * np.linalg.norm(features[chosen], axis=1)
        reasons = [
            {"gradient_norm": float(norm), "distance": float(distance)}
            for norm, distance in zip(norms, distances, strict=True)
        ]
        return Query.of(pool.unlabeled[chosen], reasons)


def prediction_errors(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """e = p - onehot(argmax p), (N, C)."""
    errors, texts, predicted = probabilities.copy(), np.arange(len(probabilities)), probabilities.argmax(axis=1)
    errors[texts, predicted] = 0
    errors[texts, predicted] = -errors.sum(axis=1)  # p - 1 would have no digits left where p is close to 1
    return errors


def label_errors(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """e = p - [p > 1/2], (N, C), of the probabilities of labels."""
    return probabilities - ANY_LABELS.predicted(probabilities).astype(np.float32)


def k_means_plus_plus(
    errors: NDArray[np.float32], features: NDArray[np.float32], n: int, rng: np.random.Generator
) -> tuple[Rows, NDArray[np.float32]]:
    """n distinct rows of the embeddings e_i outer h_i, from errors (N, C) and features (N, H), by D^2 sampling.

    The first row has the largest norm, as in the authors' code. Each other is drawn with probability in proportion to
    its squared distance to the nearest one before it; where only copies of chosen rows are left, all are as likely.

    Returns:
        The rows (n,) and their distances (n,) to the nearest one before; the first one's is its norm.
    """
    e, h = torch.from_numpy(errors), torch.from_numpy(features)
    squares = e.square().sum(dim=1) * h.square().sum(dim=1)
    nearest = squares.double().numpy()
    free = np.ones(len(nearest), bool)
    chosen, distances = np.empty(n, np.int64), np.empty(n, np.float32)
    row = first_highest(nearest)
    for k in range(n):
        if k > 0:
            weights = np.where(free, nearest, 0)
            if not weights.sum() > 0:
                weights = free.astype(np.float64)
            cumulative = np.cumsum(weights)
            row = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
        chosen[k], distances[k] = row, nearest[row] ** 0.5
        free[row] = False
        distance = _squared_distances(e, h, squares, row).double().numpy()
        nearest = distance if k == 0 else np.minimum(nearest, distance)
    return chosen, distances


def _squared_distances(e: torch.Tensor, h: torch.Tensor, squares: torch.Tensor, row: int) -> torch.Tensor:
    """The squared distances (N,) of the embeddings, of squared lengths `squares` (N,), to that of `row`."""
    distances = squares + squares[row] - 2 * (e @ e[row]) * (h @ h[row])
    close = (distances <= 1e-3 * squares).nonzero()[:, 0]  # where the difference has lost its digits
    # e_i outer h_i - e outer h = de outer h_i + e outer dh
    de, dh = e[close] - e[row], h[close] - h[row]
    exact = de.square().sum(dim=1) * h[close].square().sum(dim=1) + e[row].square().sum() * dh.square().sum(dim=1)
    exact += 2 * (de @ e[row]) * (dh * h[close]).sum(dim=1)
    return distances.index_copy_(0, close, exact.clamp_(min=0))
