"""Active learning for text classification by model interpretability (DAMI), on Hugging Face libraries."""

from importlib import import_module
from typing import TYPE_CHECKING, Any
from warnings import filterwarnings as _filterwarnings

from dami_text.orphans import end_with_launcher as _end_with_launcher

if TYPE_CHECKING:
    from dami_text.config.fields import Size
    from dami_text.config.run import RunConfig
    from dami_text.data.demo import demo_dataset
    from dami_text.data.pool import Oracle, Pool
    from dami_text.data.texts import EncodedTexts, LabeledTexts
    from dami_text.errors import (
        BusyError,
        ColumnError,
        ConfigError,
        DamiError,
        DataError,
        DataTypeError,
        HubError,
        QueryError,
        RecordError,
        TrainingError,
    )
    from dami_text.labeling.notebook import LabelingSession, label
    from dami_text.learning.factory import load_learner, make_learner
    from dami_text.learning.learner import ActiveLearner
    from dami_text.learning.shown import Explanation, Explanations, TextQuery
    from dami_text.learning.text_learner import TextLearner
    from dami_text.models.inference import predict_features, predict_probabilities
    from dami_text.simulation.compare import StrategyComparison, compare
    from dami_text.simulation.loop import Round, schedule, simulate
    from dami_text.simulation.run import Run
    from dami_text.strategies import Query, QueryStrategy

_end_with_launcher()  # before imports that take seconds
_filterwarnings("ignore", "IProgress not found")  # a notebook without ipywidgets has bars of text, and needs no advice

#: The public names, and where they are: each is imported when it is first used (PEP 562).
_PLACES = {
    "ActiveLearner": "learning.learner",
    "BusyError": "errors",
    "ColumnError": "errors",
    "ConfigError": "errors",
    "DamiError": "errors",
    "DataError": "errors",
    "DataTypeError": "errors",
    "EncodedTexts": "data.texts",
    "Explanation": "learning.shown",
    "Explanations": "learning.shown",
    "HubError": "errors",
    "LabeledTexts": "data.texts",
    "LabelingSession": "labeling.notebook",
    "Oracle": "data.pool",
    "Pool": "data.pool",
    "Query": "strategies",
    "QueryError": "errors",
    "QueryStrategy": "strategies",
    "RecordError": "errors",
    "Round": "simulation.loop",
    "Run": "simulation.run",
    "RunConfig": "config.run",
    "Size": "config.fields",
    "StrategyComparison": "simulation.compare",
    "TextLearner": "learning.text_learner",
    "TextQuery": "learning.shown",
    "TrainingError": "errors",
    "compare": "simulation.compare",
    "demo_dataset": "data.demo",
    "label": "labeling.notebook",
    "load_learner": "learning.factory",
    "make_learner": "learning.factory",
    "predict_features": "models.inference",
    "predict_probabilities": "models.inference",
    "schedule": "simulation.loop",
    "simulate": "simulation.loop",
}

__all__ = [
    "ActiveLearner",
    "BusyError",
    "ColumnError",
    "ConfigError",
    "DamiError",
    "DataError",
    "DataTypeError",
    "EncodedTexts",
    "Explanation",
    "Explanations",
    "HubError",
    "LabeledTexts",
    "LabelingSession",
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
    "StrategyComparison",
    "TextLearner",
    "TextQuery",
    "TrainingError",
    "compare",
    "demo_dataset",
    "label",
    "load_learner",
    "make_learner",
    "predict_features",
    "predict_probabilities",
    "schedule",
    "simulate",
]


def __getattr__(name: str) -> Any:
    """A public name, from the module that has it."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    return value


def __dir__() -> list[str]:
    """The public names among all others."""
    return sorted({*globals(), *_PLACES})
