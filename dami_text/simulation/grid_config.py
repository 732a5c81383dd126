"""The options of a grid of runs."""

import re
from dataclasses import dataclass
from typing import ClassVar

from dami_text.config.fields import Count, Options, option
from dami_text.errors import ConfigError

#: joblib's processes on this machine.
LOKY = "loky"


@dataclass(frozen=True, kw_only=True)
class GridConfig(Options):
    """The runs of a grid, one for each combination, and how they share the machines."""

    _argument_group_name: ClassVar[str] = "grid"

    datasets: list[str] | None = option(None, "one --dataset or more")
    models: list[str] | None = option(None, "one --model or more")
    strategies: list[str] | None = option(None, "one --strategy or more")
    seeds: list[str] | None = option(None, "seeds and ranges of seeds, such as 0-9 or 0 3 5-7")
    workers: int = option(1, "runs side by side on this machine, in processes of one thread each")
    side_by_side: Count = option(
        Count("auto"),
        "runs of cnn and bilstm that one process trains together; auto is as many as a CUDA card has memory for, and 1 "
        "without a card",
    )
    backend: str = option(LOKY, "loky (processes on this machine), dask, or another backend that joblib knows")
    scheduler: str | None = option(None, "dask: the address of the scheduler, such as tcp://10.0.0.1:8786")
    shard: str | None = option(None, "I/N takes every N-th run, from the I-th of N on: for job arrays")
    save_models: bool = option(True, "save each run's last model")

    def _check(self) -> None:
        for name in ("datasets", "models", "strategies", "seeds"):
            values = getattr(self, name)
            self.require(values is None or len(set(values)) == len(values) > 0, name, "one or more, each once")
        self.require(self.workers >= 1, "workers", "at least 1")
        self._check_side_by_side()
        dask = self.backend == "dask"
        self.require(
            dask == (self.scheduler is not None), "scheduler", "the address of a scheduler with --backend dask only"
        )
        self.seed_list()
        self.shard_slice()

    def _check_side_by_side(self) -> None:
        """Raise ConfigError for runs side by side in one process where there are to be others."""
        n = self.side_by_side.value
        if n is None or n == 1:
            return
        for name, alone in (("workers", 1), ("backend", LOKY)):
            if (value := getattr(self, name)) != alone:
                raise ConfigError(
                    f"--side-by-side {n} trains runs together in one process, and --{name} is {value}; leave one of "
                    "them out"
                )

    def seed_list(self) -> list[int] | None:
        """The seeds, ranges written out."""
        if self.seeds is None:
            return None
        found: list[int] = []
        for part in self.seeds:
            match = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", part)
            wanted = "numbers and ranges from a smaller to a larger one, such as 0-9 or 0 3 5-7, each seed once"
            self.require(match is not None, "seeds", wanted)
            assert match is not None
            found += range(int(match[1]), int(match[2] or match[1]) + 1)
            self.require(bool(found) and len(set(found)) == len(found), "seeds", wanted)
        return found

    def shard_slice(self) -> slice:
        """Which of the runs are this shard's."""
        if self.shard is None:
            return slice(None)
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", self.shard)
        self.require(match is not None and 1 <= int(match[1]) <= int(match[2]), "shard", "I/N with I from 1 to N")
        assert match is not None
        return slice(int(match[1]) - 1, None, int(match[2]))
