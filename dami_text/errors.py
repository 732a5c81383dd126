"""The errors that dami_text raises on purpose; each says what was found, what was wanted and what to do.

DamiError
├── ConfigError     an option, or a combination of options, that cannot work (also a ValueError)
├── DataError       data, rows or labels that cannot be read or used (also a ValueError)
│   ├── ColumnError a column that is missing or of the wrong type
│   └── DataTypeError an argument of a type that cannot be used (also a TypeError)
├── TrainingError   a training that did not end in a usable model
├── HubError        the Hub refuses, cannot be reached, or broke off
├── QueryError      a query that cannot be made, or breaks its contract (see strategies.Query; also a ValueError)
└── RecordError     a run's folder that cannot be written, or does not fit the run
    └── BusyError   a run's folder that another process works in
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager


class DamiError(Exception):
    """Base of the errors that a user can mend. The command line shows its message without a traceback.

    Examples:
        >>> from dami_text import RunConfig
        >>> try:
        ...     RunConfig.of(epochs=0)
        ... except DamiError as error:
        ...     print(error)
        epochs is 0; it must be at least 1
    """


class ConfigError(DamiError, ValueError):
    """An option, or a combination of options, that cannot work.

    Examples:
        >>> from dami_text import RunConfig
        >>> RunConfig.of(task="tabular", model="cnn")
        Traceback (most recent call last):
        dami_text.errors.ConfigError: model cnn reads texts, and task is tabular; use model mlp
    """


class DataError(DamiError, ValueError):
    """Data, rows or labels that cannot be read or used.

    Examples:
        >>> from dami_text import make_learner
        >>> make_learner([], ["no", "yes"])
        Traceback (most recent call last):
        dami_text.errors.DataError: texts is empty; give one text or more
    """


class ColumnError(DataError):
    """A column that is missing or of the wrong type.

    Examples:
        >>> issubclass(ColumnError, DataError)
        True
    """


class DataTypeError(DataError, TypeError):
    """An argument of a type that cannot be used.

    Examples:
        >>> from dami_text import make_learner
        >>> make_learner(["good", None], ["no", "yes"])
        Traceback (most recent call last):
        dami_text.errors.DataTypeError: text 1 is None; every text must be a string
    """


class TrainingError(DamiError):
    """A training that did not end in a usable model.

    Examples:
        >>> from dami_text import RunConfig, make_learner
        >>> config = RunConfig.of(word_vectors="random", steps=3, learning_rate=1e30)
        >>> learner = make_learner(["good", "bad", "so so"], ["no", "yes"], config)
        >>> learner.tell([0, 1], [1, 0])
        >>> learner.train()  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        dami_text.errors.TrainingError: after 3 training steps the model's weights or outputs are not finite; ...
    """


class HubError(DamiError):
    """The Hub refuses, cannot be reached, or broke off in mid-transfer.

    Examples:
        >>> issubclass(HubError, DamiError)
        True
    """


class QueryError(DamiError, ValueError):
    """A query that cannot be made, or breaks its contract: not as many rows as asked for, a row twice or labelled.

    Examples:
        >>> from dami_text import make_learner
        >>> def twice(model, pool, n, rng):
        ...     return [2] * n
        >>> learner = make_learner(["good", "bad", "so so", "fine"], ["no", "yes"], model="linear", strategy=twice)
        >>> learner.tell([0, 1], [1, 0])
        >>> learner.ask(2)
        Traceback (most recent call last):
        dami_text.errors.QueryError: the strategy returned row 2 more than once; rows must be distinct
    """


class RecordError(DamiError):
    """A run's folder that cannot be written, or that belongs to another run.

    Examples:
        >>> issubclass(RecordError, DamiError)
        True
    """


class BusyError(RecordError):
    """A run's folder that another process works in.

    Examples:
        >>> issubclass(BusyError, RecordError)
        True
    """


@contextmanager
def arguments_named() -> Iterator[None]:
    """Have errors inside the block speak of arguments, such as model_revision, in place of flags, --model-revision."""
    try:
        yield
    except DamiError as error:
        error.args = (re.sub(r"--([a-z][a-z-]*[a-z])", lambda flag: flag[1].replace("-", "_"), str(error)),)
        raise
