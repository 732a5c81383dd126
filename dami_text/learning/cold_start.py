"""The first query: which texts to label while nothing is, so that there is no model of the round to ask."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.config.run import RunConfig
from dami_text.data.pool import Pool
from dami_text.errors import ConfigError
from dami_text.models.loading import load_classifier, texts_for
from dami_text.models.word_level import class_names_of
from dami_text.processes import on_own_device
from dami_text.randomness import torch_stream
from dami_text.strategies import KMeansFeatures, Query, QueryStrategy

#: Chooses n of the pool's unlabelled rows, with randomness from the generator only.
FirstQuery = Callable[[Pool, int, np.random.Generator], Query]


def build_first_query(
    config: RunConfig,
    strategy: QueryStrategy,
    new_model: Callable[[], PreTrainedModel],
    class_names: Sequence[str],
    labels: NDArray[np.int64] | None = None,
) -> FirstQuery:
    """The first query that the options name; `labels` (N,) are the pool's true ones, in a simulation.

    An --init-model is loaded by the query alone: a run whose first rows are recorded does without it.

    Raises:
        ConfigError: `balanced` without labels; by the query, an --init-model that is none or has other classes.
    """
    loop = config.loop
    if loop.init_model is not None:
        return _by_trained_model(config, Path(loop.init_model).expanduser(), strategy, class_names)
    if loop.cold_start == "kmeans-features":
        return _by_untrained_model(new_model, loop.seed)
    if loop.cold_start == "balanced":
        if labels is None:
            raise ConfigError(
                "--cold-start balanced needs the labels of all texts, which a simulation alone has; choose random or "
                "kmeans-features"
            )
        return lambda pool, n, rng: Query.of(balanced_rows(labels, n, rng))
    return random_rows


def random_rows(pool: Pool, n: int, rng: np.random.Generator) -> Query:
    """n of the unlabelled rows, at random."""
    return Query.of(rng.choice(pool.unlabeled, n, replace=False))


def balanced_rows(labels: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """n rows of `labels` (N,), as many of each class as far as there are, at random within the class."""
    order = rng.permutation(len(labels))
    places = np.empty(len(labels), np.int64)  # of each row among its class's in that order
    for c in np.unique(labels):
        members = order[labels[order] == c]
        places[members] = np.arange(len(members))
    return np.asarray(order[np.argsort(places[order], kind="stable")[:n]])


def _by_untrained_model(new_model: Callable[[], PreTrainedModel], seed: int) -> FirstQuery:
    """The texts nearest to the means of the features that a model has before it is trained."""

    def query(pool: Pool, n: int, rng: np.random.Generator) -> Query:
        with torch_stream(seed, 0, "cold start"):
            model = on_own_device(new_model())
        return KMeansFeatures().query(model, pool, n, rng)

    return query


def _by_trained_model(
    config: RunConfig, folder: Path, strategy: QueryStrategy, class_names: Sequence[str]
) -> FirstQuery:
    """What the strategy asks of a trained classifier, which reads the texts with its own tokenizer."""

    def query(pool: Pool, n: int, rng: np.random.Generator) -> Query:
        model, preprocessor = load_classifier(folder, config.tokenization.max_length)
        found = class_names_of(model.config)
        if found != list(class_names):
            raise ConfigError(
                f"--init-model {folder} has the classes {found}, the data set {list(class_names)}; they must be the "
                "same in the same order"
            )
        pool = pool.with_texts(texts_for(preprocessor, pool.texts.as_dataset()))
        if config.strategy.pool_subsample is not None:
            pool = pool.sample(max(n, config.strategy.pool_subsample), rng)
        return strategy.query(on_own_device(model), pool, n, rng)

    return query
