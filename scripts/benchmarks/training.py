"""How good one training is, and what it costs beside a plain PyTorch loop over the same batches.

    python scripts/benchmarks/training.py --datasets PATH_OF_SUBJ PATH_OF_MR

For each data set, model, share of the training set labelled at random, and seed: the test accuracy, the CPU seconds of
`dami_text.models.training.train`, and those of a loop of forward, backward, `torch.optim.Adam` and as many validation
passes, over the same batches, padded beforehand. Cells that the output file holds are not run again.
"""

import argparse
import json
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.nn import functional
from tqdm import tqdm

from dami_text.config.defaults import BATCH_SIZE
from dami_text.config.options import TrainingConfig
from dami_text.config.run import RunConfig
from dami_text.data.batches import Batch, batches_by_length
from dami_text.data.texts import LabeledTexts
from dami_text.learning.preparation import PreparedData, prepare
from dami_text.models.early_stopping import evaluation_intervals
from dami_text.models.evaluation import evaluate_model
from dami_text.models.training import Training, endless_batches, train
from dami_text.randomness import numpy_stream, torch_stream


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """What the function returns, and the CPU seconds that it took."""
    start = time.process_time()
    return function(), time.process_time() - start


def random_labels(prepared: PreparedData, seed: int, share: float) -> LabeledTexts:
    """A share of the training split, drawn at random."""
    pool, n = prepared.train, len(prepared.train.rows)
    rows = np.sort(numpy_stream(seed, 0, "initial rows").choice(n, round(share * n), replace=False))
    return LabeledTexts(pool.texts, rows, pool.labels[rows])


def trained(config: RunConfig, prepared: PreparedData, labeled: LabeledTexts) -> tuple[Any, Training, float]:
    """A new model, trained; how that went, and its CPU seconds."""
    with torch_stream(config.loop.seed, 0, "training"):
        model, rng = prepared.source.new_model(), numpy_stream(config.loop.seed, 0, "batches")
        training, seconds = timed(
            lambda: train(model, labeled, prepared.validation, config.training, Accelerator(), rng=rng)
        )
    return model, training, seconds


def plain_loop(model: torch.nn.Module, parts: list[list[tuple[Batch, torch.Tensor]]], validation: list[Batch]) -> None:
    """The yardstick: nothing but PyTorch's own calls, on batches that are ready, and a validation pass a part."""
    optimizer = torch.optim.Adam(model.parameters(), TrainingConfig().learning_rate)
    for batches in parts:
        model.train()
        for batch, labels in batches:
            optimizer.zero_grad()
            logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
            functional.cross_entropy(logits, labels).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for batch in validation:
                model(input_ids=batch.input_ids, attention_mask=batch.attention_mask)


def measure(config: RunConfig, prepared: PreparedData, share: float) -> dict[str, float]:
    """One cell of the table."""
    seed, validation = config.loop.seed, prepared.validation
    labeled = random_labels(prepared, seed, share)
    model, training, seconds = trained(config, prepared, labeled)
    texts, rows, rng = labeled.texts, labeled.rows, numpy_stream(seed, 0, "batches")
    batches = islice(endless_batches(texts.lengths[rows], config.training.train_batch_size, rng), training.steps)
    ready = ((texts.collate(rows[positions]), torch.from_numpy(labeled.labels[positions])) for positions in batches)
    intervals = cycle(evaluation_intervals(len(rows), config.training))
    parts: list[list[tuple[Batch, torch.Tensor]]] = []
    while part := list(islice(ready, next(intervals))):
        parts.append(part)
    checks = [validation.texts.collate(p) for p in batches_by_length(validation.texts.lengths, BATCH_SIZE)]
    with torch_stream(seed, 0, "training"):
        plain = prepared.source.new_model()
        _, plain_seconds = timed(lambda: plain_loop(plain, parts, checks))
    return {
        "accuracy": evaluate_model(model, prepared.test)["accuracy"],
        "seconds": seconds,
        "plain_seconds": plain_seconds,
        "epochs": training.epochs,
        "steps": training.steps,
    }


def table(cells: list[dict]) -> str:
    """A line for each data set, model and share."""
    lines = ["data                model   share  seeds  accuracy (standard error)  lowest  CPU s  of a plain loop"]
    groups: dict[tuple, list[dict]] = {}
    for cell in cells:
        groups.setdefault((cell["dataset"], cell["model"], cell["share"]), []).append(cell)
    for (dataset, model, share), group in groups.items():
        accuracy = np.array([cell["accuracy"] for cell in group])
        error = accuracy.std(ddof=1) / len(group) ** 0.5 if len(group) > 1 else float("nan")
        seconds = sum(cell["seconds"] for cell in group)
        ratio = seconds / sum(cell["plain_seconds"] for cell in group)
        lines.append(
            f"{Path(dataset).name:18}  {model:6}  {share:5.0%}  {len(group):5}  {accuracy.mean():8.4f} ({error:.4f})"
            f"{'':9} {accuracy.min():8.4f}  {seconds / len(group):5.1f}  {ratio:14.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=["demo"], help="what --dataset of run_al.py takes")
    parser.add_argument("--models", nargs="+", default=["cnn", "bilstm"])
    parser.add_argument("--shares", nargs="+", type=float, default=[0.02, 0.1, 0.5])
    parser.add_argument("--seeds", nargs="+", type=int, default=[8, 8, 3], help="how many seeds, for each share")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmark-training.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    cells = [json.loads(line) for line in options.output.read_text().splitlines()] if options.output.exists() else []
    done = {(cell["dataset"], cell["model"], cell["share"], cell["seed"]) for cell in cells}
    wanted = [
        (dataset, model, share, seed)
        for dataset in options.datasets
        for seed in range(max(options.seeds))
        for model in options.models
        for share, seeds in zip(options.shares, options.seeds, strict=True)
        if seed < seeds and (dataset, model, share, seed) not in done
    ]
    prepared, of = None, None
    for dataset, model, share, seed in tqdm(wanted, unit="cell"):
        config = RunConfig.of(dataset=dataset, model=model, seed=seed)
        if of != (dataset, model, seed):
            prepared, of = prepare(config), (dataset, model, seed)
        cell = {"dataset": dataset, "model": model, "share": share, "seed": seed} | measure(config, prepared, share)
        cells.append(cell)
        with options.output.open("a") as file:
            file.write(json.dumps(cell) + "\n")
    order = {name: i for i, name in enumerate([*options.datasets, *options.models])}
    chosen = [c for c in cells if c["dataset"] in options.datasets and c["model"] in options.models]
    print(table(sorted(chosen, key=lambda c: (order[c["dataset"]], order[c["model"]], c["share"], c["seed"]))))


if __name__ == "__main__":
    main()
