"""The active learner: train on what is labelled, ask for what to label next, be told, and again with a new model.

A round depends on nothing but the data, the options, the seed, its number, and the labelled rows and their labels.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.config.options import TrainingConfig
from dami_text.data.batches import Rows
from dami_text.data.pool import Pool
from dami_text.data.texts import EncodedTexts, LabeledTexts
from dami_text.learning.cold_start import FirstQuery, random_rows
from dami_text.models.training import Training, train
from dami_text.processes import Processes, make_accelerator
from dami_text.randomness import numpy_stream, torch_stream
from dami_text.strategies import Query, QueryStrategy, check_query


class ActiveLearner:
    """The learner: `ask` it which rows to label, `tell` it their labels, and ask again.

    Attributes:
        pool: the texts, and which of them are labelled.
        round: the number of the round, from 0 with the first labels told; -1 before.
        model: the model of this round once it is trained, otherwise None.
    """

    def __init__(
        self,
        texts: EncodedTexts,
        build_model: Callable[[], PreTrainedModel],
        strategy: QueryStrategy,
        n_classes: int,
        validation: LabeledTexts | None = None,
        training: TrainingConfig | None = None,
        seed: int = 0,
        accelerator: Accelerator | None = None,
        pool_subsample: int | None = None,
        first_query: FirstQuery = random_rows,
    ) -> None:
        """A learner over `texts` of `n_classes` that trains what `build_model` makes anew in each round.

        Without `validation`, models train for a fixed number of steps. With `pool_subsample`, the strategy chooses
        among so many unlabelled rows only, drawn anew in each round, or among as many as it is asked for.
        `first_query` chooses while nothing is labelled.
        """
        self.pool = Pool(texts)
        self.round = -1
        self.model: PreTrainedModel | None = None
        self._labels = np.full(len(texts), -1, np.int64)
        self._build_model, self._strategy, self._validation = build_model, strategy, validation
        self._config = training or TrainingConfig()
        self._n_classes = n_classes
        self._seed, self._pool_subsample, self._first_query = seed, pool_subsample, first_query
        self._accelerator = accelerator or make_accelerator(self._config.mixed_precision)
        self._processes = Processes.all()

    @property
    def labels(self) -> NDArray[np.int64]:
        """The labels (n,) of `pool.labeled`."""
        return self._labels[self.pool.labeled]

    def tell(self, rows: Rows | Sequence[int], labels: NDArray[np.int64] | Sequence[int]) -> None:
        """Add labels (n,), the numbers of the classes from 0, of rows (n,) of the pool and begin the next round.

        Raises:
            ValueError: a row that is labelled already, out of the pool or there twice, a label that is no class's
                number, or not a label a row; nothing is changed then.
        """
        rows, labels = np.asarray(rows), np.asarray(labels)
        if rows.shape != labels.shape or rows.ndim != 1 or len(rows) == 0:
            raise ValueError(
                f"got rows of shape {rows.shape} and labels of shape {labels.shape}; wanted one label a row"
            )
        if not np.issubdtype(rows.dtype, np.integer):
            raise ValueError(f"got rows such as {rows.tolist()[0]!r}; rows are integers, places in the pool")
        if len(np.unique(rows)) != len(rows) or not np.isin(rows, self.pool.unlabeled).all():
            raise ValueError("got labels for rows that are labelled already, not in the pool, or there twice")
        classes = f"labels are integers from 0 to {self._n_classes - 1}, the numbers of the classes"
        if not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"got labels such as {labels.tolist()[0]!r}; {classes}")
        strangers = labels[(labels < 0) | (labels >= self._n_classes)]
        if len(strangers):
            raise ValueError(f"got label {strangers[0]}; {classes}")
        self.pool = self.pool.with_labeled(rows)
        self._labels[rows] = labels
        self.round += 1
        self.model = None

    def train(self) -> Training:
        """Train a new model on what is labelled."""
        if self.round < 0:
            raise ValueError("nothing is labelled yet; tell labels first")
        start = time.perf_counter()
        self.model = None
        data = LabeledTexts(self.pool.texts, self.pool.labeled, self.labels)
        rng = numpy_stream(self._seed, self.round, "batches")

        def on_this_process() -> Training:
            return train(model, data, self._validation, self._config, self._accelerator, rng)

        with torch_stream(self._seed, self.round, "training"):
            model = self._build_model().to(self._accelerator.device)
            together = self._config.distributed_training
            training = on_this_process() if together else self._processes.on_main(on_this_process)
        self._processes.broadcast_weights(model)
        self.model = model
        return replace(training, seconds=time.perf_counter() - start)

    def save_pretrained(self, folder: Path | str) -> None:
        """Write this round's model with its tokenizer, which is all that transformers' `pipeline` needs to load it."""
        self.trained_model().save_pretrained(folder)
        self.pool.texts.tokenizer.save_pretrained(folder)

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take weights, by name, that were trained elsewhere on what is labelled, as this round's model."""
        with torch_stream(self._seed, self.round, "training"):
            model = self._build_model().to(self._accelerator.device)
        model.load_state_dict(weights)
        self.model = model

    def trained_model(self) -> PreTrainedModel:
        """This round's model; it is trained now if that has not happened."""
        if self.model is None:
            self.train()
        assert self.model is not None
        return self.model

    def ask(self, n: int) -> Query:
        """The n rows to label next, with reasons; all that are left if n is more.

        This round's model is trained now if that has not happened. While nothing is labelled, the cold start chooses.

        Raises:
            ValueError: n is less than 1, or no row is left.
        """
        if n < 1:
            raise ValueError(f"asked for {n} rows; it must be at least 1")
        n = min(n, len(self.pool.unlabeled))
        if n == 0:
            raise ValueError(f"nothing is left to ask for: all {len(self.pool)} texts are labelled or left out")
        pool = self.pool
        if self.round < 0:
            query = self._first_query(pool, n, numpy_stream(self._seed, 0, "initial rows"))
        else:
            if self._pool_subsample is not None:
                pool = pool.sample(max(n, self._pool_subsample), numpy_stream(self._seed, self.round, "pool subsample"))
            query = self._strategy.query(self.trained_model(), pool, n, numpy_stream(self._seed, self.round, "query"))
        query = check_query(self._processes.on_main(lambda: query), pool, n)
        return replace(query, details={**query.details, "considered": len(pool.unlabeled)})
