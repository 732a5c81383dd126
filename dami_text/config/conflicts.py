"""Options of a run that do not go together."""

from collections.abc import Collection, Mapping
from typing import Any

from dami_text.config.defaults import FORMER_DEFAULTS, PRESETS
from dami_text.config.fields import flag
from dami_text.config.kinds import kind_of
from dami_text.config.options import ModelConfig
from dami_text.errors import ConfigError

#: What only texts, and only tables, have a use for.
OF_TEXTS = (
    *("text_column", "lowercase", "max_vocabulary", "max_length", "word_vectors", "word_vector_dim"),
    *("word_vector_texts", "init_model", "min_document_frequency", "duplicates"),
)
OF_TABLES = ("data_dir", "drop_columns", "categorical_columns", "hashed_features")


def check_together(options: Mapping[str, Any], changed: Collection[str]) -> None:
    """Raise ConfigError if options do not go together.

    An option without effect is an error if its value differs from the default, today's or a former one. (A run's
    config.yaml holds all options.)

    Args:
        options: all options, by name.
        changed: the names of those that differ from their defaults.
    """
    dataset, task, model = (options[name] for name in ("dataset", "task", "model"))
    kind = kind_of(model)
    changed = [name for name in changed if options[name] not in FORMER_DEFAULTS.get(name, ())]
    if dataset in PRESETS and task != "tabular":
        raise ConfigError(f"--dataset {dataset} is a table, and --task is {task}; use --task tabular")
    if dataset in PRESETS and options["data_dir"] is None:
        raise ConfigError(f"--dataset {dataset} needs --data-dir; it must be the folder that holds its file")
    if task == "tabular" and kind.task == "text":
        raise ConfigError(f"--model {model} reads texts, and --task is tabular; use --model mlp")
    if task == "text" and kind.task == "tabular":
        raise ConfigError(f"--model {model} reads tables, and --task is text; use cnn or bilstm, or --task tabular")
    _check_dropout(options, changed)
    for name in kind.ignores:
        if name in changed:
            raise ConfigError(f"{flag(name)} has no effect on --model {model}; leave it out")
    for name in OF_TABLES:
        if task == "text" and name in changed:
            raise ConfigError(f"{flag(name)} is for tables, and --task is text; leave it out or use --task tabular")
    for name in OF_TEXTS:
        if task == "tabular" and name in changed:
            raise ConfigError(f"{flag(name)} is for texts, and --task is tabular; leave it out")
    if dataset not in PRESETS and "data_dir" in changed:
        raise ConfigError(f"--data-dir is for the tables {', '.join(PRESETS)}, not --dataset {dataset}; leave it out")


def _check_dropout(options: Mapping[str, Any], changed: Collection[str]) -> None:
    model, strategy, dropout = (options[name] for name in ("model", "strategy", "dropout"))
    kind = kind_of(model)
    if "dropout" not in kind.takes:
        if "dropout" in changed:
            own = "dropout of its own" if kind.is_pretrained else "no dropout"
            raise ConfigError(f"--model {model} has {own}, and --dropout is {dropout}; leave it out")
    elif strategy == "bald" and dropout == 0:
        raise ConfigError(
            "--strategy bald compares samples of the model's dropout, and --dropout is 0; it must be greater, such as "
            f"{kind.defaults(options).get('dropout', ModelConfig.dropout)}"
        )
