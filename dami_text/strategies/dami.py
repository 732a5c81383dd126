"""DAMI: label the texts that represent the model's linear regions best.

Liu et al. 2020, "Deep Active Learning by Model Interpretability", Algorithm 2:

    I_ij = d yhat_i / d x_ij                               interpret: the region, as word j of text i shows it
    Ibar = mean over texts of (mean over words of I_ij)
    d_i  = argmax_j ||I_ij - Ibar||^2,  r_i = I_i,d_i      informative_words: what the text represents
    query = the medoids of K-medoids over {r_i}, K = n     KMedoids: one text for each region
"""

from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from dami_text.aggregation import informative_words
from dami_text.clustering import KMedoids
from dami_text.data.pool import Pool, Rows
from dami_text.inference import BATCH_SIZE, device_of
from dami_text.interpretation import Target, TargetClass, interpret
from dami_text.processes import Processes
from dami_text.strategies.base import Query


@dataclass(frozen=True)
class Dami:
    """DAMI with its readings of what the paper leaves open: what is differentiated, and whose (see `interpret`)."""

    target: Target = "probability"
    target_class: TargetClass = "auto"
    batch_size: int = BATCH_SIZE

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """The n medoids of the unlabelled texts' representations, those of the largest clusters first.

        The reasons: the informative word, its deviation, and how many unlabelled texts the row stands for.
        """
        rows, processes = pool.unlabeled, Processes.all()

        def interpretations(positions: Rows) -> tuple[torch.Tensor, torch.Tensor]:
            batch = pool.texts.collate(rows[positions]).to(device_of(model))
            return interpret(model, batch, self.target, self.target_class), batch.attention_mask.bool()

        found = informative_words(interpretations, pool.texts.lengths[rows], self.batch_size, processes)
        clusters = processes.on_main(lambda: KMedoids(n, random_state=rng).fit(found.representations))

        sizes = np.bincount(clusters.labels_, minlength=n)
        order = np.argsort(-sizes, kind="stable")
        medoids = clusters.medoid_indices_[order]
        reasons = [
            {
                "word": pool.texts.word(rows[i], found.words[i]) if found.words[i] >= 0 else None,
                "deviation": float(found.deviations[i]),
                "cluster_size": int(size),
            }
            for i, size in zip(medoids, sizes[order], strict=True)
        ]
        return Query.of(rows[medoids], reasons, clustering=clusters.method_, interpreted_twice=found.repeated)
