"""Options of a run that do not go together."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dami_text.config.defaults import FORMER_DEFAULTS, PRESETS
from dami_text.config.fields import flag
from dami_text.config.kinds import kind_of
from dami_text.config.metrics import METRICS, MULTILABEL, WANTED_MULTILABEL, is_multilabel
from dami_text.config.options import ModelConfig, TrainingConfig
from dami_text.config.registry import AUTO, LABEL_STRATEGIES
from dami_text.config.stopping import parse_stop
from dami_text.errors import ConfigError

#: What only texts, and only tables, have a use for.
OF_TEXTS = (
    *("text_column", "lowercase", "max_vocabulary", "max_length", "word_vectors", "word_vector_dim"),
    *("word_vector_texts", "init_model", "min_document_frequency", "duplicates", "long_texts", "pool_subsample_by"),
)
OF_TABLES = ("data_dir", "drop_columns", "categorical_columns", "hashed_features")

#: What only texts with any number of labels have a use for, and what works for one class a text alone.
OF_MULTILABEL = ("label_separator", "label_columns", "label_aggregation")
OF_ONE_CLASS = ("contrastive", "rarefy", "init_model", "stop_report")

#: What only a training with a validation split, and only one without, has a use for.
WITH_VALIDATION = ("epochs", "epoch_steps", "evaluation_steps", "averaging_steps", "patience")
WITHOUT_VALIDATION = ("steps",)


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
    if task != "tabular" and kind.task == "tabular":
        raise ConfigError(f"--model {model} reads tables, and --task is {task}; use cnn or bilstm, or --task tabular")
    _check_dropout(options, changed)
    _check_frozen(options, changed)
    if options["threshold"] != "none" and not options["freeze_encoder"] and model not in (AUTO, "linear"):
        raise ConfigError(f"--threshold is for linear and for frozen encoders, and --model is {model}; leave it out")
    if options["validation"] == "none":
        check_stopping(options, has_validation=False)
    for name in OF_TABLES:
        if task != "tabular" and name in changed:
            raise ConfigError(f"{flag(name)} is for tables, and --task is {task}; leave it out or use --task tabular")
    for name in OF_TEXTS:
        if task == "tabular" and name in changed:
            raise ConfigError(f"{flag(name)} is for texts, and --task is tabular; leave it out")
    if options["long_texts"] == "windows" and kind.task == "text" and not kind.is_pretrained and model != AUTO:
        raise ConfigError(
            f"--long-texts windows is for encoders and decoders, and --model is {model}, which takes texts of any "
            "length; raise --max-length"
        )
    if dataset not in PRESETS and "data_dir" in changed:
        raise ConfigError(f"--data-dir is for the tables {', '.join(PRESETS)}, not --dataset {dataset}; leave it out")
    _check_subsample(options)
    _check_multilabel(options, changed)


def check_stopping(options: Mapping[str, Any], has_validation: bool) -> None:
    """Raise ConfigError if an option says when training stops, and another one decides it.

    `--splits keep` may find no validation split, and a labelling session has none: whether there is one is known later
    than the options.
    """
    implied = kind_of(options["model"]).defaults(options)
    for name in WITHOUT_VALIDATION if has_validation else WITH_VALIDATION:
        default = getattr(TrainingConfig, name)
        if options[name] not in (default, implied.get(name, default)):
            raise ConfigError(
                f"{flag(name)} has no effect where a validation split stops training; leave it out, or use "
                "--validation none"
                if has_validation
                else f"{flag(name)} has no effect without a validation split; leave it out: --steps ends training"
            )


def check_saved(model: ModelConfig, *, merged: bool, code: bool, pushed: bool) -> None:
    """Raise ConfigError if a model cannot be saved as asked for.

    Args:
        model: what model it is.
        merged: whether `--export-merged` merges its adapter.
        code: whether `--export-code` puts its code beside it.
        pushed: whether it is pushed to the Hub.
    """
    if code and not model.kind.in_pipeline:
        raise ConfigError(f"--export-code is for CNN, BiLSTM and encoders, and --model is {model.model}; leave it out")
    if merged and model.lora is None:
        raise ConfigError("--export-merged merges an adapter, and there is none without --lora RANK; leave it out")
    if model.lora is None or merged:
        return
    if code:
        raise ConfigError("--export-code is for whole models, and --lora saves an adapter; add --export-merged")
    if pushed and Path(model.model).expanduser().is_dir():
        raise ConfigError(
            f"--push-to-hub would push an adapter of --model {model.model}, a folder that nobody else has; add "
            "--export-merged"
        )


def _check_frozen(options: Mapping[str, Any], changed: Collection[str]) -> None:
    """Raise ConfigError for what only a frozen encoder has a use for, and for what has none for the model."""
    model, frozen = options["model"], options["freeze_encoder"]
    if options["interpretation_source"] == "features" and not frozen and model != AUTO:
        raise ConfigError(
            "--interpretation-source features needs the features of a frozen encoder; add --freeze-encoder"
        )
    for name in kind_of(model).ignored(options):
        if name in changed:
            beside = " with --freeze-encoder" if frozen else " with --contrastive" if options["contrastive"] else ""
            instead = ", or name a model" if model == AUTO else ""
            raise ConfigError(f"{flag(name)} has no effect on --model {model}{beside}; leave it out{instead}")


def _check_subsample(options: Mapping[str, Any]) -> None:
    if options["pool_subsample_by"] != "anchors":
        return
    model = options["model"]
    if options["pool_subsample"] is None:
        raise ConfigError("--pool-subsample-by anchors has no effect without --pool-subsample; leave it out")
    if not options["freeze_encoder"] and model not in (AUTO, "linear"):
        beside = "add --freeze-encoder" if kind_of(model).is_pretrained else "use a frozen encoder or --model linear"
        raise ConfigError(
            "--pool-subsample-by anchors compares texts by a frozen encoder's features or by TF-IDF, and --model "
            f"{model} has neither; {beside}, or leave it out"
        )


def _check_multilabel(options: Mapping[str, Any], changed: Collection[str]) -> None:
    """Raise ConfigError for what has no effect with the task: of one class a text, or of any number of labels."""
    task, metric = options["task"], options["metric"]
    if task != "multilabel":
        for name in OF_MULTILABEL:
            if name in changed:
                raise ConfigError(f"{flag(name)} has no effect without --task multilabel; leave it out")
        if options["strategy"] in LABEL_STRATEGIES:
            raise ConfigError(
                f"--strategy {options['strategy']} is for texts with any number of labels; add --task multilabel"
            )
        if metric in MULTILABEL and metric not in METRICS:
            raise ConfigError(f"--metric {metric} is for texts with any number of labels; add --task multilabel")
        return
    beside = {
        **{flag(name): name in changed for name in OF_ONE_CLASS},
        f"--cold-start {options['cold_start']}": options["cold_start"] == "strategy",
        "--pool-subsample-by anchors": options["pool_subsample_by"] == "anchors",
        f"--stop {options['stop']}": options["stop"] is not None and parse_stop(options["stop"]).name != "budget",
    }
    for told, given in beside.items():
        if given:
            raise ConfigError(f"{told} is for one class a text, and --task is multilabel; leave it out")
    if not is_multilabel(metric):
        raise ConfigError(f"--metric is {metric}, and --task is multilabel; it must be one of {WANTED_MULTILABEL}")
    if options["label_separator"] is not None and options["label_columns"] is not None:
        raise ConfigError("--label-separator has no effect with --label-columns; leave one of them out")
    for name in ("label_column", "label_names"):
        if options["label_columns"] is not None and name in changed:
            raise ConfigError(f"{flag(name)} has no effect with --label-columns; leave one of them out")


def _check_dropout(options: Mapping[str, Any], changed: Collection[str]) -> None:
    model, strategy, dropout = (options[name] for name in ("model", "strategy", "dropout"))
    kind = kind_of(model)
    if "bald_head_dropout" in changed and not kind.is_pretrained and model != AUTO:
        instead = "use --dropout" if "dropout" in kind.takes else "leave it out"
        raise ConfigError(f"--bald-head-dropout is for encoders and decoders, and --model is {model}; {instead}")
    if "dropout" not in kind.takes:
        if "dropout" in changed:
            own = "dropout of its own" if kind.is_pretrained else "no dropout"
            raise ConfigError(f"--model {model} has {own}, and --dropout is {dropout}; leave it out")
    elif strategy == "bald" and dropout == 0:
        raise ConfigError(
            "--strategy bald compares samples of the model's dropout, and --dropout is 0; it must be greater, such as "
            f"{kind.defaults(options).get('dropout', ModelConfig.dropout)}"
        )
