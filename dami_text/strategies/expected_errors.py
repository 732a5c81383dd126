"""Expected errors: diverse texts among as many of the least certain as the model is expected to get wrong.

With e(x) = 1 - p_(1)(x), the model is expected to be wrong on

    E = sum of e(x) over the unlabelled texts

of them. The E texts of the smallest margins p_(1) - p_(2), but 2 n at least, are clustered by K-means on their features
into n clusters, and of each the text that is nearest to the mean is chosen.

Where a text has any number of labels, e(x) is the probability that the predicted set is not its own, if labels are
independent: 1 - prod_c max(p_c, 1 - p_c). The margin is the mean over the labels.

So it follows from the model how many texts compete. Where it knows little, as with many classes and few labels, they
are most of the pool, and the choice is one of diverse texts. Where it errs on few, as with a rare class, they are few,
and the choice is nearly margin sampling. The strategy is ours. It comes from Cluster-Margin (Citovsky et al. 2021),
whose number of candidates is fixed, and from DropQuery (Gupte et al. 2024), whose number follows from dropout.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit
from transformers import PreTrainedModel

from dami_text.data.pool import Pool
from dami_text.models.inference import predict_features, predict_logits
from dami_text.models.scores import highest_first
from dami_text.models.tasks import task_of
from dami_text.processes import Processes
from dami_text.strategies.base import OnFeatures, Query
from dami_text.strategies.kmeans_features import nearest_to_means
from dami_text.strategies.uncertainty import log_uncertainty, log_uncertainty_by

FEWEST = 2  # candidates for each text that is asked for


class ExpectedErrors(OnFeatures):
    """K-means among the texts that the model is likely to get wrong."""

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """n unlabelled rows, of the largest clusters first.

        The reasons: e(x), and how many candidates the row stands for.
        """
        logits = predict_logits(model, pool.texts, pool.unlabeled, self.batch_size)
        task = task_of(model)
        errors = set_errors(logits) if task.multilabel else np.exp(log_uncertainty(logits, "least-confidence"))
        n_candidates = max(FEWEST * n, round(float(errors.sum())))
        candidates = np.sort(highest_first(log_uncertainty_by(task, logits, "margin"))[:n_candidates])
        features = predict_features(model, pool.texts, pool.unlabeled[candidates], self.batch_size)
        chosen, sizes = Processes.all().on_main(lambda: nearest_to_means(features, n, rng))
        rows = candidates[chosen]
        reasons = [
            {"score": float(errors[row]), "cluster_size": int(size)} for row, size in zip(rows, sizes, strict=True)
        ]
        return Query.of(pool.unlabeled[rows], reasons, candidates=len(candidates))


def set_errors(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """The probabilities (N,) that predicted sets of labels, of logits (N, C), are wrong."""
    return np.asarray(-np.expm1(log_expit(np.abs(logits.astype(np.float64))).sum(axis=1)))
