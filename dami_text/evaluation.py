"""Metrics as `evaluate.Metric`s that need no network, and what a round reports of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.data.pool import LabeledTexts
from dami_text.inference import BATCH_SIZE, predict_probabilities
from dami_text.processes import Processes


def evaluate_model(
    model: PreTrainedModel, data: LabeledTexts, batch_size: int = BATCH_SIZE, processes: Processes | None = None
) -> dict[str, float]:
    """Accuracy, macro F1 and, for two classes, ROC AUC of the model on `data`."""
    return compute_metrics(predict_probabilities(model, data.texts, data.rows, batch_size, processes), data.labels)


def compute_metrics(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy, macro F1 and, for two classes, ROC AUC (0.5 where `labels` hold one class) of probabilities (N, C).

    Macro F1 is over all C classes; one that is neither present nor predicted counts 0.
    """
    n_classes = probabilities.shape[1]
    predictions = probabilities.argmax(axis=1)
    metrics = {
        "accuracy": _metric("accuracy").compute(predictions=predictions, references=labels),
        "macro_f1": _metric("macro_f1").compute(predictions=predictions, references=labels, n_classes=n_classes),
    }
    if n_classes == 2:
        metrics["roc_auc"] = _metric("roc_auc").compute(predictions=probabilities[:, 1], references=labels)
    return {name: float(value[name]) for name, value in metrics.items()}


def accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The share of rows whose most probable class is their label."""
    return float((probabilities.argmax(axis=1) == labels).mean())


def roc_auc(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The area under the ROC curve of two classes' probabilities (N, 2); 0.5 where `labels` hold one class."""
    from sklearn.metrics import roc_auc_score

    both = len(np.unique(labels)) == 2
    return float(roc_auc_score(labels, probabilities[:, 1])) if both else 0.5


#: From class probabilities (N, C) and labels (N,) to a number that is better the higher it is.
Score = Callable[[NDArray[np.float32], NDArray[np.int64]], float]

#: What `--metric` names, as quick functions for the validation split.
SCORES: dict[str, Score] = {"accuracy": accuracy, "roc_auc": roc_auc}


def _metric(name: str) -> Any:
    """The metric of that name; importing evaluate takes seconds, so it is imported at the first use."""
    from dami_text.metrics import METRICS

    return METRICS[name](keep_in_memory=True)
