"""The query strategies, one module each."""

import sys
from pathlib import Path

from dami_text.config.options import StrategyConfig
from dami_text.config.registry import LABEL_STRATEGIES, STRATEGIES, find
from dami_text.errors import ConfigError, DamiError
from dami_text.strategies.badge import Badge
from dami_text.strategies.bald import Bald
from dami_text.strategies.base import (
    PLACE,
    Explaining,
    Query,
    QueryStrategy,
    check_query,
    highest,
    require_given,
    require_multilabel,
)
from dami_text.strategies.cal import Cal
from dami_text.strategies.cluster_margin import ClusterMargin
from dami_text.strategies.coreset import Coreset
from dami_text.strategies.cvirs import Cvirs
from dami_text.strategies.dami import Dami, Representation
from dami_text.strategies.dami_kcenter import DamiKCenter
from dami_text.strategies.dami_margin import DamiMargin
from dami_text.strategies.dropquery import DropQuery
from dami_text.strategies.egl import Egl
from dami_text.strategies.egl_word import EglWord
from dami_text.strategies.expected_errors import ExpectedErrors
from dami_text.strategies.kmeans_features import KMeansFeatures
from dami_text.strategies.lci import Lci
from dami_text.strategies.positives import Positives
from dami_text.strategies.probcover import ProbCover
from dami_text.strategies.random import RandomSampling
from dami_text.strategies.typiclust import TypiClust
from dami_text.strategies.uncertainty import Uncertainty

__all__ = [
    "PLACE",
    "Badge",
    "Bald",
    "Cal",
    "ClusterMargin",
    "Coreset",
    "Cvirs",
    "Dami",
    "DamiKCenter",
    "DamiMargin",
    "DropQuery",
    "Egl",
    "EglWord",
    "ExpectedErrors",
    "Explaining",
    "KMeansFeatures",
    "Lci",
    "Positives",
    "ProbCover",
    "Query",
    "QueryStrategy",
    "RandomSampling",
    "Representation",
    "TypiClust",
    "Uncertainty",
    "build_strategy",
    "check_query",
    "highest",
    "require_given",
    "require_multilabel",
]


def build_strategy(config: StrategyConfig) -> QueryStrategy:
    """The strategy that the options name: one of `registry.STRATEGIES`, or the user's own as package.module:Class.

    Raises:
        ConfigError: the class cannot be imported or made, or has no method `query`.
    """
    name, known = config.strategy, STRATEGIES | LABEL_STRATEGIES
    strategy: QueryStrategy
    if name in known:
        strategy = find(known[name]).of(config)
        return strategy
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # which is searched too, as `python -m` would
    try:
        kind = find(name)
        strategy = kind.of(config) if hasattr(kind, "of") else kind()
    except DamiError:
        raise
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"cannot make --strategy {name}: {error}; wanted package.module:Class, of a class made without arguments"
        ) from error
    if not callable(getattr(strategy, "query", None)):
        raise ConfigError(f"--strategy {name} has no method query(model, pool, n, rng); see strategies.QueryStrategy")
    return strategy
