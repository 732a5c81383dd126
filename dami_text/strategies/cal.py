"""CAL: texts that the model judges otherwise than the labelled texts near to them (Margatina et al. 2021).

With p the class probabilities of a text x and p_j those of its k nearest labelled texts by features, k = 10, the
acquisition score is the mean over j of

    KL(p_j || p) = sum_c p_jc (log p_jc - log p_c)

Where a text has any number of labels, each is a problem of two classes. The divergence of label sets, whose labels are
independent, is then the sum of the labels' divergences.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, log_softmax
from sklearn.neighbors import NearestNeighbors
from transformers import PreTrainedModel

from dami_text.data.pool import Pool
from dami_text.models.inference import predict_features, predict_logits
from dami_text.models.tasks import task_of
from dami_text.processes import Processes
from dami_text.strategies.base import OnFeatures, Query, highest

NEIGHBOURS = 10  # as in the paper


class Cal(OnFeatures):
    """The texts whose predictions differ most from those of their labelled neighbours."""

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """The n unlabelled rows of the highest scores; all scores are 0 while nothing is labelled."""
        if not len(pool.labeled):
            return highest(np.zeros(len(pool.unlabeled)), pool, n)
        of_both = [
            (
                predict_features(model, pool.texts, rows, self.batch_size),
                predict_logits(model, pool.texts, rows, self.batch_size),
            )
            for rows in (pool.labeled, pool.unlabeled)
        ]
        several = task_of(model).multilabel
        scores = Processes.all().on_main(lambda: contrast(*of_both[0], *of_both[1], multilabel=several))
        return highest(scores, pool, n)


def contrast(
    labeled: NDArray[np.float32],
    labeled_logits: NDArray[np.float32],
    features: NDArray[np.float32],
    logits: NDArray[np.float32],
    *,
    multilabel: bool = False,
) -> NDArray[np.float64]:
    """The scores (N,) of features (N, H) and logits (N, C), beside those (L, H) and (L, C) of the labelled texts."""
    k = min(NEIGHBOURS, len(labeled))
    nearest = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(labeled.astype(np.float64))
    neighbours = nearest.kneighbors(features.astype(np.float64), return_distance=False)  # (N, k)
    of_labeled, of_unlabeled = labeled_logits.astype(np.float64), logits.astype(np.float64)
    if multilabel:  # of what each label is and is not
        both = [(log_expit(s * of_labeled), log_expit(s * of_unlabeled)) for s in (1, -1)]
    else:
        both = [(log_softmax(of_labeled, axis=1), log_softmax(of_unlabeled, axis=1))]
    divergences = np.zeros(neighbours.shape)
    for labeled_log, log in both:
        theirs, own = labeled_log[neighbours], log[:, None]  # (N, k, C), (N, 1, C)
        divergences += (np.exp(theirs) * (theirs - own)).sum(axis=2)
    scores: NDArray[np.float64] = divergences.mean(axis=1).clip(min=0)
    return scores
