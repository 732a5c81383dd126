"""What training a CNN costs, and how good it is, beside small-text's classifier of the same architecture.

    pip install --no-deps small-text
    python scripts/benchmarks/small_text_cnn.py --datasets PATH_OF_MR

Both start from the same word vectors and train with Adam on the same labelled texts, in batches of 25. small-text takes
as many passes over them as ours, to the nearest whole number, and keeps the best by the same validation split. In a
second run it takes as many as it does by default, at its own learning rate, for its accuracy. CPU seconds of each
training with its validation passes, on one thread, and test accuracy. Cells that the output file holds are not run
again.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from small_text.integrations.pytorch.classifiers.kimcnn import KimCNNClassifier
from small_text.integrations.pytorch.datasets import PytorchTextClassificationDataset
from training import random_labels, timed, trained

from dami_text.config.run import RunConfig
from dami_text.data.texts import LabeledTexts
from dami_text.learning.preparation import PreparedData, prepare
from dami_text.models.early_stopping import steps_of_pass
from dami_text.models.evaluation import evaluate_model
from dami_text.randomness import torch_stream

#: small-text's defaults.
EPOCHS, LEARNING_RATE = 10, 1e-3


def as_dataset(data: LabeledTexts) -> PytorchTextClassificationDataset:
    """The texts as small-text takes them; of its vocabulary it reads the length alone."""
    ids = (torch.from_numpy(np.asarray(data.texts.token_ids(int(row)), np.int64)) for row in data.rows)
    return PytorchTextClassificationDataset(
        [(each, int(label)) for each, label in zip(ids, data.labels, strict=True)],
        range(len(data.texts.tokenizer)),
        target_labels=np.unique(data.labels),
    )


def of_small_text(
    vectors: torch.Tensor, data: LabeledTexts, prepared: PreparedData, epochs: int, learning_rate: float
) -> dict[str, float]:
    """CPU seconds and test accuracy of its classifier."""
    validation, test = prepared.validation, prepared.test
    longest = max(int(part.texts.lengths.max()) for part in (data, validation, test))
    classifier = KimCNNClassifier(
        len(prepared.class_names), embedding_matrix=vectors.clone(), num_epochs=epochs, max_seq_len=longest
    )
    labeled, held_out, tested = map(as_dataset, (data, validation, test))
    classifier.initialize_kimcnn_model(labeled)
    adam = torch.optim.Adam(classifier.model.parameters(), learning_rate)
    constant = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 1.0)
    _, seconds = timed(
        lambda: classifier.fit(labeled, held_out, optimizer=adam, scheduler=constant, early_stopping="none")
    )
    return {"seconds": seconds, "accuracy": float(np.mean(classifier.predict(tested) == test.labels))}


def measure(config: RunConfig, prepared: PreparedData, share: float) -> dict[str, dict[str, float]]:
    """One cell of the table."""
    seed = config.loop.seed
    data, vectors = random_labels(prepared, seed, share), prepared.source.new_model().embedding.weight.detach()
    model, training, seconds = trained(config, prepared, data)
    passes = training.steps / steps_of_pass(len(data.rows), config.training)
    ours = {"seconds": seconds, "accuracy": evaluate_model(model, prepared.test)["accuracy"], "passes": passes}
    found = {"dami_text": ours}
    for name, epochs, rate in (
        ("small-text", max(1, round(passes)), config.training.learning_rate),
        ("small-text's own", EPOCHS, LEARNING_RATE),
    ):
        with torch_stream(seed, 0, "training"):
            found[name] = of_small_text(vectors, data, prepared, epochs, rate)
    return found


def table(cells: list[dict]) -> str:
    """A line for each data set and share."""
    names = ("dami_text", "small-text", "small-text's own")
    lines = [
        "data set            share  seeds" + "".join(f"  {name:>16}, CPU s  accuracy" for name in names) + "  ratio"
    ]
    groups: dict[tuple, list[dict]] = {}
    for cell in cells:
        groups.setdefault((cell["dataset"], cell["share"]), []).append(cell["found"])
    for (dataset, share), group in groups.items():
        seconds, accuracy = (
            [np.mean([found[name][what] for found in group]) for name in names] for what in ("seconds", "accuracy")
        )
        each = "".join(f"  {s:23.1f}  {a:8.4f}" for s, a in zip(seconds, accuracy, strict=True))
        lines.append(f"{dataset:18}  {share:5.0%}  {len(group):5}{each}  {seconds[0] / seconds[1]:5.2f}")
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=["demo"], help="what --dataset of run_al.py takes")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.1, 0.5])
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmark-small-text.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    cells = [json.loads(line) for line in options.output.read_text().splitlines()] if options.output.exists() else []
    done = {(cell["dataset"], cell["share"], cell["seed"]) for cell in cells}
    for dataset in options.datasets:
        name = Path(dataset).name
        for seed in range(options.seeds):
            shares = [share for share in options.shares if (name, share, seed) not in done]
            config = RunConfig.of(dataset=dataset, model="cnn", seed=seed)
            prepared = prepare(config) if shares else None
            for share in shares:
                cells.append({"dataset": name, "share": share, "seed": seed, "found": measure(config, prepared, share)})
                with options.output.open("a") as file:
                    file.write(json.dumps(cells[-1]) + "\n")
    print(table(sorted(cells, key=lambda cell: (cell["dataset"], cell["share"], cell["seed"]))))


if __name__ == "__main__":
    main()
