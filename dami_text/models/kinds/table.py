"""The MLP for the rows of a table."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dami_text.config.kinds import ModelKind

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

    from dami_text.config.run import RunConfig
    from dami_text.data.tabular import EncodedTable

#: What suits tables. The paper compares by the area under the ROC curve; how to train was chosen on one half of the
#: validation split where the other half stopped the training.
DEFAULTS: dict[str, Any] = {
    "metric": "roc_auc",
    "learning_rate": 5e-3,
    "train_batch_size": 128,
    "epochs": 100,
    "evaluation_steps": 0,
    "averaging_steps": 0,
    "patience": 10,
    "inference_batch_size": 1024,
    "dropout": 0.0,
}

#: What suits BALD. Its samples are of the MLP's dropout: of .05, .1, .2 and .5, .05 was best on validation.
WITH_BALD: dict[str, Any] = {"dropout": 0.05, "bald_samples": 100}


class TableModel(ModelKind):
    """The multilayer perceptron of the paper's experiments with tables."""

    task = "tabular"
    takes = frozenset({"dropout"})
    gives = frozenset({"features", "last layer", "word gradients", "weight gradients"})
    is_small = True
    in_pipeline = False

    def defaults(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What suits tables, and BALD on them."""
        return DEFAULTS | (WITH_BALD if options.get("strategy") == "bald" else {})

    def source(self, config: "RunConfig", train: "Dataset", class_names: Sequence[str]) -> "TableSource":
        """MLPs over the features that the training rows' columns become."""
        return TableSource(config, train, class_names)


class TableSource:
    """MLPs of one run; see `models.source.ModelSource`."""

    commit = None

    def __init__(self, config: "RunConfig", train: "Dataset", class_names: Sequence[str]) -> None:
        from dami_text.data.tabular import TableEncoder

        self._dropout, self._class_names = config.model.dropout, class_names
        self.preprocessor = TableEncoder.fit(train, config.tabular)
        self.gives = TableModel.gives | ({"dropout"} if self._dropout > 0 else set())

    def encode(self, parts: "Sequence[Dataset]") -> "list[EncodedTable]":
        """The features of each table's rows."""
        from dami_text.data.tabular import EncodedTable

        return [EncodedTable(part, self.preprocessor.features(part)) for part in parts]

    def pretrain(self, texts: "EncodedTable") -> None:
        """Nothing is learned; the number of features is noted."""
        self._n_features = texts.matrix.shape[1]

    def new_model(self) -> "PreTrainedModel":
        """A new MLP."""
        from dami_text.models.mlp import build_mlp

        return build_mlp(self._class_names, self._n_features, self._dropout)


MLP = TableModel()
