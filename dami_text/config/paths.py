"""Options that may be paths, made independent of the folder in which a command is given."""

from pathlib import Path

from dami_text.config.run import RunConfig

#: Options that may be local paths.
PATHS = ("dataset", "data_dir", "word_vectors", "model", "init_model", "metric")


def absolute(value: str) -> str:
    """The absolute path that `value` is, or the value itself where it is none.

    A bare word such as cnn or demo is a name, whatever lies in the folder.
    """
    path = Path(value).expanduser()
    return str(path.absolute()) if not value.isidentifier() and path.exists() else value


def from_anywhere(run: RunConfig) -> RunConfig:
    """The options with the paths made absolute: a session or a run is opened from any folder."""
    found = {name: value for name, value in run.options().items() if name in PATHS and value is not None}
    return run.changed(**{name: absolute(str(value)) for name, value in found.items()})
