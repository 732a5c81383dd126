"""What each stopping criterion would have saved and cost in runs that recorded what it said (`--stop-report`).

A run that goes on to its budget is what a criterion is judged by, as in Pullar-Strecker et al. 2022, "Hitting the
target: stopping active learning at the cost-based optimum". Fixed shares of the labels are judged beside the criteria:
one that spends as much and loses more than they do is worse than not looking.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dami_text.escaping import no_formula
from dami_text.simulation.grid import folder_name
from dami_text.simulation.plots import plot_tradeoffs
from dami_text.simulation.records import Line
from dami_text.simulation.results import RecordedRun, Split, score_of
from dami_text.simulation.stopping import criterion_named

#: Shares of a run's labels with which it would have stopped anyway.
FIXED = (0.25, 0.5, 0.75)
POINT, ROUNDING = 0.01, 1e-9

#: Thresholds of a criterion whose costs are drawn, at most.
MOST_THRESHOLDS = 40

METHOD = (
    "Each run went on to its budget and recorded in each round which criterion would have ended it there. Spent is the "
    "share of its labels that it would have had by then, all of them where the criterion never said so; lost is the "
    "score at the end less the one there, in points, below 0 where the labels that followed did harm. Both are means "
    "over the runs. A fixed share of the labels is what one would do without a criterion."
)


FIGURE = (
    "A line is a criterion with all thresholds that the runs tell of, and its mark the threshold that it had. Lower is "
    "better, and below the dashed line a criterion is better than spending as much on every run."
)

#: The line of the figure that fixed shares make.
EVEN = "a fixed share of the labels"


class Ending(NamedTuple):
    """Where a criterion would have ended a run: whether it did, the share of the labels by then, and the score lost."""

    stopped: bool
    spent: float
    lost: float


@dataclass(frozen=True, kw_only=True)
class JudgedRun:
    """A run to judge criteria by.

    Attributes:
        run: the run.
        n_labeled, scores: (R,), of its rounds.
        said: by criterion, whether it would have stopped in each round (R,).
        values: by criterion, what it compared with its threshold (R,); NaN where nothing could be said.
    """

    run: RecordedRun
    n_labeled: NDArray[np.int64]
    scores: NDArray[np.float64]
    said: Mapping[str, NDArray[np.bool_]]
    values: Mapping[str, NDArray[np.float64]]

    @classmethod
    def of(cls, run: RecordedRun, on: Split, metric: str) -> "JudgedRun":
        """A run that has recorded what its criteria said."""
        found: list[Line] = [line["stopping"]["criteria"] for line in run.rounds]
        return cls(
            run=run,
            n_labeled=np.array([line["n_labeled"] for line in run.rounds]),
            scores=np.array([score_of(run, line, on, metric) for line in run.rounds]),
            said={name: np.array([line[name]["stops"] for line in found]) for name in found[0]},
            values={name: np.array([line[name]["value"] for line in found], float) for name in found[0]},
        )

    def ending(self, stops: NDArray[np.bool_]) -> Ending:
        """The end of the run in the first round in which `stops` (R,) says so."""
        r = int(stops.argmax()) if stops.any() else len(stops) - 1
        lost = float(self.scores[-1] - self.scores[r])
        return Ending(bool(stops.any()), float(self.n_labeled[r] / self.n_labeled[-1]), lost)

    def ending_with(self, share: float) -> Ending:
        """The end of the run with a share of its labels, whatever the criteria say."""
        return self.ending(self.n_labeled >= share * self.n_labeled[-1] - ROUNDING)


#: By criterion or fixed share, each run and where it would have ended.
Endings = dict[str, list[tuple[JudgedRun, Ending]]]


def judged_runs(runs: Sequence[RecordedRun], on: Split = "test", metric: str = "accuracy") -> list[JudgedRun]:
    """The finished runs that recorded what criteria said and that none of them ended."""
    return [
        JudgedRun.of(run, on, metric)
        for run in runs
        if run.finished and not run.rounds[-1].get("stopped") and all("stopping" in line for line in run.rounds)
    ]


def judgement(runs: Sequence[JudgedRun], folder: Path, measure: str) -> dict[str, Any] | None:
    """What the report's templates show of the criteria, None without runs; the figure and the data go to `folder`."""
    if not runs:
        return None
    names = list(dict.fromkeys(name for judged in runs for name in judged.said))
    endings: Endings = {
        name: [(judged, judged.ending(judged.said[name])) for judged in runs if name in judged.said] for name in names
    }
    endings |= {f"{share:.0%} of the labels": [(run, run.ending_with(share)) for run in runs] for share in FIXED}
    _write_csv(folder / "stopping.csv", endings)
    drawn = {name: tradeoff([judged for judged in runs if name in judged.said], name) for name in names}
    drawn[EVEN] = np.array([_means([run.ending_with(share) for run in runs]) for share in np.linspace(0.05, 1, 20)])
    marked = {name: _means([ending for _, ending in found]) for name, found in endings.items() if name in names}
    plot_tradeoffs([folder / f"stopping.{kind}" for kind in ("svg", "png")], drawn, marked, measure)
    return {
        "method": METHOD,
        "table": {
            "header": ["criterion", "runs", "stopped", "labels spent", "points lost", "more than a point too early"],
            "rows": [[name, *_cells([ending for _, ending in found])] for name, found in endings.items()],
        },
        "figure": FIGURE,
        "by_data": _by_data(endings),
    }


def tradeoff(runs: Sequence[JudgedRun], name: str) -> NDArray[np.float64]:
    """The mean shares spent and points lost (T, 2) of a criterion with other thresholds, from few labels to many.

    The thresholds are among the values that the runs have recorded.
    """
    above = criterion_named(name).stops_above
    values = np.concatenate([judged.values[name] for judged in runs])
    values = np.unique(values[~np.isnan(values)])
    places = np.unique(np.linspace(0, len(values) - 1, min(len(values), MOST_THRESHOLDS)).round().astype(int))
    found = [
        _means([run.ending(run.values[name] >= at if above else run.values[name] <= at) for run in runs])
        for at in values[places]
    ]
    return np.array(sorted(found)).reshape(-1, 2)


def _means(endings: Sequence[Ending]) -> tuple[float, float]:
    return float(np.mean([ending.spent for ending in endings])), 100 * float(np.mean([e.lost for e in endings]))


def _cells(endings: Sequence[Ending]) -> list[str]:
    """A criterion's line of the table."""
    spent, lost = _means(endings)
    stopped = np.mean([ending.stopped for ending in endings])
    early = np.mean([ending.lost > POINT + ROUNDING for ending in endings])
    return [f"{len(endings):,}", f"{stopped:.0%}", f"{spent:.0%}", f"{lost:+.2f}", f"{early:.0%}"]


def _by_data(endings: Endings) -> dict[str, Any] | None:
    """A table of shares spent and points lost for each data set and model, where there are several."""
    data = {_data(judged.run): None for found in endings.values() for judged, _ in found}
    if len(data) < 2:
        return None
    rows = []
    for part in data:
        cells = []
        for found in endings.values():
            here = [ending for judged, ending in found if _data(judged.run) == part]
            cells.append("{:.0%}, {:+.2f}".format(*_means(here)) if here else "")
        rows.append([", ".join(part), *cells])
    return {"header": ["spent, lost", *endings], "rows": rows}


def _data(run: RecordedRun) -> tuple[str, str]:
    return folder_name(run.options["dataset"]), folder_name(run.options["model"])


def _write_csv(file: Path, endings: Endings) -> None:
    """A line for each run and criterion."""
    header = ["criterion", "dataset", "model", "strategy", "seed", "stopped", "labelled", "spent", "points lost"]
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        for name, found in endings.items():
            for judged, ending in found:
                run, labelled = judged.run, round(ending.spent * int(judged.n_labeled[-1]))
                cells = [name, *_data(run), run.options["strategy"], run.seed, ending.stopped, labelled]
                cells += [f"{ending.spent:.6g}", f"{100 * ending.lost:.6g}"]
                writer.writerow([no_formula(cell) for cell in cells])
