"""LCI: texts whose number of labels looks wrong, and whose labels are hardly told apart.

Label cardinality inconsistency, with max-margin uncertainty (Li and Guo 2013, "Active learning with multi-label SVM
classification"). A text of log-odds z_l scores sqrt(u c):

    c = | number of labels with z_l > 0  -  mean number of labels of labelled texts |
    u = 1 / (min of z_l > 0  -  max of z_l <= 0)

The margin of u separates the labels that are predicted from the others. Where there are none of the ones or the others,
0 stands for them. The paper weighs u^b c^(1 - b), and chooses b by training a model on what each b would ask for. Here
b is 1/2.
"""

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.data.pool import Pool
from dami_text.models.inference import predict_logits
from dami_text.strategies.base import InBatches, Query, highest, told_labels

#: Margins that are smaller are taken for this.
LEAST = 1e-6


class Lci(InBatches):
    """The texts of the highest product of cardinality inconsistency and uncertainty."""

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """The n unlabelled rows of the highest scores; the reasons: the score, and how many labels are predicted."""
        cardinality = float(told_labels(pool, "lci").sum(axis=1).mean())
        logits = predict_logits(model, pool.texts, pool.unlabeled, self.batch_size).astype(np.float64)
        counts = (logits > 0).sum(axis=1)
        scores = np.sqrt(np.abs(counts - cardinality) / separation(logits))
        query = highest(scores, pool, n)
        places = np.searchsorted(pool.unlabeled, query.rows)
        reasons = [
            {**reason, "predicted_labels": int(count)}
            for reason, count in zip(query.reasons, counts[places], strict=True)
        ]
        return Query.of(query.rows, reasons)


def separation(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The margin (N,) between the labels that logits (N, C) predict and the others, LEAST at least."""
    lowest = np.where(logits > 0, logits, np.inf).min(axis=1)
    highest_other = np.where(logits > 0, -np.inf, logits).max(axis=1)
    found = np.where(np.isinf(lowest), 0, lowest) - np.where(np.isinf(highest_other), 0, highest_other)
    return np.asarray(found.clip(min=LEAST))
