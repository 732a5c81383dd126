"""What the paper's grid on texts would cost on this machine, from runs at both ends of its curves.

    python scripts/benchmarks/grid_cost.py --dataset PATH_OF_SUBJ --output-dir DIR --workers 2

Every model and strategy is run with one seed at the start of the curve (2% and 4% labelled) and at its end (48% and
50%). Training and querying are taken to grow in a line between the two, so that a run of 25 rounds costs 25 times the
mean of a round's training and evaluation at both ends, and 24 times the mean of a query at both ends. What a run costs
beside its rounds (reading, word vectors, figures) is the wall-clock time that is left of the runs made here. The grid
is these runs, by 10 seeds and 2 data sets of the same size (subj and MR).
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from dami_text.simulation.results import RecordedRun, read_runs

ENDS = {"start": ("0.02", "0.04"), "end": ("0.48", "0.5")}
MODELS, STRATEGIES = ("cnn", "bilstm"), ("random", "egl-word", "bald", "coreset", "badge", "dami")
ROUNDS, SEEDS, DATASETS = 25, 10, 2
SCRIPT = Path(__file__).parents[1] / "run_grid.py"


def main() -> None:
    """Make the runs that are not there yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="subj, or the path of a copy")
    parser.add_argument("--output-dir", type=Path, required=True, help="a new folder for the runs")
    parser.add_argument("--workers", type=int, default=2, help="runs side by side (default: 2)")
    options = parser.parse_args()
    start = time.perf_counter()
    for end, (initial_size, budget) in ENDS.items():
        command = ["--datasets", options.dataset, "--models", *MODELS, "--strategies", *STRATEGIES]
        command += ["--initial-size", initial_size, "--query-size", "0.02", "--budget", budget, "--no-save-models"]
        command += ["--workers", str(options.workers), "--output-dir", str(options.output_dir / end)]
        subprocess.run([sys.executable, str(SCRIPT), *command], check=True)
    wall = time.perf_counter() - start
    report({end: read_runs([options.output_dir / end]) for end in ENDS}, wall, options.workers)


def report(runs: dict[str, list[RecordedRun]], wall: float, workers: int) -> None:
    """Print each run's cost and the grid's."""
    titles = f"{'train s at 2%':>14}{'at 48%':>8}{'query s at 2%':>15}{'at 48%':>8}{'run, min':>10}"
    print(f"{'model':8}{'strategy':10}{titles}")
    seconds_a_run = []
    for model in MODELS:
        for strategy in STRATEGIES:
            train, query = [], []
            for found in runs.values():
                (run,) = (r for r in found if (r.options["model"], r.options["strategy"]) == (model, strategy))
                seconds = [line["seconds"] for line in run.rounds]
                train.append(np.mean([each["train"] + each["evaluate"] for each in seconds]))
                query.append(seconds[0]["query"])
            seconds_a_run.append(ROUNDS * np.mean(train) + (ROUNDS - 1) * np.mean(query))
            numbers = f"{train[0]:14.1f}{train[1]:8.1f}{query[0]:15.1f}{query[1]:8.1f}{seconds_a_run[-1] / 60:10.1f}"
            print(f"{model:8}{strategy:10}{numbers}")
    # The first round's model is trained once for all strategies, and all of them report its seconds.
    shared = [run.rounds[0]["seconds"]["train"] for found in runs.values() for run in found]
    in_rounds = sum(sum(line["seconds"].values()) for found in runs.values() for run in found for line in run.rounds)
    in_rounds -= sum(shared) * (1 - 1 / len(STRATEGIES))
    n_runs = sum(map(len, runs.values()))
    beside = max(0.0, wall * workers - in_rounds) / n_runs
    grid = SEEDS * DATASETS
    hours = (grid * sum(seconds_a_run) + grid * len(seconds_a_run) * beside) / workers / 3600
    print(f"{n_runs} runs in {wall / 60:.1f} minutes; {beside:.1f} s a run beside its rounds")
    print(
        f"the grid, {grid * len(seconds_a_run)} runs: {grid} x ({sum(seconds_a_run) / 60:.0f} min + "
        f"{len(seconds_a_run)} x {beside:.1f} s) / {workers} workers = {hours:.1f} hours"
    )


if __name__ == "__main__":
    main()
