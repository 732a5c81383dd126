"""The metrics as subclasses of `evaluate.Metric`, on scikit-learn: `evaluate.load` would need the network."""

from typing import Any

import datasets
import evaluate
import numpy as np
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, precision_score, recall_score

from dami_text.models.scores import average_precision, roc_auc


class _Local(evaluate.Metric):
    """A metric of predictions and references, of one class a text unless a subclass says otherwise."""

    prediction_feature: Any = datasets.Value("int64")

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=str(self.__doc__),
            citation="",
            features=datasets.Features({"predictions": self.prediction_feature, "references": datasets.Value("int64")}),
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


class MicroF1(_Local):
    """F1 of all decisions together: for one class a text, the accuracy."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"micro_f1": f1_score(references, predictions, average="micro")}


class RocAuc(_Local):
    """The area under the ROC curve of probabilities (N, C), as `scores.roc_auc` has it."""

    prediction_feature = datasets.Sequence(datasets.Value("float32"))

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"roc_auc": roc_auc(np.asarray(predictions), np.asarray(references))}


class BalancedAccuracy(_Local):
    """The mean of recall over the classes that are there: each class counts the same, whatever its size."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        score = recall_score(references, predictions, labels=np.unique(references), average="macro", zero_division=0)
        return {"balanced_accuracy": score}


class MatthewsCorrelation(_Local):
    """The correlation of predictions and references, from -1 to 1; 0 where either is of one class alone."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        one_class = len(np.union1d(predictions, references)) == 1
        return {"matthews_correlation": 0.0 if one_class else matthews_corrcoef(references, predictions)}


class AveragePrecision(_Local):
    """The average precision of probabilities (N, C), as `scores.average_precision` has it."""

    prediction_feature = datasets.Sequence(datasets.Value("float32"))

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"average_precision": average_precision(np.asarray(predictions), np.asarray(references))}


class F1(_Local):
    """F1 of the class `positive`; 0 where it is neither present nor predicted."""

    def _compute(self, predictions: Any, references: Any, positive: int) -> dict[str, float]:
        return {"f1": f1_score(references, predictions, labels=[positive], average="macro", zero_division=0)}


class Precision(_Local):
    """The share of the predictions of the class `positive` that are right; 0 where there are none."""

    def _compute(self, predictions: Any, references: Any, positive: int) -> dict[str, float]:
        score = precision_score(references, predictions, labels=[positive], average="macro", zero_division=0)
        return {"precision": score}


class Recall(_Local):
    """The share of the class `positive` that is predicted; 0 where it is not there."""

    def _compute(self, predictions: Any, references: Any, positive: int) -> dict[str, float]:
        return {"recall": recall_score(references, predictions, labels=[positive], average="macro", zero_division=0)}


METRICS = {
    "accuracy": Accuracy,
    "macro_f1": MacroF1,
    "micro_f1": MicroF1,
    "roc_auc": RocAuc,
    "balanced_accuracy": BalancedAccuracy,
    "matthews_correlation": MatthewsCorrelation,
    "average_precision": AveragePrecision,
    "f1": F1,
    "precision": Precision,
    "recall": Recall,
}
