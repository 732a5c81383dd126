"""Metrics as `evaluate.Metric`s that need no network, the user's own beside them, and what a round reports of them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.config import METRICS
from dami_text.data.hub import one_line
from dami_text.data.pool import LabeledTexts
from dami_text.errors import ConfigError, DamiError
from dami_text.inference import BATCH_SIZE, predict_probabilities
from dami_text.processes import Processes

#: From probabilities (N, C) and labels (N,) to a number of which more is better.
Scorer = Callable[[NDArray[np.float32], NDArray[np.int64]], float]


def evaluate_model(
    model: PreTrainedModel,
    data: LabeledTexts,
    batch_size: int = BATCH_SIZE,
    processes: Processes | None = None,
    metric: str = "accuracy",
) -> dict[str, float]:
    """The metrics of the model on `data`: those of `compute_metrics` and, by its name, the user's own `metric`."""
    probabilities = predict_probabilities(model, data.texts, data.rows, batch_size, processes)
    metrics = compute_metrics(probabilities, data.labels)
    return metrics if metric in METRICS else metrics | {metric: scorer(metric)(probabilities, data.labels)}


def compute_metrics(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy, macro F1, micro F1 and ROC AUC of probabilities (N, C).

    Macro F1 is over all C classes; one that is neither present nor predicted counts 0. ROC AUC is the positive class's
    of two, and the mean over the classes of more, each against the rest; see `metrics.RocAuc`.
    """
    return {name: scorer(name)(probabilities, labels) for name in METRICS}


def accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The share of rows whose most probable class is their label."""
    return float((probabilities.argmax(axis=1) == labels).mean())


def scorer(metric: str) -> Scorer:
    """The metric of that name, one of `config.METRICS`, or the user's own by path or Hub id.

    Raises:
        ConfigError: the user's own cannot be loaded; or, when it is called, gives no number.
    """
    if metric == "accuracy":  # the one that trainings compute at every epoch: without evaluate's seconds of import
        return accuracy
    if metric not in METRICS:
        return _own(metric)

    def score(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
        from dami_text import metrics

        module = metrics.METRICS[metric](keep_in_memory=True)
        predictions = probabilities if metric == "roc_auc" else probabilities.argmax(axis=1)
        options = {"n_classes": probabilities.shape[1]} if metric == "macro_f1" else {}
        return float(module.compute(predictions=predictions, references=labels, **options)[metric])

    return score


@cache
def _own(metric: str) -> Scorer:
    """A module for `evaluate`: of predicted classes, or of probabilities where it asks for `prediction_scores`."""
    import evaluate

    try:
        module: Any = evaluate.load(str(Path(metric).expanduser()), keep_in_memory=True)
    except Exception as error:  # whatever the module's own code and the Hub's transport raise
        raise ConfigError(
            f"--metric {metric} cannot be loaded: {one_line(error)}; wanted the path or Hub id of a metric for evaluate"
        ) from error

    def score(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
        if "prediction_scores" in module.features:
            scores = probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities
            given = {"prediction_scores": scores}
        else:
            given = {"predictions": probabilities.argmax(axis=1)}
        try:
            found = module.compute(references=labels, **given)
            value = found[module.name] if module.name in found else next(iter(found.values()))
            return float(value)
        except DamiError:
            raise
        except Exception as error:  # of the user's code
            raise ConfigError(f"--metric {metric} gives no number: {one_line(error)}; it must give one") from error

    return score
