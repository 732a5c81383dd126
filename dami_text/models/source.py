"""Where models come from: what a run or a session needs of a kind of model, for one data set and one set of classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from datasets import Dataset
from transformers import PreTrainedModel

from dami_text.data.texts import Texts


class Preprocessor(Protocol):
    """What makes a model's input of texts or of a table's rows, and is saved beside the model."""

    def save_pretrained(self, folder: Path) -> Any:
        """Write it into a folder."""


class ModelSource(Protocol):
    """Makes new models of one kind.

    Attributes:
        preprocessor: what makes the models' input; it is saved beside a model. None where the model makes it itself.
        gives: what strategies may ask of the models, names of `config.kinds.CAPABILITIES`.
        commit: the commit of the Hub's repository that models start from; None where there is none.
    """

    preprocessor: Preprocessor | None
    gives: frozenset[str]
    commit: str | None

    def encode(self, parts: Sequence[Dataset]) -> list[Texts]:
        """Each data set as models read it. What is cut in all of them is counted in one warning."""

    def pretrain(self, texts: Texts) -> None:
        """Learn from the training texts, without labels, what new models start from; called once, before `new_model`.

        Raises:
            ConfigError: options that name what cannot be had.
        """

    def new_model(self) -> PreTrainedModel:
        """A new model; what it does not start from is drawn from torch's generator."""
