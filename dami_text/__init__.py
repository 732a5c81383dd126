"""Active learning for text classification by model interpretability (DAMI), on Hugging Face libraries."""

from dami_text.orphans import end_with_launcher as _end_with_launcher

_end_with_launcher()  # before the imports below, which take seconds

from dami_text.config.fields import Size
from dami_text.config.run import RunConfig
from dami_text.data.pool import Oracle, Pool
from dami_text.data.texts import EncodedTexts, LabeledTexts
from dami_text.errors import (
    BusyError,
    ColumnError,
    ConfigError,
    DamiError,
    DataError,
    HubError,
    QueryError,
    RecordError,
    TrainingError,
)
from dami_text.learning.learner import ActiveLearner
from dami_text.learning.preparation import make_learner
from dami_text.simulation.loop import Round, schedule, simulate
from dami_text.simulation.run import Run
from dami_text.strategies import Query, QueryStrategy

__all__ = [
    "ActiveLearner",
    "BusyError",
    "ColumnError",
    "ConfigError",
    "DamiError",
    "DataError",
    "EncodedTexts",
    "HubError",
    "LabeledTexts",
    "Oracle",
    "Pool",
    "Query",
    "QueryError",
    "QueryStrategy",
    "RecordError",
    "Round",
    "Run",
    "RunConfig",
    "Size",
    "TrainingError",
    "make_learner",
    "schedule",
    "simulate",
]
