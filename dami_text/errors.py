"""The errors that dami_text raises on purpose; each says what was found, what was wanted and what to do.

DamiError
├── ConfigError     an option, or a combination of options, that cannot work
├── DataError       a data set that cannot be read or used
│   └── ColumnError a column that is missing or of the wrong type
├── TrainingError   a training that did not end in a usable model
├── HubError        the Hub refuses, cannot be reached, or broke off
├── QueryError      a query that breaks its contract (see strategies.Query)
└── RecordError     a run's folder that cannot be written, or does not fit the run
    └── BusyError   a run's folder that another process works in
"""


class DamiError(Exception):
    """Base of the errors that a user can mend; the command line shows its message without a traceback."""


class ConfigError(DamiError):
    """An option, or a combination of options, that cannot work."""


class DataError(DamiError):
    """A data set that cannot be read or used."""


class ColumnError(DataError):
    """A column that is missing or of the wrong type."""


class TrainingError(DamiError):
    """A training that did not end in a usable model."""


class HubError(DamiError):
    """The Hub refuses, cannot be reached, or broke off in mid-transfer."""


class QueryError(DamiError):
    """A query that breaks its contract: the wrong number of rows, a row twice, or a row that is labelled."""


class RecordError(DamiError):
    """A run's folder that cannot be written, or that belongs to another run."""


class BusyError(RecordError):
    """A run's folder that another process works in."""
