"""What finished runs recorded, read for comparison: from run folders, or from a file that holds many runs' rounds.

records.jsonl.gz   a line a run: where it was, its options, and its lines of rounds.jsonl
"""

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from dami_text.config.defaults import implied_options
from dami_text.config.fields import flag
from dami_text.config.kinds import kind_of
from dami_text.config.options import StrategyConfig
from dami_text.config.paths import PATHS
from dami_text.config.run import RunConfig
from dami_text.errors import ConfigError, RecordError
from dami_text.escaping import to_json
from dami_text.publishing.cards import labels_counted, public_name
from dami_text.simulation.by_class import class_score
from dami_text.simulation.cells import ERROR
from dami_text.simulation.comparison import LearningCurve
from dami_text.simulation.grid import ASKED, folder_name, read_asked
from dami_text.simulation.records import CONFIG, ROUNDS, Line, former_options, in_todays_names

ARCHIVE = "records.jsonl.gz"

EQUAL_SIZES = "compare runs of equal sizes (--stop-report records what --stop would do, and the run goes on)"

Split = Literal["test", "validation"]


@dataclass(frozen=True)
class RecordedRun:
    """A run's options, without the seed, and its rounds: none if it was asked for and has not begun.

    `name` says where it was found.
    """

    name: str
    seed: int
    options: dict[str, Any]
    rounds: list[Line]

    @property
    def finished(self) -> bool:
        """Whether the last round is there: it asks for nothing."""
        return bool(self.rounds) and self.rounds[-1]["query"] is None

    @cached_property
    def identity(self) -> str:
        """What the run is: equal for the same run wherever its files lie."""
        return to_json([self.seed, self.portable_options])

    @property
    def portable_options(self) -> dict[str, Any]:
        """Its options, with the last parts of local paths: folders are nobody's business."""
        paths = {name: public_name(self.options[name]) for name in PATHS if self.options[name] is not None}
        return self.options | paths | {"dataset": folder_name(self.options["dataset"])}

    @property
    def n_validation(self) -> int | None:
        """The validation labels that stopped its trainings, beside those counted; None if they were not counted."""
        if not kind_of(self.options["model"]).validates(self.options) or not self.rounds[0].get("validation"):
            return 0
        n: int | None = self.rounds[0].get("n_validation")
        return n

    @property
    def results(self) -> list[Line]:
        """Its rounds without what they took, and where."""
        return [{**line, "seconds": None, "environment": None} for line in self.kept_rounds]

    @property
    def kept_rounds(self) -> list[Line]:
        """Its rounds without what stopping criteria saw: that is most of a record, and only the run needs it."""
        return [
            line | {"stopping": {"criteria": line["stopping"]["criteria"]}} if "stopping" in line else line
            for line in self.rounds
        ]


@dataclass(frozen=True)
class Comparison:
    """The runs of one data set with one model.

    Attributes:
        curves: one for each strategy, all of the same seeds and rounds.
        notes: what is missing or differs, a sentence each.
        runs: those of each curve, by its name, in the order of the seeds.
    """

    dataset: str
    model: str
    curves: list[LearningCurve]
    notes: list[str]
    runs: dict[str, list[RecordedRun]] = field(default_factory=dict)


def read_runs(paths: Iterable[Path]) -> list[RecordedRun]:
    """All runs in and below `paths`, of which each is a folder or a `records.jsonl.gz`, in the order of their names.

    Below one path a run's folder counts, and an archive only for runs that have none; what a grid was asked for counts
    as a run without rounds. A run that is below several paths with the same results counts once.

    Raises:
        RecordError: a path holds no run, or what it holds cannot be read.
    """
    runs: dict[tuple[str, str], RecordedRun] = {}
    for path in paths:
        found = [*_from_folders(path)]
        for source in (_from_archives, _from_asked):
            known = {run.identity for run in found}
            found += [run for run in source(path) if run.identity not in known]
        if not found:
            raise RecordError(f"{path} holds no run; wanted folders with {CONFIG} and {ROUNDS}, or a {ARCHIVE}")
        for run in found:
            runs.setdefault((run.identity, to_json(run.results)), run)
    begun = {run.identity for run in runs.values() if run.rounds}
    return [run for run in runs.values() if run.rounds or run.identity not in begun]


def failures(paths: Iterable[Path]) -> list[str]:
    """The folders of a grid whose last run failed, and why."""
    files = [file for path in paths if path.is_dir() for file in sorted(path.rglob(ERROR))]
    return [f"{file.parent}: {file.read_text(encoding='utf-8').partition(chr(10))[0]}" for file in files]


def write_archive(file: Path, runs: Sequence[RecordedRun]) -> None:
    """Write the runs' records, the same bytes for the same records; of local paths the last part is kept.

    Of a run that is not finished it is kept that it was asked for; of others, `RecordedRun.kept_rounds`.
    """
    lines = []
    for run in runs:
        name = "/".join((*_group(run), folder_name(run.options["strategy"]), f"seed-{run.seed}"))
        options = run.portable_options | {"seed": run.seed}
        rounds = run.kept_rounds if run.finished else []
        lines.append(to_json({"name": name, "options": options, "rounds": rounds}) + "\n")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))


def compare(runs: Sequence[RecordedRun], on: Split = "test", metric: str = "accuracy") -> list[Comparison]:
    """The runs' learning curves, by data set and model, in the order found.

    A strategy whose runs differ in options is taken apart by them. The curves of a comparison are of the seeds that all
    of its strategies have finished; what is left out by that is among the notes.

    Raises:
        RecordError: a run is there twice, or runs to be compared have rounds of different sizes.
        ConfigError: the runs have no such metric.
    """
    groups: dict[tuple[str, str], list[RecordedRun]] = {}
    for run in runs:
        groups.setdefault(_group(run), []).append(run)
    return [_comparison(*names, group, on, metric) for names, group in groups.items()]


def _group(run: RecordedRun) -> tuple[str, str]:
    return folder_name(run.options["dataset"]), folder_name(run.options["model"])


def _comparison(dataset: str, model: str, runs: Sequence[RecordedRun], on: Split, metric: str) -> Comparison:
    by_label: dict[str, dict[int, RecordedRun]] = {}
    for label, run in zip(_labels(runs), runs, strict=True):
        seeds = by_label.setdefault(label, {})
        if run.seed in seeds:
            raise RecordError(
                f"{seeds[run.seed].name} and {run.name} are both {label} on {dataset}, {model}, seed {run.seed}; give "
                "each once"
            )
        seeds[run.seed] = run
    done = {label: {s: run for s, run in found.items() if run.finished} for label, found in by_label.items()}
    started = {label: found for label, found in done.items() if found}
    common = sorted(set.intersection(*map(set, started.values()))) if started else []
    every = sorted({run.seed for run in runs})
    notes = []
    for label, found in done.items():
        missing = [seed for seed in every if seed not in found]
        if missing:
            notes.append(f"{label} has not finished seed{_plural(missing)} {spans(missing)}.")
    left_out = [seed for seed in every if seed not in common]
    if left_out and common:
        notes.append(
            f"All that follows is of seed{_plural(common)} {spans(common)}, which all strategies shown have finished."
        )
    if not common:
        return Comparison(dataset, model, [], [*notes, "No seed is finished by all strategies: nothing is compared."])
    kept = {label: [found[seed] for seed in common] for label, found in started.items()}
    notes += _differences(kept)
    curves = [curve_of(dataset, model, label, runs=found, on=on, metric=metric) for label, found in kept.items()]
    for curve in curves[1:]:
        if curve.n_labeled.tolist() != curves[0].n_labeled.tolist():
            raise RecordError(
                f"on {dataset}, {model}, the rounds of {curves[0].strategy} have {curves[0].n_labeled.tolist()} labels "
                f"and those of {curve.strategy} {curve.n_labeled.tolist()}; {EQUAL_SIZES}"
            )
    return Comparison(dataset, model, curves, notes, kept)


def _labels(runs: Sequence[RecordedRun]) -> list[str]:
    """The strategy of each run and, where the strategy's runs differ, its options that are not at their defaults."""
    labels = []
    for run in runs:
        alike = [other.options for other in runs if other.options["strategy"] == run.options["strategy"]]
        names = [name for name in run.options if len({repr(options.get(name)) for options in alike}) > 1]
        defaults = RunConfig().options() | implied_options(run.options)
        changed = [name for name in names if name != "dataset" and run.options[name] != defaults[name]]
        values = ", ".join(f"{flag(name)[2:]} {run.options[name]}" for name in changed)
        labels.append(f"{run.options['strategy']} ({values})" if values else run.options["strategy"])
    return labels


def _differences(kept: dict[str, list[RecordedRun]]) -> list[str]:
    """Notes on the options in which strategies differ beyond what they are."""
    first = {label: runs[0].options for label, runs in kept.items()}
    own = {*StrategyConfig.__dataclass_fields__, "dataset"}
    names = next(iter(first.values())).keys() - own
    notes = []
    for name in sorted(names):
        values = {label: options.get(name) for label, options in first.items()}
        if len({repr(value) for value in values.values()}) > 1:
            notes.append(f"The runs differ in {flag(name)}: {', '.join(f'{v} for {k}' for k, v in values.items())}.")
    return notes


def curve_of(
    dataset: str, model: str, label: str, *, runs: Sequence[RecordedRun], on: Split, metric: str
) -> LearningCurve:
    """The learning curve of runs of one strategy, called `label`, that differ in their seed.

    Raises:
        RecordError: they have rounds of different sizes.
        ConfigError: one has no such metric.
    """
    sizes = [[line["n_labeled"] for line in run.rounds] for run in runs]
    for run, found in zip(runs, sizes, strict=True):
        if found != sizes[0]:
            raise RecordError(
                f"{runs[0].name} has rounds of {sizes[0]} labels and {run.name} of {found}; {EQUAL_SIZES}"
            )

    return LearningCurve(
        dataset=dataset,
        model=model,
        strategy=label,
        seeds=tuple(run.seed for run in runs),
        n_labeled=np.array(sizes[0]),
        share=np.array([line["labeled_fraction"] for line in runs[0].rounds]),
        scores=np.array([[score_of(run, line, on, metric) for line in run.rounds] for run in runs]),
        seconds={
            name: np.array([[line["seconds"].get(name, np.nan) for line in run.rounds] for run in runs])
            for name in ("train", "query")
        },
        counted=labels_counted([run.n_validation for run in runs]),
    )


def score_of(run: RecordedRun, line: Line, on: Split, metric: str) -> float:
    """The score that a round of a run has.

    Raises:
        ConfigError: it has no such metric.
    """
    scores = (line["metrics"] if on == "test" else line["validation"]) or {}
    if on == "test" and metric not in scores and (of_class := class_score(line, metric)) is not None:
        return of_class
    if scores.get(metric) is None:
        raise ConfigError(f"{run.name} has no {metric} on the {on} split; it has {', '.join(scores) or 'none'}")
    return float(scores[metric])


def spans(seeds: Sequence[int]) -> str:
    """Sorted seeds in writing: 0-4, 7."""
    parts: list[list[int]] = []
    for seed in seeds:
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _plural(items: Sequence[int]) -> str:
    return "" if len(items) == 1 else "s"


def _from_folders(path: Path) -> Iterator[RecordedRun]:
    for file in sorted(path.rglob(ROUNDS)) if path.is_dir() else []:
        if (file.parent / CONFIG).is_file():
            with _readable(file.parent):
                options = yaml.safe_load((file.parent / CONFIG).read_text(encoding="utf-8"))
                lines = file.read_bytes().split(b"\n")[:-1]  # a half-written last one does not count
                yield _run(str(file.parent), options, [json.loads(line) for line in lines])


def _from_archives(path: Path) -> Iterator[RecordedRun]:
    files = sorted(path.rglob(ARCHIVE)) if path.is_dir() else [path] if path.name == ARCHIVE else []
    for file in files:
        with _readable(file), gzip.open(file, "rt", encoding="utf-8") as stream:
            for line in map(json.loads, stream):
                yield _run(f"{line['name']} in {file}", line["options"], line["rounds"])


def _from_asked(path: Path) -> Iterator[RecordedRun]:
    for file in sorted(path.rglob(ASKED)) if path.is_dir() else []:
        with _readable(file):
            for run, options in read_asked(file.parent).items():
                if not (file.parent / run / ROUNDS).exists():
                    yield _run(str(file.parent / run), options, [])


def _run(name: str, options: dict[str, Any], rounds: list[Line]) -> RecordedRun:
    # An option that was added since is at its default, or as runs were before it.
    options = in_todays_names(options)
    options = RunConfig().options() | former_options(options) | options
    return RecordedRun(name, int(options.pop("seed")), options, rounds)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise RecordError(f"{path} holds no run that can be read ({error}); leave it out or restore it") from error
