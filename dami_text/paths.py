"""Options that may be paths, made independent of the folder in which a command is given."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from dami_text.config import RunConfig

#: Options that may be local paths.
PATHS = ("dataset", "data_dir", "word_vectors", "model", "init_model", "metric")


def from_anywhere(run: RunConfig) -> RunConfig:
    """The options with the paths made absolute: a session or a run is opened from any folder.

    A bare word such as cnn or demo is a name, whatever lies in the folder.
    """

    def settled(topic: Any) -> Any:
        values = {name: str(getattr(topic, name)) for name in PATHS if getattr(topic, name, None) is not None}
        paths = {name: Path(value) for name, value in values.items() if not value.isidentifier()}
        return replace(topic, **{name: str(path.absolute()) for name, path in paths.items() if path.exists()})

    return RunConfig(**{topic.name: settled(getattr(run, topic.name)) for topic in fields(run)})
