"""The query strategies, one file each, and the names that options know them by."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from dami_text.config.options import STRATEGIES, StrategyConfig
from dami_text.errors import ConfigError
from dami_text.strategies.badge import Badge
from dami_text.strategies.bald import Bald
from dami_text.strategies.base import PLACE, Query, QueryStrategy, check_query, highest
from dami_text.strategies.coreset import Coreset
from dami_text.strategies.dami import Dami, Representation
from dami_text.strategies.dami_kcenter import DamiKCenter
from dami_text.strategies.egl import Egl
from dami_text.strategies.egl_word import EglWord
from dami_text.strategies.kmeans_features import KMeansFeatures
from dami_text.strategies.random import RandomSampling
from dami_text.strategies.uncertainty import Uncertainty

__all__ = [
    "PLACE",
    "Badge",
    "Bald",
    "Coreset",
    "Dami",
    "DamiKCenter",
    "Egl",
    "EglWord",
    "KMeansFeatures",
    "Query",
    "QueryStrategy",
    "RandomSampling",
    "Representation",
    "Uncertainty",
    "build_strategy",
    "check_query",
    "highest",
]


def build_strategy(config: StrategyConfig) -> QueryStrategy:
    """The strategy that the options name, one of `config.STRATEGIES` or the user's own, package.module:Class.

    Raises:
        ConfigError: the class cannot be imported or made, or has no method `query`.
    """
    size = config.inference_batch_size
    representation = Representation(
        config.interpretation_target, config.interpretation_class, size, config.informative_word
    )
    named: dict[str, Callable[[], QueryStrategy]] = {
        "random": RandomSampling,
        "least-confidence": lambda: Uncertainty("least-confidence", size),
        "margin": lambda: Uncertainty("margin", size),
        "entropy": lambda: Uncertainty("entropy", size),
        "bald": lambda: Bald(config.bald_samples, size),
        "egl": lambda: Egl(config.egl_parameters, size),
        "egl-word": lambda: EglWord(size),
        "coreset": lambda: Coreset(size),
        "badge": lambda: Badge(size),
        "dami": lambda: Dami(
            representation,
            config.distance,
            config.clustering,
            config.clustering_memory * 2**20,
            config.clustering_seconds,
        ),
        "dami-kcenter": lambda: DamiKCenter(representation),
        "kmeans-features": lambda: KMeansFeatures(size),
    }
    return named[config.strategy]() if config.strategy in STRATEGIES else _own(config.strategy)


def _own(name: str) -> QueryStrategy:
    """The user's own strategy; the working directory is searched too, as `python -m` would."""
    module_name, _, class_name = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        strategy: QueryStrategy = getattr(importlib.import_module(module_name), class_name)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"cannot make --strategy {name}: {error}; wanted package.module:Class, of a class made without arguments"
        ) from error
    if not callable(getattr(strategy, "query", None)):
        raise ConfigError(f"--strategy {name} has no method query(model, pool, n, rng); see strategies.QueryStrategy")
    return strategy
