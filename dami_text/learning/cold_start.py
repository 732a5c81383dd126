"""The first query: which texts to label while nothing is, so that there is no model of the round to ask."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.config.run import RunConfig
from dami_text.data.pool import Pool
from dami_text.errors import ConfigError
from dami_text.learning.first_texts import described_rows, read_descriptions, typical_rows
from dami_text.models.frozen_features import features_of
from dami_text.models.kept_heads import give_classes, rows_by_name
from dami_text.models.loading import load_classifier, texts_for
from dami_text.models.tasks import task_of
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
    *,
    knows_classes: bool = False,
    preprocessor: Any = None,
) -> FirstQuery:
    """The first query that the options name; `labels` (N,), or (N, C), are the pool's true ones, in a simulation.

    `knows_classes` says that new models predict the classes before they are trained; `preprocessor` makes their input.

    An --init-model and descriptions are read by the query alone: what has its first rows does without them.

    Raises:
        ConfigError: `balanced` without labels, or `strategy` without such models; by the query, an --init-model that is
            none or has other classes, no frozen encoder, or descriptions of other classes.
    """
    loop = config.loop
    if loop.init_model is not None:
        return _by_trained_model(config, Path(loop.init_model).expanduser(), strategy, class_names)
    kind = config.cold_start
    if kind == "described":
        return _by_descriptions(config, new_model, class_names, preprocessor)
    if kind == "kmeans-features":
        return _by_untrained_model(new_model, loop.seed)
    if kind == "strategy":
        if not knows_classes:
            raise ConfigError(
                "--cold-start strategy needs an encoder that is fine-tuned whole and whose own head has all of the "
                f"classes {list(class_names)[:10]}, and --model {config.model.model} is none; choose random or "
                "kmeans-features, or name a trained model with --init-model"
            )
        return _by_new_model(config, new_model, strategy)
    if kind == "balanced":
        if labels is None:
            raise ConfigError(
                "--cold-start balanced needs the labels of all texts, which a simulation alone has; choose random or "
                "kmeans-features"
            )
        choose = balanced_rows if labels.ndim == 1 else label_balanced_rows
        return lambda pool, n, rng: Query.of(choose(labels, n, rng))
    return _typical(config) if kind == "typical" else random_rows


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


def label_balanced_rows(labels: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """n rows of `labels` (N, C) of 0 and 1: each a random one with the label that the fewest of those before it have.

    Of labels that as few have, the rarest. Where no row with a label is left, the others come at random.
    """
    found: list[int] = []
    order, counts = rng.permutation(len(labels)), np.zeros(labels.shape[1], np.int64)
    free, total = np.ones(len(labels), bool), labels.sum(axis=0)
    while len(found) < n:
        left = total > counts
        if not left.any():
            return np.concatenate([np.array(found, np.int64), order[free[order]][: n - len(found)]])
        wanted = np.lexsort((total, np.where(left, counts, len(labels) + 1)))[0]
        row = int(order[free[order] & (labels[order, wanted] > 0)][0])
        found.append(row)
        free[row] = False
        counts += labels[row]
    return np.array(found, np.int64)


def _features(config: RunConfig, pool: Pool) -> NDArray[np.float32]:
    """The features (n, H) of the unlabelled texts, of a frozen encoder."""
    found = pool.texts.frozen_features
    if found is None:
        what = "--describe" if config.loop.describe else f"--cold-start {config.cold_start}"
        raise ConfigError(
            f"{what} needs the features of a frozen encoder, and --model is {config.model.model}; choose an encoder "
            "with --freeze-encoder, or leave it out"
        )
    return found.features[pool.unlabeled]


def _typical(config: RunConfig) -> FirstQuery:
    """The texts most typical of clusters."""

    def query(pool: Pool, n: int, rng: np.random.Generator) -> Query:
        rows, sizes = typical_rows(_features(config, pool), n, rng)
        return Query.of(pool.unlabeled[rows], [{"cluster_size": int(size)} for size in sizes])

    return query


def _by_descriptions(
    config: RunConfig, new_model: Callable[[], PreTrainedModel], class_names: Sequence[str], preprocessor: Any
) -> FirstQuery:
    """As many texts for each class, by their likeness to its description."""

    def query(pool: Pool, n: int, rng: np.random.Generator) -> Query:
        features, descriptions = _features(config, pool), read_descriptions(config.loop.describe or [], class_names)
        with torch_stream(config.loop.seed, 0, "cold start"):
            model = on_own_device(new_model())
        texts = texts_for(preprocessor, Dataset.from_dict({"text": descriptions}))
        described = features_of(model, texts, np.arange(len(descriptions)))
        return Query.of(pool.unlabeled[described_rows(features, described, n, rng)])

    return query


def _by_untrained_model(new_model: Callable[[], PreTrainedModel], seed: int) -> FirstQuery:
    """The texts nearest to the means of the features that a model has before it is trained."""

    def query(pool: Pool, n: int, rng: np.random.Generator) -> Query:
        with torch_stream(seed, 0, "cold start"):
            model = on_own_device(new_model())
        return KMeansFeatures().query(model, pool, n, rng)

    return query


def _by_new_model(config: RunConfig, new_model: Callable[[], PreTrainedModel], strategy: QueryStrategy) -> FirstQuery:
    """What the strategy asks of a model that knows the classes before it is trained."""

    def query(pool: Pool, n: int, rng: np.random.Generator) -> Query:
        with torch_stream(config.loop.seed, 0, "cold start"):
            model = on_own_device(new_model())
        return strategy.query(model, _on_offer(config, pool, n, rng), n, rng)

    return query


def _on_offer(config: RunConfig, pool: Pool, n: int, rng: np.random.Generator) -> Pool:
    """The pool, or as many of it as `--pool-subsample` says."""
    subsample = config.strategy.pool_subsample
    return pool if subsample is None else pool.sample(max(n, subsample), rng)


def _by_trained_model(
    config: RunConfig, folder: Path, strategy: QueryStrategy, class_names: Sequence[str]
) -> FirstQuery:
    """What the strategy asks of a trained classifier, which reads the texts with its own tokenizer."""

    def query(pool: Pool, n: int, rng: np.random.Generator) -> Query:
        model, preprocessor = load_classifier(folder, config.tokenization.max_length)
        if task_of(model).multilabel:
            raise ConfigError(
                f"--init-model {folder} predicts any number of labels, and a text has one class here; name another"
            )
        found = class_names_of(model.config)
        if found != list(class_names):
            rows = rows_by_name(found, class_names)
            if None in rows or len(found) != len(class_names):
                raise ConfigError(
                    f"--init-model {folder} has the classes {found}, the data set {list(class_names)}; they must be "
                    "the same, in any order"
                )
            give_classes(model, rows, class_names)
        pool = pool.with_texts(texts_for(preprocessor, pool.texts.as_dataset()))
        return strategy.query(on_own_device(model), _on_offer(config, pool, n, rng), n, rng)

    return query
