"""The query strategies: one file each."""

from dami_text.config import StrategyConfig
from dami_text.strategies.base import Query, QueryStrategy, check_query
from dami_text.strategies.dami import Dami
from dami_text.strategies.random import RandomSampling

__all__ = ["Dami", "Query", "QueryStrategy", "RandomSampling", "build_strategy", "check_query"]


def build_strategy(config: StrategyConfig) -> QueryStrategy:
    """The strategy that the options name."""
    if config.strategy == "dami":
        return Dami(config.interpretation_target, config.interpretation_class, config.inference_batch_size)
    return RandomSampling()
