"""Metrics as `evaluate.Metric`s that need no network, the user's own beside them, and what a round reports of them."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.config.defaults import BATCH_SIZE
from dami_text.config.metrics import METRICS, MULTILABEL, RECORDED, measured_class, split_metric
from dami_text.data.texts import LabeledTexts
from dami_text.errors import ConfigError, DamiError
from dami_text.escaping import short_message
from dami_text.models.inference import predict_probabilities
from dami_text.models.label_scores import BY_LABEL, OF_LABELS
from dami_text.models.scores import accuracy, average_precision, average_precisions, macro_f1, roc_auc
from dami_text.models.tasks import task_of
from dami_text.models.word_level import class_names_of
from dami_text.processes import Processes

#: From probabilities (N, C) and labels (N,), or (N, C) of any number of labels, to a number of which more is better.
Scorer = Callable[[NDArray[np.float32], NDArray[np.int64]], float]

QUICK: dict[str, Scorer] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "micro_f1": accuracy,  # the same where each text has one class
    "roc_auc": roc_auc,
    "average_precision": average_precision,
}


def evaluate_model(
    model: PreTrainedModel,
    data: LabeledTexts,
    batch_size: int = BATCH_SIZE,
    processes: Processes | None = None,
    metric: str = "accuracy",
) -> dict[str, float]:
    """The metrics of the model on `data`: those of `compute_metrics` and, by its name, `metric`."""
    probabilities = predict_probabilities(model, data.texts, data.rows, batch_size, processes)
    names, multilabel = class_names_of(model.config), task_of(model).multilabel
    return compute_metrics(probabilities, data.labels, metric, names, multilabel=multilabel)


def compute_metrics(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    metric: str = "accuracy",
    class_names: Sequence[str] = (),
    *,
    multilabel: bool = False,
) -> dict[str, float]:
    """Accuracy, macro F1, micro F1 and ROC AUC of probabilities (N, C), and `metric` by its name.

    A metric of one class looks it up in `class_names` (C,). Macro F1 is over all C classes; one that is neither present
    nor predicted counts 0. ROC AUC is the positive class's of two, and the mean over the classes of more, each against
    the rest; see `metrics.RocAuc`. Of texts with any number of labels, the metrics are those of `label_scores`.
    """
    names = dict.fromkeys((*(MULTILABEL if multilabel else RECORDED), metric))
    return {name: scorer(name, class_names, multilabel=multilabel)(probabilities, labels) for name in names}


def scorer_of(model: PreTrainedModel, metric: str) -> Scorer:
    """The metric of that name for what the model predicts."""
    return scorer(metric, class_names_of(model.config), multilabel=task_of(model).multilabel)


def scorer(metric: str, class_names: Sequence[str] = (), *, multilabel: bool = False) -> Scorer:
    """The metric of that name: see `config.metrics`, or the user's own by path or Hub id.

    A metric of one class looks it up in `class_names` (C,). With `multilabel`, texts have any number of labels.

    Raises:
        ConfigError: there is no such class; the user's own cannot be loaded; or, when it is called, gives no number.
    """
    if multilabel:
        return _of_labels(metric, class_names)
    if metric in QUICK:  # without evaluate's seconds of import and its tables
        return QUICK[metric]
    name, _ = split_metric(metric)
    if name in MULTILABEL and name not in METRICS:
        raise ConfigError(
            f"--metric {metric} is for texts with any number of labels; choose one of {', '.join(METRICS)}"
        )
    if name not in METRICS:
        return _own(metric)
    of = measured_class(metric, class_names)
    if name == "average_precision" and of is not None:
        return lambda probabilities, labels: float(average_precisions(probabilities, labels)[of])

    def score(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
        from dami_text.models import metrics

        module = metrics.METRICS[name](keep_in_memory=True)
        options = {} if of is None else {"positive": of}
        return float(module.compute(predictions=probabilities.argmax(axis=1), references=labels, **options)[name])

    return score


def _of_labels(metric: str, class_names: Sequence[str]) -> Scorer:
    """A metric of texts with any number of labels: of all, or of one of them."""
    of = measured_class(metric, class_names)
    if of is None:
        return OF_LABELS[metric]
    by_label = BY_LABEL[split_metric(metric)[0]]
    return lambda probabilities, labels: float(by_label(probabilities, labels)[of])


@cache
def _own(metric: str) -> Scorer:
    """A module for `evaluate`: of predicted classes, or of probabilities where it asks for `prediction_scores`."""
    import evaluate

    try:
        module: Any = evaluate.load(str(Path(metric).expanduser()), keep_in_memory=True)
    except Exception as error:  # whatever the module's own code and the Hub's transport raise
        raise ConfigError(
            f"--metric {metric} cannot be loaded: {short_message(error)}; wanted the path or Hub id of a "
            "metric for evaluate"
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
            raise ConfigError(f"--metric {metric} gives no number: {short_message(error)}; it must give one") from error

    return score
