"""Experiment trackers, through accelerate: TensorBoard, Weights & Biases and the like."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import tracking
from accelerate.utils import LoggerType

from dami_text.config.run import RunConfig
from dami_text.errors import ConfigError
from dami_text.simulation.records import Line

#: The packages to install, where they are not named as the tracker is.
PACKAGES = {"comet_ml": "comet-ml"}


def check_trackers(report_to: str | None) -> list[str]:
    """The names in `report_to`, separated by commas.

    Raises:
        ConfigError: a name that accelerate does not know, or of a tracker that is not installed.
    """
    names = [name.strip() for name in (report_to or "").split(",") if name.strip()]
    known = sorted(str(kind) for kind in LoggerType if kind != LoggerType.ALL)
    for name in names:
        if name not in known:
            raise ConfigError(f"--report-to is {report_to!r}; it must be one of {', '.join(known)}, or several")
        if name not in map(str, tracking.get_available_trackers()):
            raise ConfigError(
                f"--report-to {name} is not installed; install it with `pip install {PACKAGES.get(name, name)}`"
            )
    return names


class Trackers:
    """The trackers of one run."""

    def __init__(self, started: Sequence[Any]) -> None:
        self._started = started

    def log(self, line: Line) -> None:
        """Report a round: its metrics, against the number of labelled texts."""
        values = {f"test/{name}": value for name, value in line["metrics"].items()}
        values |= {f"validation/{name}": value for name, value in (line["validation"] or {}).items()}
        values |= {f"seconds/{name}": value for name, value in line["seconds"].items()}
        for tracker in self._started:
            tracker.log(values | {"round": line["round"]}, step=line["n_labeled"])


@contextmanager
def trackers(names: Sequence[str], folder: Path, config: RunConfig, done: Sequence[Line]) -> Iterator[Trackers]:
    """The named trackers, told the options and the rounds that are `done`; they are closed at the end.

    Those that write files write to `folder`/`tracking`; the run is named after `folder`.
    """
    started: list[Any] = []
    try:
        for name in names:
            kind = tracking.LOGGER_TYPE_TO_CLASS[name]
            place = {"logging_dir": folder / "tracking"} if kind.requires_logging_directory else {}
            tracker = kind(folder.name or "run", **place)
            tracker.start()
            started.append(tracker)
            tracker.store_init_configuration({k: v for k, v in config.options().items() if v is not None})
        together = Trackers(started)
        for line in done:
            together.log(line)
        yield together
    finally:
        for tracker in started:
            tracker.finish()
