"""What a kind of model is: what options and strategies need to know of it before a model is there.

Each kind is a module of `models.kinds` and a line of `registry.MODELS`. It imports what takes seconds inside its
methods: the command line reads kinds before it knows what it has to do.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from dami_text.config.registry import MODELS, OWN_MODELS, PRETRAINED, find

#: What strategies may ask of a model, and how an error names it. All models give probabilities.
CAPABILITIES = {
    "features": "features that a last layer reads",
    "last layer": "a last layer over features of a text",
    "words": "the words of texts",
    "word gradients": "gradients by the embeddings of words",
    "weight gradients": "gradients by its weights",
    "dropout": "dropout to sample",
    "classes": "a head that knows the classes before the first label",
}


#: The options of trainings that take steps. Models that find their weights by logistic regression take none.
OF_STEPS = frozenset({"optimizer", "learning_rate", "weight_decay", "warmup_steps", "epochs", "epoch_steps"}) | {
    *("train_batch_size", "gradient_accumulation_steps", "patience", "steps", "mixed_precision"),
    *("distributed_training", "evaluation_steps", "averaging_steps"),
}
#: Those of them that passes over texts heed too.
OF_PASSES = frozenset({"mixed_precision"})


class ModelKind(ABC):
    """A kind of model.

    Attributes:
        task: what it classifies, "text" or "tabular".
        takes: the options that it has a use for and other kinds have not, by name.
        ignores: options that have no effect on it, by name.
        gives: what strategies may ask of it: names of CAPABILITIES. Its source can add more.
        is_pretrained: whether `--model` names a model that is loaded, from a folder or the Hub.
        is_small: whether each step is so short that a GPU's launches take longer than the CPU.
        in_pipeline: whether transformers' pipelines can use what is saved.
    """

    task = "text"
    takes: frozenset[str] = frozenset()
    ignores: frozenset[str] = frozenset()
    gives: frozenset[str] = frozenset()
    is_pretrained = False
    is_small = False
    in_pipeline = True

    def defaults(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What options are for this kind where they are left open, by name, beside the options that are given."""
        return {}

    def ignored(self, options: Mapping[str, Any]) -> frozenset[str]:
        """Options that have no effect beside the others that are given, by name."""
        return self.ignores

    def validates(self, options: Mapping[str, Any]) -> bool:
        """Whether trainings stop by a validation split where there is one, given the other options."""
        return not self.ignored(options) >= OF_STEPS - OF_PASSES

    def require(self, config: Any) -> None:  # noqa: B027 - most kinds need nothing
        """Raise ConfigError if what the options of a run (a RunConfig) need is not installed."""

    def reads_files(self, config: Any) -> bool:
        """Whether its models start from files that a RunConfig names, which may be missing or damaged."""
        return False

    @abstractmethod
    def source(self, config: Any, train: Any, class_names: Sequence[str]) -> Any:
        """Where a run's models come from (a `models.source.ModelSource`).

        Args:
            config: the options, a RunConfig.
            train: the data set that models will learn from, to learn from it what a model's input is.
            class_names: the classes, in the order of their numbers.
        """


def kind_of(model: object) -> ModelKind:
    """The kind of the model that `--model` names; None is the default one."""
    kind: ModelKind = find((MODELS | OWN_MODELS).get("cnn" if model is None else str(model), PRETRAINED))
    return kind
