"""The metrics as subclasses of `evaluate.Metric`, on scikit-learn: `evaluate.load` would need the network."""

from typing import Any

import datasets
import evaluate
import numpy as np
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score


class _Local(evaluate.Metric):
    """A metric of predictions and references of one number each."""

    prediction_type = "int64"

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=str(self.__doc__),
            citation="",
            features=datasets.Features(
                {"predictions": datasets.Value(self.prediction_type), "references": datasets.Value("int64")}
            ),
        )


class Accuracy(_Local):
    """The share of predictions that equal their references."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"accuracy": accuracy_score(references, predictions)}


class MacroF1(_Local):
    """The mean over all classes of F1; 0 for a class neither present nor predicted."""

    def _compute(self, predictions: Any, references: Any, n_classes: int) -> dict[str, float]:
        score = f1_score(references, predictions, labels=range(n_classes), average="macro", zero_division=0)
        return {"macro_f1": score}


class RocAuc(_Local):
    """The area under the ROC curve of the positive class's probabilities; 0.5 where one class alone is present."""

    prediction_type = "float32"

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        both = len(np.unique(references)) == 2
        return {"roc_auc": roc_auc_score(references, predictions) if both else 0.5}


METRICS = {"accuracy": Accuracy, "macro_f1": MacroF1, "roc_auc": RocAuc}
