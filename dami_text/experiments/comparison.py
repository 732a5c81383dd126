"""What several runs say together: mean learning curves and how sure they are."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy import stats

from dami_text.errors import RecordError
from dami_text.records import CONFIG, ROUNDS, Line


@dataclass(frozen=True)
class LearningCurve:
    """The test accuracy of runs that differ in their seed alone.

    Attributes:
        dataset, model, strategy: what the runs share.
        seeds: (S,), sorted.
        n_labeled, share: (R,), labelled texts, and their share of the training set.
        accuracy: (S, R).
    """

    dataset: str
    model: str
    strategy: str
    seeds: tuple[int, ...]
    n_labeled: NDArray[np.int64]
    share: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    def mean(self) -> NDArray[np.float64]:
        """The mean over the seeds (R,)."""
        return np.asarray(self.accuracy.mean(axis=0))

    def half_interval(self, confidence: float = 0.95) -> NDArray[np.float64]:
        """Half the width of the mean's confidence interval (R,), by Student's t; NaN for a single seed."""
        n = len(self.seeds)
        if n < 2:
            return np.full(self.accuracy.shape[1], np.nan)
        quantile = stats.t.ppf((1 + confidence) / 2, n - 1)
        return np.asarray(quantile * self.accuracy.std(axis=0, ddof=1) / np.sqrt(n))


def read_curves(folders: Iterable[Path]) -> list[LearningCurve]:
    """The learning curves of the runs in `folders`, one for each data set, model and strategy, in the order found.

    Raises:
        RecordError: a folder holds no run, a seed is there twice, or runs to be averaged differ in more than the seed.
    """
    groups: dict[tuple[str, str, str], list[_Run]] = {}
    for folder in folders:
        run = _read(folder)
        names = (run.options["dataset"], run.options["model"], run.options["strategy"])
        groups.setdefault(names, []).append(run)
    return [_curve(*names, sorted(runs, key=lambda run: run.seed)) for names, runs in groups.items()]


@dataclass(frozen=True)
class _Run:
    folder: Path
    seed: int
    options: dict[str, Any]  # without the seed
    rounds: list[Line]

    def labeled(self) -> list[int]:
        return [line["n_labeled"] for line in self.rounds]


def _read(folder: Path) -> _Run:
    if not (folder / CONFIG).is_file() or not (folder / ROUNDS).is_file():
        raise RecordError(f"{folder} holds no run; wanted a folder with {CONFIG} and {ROUNDS}")
    options = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
    rounds = [json.loads(line) for line in (folder / ROUNDS).read_text(encoding="utf-8").splitlines()]
    return _Run(folder, options.pop("seed"), options, rounds)


def _curve(dataset: str, model: str, strategy: str, runs: Sequence[_Run]) -> LearningCurve:
    first = runs[0]
    for before, run in pairwise(runs):
        if run.seed == before.seed:
            raise RecordError(f"{before.folder} and {run.folder} are both of seed {run.seed}; give each seed once")
        differing = [name for name in first.options if run.options.get(name) != first.options[name]]
        if differing:
            raise RecordError(
                f"{first.folder} and {run.folder} differ in {differing}; runs are averaged over seeds only"
            )
        if run.labeled() != first.labeled():
            raise RecordError(
                f"{first.folder} has {len(first.rounds)} rounds and {run.folder} {len(run.rounds)}, or of other sizes; "
                "finish both runs first"
            )
    return LearningCurve(
        dataset,
        model,
        strategy,
        tuple(run.seed for run in runs),
        np.array(first.labeled()),
        np.array([line["labeled_fraction"] for line in first.rounds]),
        np.array([[line["metrics"]["accuracy"] for line in run.rounds] for run in runs]),
    )


def curves_table(curves: Sequence[LearningCurve]) -> str:
    """A Markdown table for curves of the same rounds: mean accuracy and half its 95% interval, in per cent."""
    lines = ["| labelled | " + " | ".join(curve.strategy for curve in curves) + " |", "|---" * (len(curves) + 1) + "|"]
    for r, (n, share) in enumerate(zip(curves[0].n_labeled, curves[0].share, strict=True)):
        cells = [_plus_minus(100 * c.mean()[r], 100 * c.half_interval()[r]) for c in curves]
        lines.append(f"| {n} ({share:.0%}) | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _plus_minus(mean: float, half: float) -> str:
    return f"{mean:.1f}" if np.isnan(half) else f"{mean:.1f} ± {half:.1f}"
