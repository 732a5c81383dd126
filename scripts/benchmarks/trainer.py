"""What a step of fine-tuning an encoder costs here and in transformers' Trainer, on the same batches.

    python scripts/benchmarks/trainer.py --model PATH

Both train copies of one model by AdamW on the texts of the demo, in batches of 16, in turn and in one process, on one
core. Printed are the CPU seconds of each pass, and the median of the ratios.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedModel, Trainer, TrainingArguments

from dami_text.config.run import RunConfig
from dami_text.data.demo import demo_dataset
from dami_text.data.texts import LabeledTexts
from dami_text.models.training import train, training_batches
from dami_text.processes import make_accelerator, use_device
from dami_text.randomness import numpy_stream, torch_stream


class OnBatches(Trainer):
    """A Trainer that takes a step on each of its batches, which are ready."""

    def __init__(self, batches: list[dict[str, torch.Tensor]], **options: Any) -> None:
        super().__init__(**options)
        self._batches = batches

    def get_train_dataloader(self) -> Any:
        """The batches."""
        return self._batches


def cpu_seconds(function: Callable[[], object]) -> float:
    """What the function took."""
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    """Measure in turn, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sentence-transformers/all-MiniLM-L6-v2", help="an encoder's folder or id")
    parser.add_argument("--steps", type=int, default=20, help="steps in a pass (default: 20)")
    parser.add_argument("--passes", type=int, default=5, help="passes of each (default: 5)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    use_device("cpu", small=False)
    config = RunConfig.of(model=options.model, steps=options.steps)
    size, n = config.training.train_batch_size, config.training.train_batch_size * options.steps
    data = demo_dataset().select(range(n))
    part, labels = Dataset.from_dict({"text": data["text"][:]}), np.array(data["label"][:])
    source = config.model.kind.source(config, part, ["negative", "positive"])
    (texts,) = source.encode([part])
    rows = np.arange(n)
    batches = []
    for positions in training_batches(texts.lengths, size, numpy_stream(0, 0, "batches")):
        batch = texts.collate(positions)
        batches.append({**batch.inputs, "labels": torch.from_numpy(labels[positions])})

    def ours(model: PreTrainedModel) -> None:
        labeled, accelerator = LabeledTexts(texts, rows, labels), make_accelerator("no")
        train(model, labeled, None, config.training, accelerator, rng=numpy_stream(0, 0, "batches"))

    def theirs(model: PreTrainedModel, folder: str) -> None:
        arguments = TrainingArguments(
            folder,
            max_steps=options.steps,
            learning_rate=config.training.learning_rate,
            weight_decay=config.training.weight_decay,
            warmup_steps=config.training.warmup_steps,
            max_grad_norm=0.0,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        OnBatches(batches, model=model, args=arguments, train_dataset=part).train()

    ratios = []
    with tempfile.TemporaryDirectory() as folder, torch_stream(0, 0, "training"):
        for number in range(options.passes + 1):
            one, other = source.new_model(), source.new_model()
            found = cpu_seconds(partial(ours, one)), cpu_seconds(partial(theirs, other, folder))
            if number:  # the first pass warms up
                ratios.append(found[0] / found[1])
                print(f"{options.steps} steps: {found[0]:.2f} CPU s here, {found[1]:.2f} by Trainer", flush=True)
    print(f"median ratio {median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}); below 1 is faster here")


if __name__ == "__main__":
    main()
