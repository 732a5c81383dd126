"""What the options of a run imply for others that are left open: by the data set, the task and the model."""

from collections.abc import Mapping
from typing import Any

WORD_LEVEL_MODELS = ("cnn", "bilstm")

#: The paper's tables: the options that each implies; `data.tabular.FILES` knows their files.
PRESETS: dict[str, dict[str, Any]] = {
    "telescope": {"label_column": "target", "drop_columns": "class"},
    "default": {
        "label_column": "default_payment_next_month",
        "drop_columns": "ID",
        "categorical_columns": "SEX,EDUCATION,MARRIAGE",
    },
    "employee": {
        "label_column": "ACTION",
        "categorical_columns": "RESOURCE,MGR_ID,ROLE_ROLLUP_1,ROLE_ROLLUP_2,ROLE_DEPTNAME,ROLE_TITLE,ROLE_FAMILY_DESC,"
        "ROLE_FAMILY,ROLE_CODE",
    },
    "news": {"label_column": "popular", "drop_columns": "shares,timedelta"},
}

#: What suits tables, where it is not given. The paper compares by the area under the ROC curve; how to train was chosen
#: on one half of the validation split where the other half stopped the training.
TABULAR: dict[str, Any] = {
    "task": "tabular",
    "model": "mlp",
    "metric": "roc_auc",
    "learning_rate": 5e-3,
    "train_batch_size": 128,
    "epochs": 100,
    "patience": 10,
    "inference_batch_size": 1024,
    "dropout": 0.0,
}

#: What suits BALD on tables. Its samples are of the MLP's dropout: of .05, .1, .2 and .5, .05 was best on validation.
TABULAR_BALD: dict[str, Any] = {"dropout": 0.05, "bald_samples": 100}

#: What an encoder's options are where they are left open, and what they are with --freeze-encoder.
ENCODER_DEFAULTS: dict[str, Any] = {
    "learning_rate": 5e-5,
    "weight_decay": 0.01,
    "optimizer": "adamw",
    "warmup_steps": 20,
    "train_batch_size": 16,
}
FROZEN_ENCODER_DEFAULTS: dict[str, Any] = {
    "learning_rate": 1e-2,
    "weight_decay": 0.01,
    "optimizer": "adamw",
    "train_batch_size": 50,
}


def model_defaults(model: object, freeze_encoder: object) -> dict[str, Any]:
    """The defaults, by name, that differ from those of the options because of the model; None is the default one."""
    if model in (None, *WORD_LEVEL_MODELS, "mlp"):
        return {}
    return FROZEN_ENCODER_DEFAULTS if freeze_encoder is True else ENCODER_DEFAULTS


def implied_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the given options imply for others, by name: a table its columns and its model, an encoder its training."""
    dataset, task = options.get("dataset"), options.get("task")
    implied = {**(TABULAR if task == "tabular" or dataset in PRESETS else {}), **PRESETS.get(str(dataset), {})}
    given = implied | dict(options)
    if given.get("model") == "mlp" and given.get("strategy") == "bald":
        implied |= TABULAR_BALD
    return model_defaults(given.get("model"), given.get("freeze_encoder")) | implied
