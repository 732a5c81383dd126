"""The learner for scripts and notebooks: texts, names of classes and tables in, tables and names out."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.config.run import RunConfig
from dami_text.data.hub import progress_bars_hidden
from dami_text.data.ids import Rows
from dami_text.data.labels import named
from dami_text.data.pool import Pool
from dami_text.data.texts import Texts
from dami_text.errors import ConfigError, DataError, DataTypeError, arguments_named
from dami_text.learning.bars import progress_bars
from dami_text.learning.events import Event, History
from dami_text.learning.explaining import explanations
from dami_text.learning.inputs import (
    dataset_of,
    label_numbers,
    labels_given,
    listed_values,
    rows_given,
    strings,
)
from dami_text.learning.learner import ActiveLearner, checked_rows
from dami_text.learning.preparation import learner_over, require_texts
from dami_text.learning.saved import write_learner
from dami_text.learning.shown import Explanations, TextQuery
from dami_text.models.evaluation import scorer
from dami_text.models.inference import predict_probabilities
from dami_text.models.kinds.automatic import settled
from dami_text.models.kinds.own import own_source
from dami_text.models.source import ModelSource, Preprocessor
from dami_text.models.tasks import ANY_LABELS, ONE_CLASS
from dami_text.models.training import Training
from dami_text.processes import use_device
from dami_text.strategies import QueryStrategy
from dami_text.strategies.function import strategy_name

if TYPE_CHECKING:
    import pandas as pd

#: Texts from which on a bar shows how far their encoding is.
MANY = 10_000

#: Texts that are asked for at a time.
QUERY_SIZE = 10


class TextLearner:
    """The active learner over texts: `ask` which texts to label, `tell` their labels, `predict` others.

    `make_learner` makes one. The loop itself is `ActiveLearner`, the attribute `core`.

    Examples:
        >>> from dami_text import make_learner
        >>> texts = ["a good film", "a bad film", "good music", "bad music", "so good", "so bad"]
        >>> learner = make_learner(texts, ["neg", "pos"], model="linear")
        >>> learner.tell([0, 1], ["pos", "neg"])
        >>> query = learner.ask(2)
        >>> learner.tell(query.rows, ["pos" if "good" in text else "neg" for text in query.texts])
        >>> learner.predict(["what a good film", "how bad"]).tolist()
        ['pos', 'neg']

    Attributes:
        core: the loop, over rows and numbers of classes.
        class_names: the classes (C), in the order of their numbers.
        config: the options, with the model that was chosen where that was left open.
        query_size: how many texts are asked for at a time.
    """

    def __init__(
        self,
        dataset: Dataset,
        class_names: Sequence[str],
        config: RunConfig,
        *,
        model: Any = None,
        strategy: QueryStrategy | None = None,
        query_size: int = QUERY_SIZE,
        quiet: bool = False,
    ) -> None:
        """A learner that knows no label.

        Args:
            dataset: the texts, its column `text` (N).
            class_names: the classes (C).
            config: the options.
            model: an object that models are made of, where the options name one of OWN_MODELS.
            strategy: takes the place of the one that the options name.
            query_size: how many texts are asked for at a time.
            quiet: show no progress bars.
        """
        use_device(config.training.device, small=config.model.kind.is_small)
        require_texts(config)
        self.class_names, self.query_size, self._quiet = list(class_names), query_size, quiet
        self._own_model, self._own_strategy = model, strategy
        self._history, self._task = History(), ANY_LABELS if config.data.is_multilabel else ONE_CLASS
        self.config, _ = settled(config, dataset)
        self._dataset, self._source, self.core = dataset, *self._begun(dataset)

    def _begun(self, dataset: Dataset) -> tuple[ModelSource, ActiveLearner]:
        """Where models come from and a learner that knows no label, over these texts."""
        config, names = self.config, self.class_names
        with self._working(), self._bars(len(dataset)):
            source: ModelSource = (
                config.model.kind.source(config, dataset, names)
                if self._own_model is None
                else own_source(self._own_model, config, dataset, names)
            )
            return source, learner_over(dataset, names, config, source, strategy=self._own_strategy)

    def _bars(self, n: int) -> AbstractContextManager[None]:
        """Inside the block, the libraries draw progress bars for n texts if these are many, and nobody wants quiet."""
        return nullcontext() if n >= MANY and not self._quiet else progress_bars_hidden()

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Inside the block, long work has a bar unless nobody wants it, and errors name arguments."""
        with arguments_named(), nullcontext() if self._quiet else progress_bars():
            yield

    def __repr__(self) -> str:
        model, labeled = self.config.model.model, len(self.pool.labeled)
        strategy = strategy_name(self._own_strategy) if self._own_strategy else self.config.strategy.strategy
        if self._own_model is not None:
            model = getattr(self._own_model, "__name__", type(self._own_model).__name__)
        classes = f"{len(self.class_names)} {'labels' if self._task.multilabel else 'classes'}"
        texts = f"{len(self.pool)} texts, {labeled} labelled"
        return f"TextLearner({texts}, {classes}, model {model}, strategy {strategy}, round {self.round})"

    @property
    def pool(self) -> Pool:
        """The texts, and which of them are labelled."""
        return self.core.pool

    @property
    def round(self) -> int:
        """The number of the round, from 0 with the first labels told; -1 before."""
        return self.core.round

    @property
    def model(self) -> PreTrainedModel | None:
        """The model of this round once it is trained, otherwise None."""
        return self.core.model

    @property
    def strategy(self) -> QueryStrategy:
        """What chooses."""
        return self.core.strategy

    @property
    def preprocessor(self) -> Preprocessor | None:
        """What makes a model's input."""
        return self.core.preprocessor

    def ask(self, n: int | None = None) -> TextQuery:
        """The n texts to label next, `query_size` by default; all that are left if n is more.

        This round's model is trained now if that has not happened. While nothing is labelled, the texts are random.

        Raises:
            QueryError: n is less than 1, no text is left, or a strategy of one's own breaks its contract.
            TrainingError: the training did not end in a usable model.
        """
        n = self.query_size if n is None else n
        if isinstance(n, bool) or not isinstance(n, Integral):
            raise DataTypeError(f"n is {n!r:.60}; it must be the number of texts to ask for")
        with self._working():
            found = self.core.ask(int(n))
        rows = found.rows.tolist()
        query = TextQuery(found.rows, found.reasons, found.details, [self.pool.texts.text(row) for row in rows])
        guesses = None
        if self.round >= 0:
            probabilities = predict_probabilities(self.core.trained_model(), self.pool.texts, found.rows)
            guesses = self._names(self._task.predicted(probabilities))
        self._record("asked", rows=rows, guesses=guesses)
        return query

    def tell(self, rows: Any, labels: Any) -> None:
        """Take labels and begin the next round; a row that has another label already is corrected.

        Args:
            rows: (n,) places in the pool, such as `query.rows`.
            labels: (n,) names of classes or their numbers; True and False where the classes are called so. Of any
                number of labels, each is a list of these, [] where none holds; or a row of an array of 0 and 1.

        Raises:
            DataError: a row that is not in the pool or there twice, a label that is none, or not a label a row; nothing
                is taken then.
        """
        places = checked_rows(rows_given(rows), len(self.pool))
        given = listed_values(labels, "labels")
        if len(given) != len(places) or not given:
            raise DataError(f"got {len(places)} rows and {len(given)} labels; give one label for each row")
        numbers = label_numbers(given, self.class_names, places.tolist(), multilabel=self._task.multilabel)
        new = ~np.isin(places, self.pool.labeled)
        before = np.full_like(numbers, -1)
        before[~new] = self.core.labels[np.searchsorted(self.pool.labeled, places[~new])]
        differs = (before != numbers).reshape(len(places), -1).any(axis=1)
        if not differs.any():
            return
        self.core.tell(places, numbers)
        guesses, changed = self._history.last_guesses(), differs & ~new
        if new.any():
            told = self._names(numbers[new])
            right = [
                guesses[row] == label for row, label in zip(places[new].tolist(), told, strict=True) if row in guesses
            ]
            metric = f"{'subset ' if self._task.multilabel else ''}accuracy on what was asked"
            scored = {"metric": metric, "score": float(np.mean(right))} if right else {}
            self._record("told", rows=places[new].tolist(), labels=told, **scored)
        if changed.any():
            was = self._names(before[changed])
            self._record("corrected", rows=places[changed].tolist(), labels=self._names(numbers[changed]), before=was)

    def exclude(self, rows: Any) -> None:
        """Never ask for these rows (n,); labels of them can be told all the same."""
        places = checked_rows(rows_given(rows), len(self.pool))
        self.core.exclude(places)
        self._record("excluded", rows=places.tolist())

    def train(self) -> Training:
        """Train this round's model now; `ask` and `predict` do it where that has not happened."""
        with self._working():
            return self.core.train()

    def trained_model(self) -> PreTrainedModel:
        """This round's model; it is trained now if that has not happened."""
        with self._working():
            return self.core.trained_model()

    @contextmanager
    def predicting(self) -> Iterator[PreTrainedModel]:
        """This round's model as it predicts inside the block: by the thresholds that the option `threshold` chooses."""
        with self._working(), self.core.predicting() as model:
            yield model

    def predict(self, texts: Any) -> NDArray[Any]:
        """The names (N,) of the classes of texts (N,); or, of any number of labels, (N,) lists of names."""
        predicted = self._task.predicted(self.predict_proba(texts))
        if self._task.multilabel:
            return np.fromiter(self._names(predicted), object, len(predicted))
        return np.asarray(np.array(self.class_names)[predicted])

    def predict_proba(self, texts: Any) -> NDArray[np.float32]:
        """The probabilities (N, C) of the classes of texts (N,), in the order of `class_names`.

        Of any number of labels, each has a probability of its own, and is predicted above one half.

        Raises:
            DataError: nothing is labelled, or a text is no string.
        """
        with self.predicting() as model:
            found = strings(texts)
            if not found:
                return np.zeros((0, len(self.class_names)), np.float32)
            return predict_probabilities(model, self._encoded(found), np.arange(len(found)))

    def score(self, texts: Any, labels: Any, metric: str | None = None) -> float:
        """How good the predictions for texts (N,) of known labels (N,) are; the history keeps it.

        Args:
            texts: they should not be of the pool: what was asked for is harder than other texts.
            labels: as those of `tell`.
            metric: accuracy, macro_f1 and so on, as the option `metric`; by default what that is.

        Raises:
            DataError: there is no text, or not a label a text.
            ConfigError: there is no such metric.
        """
        found, given = strings(texts), listed_values(labels, "labels")
        if not found or len(found) != len(given):
            raise DataError(
                f"got {len(found)} texts and {len(given)} labels; give one text or more, and a label for each"
            )
        numbers = label_numbers(given, self.class_names, range(len(given)), multilabel=self._task.multilabel)
        with arguments_named():
            metric = self.config.training.metric if metric is None else metric
            name = replace(self.config.training, metric=metric).metric
            of = scorer(name, self.class_names, multilabel=self._task.multilabel)
            value = float(of(self.predict_proba(found), numbers))
        self._record("scored", rows=[], metric=name, score=value, n=len(found))
        return value

    def explain(self, texts: Any) -> Explanations:
        """The prediction for each text, and how much each of its words has to do with it; in colour in a notebook.

        A word weighs what the linear model has learned of it, or the length of the gradient by its embedding; for a
        classifier of one's own, what the probability falls by without the word. Of any number of labels it is the most
        probable one that is explained.
        """
        with self.predicting() as model:
            found = strings(texts)
            return explanations(model, self._encoded(found), self.class_names) if found else Explanations()

    @property
    def labels(self) -> "pd.DataFrame":
        """What is labelled: row, text, label, the round that it began, and whether the learner asked for it."""
        import pandas as pd

        asked, found = self._history.rows("asked"), self._history.labels()
        lines = [(row, self.pool.texts.text(row), *found[row], row in asked) for row in sorted(found)]
        return pd.DataFrame(lines, columns=["row", "text", "label", "round", "asked"])

    @property
    def history(self) -> "pd.DataFrame":
        """What was asked, told, corrected, excluded, added and scored, a line each, in that order.

        `score` of what was told is the share that the model which asked had predicted right: an estimate of the
        accuracy on texts that are harder than others.
        """
        return self._history.to_pandas()

    def add_texts(self, texts: Any, labels: Any = None) -> Rows:
        """Add texts to the pool and return their rows; words and features are learned anew of all texts.

        Args:
            texts: as those of `make_learner`.
            labels: as those of `make_learner`.

        Raises:
            DataError: a text is no string, or a label of no class; nothing is added then.
        """
        with arguments_named():
            new = dataset_of(texts, self.config.data.text_columns)
            first, told = len(self.pool), None
            if labels is not None:
                told = labels_given(labels, texts, self.class_names, len(new), multilabel=self._task.multilabel)
            dataset = datasets.concatenate_datasets([self._dataset, new])
            source, core = self._begun(dataset)
        core.exclude(sorted(self._history.rows("excluded")))
        if self.round >= 0:
            core.tell(self.pool.labeled, self.core.labels, round_number=self.round)
        self._dataset, self._source, self.core = dataset, source, core
        rows = np.arange(first, len(dataset))
        self._record("added", rows=rows.tolist())
        if told is not None and len(told[0]):
            self.tell(first + told[0], told[1])
        return rows

    def save(self, folder: Path | str) -> None:
        """Write the learner into a folder, for `load_learner`: texts, options and history, nothing that is run.

        A classifier or a strategy of one's own is not written: it is given to `load_learner` again.

        Raises:
            RecordError: the folder holds something else, or cannot be written.
        """
        state = {
            "class_names": self.class_names,
            "options": self.config.options(),
            "query_size": self.query_size,
            "strategy": strategy_name(self._own_strategy) if self._own_strategy else None,
            "round": self.round,
            "events": self._history.events,
        }
        write_learner(Path(folder), self._dataset, state)

    def save_pretrained(self, folder: Path | str) -> None:
        """Write this round's model with its tokenizer, for `transformers` and `dami-text predict`.

        Raises:
            ConfigError: the model is a classifier of one's own.
        """
        if self.preprocessor is None:
            raise ConfigError("a classifier of your own is no model of transformers; save `trained_model().estimator`")
        self.trained_model()
        self.core.save_pretrained(folder)

    def _encoded(self, texts: Sequence[str]) -> Texts:
        """Texts as the models read them."""
        with self._working(), self._bars(len(texts)):
            (encoded,) = self._source.encode([Dataset.from_dict({"text": list(texts)})])
        return encoded

    def _names(self, numbers: NDArray[np.int64]) -> list[Any]:
        """The names of labels: of each text one, or a list of them."""
        return [named(label, self.class_names) for label in numbers]

    def _record(self, event: str, **details: Any) -> None:
        self._history.add(event, self.round, len(self.pool.labeled), **details)

    def replay(self, events: Sequence[Event], round_number: int) -> None:
        """Take over what happened to a learner of the same texts, classes and options, up to a round."""
        self._history = History(events)
        self.core.exclude(sorted(self._history.rows("excluded")))
        if labels := self._history.labels():
            rows, names = list(labels), [label for label, _ in labels.values()]
            numbers = label_numbers(names, self.class_names, rows, multilabel=self._task.multilabel)
            self.core.tell(rows, numbers, round_number=round_number)
