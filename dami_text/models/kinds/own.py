"""Models that are given as objects in Python: a classifier with scikit-learn's methods, or a class of networks."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dami_text.config.kinds import OF_STEPS, ModelKind
from dami_text.config.registry import OWN_CLASSIFIER, OWN_NETWORK
from dami_text.errors import ConfigError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

    from dami_text.config.run import RunConfig
    from dami_text.data.texts import EncodedTexts, PlainTexts

OF_VECTORS = frozenset({"word_vectors", "word_vector_dim", "word_vector_texts"})


class OwnModel(ModelKind):
    """A kind whose models are made of an object: `own_source` has it, and no option can name it."""

    in_pipeline = False

    def source(self, config: "RunConfig", train: "Dataset", class_names: Sequence[str]) -> Any:
        """Raise ConfigError: there is no object."""
        raise ConfigError(f"--model {config.model.model} stands for an object in Python; give it to make_learner")


class OwnClassifier(OwnModel):
    """A classifier of texts with scikit-learn's methods."""

    ignores = OF_STEPS | OF_VECTORS | {"lowercase", "max_vocabulary", "max_length", "min_document_frequency"}
    is_small = True

    def defaults(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Margin sampling: it has no gradients, which the default strategy asks for."""
        return {"strategy": "margin"}


class OwnNetwork(OwnModel):
    """A class of transformers' models over the words of texts."""

    ignores = OF_VECTORS
    gives = frozenset({"features", "words", "word gradients", "weight gradients"})
    is_small = True


class ClassifierSource:
    """Copies of one's own classifier; see `models.source.ModelSource`."""

    commit = None
    preprocessor = None

    def __init__(self, classifier: Any, class_names: Sequence[str]) -> None:
        from dami_text.models.estimator import gives_features

        self._classifier, self._class_names = classifier, class_names
        self.gives = frozenset({"features"} if gives_features(classifier) else ())

    def encode(self, parts: "Sequence[Dataset]") -> "list[PlainTexts]":
        """The texts as they are."""
        from dami_text.data.texts import PlainTexts

        return [PlainTexts(part) for part in parts]

    def pretrain(self, texts: "PlainTexts") -> None:
        """Nothing is learned without labels."""

    def new_model(self) -> "PreTrainedModel":
        """A copy that is not fitted."""
        from dami_text.models.estimator import EstimatorForSequenceClassification

        return EstimatorForSequenceClassification.of(self._classifier, self._class_names)


class NetworkSource:
    """Networks of one's own class over the words of the pool; see `models.source.ModelSource`."""

    commit = None

    def __init__(
        self, network: "type[PreTrainedModel]", config: "RunConfig", train: "Dataset", class_names: Sequence[str]
    ) -> None:
        from dami_text.data.tokenization import build_tokenizer
        from dami_text.models.architectures import check_works
        from dami_text.models.inference import has_dropout
        from dami_text.models.word_level import label_names

        self._network, self._labels = network, label_names(class_names, multilabel=config.data.is_multilabel)
        self.preprocessor = build_tokenizer(train, config.tokenization)
        try:
            model = self.new_model()
        except Exception as error:  # of the user's code
            raise ConfigError(
                f"--model {network.__name__} cannot be made ({type(error).__name__}: {error}); its config_class must "
                "take vocab_size, pad_token_id, id2label and label2id, and its class the configuration"
            ) from error
        check_works(model, self.preprocessor, network.__name__)
        self.gives = NETWORK.gives | ({"dropout"} if has_dropout(model) else set())

    def encode(self, parts: "Sequence[Dataset]") -> "list[EncodedTexts]":
        """The texts of each data set by their words."""
        from dami_text.data.tokenization import encode_all

        return encode_all(parts, self.preprocessor)

    def pretrain(self, texts: "EncodedTexts") -> None:
        """Nothing is learned without labels."""

    def new_model(self) -> "PreTrainedModel":
        """A new network for the tokenizer's words."""
        make: Any = self._network.config_class
        config = make(
            vocab_size=len(self.preprocessor),
            pad_token_id=self.preprocessor.pad_token_id,
            **self._labels,
        )
        return self._network(config)


def own_name(model: Any) -> str:
    """What the options call a model that is an object.

    Raises:
        ConfigError: it is neither a classifier nor a class of networks.
    """
    from transformers import PreTrainedModel

    if isinstance(model, type) and issubclass(model, PreTrainedModel):
        return OWN_NETWORK
    missing = [name for name in ("fit", "predict_proba") if not callable(getattr(model, name, None))]
    if missing or isinstance(model, type):
        what = "a class" if isinstance(model, type) else f"without {' and '.join(missing)}"
        raise ConfigError(
            f"--model is {type(model).__name__ if not isinstance(model, type) else model.__name__}, {what}; it must be "
            "a name, an object with fit and predict_proba over texts such as a Pipeline of scikit-learn, or a subclass "
            "of PreTrainedModel"
        )
    return OWN_CLASSIFIER


def own_source(model: Any, config: "RunConfig", train: "Dataset", class_names: Sequence[str]) -> Any:
    """Where models come from that are made of an object (a `models.source.ModelSource`).

    Raises:
        ConfigError: it cannot be used.
    """
    if config.model.model == OWN_NETWORK:
        return NetworkSource(model, config, train, class_names)
    if config.loop.cold_start == "kmeans-features":
        raise ConfigError("--cold-start kmeans-features needs features before the first label; use random")
    return ClassifierSource(model, class_names)


CLASSIFIER, NETWORK = OwnClassifier(), OwnNetwork()
