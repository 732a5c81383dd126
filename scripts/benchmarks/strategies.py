"""What each strategy costs, in passes over the unlabelled texts.

    python scripts/benchmarks/strategies.py --dataset PATH_OF_SUBJ --json FILE

A pass is the time that `predict_probabilities` takes for every unlabelled text, in the same batches. The model is
trained on a tenth of the training set, and 2% of it are asked for. Every measurement of a strategy stands between two
of a pass, and the table shows the median over the repeats of their ratio, in CPU seconds of one thread. Choosing rows
from what was computed for each text (K-medoids, k-center, k-means) does not count: it has a column of its own.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from accelerate import Accelerator
from tqdm import tqdm
from transformers import PreTrainedModel

from dami_text.config.registry import STRATEGIES
from dami_text.config.run import RunConfig
from dami_text.data.pool import Pool
from dami_text.data.texts import LabeledTexts
from dami_text.learning.preparation import PreparedData, prepare
from dami_text.models.inference import predict_probabilities
from dami_text.models.training import train
from dami_text.processes import Processes
from dami_text.randomness import numpy_stream, torch_stream
from dami_text.strategies import QueryStrategy, build_strategy

#: Passes at most, by model; of egl-word on two classes.
LIMITS = {
    "least-confidence": {"cnn": 1.1, "bilstm": 1.1},
    "margin": {"cnn": 1.1, "bilstm": 1.1},
    "entropy": {"cnn": 1.1, "bilstm": 1.1},
    "coreset": {"cnn": 1.2, "bilstm": 1.2},
    "badge": {"cnn": 1.2, "bilstm": 1.2},
    "bald": {"cnn": 1.5, "bilstm": 1.5},
    "dami": {"cnn": 2.5, "bilstm": 8.0},
    "egl-word": {"cnn": 2.5, "bilstm": 8.0},
    "egl": {"cnn": 12.0, "bilstm": 25.0},
}


def seconds(function: Callable[[], object]) -> float:
    """The CPU seconds that the function takes."""
    start = time.process_time()
    function()
    return time.process_time() - start


@contextmanager
def choosing_timed() -> Iterator[list[float]]:
    """Collect the CPU seconds of `Processes.on_main`, which is where strategies choose rows."""
    found: list[float] = []
    on_main = Processes.on_main

    def timed(processes: Processes, function: Callable[[], Any]) -> Any:
        start = time.process_time()
        try:
            return on_main(processes, function)
        finally:
            found.append(time.process_time() - start)

    with patch.object(Processes, "on_main", timed):
        yield found


def trained_model(config: RunConfig, prepared: PreparedData) -> tuple[PreTrainedModel, Pool]:
    """A model trained on a tenth of the training set, and the pool in which that is labelled."""
    seed, pool = config.loop.seed, prepared.train
    n = len(pool.rows)
    rows = np.sort(numpy_stream(seed, 0, "initial rows").choice(n, round(0.1 * n), replace=False))
    labeled = LabeledTexts(pool.texts, rows, pool.labels[rows])
    with torch_stream(seed, 0, "training"):
        model = prepared.source.new_model()
        rng = numpy_stream(seed, 0, "batches")
        train(model, labeled, prepared.validation, config=config.training, accelerator=Accelerator(), rng=rng)
    return model, Pool(pool.texts, rows)


def measure(strategy: QueryStrategy, model: PreTrainedModel, pool: Pool, n: int) -> dict[str, float]:
    """One measurement: the seconds of a pass, of the strategy without choosing, and of choosing."""

    def one_pass() -> None:
        predict_probabilities(model, pool.texts, pool.unlabeled)

    before = seconds(one_pass)
    with choosing_timed() as choosing:
        whole = seconds(lambda: strategy.query(model, pool, n, np.random.default_rng(0)))
    after = seconds(one_pass)
    return {"pass": (before + after) / 2, "scoring": whole - sum(choosing), "choosing": sum(choosing)}


def summary(measurements: list[dict[str, float]]) -> dict[str, float]:
    """Medians over the repeats, and the lowest and the highest ratio."""
    passes = [m["scoring"] / m["pass"] for m in measurements]
    return {
        "passes": float(np.median(passes)),
        "lowest": min(passes),
        "highest": max(passes),
        "pass_seconds": float(np.median([m["pass"] for m in measurements])),
        "choosing_seconds": float(np.median([m["choosing"] for m in measurements])),
    }


def table(cells: list[dict[str, Any]]) -> str:
    """A line for each model and strategy."""
    lines = ["model   strategy          passes  at most  (lowest to highest)  choosing, CPU s  a pass, CPU s"]
    for cell in cells:
        limit = "" if cell["limit"] is None else f"{cell['limit']:.1f}"
        spread = f"({cell['lowest']:.2f} to {cell['highest']:.2f})"
        lines.append(
            f"{cell['model']:6}  {cell['strategy']:16}  {cell['passes']:6.2f}  {limit:>7}  {spread:>19}"
            f"  {cell['choosing_seconds']:15.2f}  {cell['pass_seconds']:14.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="demo", help="what --dataset of run_al.py takes")
    parser.add_argument("--models", nargs="+", default=["cnn", "bilstm"])
    parser.add_argument("--strategies", nargs="+", default=[name for name in STRATEGIES if name != "random"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    prepared = prepare(RunConfig.of(dataset=options.dataset))
    cells = []
    for kind in options.models:
        model, pool = trained_model(RunConfig.of(dataset=options.dataset, model=kind), prepared)
        n = round(0.02 * len(pool))
        pool.texts.keys(pool.unlabeled)  # hashed once a run
        measurements: dict[str, list[dict[str, float]]] = {name: [] for name in options.strategies}
        for repeat in tqdm(range(options.repeats), desc=kind, unit="repeat"):
            for name in np.random.default_rng(repeat).permutation(options.strategies).tolist():
                strategy = build_strategy(RunConfig.of(strategy=name).strategy)
                measurements[name].append(measure(strategy, model, pool, n))
        for name in options.strategies:
            limit = LIMITS.get(name, {}).get(kind)
            if name == "egl-word" and len(prepared.class_names) > 2:
                limit = None
            cell = {"dataset": Path(options.dataset).name, "model": kind, "strategy": name, "limit": limit}
            sizes = {"unlabeled": len(pool.unlabeled), "n": n, "repeats": options.repeats}
            cells.append(cell | sizes | summary(measurements[name]))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(cells, indent=1) + "\n")
    name = Path(options.dataset).name
    print(f"{name}: {len(pool.unlabeled)} unlabelled texts, {n} asked for, {options.repeats} repeats")
    print(table(cells))


if __name__ == "__main__":
    main()
