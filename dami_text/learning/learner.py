"""The active learner: train on what is labelled, ask for what to label next, be told, and again with a new model.

A round depends on nothing but the data, the options, the seed, its number, and the labelled rows and their labels.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.config.options import TrainingConfig
from dami_text.data.ids import Rows
from dami_text.data.labels import checked_labels, no_labels
from dami_text.data.pool import Pool
from dami_text.data.texts import LabeledTexts, Texts
from dami_text.errors import DataError, DataTypeError, QueryError
from dami_text.learning.anchors import near_anchors
from dami_text.learning.cold_start import FirstQuery, random_rows
from dami_text.learning.jobs import Trainings, in_turn, result_of
from dami_text.models.adapters import has_adapter, merge_copy, save_adapter
from dami_text.models.jobs import TrainingJob, train_alone
from dami_text.models.last_layer import record_unseen
from dami_text.models.shared_weights import own_weights
from dami_text.models.source import Preprocessor
from dami_text.models.threshold import Threshold, choose_thresholds, moved
from dami_text.models.training import Training
from dami_text.processes import Processes, make_accelerator
from dami_text.randomness import TorchState, numpy_stream, torch_stream
from dami_text.strategies import Query, QueryStrategy, check_query

logger = logging.getLogger(__name__)

#: How often a model is trained, with another seed each time, that does not learn.
ATTEMPTS = 3


class ActiveLearner:
    """The loop of active learning: `ask` which rows to label, `tell` their labels, and ask again.

    Rows are places in the pool and labels numbers of classes. `TextLearner` takes texts and names of classes, too.

    Examples:
        >>> from dami_text import make_learner
        >>> texts = ["a good film", "a bad film", "good music", "bad music", "so good", "so bad"]
        >>> learner = make_learner(texts, ["negative", "positive"], model="linear").core
        >>> learner.tell([0, 1], [1, 0])
        >>> query = learner.ask(2)
        >>> learner.tell(query.rows, [1, 0])
        >>> learner.round, len(learner.pool.labeled)
        (1, 4)

    Attributes:
        pool: the texts, and which of them are labelled.
        round: the number of the round, from 0 with the first labels told; -1 before.
        model: the model of this round once it is trained, otherwise None.
        strategy: what chooses.
        preprocessor: what makes a model's input.
    """

    def __init__(
        self,
        texts: Texts,
        new_model: Callable[[], PreTrainedModel],
        strategy: QueryStrategy,
        n_classes: int,
        *,
        multilabel: bool = False,
        validation: LabeledTexts | None = None,
        training: TrainingConfig | None = None,
        seed: int = 0,
        accelerator: Accelerator | None = None,
        pool_subsample: int | None = None,
        pool_subsample_by: Literal["random", "anchors"] = "random",
        first_query: FirstQuery = random_rows,
        preprocessor: Preprocessor | None = None,
    ) -> None:
        """A learner that trains what `new_model` makes, anew in each round.

        Args:
            texts: the pool (N).
            new_model: makes a model that is not trained yet, with randomness from torch's generator.
            strategy: chooses which texts to label next.
            n_classes: the number of classes C.
            multilabel: whether a text has any number of the classes; its label is 0 or 1 for each (C,) then.
            validation: stops training early; without it, models train for a fixed number of steps.
            training: how models are trained.
            seed: of all that is random.
            accelerator: what trains; by default one of this launch.
            pool_subsample: the strategy chooses among so many unlabelled rows, drawn anew in each round, or among as
                many as it is asked for; by default among all.
            pool_subsample_by: whether these are drawn at random or are those nearest to anchors (`near_anchors`).
            first_query: chooses while nothing is labelled.
            preprocessor: what makes a model's input, to be saved beside the model; by default the texts' tokenizer.
        """
        self.pool = Pool(texts, labels=no_labels(n_classes, multilabel=multilabel))
        self.round = -1
        self.model: PreTrainedModel | None = None
        self._excluded: Rows = np.zeros(0, np.int64)
        self.strategy, self._new_model, self._validation = strategy, new_model, validation
        self.preprocessor = preprocessor or getattr(texts, "tokenizer", None)
        self._config = training or TrainingConfig()
        self._thresholds: list[Threshold] = []
        self._n_classes, self._multilabel = n_classes, multilabel
        self._seed, self._first_query = seed, first_query
        self._pool_subsample, self._pool_subsample_by = pool_subsample, pool_subsample_by
        self._accelerator = accelerator or make_accelerator(self._config.mixed_precision)
        self._processes = Processes.all()

    @property
    def labels(self) -> NDArray[np.int64]:
        """The labels (n,) of `pool.labeled`, or (n, C) of any number of labels."""
        assert self.pool.labels is not None
        return self.pool.labels

    def exclude(self, rows: Rows | Sequence[int]) -> None:
        """Never ask for these rows (n,) of the pool; labels of them can be told all the same."""
        self._excluded = np.union1d(self._excluded, np.asarray(rows, np.int64))
        self.pool = self.pool.without(self._excluded)

    def tell(
        self,
        rows: Rows | Sequence[int],
        labels: NDArray[np.int64] | Sequence[int],
        round_number: int | None = None,
    ) -> None:
        """Add labels, or change those of rows that have one, and begin the next round.

        Args:
            rows: (n,) rows of the pool.
            labels: (n,) the numbers of their classes, from 0; or (n, C) 0 and 1 for each label.
            round_number: the number of the round that begins, where the labels are of several; by default the next.

        Raises:
            DataError: a row that is not in the pool or there twice, a label that is no class's number, or not a label a
                row; nothing is changed then.
        """
        rows = checked_rows(rows, len(self.pool))
        labels = checked_labels(labels, rows, self._n_classes, multilabel=self._multilabel)
        self.pool = self.pool.with_labeled(rows, labels).without(self._excluded)
        self.round = self.round + 1 if round_number is None else round_number
        self.model = None

    def train(self) -> Training:
        """Train a new model on what is labelled, and once more, with a warning, where that fails (`has_learned`)."""
        return result_of(in_turn(self.training_jobs(), self.train_job))

    def training_jobs(self) -> Trainings:
        """The same, step by step (see `learning.jobs`): each training that it comes to is a job for someone else."""
        if self.round < 0:
            raise DataError("nothing is labelled yet; tell labels first")
        self.model, self._thresholds, seconds = None, [], 0.0
        for attempt in range(ATTEMPTS):
            start = time.perf_counter()
            job = self._job(attempt)
            seconds += time.perf_counter() - start
            training: Training = yield job
            seconds += training.seconds
            self._processes.broadcast(own_weights(job.model).values())
            if training.has_learned:
                break
            logger.warning(
                "the model of round %d has not learned in %d steps to tell the labelled texts apart; %s",
                *(self.round, training.steps),
                "it is trained again with another seed"
                if attempt + 1 < ATTEMPTS
                else "see whether the labels are right, or try another --learning-rate or more --steps",
            )
        self.model, self._thresholds = job.model, self._chosen_thresholds(training)
        return replace(training, seconds=seconds)

    def _chosen_thresholds(self, training: Training | None) -> list[Threshold]:
        """From which probabilities on the model of a training predicts, where the options have that chosen."""
        if self._config.threshold == "none" or training is None or training.cross_validated is None:
            return []
        return choose_thresholds(training.cross_validated, self.labels)

    def _job(self, attempt: int) -> TrainingJob:
        """The training of a new model on what is labelled; each attempt has random streams of its own."""
        number = f" {attempt}" if attempt else ""
        with torch_stream(self._seed, self.round, f"training{number}"):
            model = self._new_model().to(self._accelerator.device)
            state = TorchState.now()  # the training draws from where the new model's weights end
        return TrainingJob(
            model=model,
            data=LabeledTexts(self.pool.texts, self.pool.labeled, self.labels),
            validation=self._validation,
            config=self._config,
            rng=numpy_stream(self._seed, self.round, f"batches{number}"),
            state=state,
        )

    def train_job(self, job: TrainingJob) -> Training:
        """Train a job's model by itself, on the main process unless the options say otherwise."""
        if self._config.distributed_training:
            return train_alone(job, self._accelerator)
        return self._processes.on_main(lambda: train_alone(job, self._accelerator))

    def save_pretrained(self, folder: Path | str, merged: bool = False) -> None:
        """Write this round's model with its tokenizer, which is all that transformers' `pipeline` needs to load it.

        (A CNN or a BiLSTM needs `import dami_text.models.auto` before, too.) Of a model with an adapter, the adapter is
        written (see `models.adapters`); or with `merged` a whole model, with the adapter merged.
        """
        model, folder = self.trained_model(), Path(folder)
        record_unseen(model)
        with self.predicting() as model:
            if not has_adapter(model):
                model.save_pretrained(folder)
            elif merged:
                merge_copy(model).save_pretrained(folder)
            else:
                save_adapter(model, folder)
        if self.preprocessor is not None:
            self.preprocessor.save_pretrained(folder)

    def restore(self, weights: Mapping[str, torch.Tensor], training: Training | None = None) -> None:
        """Take weights, by name, that a training elsewhere has found for what is labelled, as this round's model.

        They are those of `own_weights`, or all.

        Raises:
            ValueError: some are missing, or of another model.
        """
        with torch_stream(self._seed, self.round, "training"):
            model = self._new_model().to(self._accelerator.device)
        found = model.load_state_dict(weights, strict=False)
        missing = sorted(own_weights(model).keys() & found.missing_keys)
        if missing or found.unexpected_keys:
            raise ValueError(f"got weights of another model: without {missing[:3]}, with {found.unexpected_keys[:3]}")
        self.model, self._thresholds = model, self._chosen_thresholds(training)

    def trained_model(self) -> PreTrainedModel:
        """This round's model; it is trained now if that has not happened."""
        if self.model is None:
            self.train()
        assert self.model is not None
        return self.model

    @contextmanager
    def predicting(self) -> Iterator[PreTrainedModel]:
        """This round's model as it predicts inside the block: by the thresholds that the option `threshold` chooses.

        It asks by one half, for which see `models.threshold`.
        """
        with moved(self.trained_model(), self._thresholds) as model:
            yield model

    def ask(self, n: int) -> Query:
        """The n rows to label next, with reasons; all that are left if n is more.

        This round's model is trained now if that has not happened. While nothing is labelled, the cold start chooses.

        Raises:
            QueryError: n is less than 1, or no row is left.
        """
        if n < 1:
            raise QueryError(f"asked for {n} rows; it must be at least 1")
        n = min(n, len(self.pool.unlabeled))
        if n == 0:
            raise QueryError(f"nothing is left to ask for: all {len(self.pool)} texts are labelled or left out")
        pool = self.pool
        if self.round < 0:
            query = self._first_query(pool, n, numpy_stream(self._seed, 0, "initial rows"))
        else:
            if self._pool_subsample is not None:
                pool = self._subsample(max(n, self._pool_subsample))
            query = self.strategy.query(self.trained_model(), pool, n, numpy_stream(self._seed, self.round, "query"))
        query = check_query(self._processes.on_main(lambda: query), pool, n)
        return replace(query, details={**query.details, "considered": len(pool.unlabeled)})

    def _subsample(self, n: int) -> Pool:
        """The pool in which only n of the unlabelled rows are there to choose from in this round; all, if n is more."""
        rng = numpy_stream(self._seed, self.round, "pool subsample")
        if self._pool_subsample_by == "random" or n >= len(self.pool.unlabeled):
            return self.pool.sample(n, rng)
        near = self._processes.on_main(lambda: near_anchors(self.pool, n, rng).unlabeled)
        return self.pool.among(near)


def checked_rows(rows: Rows | Sequence[int], n: int) -> Rows:
    """Rows (k,) of a pool of n texts.

    Raises:
        DataError: one is no integer, not in the pool, or there twice.
    """
    found = np.asarray(rows)
    if found.ndim != 1:
        raise DataError(f"got rows of shape {found.shape}; wanted a list of rows")
    if len(found) and not np.issubdtype(found.dtype, np.integer):
        raise DataTypeError(f"got rows such as {found.tolist()[0]!r}; rows are integers, places in the pool")
    outside = found[(found < 0) | (found >= n)]
    if len(outside):
        raise DataError(f"row {outside[0]} is not in the pool; rows are from 0 to {n - 1}")
    values, counts = np.unique(found, return_counts=True)
    if len(values) < len(found):
        raise DataError(f"row {values[counts > 1][0]} is there twice; give each row once")
    return found.astype(np.int64)
