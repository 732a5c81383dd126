"""A classifier with scikit-learn's methods, `fit` and `predict_proba` over texts, where a model is expected."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from dami_text.config.options import TrainingConfig
from dami_text.data.texts import LabeledTexts, Texts
from dami_text.errors import ConfigError, TrainingError
from dami_text.escaping import short_message
from dami_text.models.last_layer import UNSEEN
from dami_text.models.training import Training
from dami_text.models.word_level import class_names_of, label_names
from dami_text.processes import Processes

#: The lowest probability whose logarithm is told: one of 0 is as if it were this.
LOWEST = 1e-300


class EstimatorConfig(PretrainedConfig):
    """The names of the classes."""

    model_type = "dami_text_estimator"


class EstimatorForSequenceClassification(PreTrainedModel):
    """A classifier with scikit-learn's methods as a model that reads texts.

    Its logits are the logarithms of `predict_proba`. It learns nothing by gradients and has none.

    Attributes:
        estimator: the classifier of this round; fitted once `fit` was called with labels of two classes or more.
    """

    config_class = EstimatorConfig
    config: Any
    main_input_name = "texts"
    may_predict_unseen = False

    def __init__(self, config: EstimatorConfig, estimator: Any = None) -> None:
        super().__init__(config)
        self.estimator = estimator
        self._seen: list[str] = []
        self.device_holder = nn.Parameter(torch.zeros(0), requires_grad=False)  # `device_of` looks at a weight
        self.post_init()  # type: ignore[no-untyped-call]  # transformers leaves it untyped

    @classmethod
    def of(cls, classifier: Any, class_names: Sequence[str]) -> Self:
        """A copy of a classifier that is not fitted. Random states that it leaves open come from torch's generator."""
        from sklearn.base import clone

        if Processes.all().count > 1:
            raise ConfigError("a classifier of one's own works in one process; start without accelerate launch")
        estimator = clone(classifier, safe=False)
        if hasattr(estimator, "get_params") and hasattr(estimator, "set_params"):
            states = sorted(n for n, v in estimator.get_params().items() if is_random_state(n) and v is None)
            estimator.set_params(**{name: int(torch.randint(2**31 - 1, ())) for name in states})
        return cls(EstimatorConfig(**label_names(class_names)), estimator)

    def fit(self, data: LabeledTexts, config: TrainingConfig) -> Training:
        """Fit the classifier on texts and names of classes. Of one class alone there is nothing to learn.

        Raises:
            TrainingError: the classifier's own error.
        """
        names = class_names_of(self.config)
        texts = [data.texts.text(int(row)) for row in data.rows]
        labels = [names[label] for label in data.labels]
        self._seen = sorted(set(labels))
        if len(self._seen) > 1:
            self._call("fit", texts, np.array(labels))
            self._seen = [str(name) for name in getattr(self.estimator, "classes_", self._seen)]
        return Training(1, 1, None)

    def forward(self, texts: list[str], **_: Any) -> SequenceClassifierOutput:
        """Logits (B, C) of texts (B,); a class without a label has UNSEEN."""
        names = class_names_of(self.config)
        logits = torch.full((len(texts), len(names)), UNSEEN)
        places = [names.index(name) for name in self._seen]
        logits[:, places] = torch.from_numpy(np.log(self._probabilities(texts).clip(LOWEST)).astype(np.float32))
        return SequenceClassifierOutput(logits=logits)

    def _probabilities(self, texts: list[str]) -> NDArray[np.float64]:
        """The probabilities (B, S) of the classes that have labels."""
        if len(self._seen) < 2:
            return np.ones((len(texts), len(self._seen)))
        found = np.asarray(self._call("predict_proba", texts), np.float64)
        wanted = (len(texts), len(self._seen))
        if found.shape != wanted or not np.isfinite(found).all() or (found < 0).any():
            shown = f"shape {found.shape}" if found.shape != wanted else "values that are no probabilities"
            raise TrainingError(f"predict_proba of the model gave {shown}; wanted probabilities of shape {wanted}")
        return found

    def features_of(self, texts: list[str]) -> torch.Tensor:
        """The features (B, H) of texts: what `embed` gives or, without it, `decision_function`."""
        if len(self._seen) < 2:  # nothing is fitted, and all texts are the same to the model
            return torch.zeros(len(texts), 1)
        name = "embed" if hasattr(self.estimator, "embed") else "decision_function"
        found = np.asarray(self._call(name, texts), np.float32)
        if found.shape[:1] != (len(texts),) or found.ndim > 2 or not np.isfinite(found).all():
            raise TrainingError(f"{name} of the model gave shape {found.shape}; wanted finite numbers, a row a text")
        return torch.from_numpy(found.reshape(len(texts), -1))

    def word_weights(self, texts: Texts, row: int) -> NDArray[np.float64]:
        """How much the probability of a text's predicted class falls without each word (W,); 0 where it rises."""
        text, places = texts.text(row), texts.word_places(row)
        without = [text[:start] + text[end:] for start, end in places]
        found = self._probabilities([text, *without])
        falls = found[0, found[0].argmax()] - found[1:, found[0].argmax()]
        return np.asarray(falls.clip(min=0))

    def _call(self, name: str, *arguments: Any) -> Any:
        """What a method of the classifier returns; its errors are told as ours."""
        try:
            return getattr(self.estimator, name)(*arguments)
        except Exception as error:  # of the user's code
            raise TrainingError(
                f"{name} of the model failed ({type(error).__name__}: {short_message(error)}); it must take a list of "
                "texts"
            ) from error


def gives_features(classifier: Any) -> bool:
    """Whether a classifier has features of texts to compare them by."""
    return hasattr(classifier, "embed") or hasattr(classifier, "decision_function")


def is_random_state(name: str) -> bool:
    """Whether a parameter of scikit-learn's is a random state, also one of a part."""
    return name.rpartition("__")[2] == "random_state"
