"""The metrics that need no network, by name: the user's own have the path or Hub id of a module for `evaluate`."""

from collections.abc import Sequence
from pathlib import Path

from dami_text.errors import ConfigError

#: Those in the record of every round.
RECORDED = ("accuracy", "macro_f1", "micro_f1", "roc_auc")

#: Those of one class: the one that is named, as in f1:spam, or the positive one of two.
OF_ONE_CLASS = ("f1", "precision", "recall")

#: Those that can name a class. Average precision without a name is that of the positive class of two, or a mean.
WITH_CLASS = (*OF_ONE_CLASS, "average_precision")

METRICS = (*RECORDED, "balanced_accuracy", "matthews_correlation", "average_precision", *OF_ONE_CLASS)

#: Those of texts with any number of labels, in the record of every round of such a run; the first is the default.
MULTILABEL = (
    *("micro_f1", "macro_f1", "samples_f1", "subset_accuracy"),
    *("average_precision", "micro_average_precision"),
)

#: What `--metric` takes, in words, with one class a text and with any number of labels.
WANTED = f"{', '.join(METRICS)}, {', '.join(f'{name}:CLASS' for name in WITH_CLASS)}"
WANTED_MULTILABEL = f"{', '.join(MULTILABEL)}, {', '.join(f'{name}:LABEL' for name in WITH_CLASS)}"


def split_metric(metric: str) -> tuple[str, str | None]:
    """A metric without the name of its class, and that name, None where it has none.

    Examples:
        >>> split_metric("f1:spam"), split_metric("recall"), split_metric("./my_metric")
        (('f1', 'spam'), ('recall', None), ('./my_metric', None))
    """
    name, colon, class_name = metric.partition(":")
    return (name, class_name) if colon and name in WITH_CLASS else (metric, None)


def is_known(metric: str) -> bool:
    """Whether the metric is one of METRICS or MULTILABEL, of a class by its name or not."""
    name, class_name = split_metric(metric)
    return name in (*METRICS, *MULTILABEL) and class_name != ""


def is_multilabel(metric: str) -> bool:
    """Whether the metric is of texts with any number of labels: one of MULTILABEL, or of one label by its name."""
    name, label = split_metric(metric)
    return bool(label) or name in MULTILABEL


def measured_class(metric: str, class_names: Sequence[str]) -> int | None:
    """The place in `class_names` (C,) of the class that the metric is of; None for one that needs no class.

    Raises:
        ConfigError: there is no class of that name; or the metric names none, and the classes are not two.
    """
    name, class_name = split_metric(metric)
    if name not in WITH_CLASS or (class_name is None and name not in OF_ONE_CLASS):
        return None
    if class_name is not None and class_name in class_names:
        return list(class_names).index(class_name)
    if class_name is None and len(class_names) == 2:
        return 1
    if class_name is None:
        raise ConfigError(
            f"--metric {name} is of the positive class of two, and the data have {len(class_names)}; choose "
            f"macro_f1, micro_f1 or {name}:CLASS, with one of {_shown(class_names)}"
        )
    raise ConfigError(f"--metric {metric}: the data have no class {class_name!r}; choose one of {_shown(class_names)}")


def short_name(metric: str) -> str:
    """A metric's name in a table: the user's own is called as its file is."""
    return metric if is_known(metric) else Path(metric).name


def in_words(metric: str) -> str:
    """A metric's name in a figure: macro f1, f1 of spam."""
    name, class_name = split_metric(metric)
    words = short_name(name).replace("_", " ")
    return words if class_name is None else f"{words} of {class_name}"


def _shown(class_names: Sequence[str], most: int = 20) -> str:
    left_out = f" and {len(class_names) - most} more" if len(class_names) > most else ""
    return f"{list(class_names[:most])}{left_out}"
