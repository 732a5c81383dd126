"""DropQuery: diverse texts among those on which dropout of the features changes the prediction (Gupte et al. 2024).

The head reads a text's features h as they are, and M = 3 times with three quarters of them dropped. The texts whose
prediction changes in more than half of the samples are clustered by K-means into n clusters, and of each the text that
is nearest to the mean is chosen. Where these are fewer than n, those join whose prediction changes less often, the
smallest margins first. Where a text has any number of labels, the prediction is the set of them: it changes with any.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.data.pool import Pool
from dami_text.models.inference import predict_features, predict_logits
from dami_text.models.last_layer import head_of
from dami_text.models.scores import highest_first
from dami_text.models.tasks import task_of
from dami_text.processes import Processes
from dami_text.randomness import hashed_noise
from dami_text.strategies.base import OnFeatures, Query
from dami_text.strategies.kmeans_features import nearest_to_means
from dami_text.strategies.uncertainty import log_uncertainty_by

SAMPLES, RATE = 3, 0.75  # as in the paper
BLOCK = 4096  # texts whose samples are in memory at a time


class DropQuery(OnFeatures):
    """K-means among the texts whose predictions depend on a few of their features."""

    needs: ClassVar[frozenset[str]] = frozenset({"features", "last layer"})

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """n unlabelled rows, of the largest clusters first.

        The reasons: in how many of the samples the prediction changes, and how many such texts the row stands for.
        """
        seed = int(rng.integers(2**63))
        features = predict_features(model, pool.texts, pool.unlabeled, self.batch_size)
        logits = predict_logits(model, pool.texts, pool.unlabeled, self.batch_size)
        weight = head_of(model).weight.detach().float().cpu().numpy()
        task = task_of(model)
        changes = changed_predictions(
            logits, features, weight, pool.texts.keys(pool.unlabeled), seed, multilabel=task.multilabel
        )
        by_margin = highest_first(log_uncertainty_by(task, logits, "margin"))
        order = by_margin[np.argsort(-changes[by_margin], kind="stable")]
        candidates = np.sort(order[: max(n, int((changes > SAMPLES / 2).sum()))])
        chosen, sizes = Processes.all().on_main(lambda: nearest_to_means(features[candidates], n, rng))
        rows = candidates[chosen]
        reasons = [
            {"changed_predictions": int(changes[row]), "cluster_size": int(size)}
            for row, size in zip(rows, sizes, strict=True)
        ]
        return Query.of(pool.unlabeled[rows], reasons)


def changed_predictions(
    logits: NDArray[np.float32],
    features: NDArray[np.float32],
    weight: NDArray[np.float32],
    keys: NDArray[np.uint64],
    seed: int,
    *,
    multilabel: bool = False,
) -> NDArray[np.int64]:
    """In how many of `SAMPLES` samples (N,) of dropout the most probable class, or the set of labels, changes.

    Args:
        logits: (N, C), without dropout.
        features: (N, H) that the last layer reads; what it keeps is scaled by 1 / (1 - RATE).
        weight: (C, H), the last layer's.
        keys: (N,), on which and `seed` alone a text's samples depend.
        seed: of the samples.
        multilabel: whether a text has any number of labels.
    """
    changes = np.zeros(len(features), np.int64)
    for start in range(0, len(features), BLOCK):
        part = slice(start, start + BLOCK)
        noise = hashed_noise(seed, keys[part], SAMPLES * features.shape[1]).reshape(-1, SAMPLES, features.shape[1])
        scale = (noise >= round(RATE * 65_536)) / np.float32(1 - RATE)
        sampled = logits[part, None] + (features[part, None] * (scale - 1)) @ weight.T
        if multilabel:
            changed = ((sampled > 0) != (logits[part, None] > 0)).any(axis=2)
        else:
            changed = sampled.argmax(axis=2) != logits[part].argmax(axis=1)[:, None]
        changes[part] = changed.sum(axis=1)
    return changes
