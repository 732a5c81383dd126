"""CVIRS: texts whose labels are uncertain, and unlike those of labelled texts, where a text has any number of labels.

Category vector inconsistency and ranking of scores (Reyes, Morell and Ventura 2018, "Effective active learning strategy
for multi-label learning"). Among U unlabelled texts, text i with probabilities p_il of q labels scores s(i) v(i):

    s(i) = sum_l (U - rank_l(i)) / (q (U - 1))      rank_l(i): the place of |2 p_il - 1|, the smallest first
    v(i) = mean over labelled texts j of f(Y_i, Y_j)
    f    = (2 H(Y_i, Y_j) - H(Y_i) - H(Y_j)) / H(Y_i, Y_j), or 1 where Y_i and Y_j differ in every label

s adds up the ranks of the margins, by Borda's count. Y_i is the vector of 0 and 1 that is predicted, Y_j the one that
was told; H is the entropy of their values over the q labels, and of the pairs of their values. f is 0 where H(Y_i, Y_j)
is: both vectors are constant, and the same. Equal margins share their mean rank.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, expit
from scipy.stats import rankdata
from transformers import PreTrainedModel

from dami_text.data.pool import Pool
from dami_text.models.inference import predict_logits
from dami_text.strategies.base import InBatches, Query, highest, told_labels

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

#: Digits of a margin that are compared: others depend on the processor.
DIGITS = 6


class Cvirs(InBatches):
    """The texts of the highest product of uncertainty and inconsistency."""

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """The n unlabelled rows of the highest score, which is the reason."""
        known = told_labels(pool, "cvirs")
        logits = predict_logits(model, pool.texts, pool.unlabeled, self.batch_size)
        predicted = (logits > 0).astype(np.int64)
        scores = margin_ranks(logits) * inconsistency(predicted, known)
        return highest(scores, pool, n)


def margin_ranks(logits: NDArray[np.float32]) -> Floats:
    """s (U,) of logits (U, C): from 0, the surest for all labels, to 1."""
    n, n_labels = logits.shape
    margins = np.abs(2 * expit(logits.astype(np.float64)) - 1).round(DIGITS)
    ranks = rankdata(margins, axis=0)
    return np.asarray((n - ranks).sum(axis=1) / (n_labels * max(1, n - 1)))


def inconsistency(predicted: Labels, known: Labels) -> Floats:
    """v (U,) of predicted vectors (U, C) against known ones (L, C), all of 0 and 1."""
    found, place = np.unique(predicted, axis=0, return_inverse=True)
    others, counts = np.unique(known, axis=0, return_counts=True)
    return np.asarray((distances(found, others) @ counts / counts.sum())[place.ravel()])


def distances(vectors: Labels, others: Labels) -> Floats:
    """f (U, L) of vectors (U, C) and others (L, C)."""
    q = vectors.shape[1]
    pairs = np.stack([left @ right.T for left in (vectors, 1 - vectors) for right in (others, 1 - others)]) / q
    joint = entr(pairs).sum(axis=0)
    own, of_others = (
        entr(np.stack([each, 1 - each])).sum(axis=0) for each in (vectors.mean(axis=1), others.mean(axis=1))
    )
    apart = 2 * joint - own[:, None] - of_others
    differ = pairs[0] + pairs[3] == 0
    return np.asarray(np.where(differ, 1.0, np.where(joint > 0, apart / np.where(joint > 0, joint, 1), 0.0)))
