"""Runs of seven strategies and ten seeds on MR with the CNN, 2% to 20% labelled, all in one process on a CUDA card.

    python scripts/benchmarks/gpu_grid.py PATH_OF_MR --output results/gpu

It takes up to eight minutes and goes on where it was ended. Their curves are compared with those of runs on a CPU
(--cpu-records, by default those of results/paper, which have labelled 4% at a time): `grid.md` has the mean accuracy of
the sizes that both have, and at how many of them the two means are within two standard errors of their difference. With
--rehearse, a few short runs are made on any device.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from dami_text.simulation.results import read_runs

STRATEGIES = ("random", "margin", "bald", "egl-word", "coreset", "badge", "dami")


def grid(options: argparse.Namespace, card: str) -> None:
    """Make the runs, and compare their curves with those of a CPU."""
    folder, start = options.output / "grid", time.perf_counter()
    sizes = ("0.02", "0.02", "0.04") if options.rehearse else ("0.02", "0.02", "0.2")
    chosen = ("random", "dami") if options.rehearse else STRATEGIES
    command = [sys.executable, str(Path(__file__).parents[1] / "run_grid.py"), "--datasets", options.dataset]
    command += ["--models", "cnn", "--strategies", *chosen, "--seeds", "0-1" if options.rehearse else "0-9"]
    for name, value in zip(("--initial-size", "--query-size", "--budget"), sizes, strict=True):
        command += [name, value]
    command += ["--min-document-frequency", "1", "--word-vectors", "word2vec", "--no-save-models"]
    n_side = "4" if options.rehearse else "auto"
    code = subprocess.run([*command, "--side-by-side", n_side, "--output-dir", str(folder)], check=False).returncode
    seconds = time.perf_counter() - start
    card_curves = curves(folder)
    host = curves(options.cpu_records)
    lines = [f"{card}, torch {torch.__version__}: exit code {code} after {seconds:.0f} s", ""]
    lines += [
        "| strategy | runs | accuracy, card | accuracy, CPU | sizes within two standard errors |",
        "|---|---|---|---|---|",
    ]
    for strategy, by_size in card_curves.items():
        shared = [size for size in by_size if size in host.get(strategy, {})]
        ours, theirs = ([np.array(found[size]) for size in shared] for found in (by_size, host.get(strategy, {})))
        errors = [np.sqrt(sum(x.var(ddof=1) / len(x) for x in pair)) for pair in zip(ours, theirs, strict=True)]
        near = [abs(a.mean() - b.mean()) <= 2 * e for a, b, e in zip(ours, theirs, errors, strict=True)]
        means = [f"{np.mean([each.mean() for each in found]):.4f}" if shared else "" for found in (ours, theirs)]
        n_runs = max(map(len, by_size.values()))
        lines.append(f"| {strategy} | {n_runs} | {means[0]} | {means[1]} | {sum(near)} of {len(near)} |")
    text = "\n".join([*lines, ""])
    (options.output / "grid.md").write_text(text, encoding="utf-8")
    print(text)


def curves(folder: Path) -> dict[str, dict[float, list[float]]]:
    """Of each strategy, the accuracies of all seeds by the share that is labelled; of MR with the CNN."""
    found: dict[str, dict[float, list[float]]] = {}
    for run in read_runs([folder]):
        if run.options["model"] == "cnn" and "subj" not in str(run.options["dataset"]):
            for line in run.rounds:
                size = round(line["labeled_fraction"], 2)
                found.setdefault(run.options["strategy"], {}).setdefault(size, []).append(line["metrics"]["accuracy"])
    return found


def main() -> None:
    """Make the runs and compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="mr, or the path of a copy")
    parser.add_argument("--output", type=Path, default=Path("results/gpu"))
    parser.add_argument("--cpu-records", type=Path, default=Path("results/paper/records.jsonl.gz"))
    parser.add_argument("--rehearse", action="store_true", help="a few short runs, on any device")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    grid(options, torch.cuda.get_device_name() if torch.cuda.is_available() else "no card")


if __name__ == "__main__":
    main()
