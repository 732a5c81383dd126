"""K-medoids beside its yardsticks: what each finds, how long it takes, how much memory it needs.

    python scripts/benchmarks/kmedoids.py --sizes 7000 20000 --vectors REPRESENTATIONS.npy
    python scripts/benchmarks/kmedoids.py --sizes growth

Each measurement runs in a fresh process, on one thread, and the methods of a row take turns, so that a busy machine
disturbs all of them alike. The time is the process's CPU seconds for the fit alone, the lowest of the repetitions; the
objective is the sum of the distances to the nearest medoid, computed again in float64, the mean of the repetitions;
the memory is the peak of the resident set during the fit, in all and above what it was before the fit.

The yardsticks: FasterPAM of the package kmedoids with scikit-learn's distance matrix; scikit-learn's KMeans and the
point nearest to each mean; its k-means++ alone; and the bare cost of what no exact method can avoid, in float32 tiles:
all N * N distances, and one assignment of N rows to K.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from dami_text.clustering import KMedoids

# For each number of rows and of dimensions: K, and who takes part, the one that the others are measured by first.
SIZES = {
    "7000": (7_000, 100, 140, ["kmedoids", "fasterpam", "streamed", "sampled", "park-jun", "k-means", "k-means++"]),
    "7000x768": (7_000, 768, 140, ["kmedoids", "fasterpam", "k-means", "k-means++"]),
    "12000": (12_000, 100, 240, ["kmedoids", "fasterpam", "streamed"]),
    "20000": (20_000, 100, 400, ["kmedoids", "fasterpam", "streamed", "k-means", "k-means++"]),
    "100000": (100_000, 100, 1_000, ["k-means++", "bare distances", "auto"]),
    "1000000": (1_000_000, 100, 1_000, ["k-means++", "bare assignment", "auto"]),
}
# From a thousand rows to a million, at two numbers of medoids: what `auto` takes, in a run and in a session.
GROWTH = {
    f"{n}k{k}": (n, 100, k, ["k-means++", "auto", "auto in 5 s"])
    for k in (20, 1_000)
    for n in (1_000, 3_000, 8_000, 20_000, 60_000, 200_000, 1_000_000)
    if n > k
}
OURS: dict[str, dict[str, Any]] = {
    "auto": {},
    "auto in 5 s": {"max_seconds": 5.0},
    "park-jun": {"method": "alternate", "init": "park-jun"},
    **{method: {"method": method} for method in ("fasterpam", "streamed", "sampled")},
}


@dataclass(frozen=True)
class Measurement:
    """One method on one row's vectors with one seed; objective is None for a bare cost.

    `cpu` is the processor, and the instructions that torch uses of it: `ATEN_CPU_CAPABILITY=avx2` keeps it to fewer.
    """

    cpu: str
    row: str
    method: str
    seed: int
    seconds: float
    objective: float | None
    memory: int
    memory_in_all: int


def heavy_tailed(path: Path, n: int, d: int) -> None:
    """Write (n, d) vectors: 60 clusters around centres of Student's t, stretched by log-normal lengths."""
    rng = np.random.default_rng(0)
    centres = rng.standard_t(3, size=(60, d))
    vectors = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, d))
    for start in range(0, n, 50_000):
        part = vectors[start : start + 50_000]
        spread = 0.5 * rng.normal(size=part.shape)
        part[:] = (centres[rng.integers(60, size=len(part))] + spread) * rng.lognormal(size=(len(part), 1))
    vectors.flush()


def ours(X: np.ndarray, k: int, seed: int, **parameters: Any) -> np.ndarray:
    """The medoids of dami_text."""
    return KMedoids(k, random_state=seed, **parameters).fit(X).medoid_indices_


def fasterpam_of_kmedoids(X: np.ndarray, k: int, seed: int) -> np.ndarray:
    """The reference, without this script's folder in the search path: the script has the package's name."""
    from sklearn.metrics import euclidean_distances

    sys.path = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]
    reference = importlib.import_module("kmedoids")
    return reference.fasterpam(euclidean_distances(X).T, k, init="random", random_state=seed, n_cpu=1).medoids


def k_means(X: np.ndarray, k: int, seed: int) -> np.ndarray:
    """The points nearest to the means."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import pairwise_distances_argmin

    return pairwise_distances_argmin(KMeans(k, n_init=1, random_state=seed).fit(X).cluster_centers_, X)


def k_means_plus_plus(X: np.ndarray, k: int, seed: int) -> np.ndarray:
    """scikit-learn's k-means++ without k-means."""
    from sklearn.cluster import kmeans_plusplus

    return kmeans_plusplus(X, k, random_state=seed)[1]


def bare_distances(X: np.ndarray, k: int, seed: int) -> None:
    """Every distance once, in tiles of 2,048 * 1,024 that are overwritten."""
    rows = torch.from_numpy(X)
    norms, tile = rows.square().sum(dim=1), torch.empty(2048, 1024)
    for i in range(0, len(rows), 1024):
        for j in range(0, len(rows), 2048):
            part, columns = rows[j : j + 2048], rows[i : i + 1024]
            out = tile[: len(part), : len(columns)]
            torch.addmm(norms[i : i + 1024], part, columns.T, alpha=-2, out=out)
            out.add_(norms[j : j + 2048, None]).clamp_(min=0).sqrt_()


def bare_assignment(X: np.ndarray, k: int, seed: int) -> None:
    """Each row's nearest of the first k rows."""
    rows = torch.from_numpy(X)
    centres, tile = rows[:k], torch.empty(2048, k)
    norms = centres.square().sum(dim=1)
    for j in range(0, len(rows), 2048):
        part = rows[j : j + 2048]
        torch.addmm(norms, part, centres.T, alpha=-2, out=tile[: len(part)]).numpy().argmin(axis=1)


YARDSTICKS: dict[str, Callable[[np.ndarray, int, int], np.ndarray | None]] = {
    "kmedoids": fasterpam_of_kmedoids,
    "k-means": k_means,
    "k-means++": k_means_plus_plus,
    "bare distances": bare_distances,
    "bare assignment": bare_assignment,
}


def objective(X: np.ndarray, medoids: np.ndarray) -> float:
    """The sum of the rows' distances to their nearest medoids, in float64."""
    from sklearn.metrics import pairwise_distances_argmin

    nearest = X[medoids[pairwise_distances_argmin(X, X[medoids])]]
    parts = range(0, len(X), 10_000)
    return sum(
        float(np.linalg.norm(X[i : i + 10_000].astype(np.float64) - nearest[i : i + 10_000], axis=1).sum())
        for i in parts
    )


def measure(row: str, path: Path, k: int, method: str, seed: int) -> Measurement:
    """Run a method once; meant for a process of its own."""
    torch.set_num_threads(1)
    X = np.load(path)
    before = psutil.Process().memory_info().rss
    start = time.process_time()
    medoids = ours(X, k, seed, **OURS[method]) if method in OURS else YARDSTICKS[method](X, k, seed)
    seconds = time.process_time() - start
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    value = None if medoids is None else objective(X, medoids)
    cpu = f"{processor()}, {torch.backends.cpu.get_cpu_capability()}"
    return Measurement(cpu, row, method, seed, seconds, value, peak - before, peak)


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()


def table(measurements: list[Measurement]) -> str:
    """A line for each row and method, beside the row's first method."""
    lines = sorted({one.cpu for one in measurements})
    lines.append(f"{'vectors N, K, D':34} {'method':16} objective    CPU s   times  MB above MB in all")
    rows: dict[str, dict[str, list[Measurement]]] = {}
    for one in measurements:
        rows.setdefault(one.row, {}).setdefault(one.method, []).append(one)
    for row, methods in rows.items():
        first = next(iter(methods.values()))
        for method, runs in methods.items():
            values = [run.objective for run in runs if run.objective is not None]
            ratio = f"{np.mean(values) / np.mean([run.objective for run in first]):9.4f}" if values else f"{'':9}"
            seconds, unit = (min(run.seconds for run in group) for group in (runs, first))
            memory, in_all = (max(getattr(run, name) for run in runs) / 1e6 for name in ("memory", "memory_in_all"))
            lines.append(
                f"{row:34} {method:16} {ratio} {seconds:8.2f} {seconds / unit:7.2f} {memory:9.0f} {in_all:9.0f}"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure the rows that are asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*SIZES, *GROWTH, "growth"]
    parser.add_argument("--sizes", nargs="*", choices=names, default=list(SIZES), help="synthetic rows of the table")
    parser.add_argument("--vectors", nargs="*", type=Path, default=[], help=".npy files of (N, D) vectors, K = N / 50")
    parser.add_argument("--repetitions", type=int, default=3, help="seeds for each method, but one from 100,000 rows")
    parser.add_argument("--json", type=Path, help="write the measurements to this file")
    options = parser.parse_args()
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"  # for the processes that are started
    measurements: list[Measurement] = []
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for path in options.vectors:
            n, d = np.load(path, mmap_mode="r").shape
            rows.append((path.stem, path, n, d, n // 50, SIZES["7000"][3]))
        names = [name for asked in options.sizes for name in (GROWTH if asked == "growth" else [asked])]
        for n, d, k, methods in map((SIZES | GROWTH).__getitem__, names):
            rows.append(("synthetic", Path(folder) / f"{n}x{d}.npy", n, d, k, methods))
        for source, path, n, d, k, methods in rows:
            if not path.exists():
                heavy_tailed(path, n, d)
            row = f"{source} {n}, {k}, {d}"
            for seed in range(options.repetitions if n < 100_000 else 1):
                for method in methods:
                    with context.Pool(1) as pool:
                        measurements.append(pool.apply(measure, (row, path, k, method, seed)))
                    print(measurements[-1], file=sys.stderr, flush=True)
    print(table(measurements))
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in measurements], indent=1) + "\n")


if __name__ == "__main__":
    main()
