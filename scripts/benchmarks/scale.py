"""What one round costs on pools of up to a million texts: seconds a stage, rows a second, peak memory.

    python scripts/benchmarks/scale.py --n 10000 100000 1000000 --texts IMDB_UNSUP.csv.gz SST_PHRASES.csv.gz \
        --json FILE --figure FILE.png

A pool is sampled from the real sentences of the files given that have ten words or more (25 on average), each once as
long as there are enough, and a label says which file its sentence is from. On each pool, `run_al.py`'s own run asks for
1,000 texts by DAMI with the CNN: 500 labelled at the start, a query, and a second round with 1,500, in a new process
with a new cache and one thread.

The stages are wall-clock seconds: `load` reads the CSV files into Arrow, `tokenize` builds the tokenizer and encodes,
`word2vec` trains on at most 200,000 texts, `interpret` is the gradients (batches included), `aggregate` the rest of
finding the informative words, `cluster` K-medoids. The memory is the highest sum of the resident sizes of the
process and its children, memory-mapped files included. With `--processes 1 2`, torchrun starts the second, and
`interpret` and `aggregate` are those of the main process, waiting for the other included.
"""

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice, pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psutil

STAGES = ("load", "tokenize", "word2vec", "train", "evaluate", "interpret", "aggregate", "cluster")
SCORING = ("interpret", "aggregate")
LEAST_WORDS = 10
HELD_OUT = 1_000  # texts of the validation and of the test split
FIRST, QUERY = 500, 1_000


def sentences(file: Path) -> Iterator[str]:
    """The sentences, of LEAST_WORDS at least, in the texts of a CSV file's column `text`."""
    from datasets import load_dataset

    for text in load_dataset("csv", data_files=str(file), split="train", keep_default_na=False)["text"]:
        for sentence in re.split(r"(?<=[.!?])\s+", text.replace("<br />", " ")):
            if len(sentence.split()) >= LEAST_WORDS:
                yield sentence.strip()


def write_pool(folder: Path, n: int, found: dict[str, list[str]]) -> float:
    """Write train (n), validation and test CSV files of sentences and their sources; return the mean words a text."""
    texts, labels = [], []
    for source, own in found.items():
        texts += own
        labels += [source] * len(own)
    folder.mkdir()
    rng = np.random.default_rng(0)
    wanted = n + 2 * HELD_OUT
    order = np.concatenate([rng.permutation(len(texts)) for _ in range(-(-wanted // len(texts)))])[:wanted]
    rows = iter(order.tolist())
    for split, size in (("validation", HELD_OUT), ("test", HELD_OUT), ("train", n)):
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "label"])
            writer.writerows((texts[row], labels[row]) for row in islice(rows, size))
    return float(np.mean([len(texts[row].split()) for row in order[:10_000]]))


class Stopwatch:
    """Adds up the wall-clock seconds of the functions that it times."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose time counts for the stage."""

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[stage] += time.perf_counter() - start

        return wrapper


def run_round(folder: Path, output: Path) -> None:
    """Run on the pool in `folder` and write the seconds a stage to the file `output`: the measured process."""
    import torch

    from dami_text.clustering import KMedoids
    from dami_text.config.run import RunConfig
    from dami_text.data import tokenization, word_vectors
    from dami_text.learning import preparation
    from dami_text.processes import Processes, disconnect
    from dami_text.simulation import run
    from dami_text.strategies import dami

    torch.set_num_threads(1)
    watch, informative_words = Stopwatch(), dami.informative_words

    def words_timed(interpreter: Callable[..., Any], *args: Any) -> Any:
        return watch.timed("aggregate", informative_words)(watch.timed("interpret", interpreter), *args)

    with ExitStack() as patches:
        for stage, owner, name in (
            ("load", preparation, "load_source"),
            ("load", preparation, "split_source"),
            ("tokenize", tokenization, "build_tokenizer"),
            ("tokenize", tokenization, "encode_all"),
            ("word2vec", word_vectors, "build_word_vectors"),
            ("cluster", KMedoids, "fit"),
        ):
            patches.enter_context(patch.object(owner, name, watch.timed(stage, getattr(owner, name))))
        patches.enter_context(patch.object(dami, "informative_words", words_timed))
        sizes = {"initial_size": FIRST, "query_size": QUERY, "budget": FIRST + QUERY}
        config = RunConfig.of(dataset=str(folder), splits="keep", **sizes)
        for line in run.Run(config, output.parent / "run", overwrite=True).rounds():
            for stage in ("train", "evaluate"):
                watch.seconds[stage] += line["seconds"][stage]
    watch.seconds["aggregate"] -= watch.seconds["interpret"]
    if Processes.all().index == 0:
        output.write_text(json.dumps(watch.seconds))
    disconnect()


def measure(n: int, processes: int, folder: Path) -> dict[str, Any]:
    """Run on the pool in `folder`/pool in new processes; seconds a stage and in all, and peak memory in bytes."""
    output = folder / "seconds.json"
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    command = [sys.executable, *launch, __file__, "--one", str(folder / "pool"), str(output)]
    cache = folder / f"cache-{processes}"
    environment = os.environ | {"HF_HOME": str(cache), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    start, peak = time.perf_counter(), 0
    with subprocess.Popen(command, env=environment) as child:
        while child.poll() is None:
            peak = max(peak, resident(child.pid))
            time.sleep(0.1)
    if child.returncode:
        raise SystemExit(f"the run on {n} texts ended with status {child.returncode}")
    stages = json.loads(output.read_text())
    return {"n": n, "processes": processes, "seconds": stages, "in_all": time.perf_counter() - start, "memory": peak}


def resident(pid: int) -> int:
    """The resident bytes of a process and all that descend from it."""
    total = 0
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in tree:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def table(cells: list[dict[str, Any]]) -> str:
    """A line for each run: seconds a stage, unlabelled texts a second of the scoring, and memory."""
    lines = ["  texts  processes " + " ".join(f"{stage:>9}" for stage in STAGES) + "    in all  texts/s     GB"]
    for cell in cells:
        stages = " ".join(f"{cell['seconds'][stage]:9.1f}" for stage in STAGES)
        rate, memory = cell["n"] / scoring_seconds(cell), cell["memory"] / 1e9
        lines.append(f"{cell['n']:7}  {cell['processes']:9} {stages} {cell['in_all']:9.1f} {rate:8.0f} {memory:6.2f}")
    return "\n".join(lines)


def scoring_seconds(cell: dict[str, Any]) -> float:
    """The seconds of finding the informative words."""
    return sum(cell["seconds"][stage] for stage in SCORING)


def growth(cells: list[dict[str, Any]]) -> list[str]:
    """How scoring grows with the texts, and what a second process saves."""
    lines = []
    alone = [cell for cell in cells if cell["processes"] == 1]
    for small, large in pairwise(alone):
        factor = scoring_seconds(large) / scoring_seconds(small)
        lines.append(f"{small['n']} to {large['n']} texts: interpret and aggregate take {factor:.1f} times as long")
    for cell in cells:
        same = [one for one in alone if one["n"] == cell["n"] and cell["processes"] > 1]
        for one in same:
            share = scoring_seconds(cell) / scoring_seconds(one)
            lines.append(f"{cell['n']} texts: {cell['processes']} processes take {share:.2f} of the time of one")
    return lines


def plot(cells: list[dict[str, Any]], file: Path) -> None:
    """Seconds a stage against the number of texts, both logarithmic, of the runs on one process."""
    from matplotlib.figure import Figure

    from dami_text.simulation.plots import LINES, MARKERS, PALETTE

    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    alone = [cell for cell in cells if cell["processes"] == 1]
    for i, stage in enumerate(STAGES):
        seconds = [cell["seconds"][stage] for cell in alone]
        color, marker, line = PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)], LINES[i // len(PALETTE)]
        axes.plot([cell["n"] for cell in alone], seconds, line, marker=marker, color=color, label=stage)
    axes.set(xscale="log", yscale="log", xlabel="texts in the pool", ylabel="seconds")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)


def main() -> None:
    """Measure every size and write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="texts in the pools")
    parser.add_argument("--processes", type=int, nargs="+", default=[1])
    parser.add_argument("--texts", type=Path, nargs="+", help="CSV files with a column text")
    parser.add_argument("--work-dir", type=Path, help="where the pools are written (default: the system's temporary)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--figure", type=Path, help="write the log-log plot to this file")
    parser.add_argument("--one", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_round(*options.one)
        return
    if not options.texts or len(options.texts) < 2:
        parser.error("give two files or more with --texts: a text's label is the file that it is from")
    found = {file.name: list(sentences(file)) for file in options.texts}
    cells = []
    for n in options.n:
        with tempfile.TemporaryDirectory(dir=options.work_dir) as name:
            words = write_pool(Path(name) / "pool", n, found)
            print(f"{n} texts of {words:.1f} words on average, from {sum(map(len, found.values()))} sentences")
            for processes in options.processes:
                cells.append(measure(n, processes, Path(name)) | {"words": words})
                print(table(cells[-1:]), flush=True)
                if options.json:
                    options.json.parent.mkdir(parents=True, exist_ok=True)
                    options.json.write_text(json.dumps(cells, indent=1) + "\n")
    print("\n".join(["", table(cells), *growth(cells)]))
    if options.figure:
        plot(cells, options.figure)


if __name__ == "__main__":
    main()
