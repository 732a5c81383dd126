"""What a CUDA card does in training and prediction, beside the same work without captured steps and beside Trainer.

    python scripts/benchmarks/gpu.py --output results/gpu

The texts are random words with the lengths of film reviews, so that nothing has to be downloaded; models have random
weights. One call takes about two minutes and writes `gpu.json` and `gpu.md`: milliseconds a training step, and seconds
that a pass over 7,500 texts takes. With --rehearse it runs a few steps on any device.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel, Trainer, TrainingArguments

from dami_text.config.data_options import TokenizationConfig
from dami_text.config.kinds import kind_of
from dami_text.config.options import ModelConfig, TrainingConfig
from dami_text.data.texts import EncodedTexts, LabeledTexts
from dami_text.data.tokenization import build_tokenizer, encode
from dami_text.models import training
from dami_text.models.inference import predict_probabilities
from dami_text.processes import make_accelerator
from dami_text.randomness import torch_stream

VOCABULARY, DIMENSIONS = 18_000, 100
SMALL = ("cnn", "bilstm")
#: Layers, hidden size, heads and inner size.
ENCODERS = {"BERT-base": (12, 768, 12, 3072), "MiniLM": (6, 384, 12, 1536)}
ENCODER_TRAINING: dict[str, Any] = {"train_batch_size": 16, "optimizer": "adamw", "learning_rate": 2e-5}


def random_texts(n: int) -> Dataset:
    """n texts of 2 to 60 words, whose frequencies fall as 1 / rank."""
    rng = np.random.default_rng(0)
    shares = 1 / np.arange(1, VOCABULARY + 1)
    lengths = rng.gamma(3.5, 6, size=n).clip(2, 60).astype(int)
    drawn = (rng.choice(VOCABULARY, length, p=shares / shares.sum()) for length in lengths)
    return Dataset.from_dict({"text": [" ".join(f"w{i}" for i in words) for words in drawn]})


class Bench:
    """Labelled texts, and what is measured on them."""

    def __init__(self, accelerator: Accelerator, n_texts: int, n_steps: tuple[int, int]) -> None:
        self.accelerator, self.n_steps = accelerator, n_steps
        self.device, self.precision = accelerator.device, accelerator.mixed_precision
        texts = random_texts(n_texts)
        self.tokenizer = build_tokenizer(texts, TokenizationConfig(min_document_frequency=1))
        self.texts = EncodedTexts(encode(texts, self.tokenizer), self.tokenizer)
        self.labels = np.random.default_rng(1).integers(0, 2, n_texts)

    def labeled(self, n: int) -> LabeledTexts:
        """The first n texts, or all of them if n is more."""
        rows = np.arange(min(n, len(self.texts)))
        return LabeledTexts(self.texts, rows, self.labels[rows])

    def new_model(self, name: str) -> PreTrainedModel:
        """A new model on the device."""
        with torch_stream(0, 0, "training"):
            if name in ENCODERS:
                layers, hidden, heads, inner = ENCODERS[name]
                config = BertConfig(
                    vocab_size=len(self.tokenizer),
                    hidden_size=hidden,
                    num_hidden_layers=layers,
                    num_attention_heads=heads,
                    intermediate_size=inner,
                )
                return BertForSequenceClassification(config).to(self.device)
            vectors = np.random.default_rng(2).normal(size=(len(self.tokenizer), DIMENSIONS)).astype(np.float32) / 10
            options = ModelConfig(model=name)
            model: PreTrainedModel = kind_of(name).new_model(options, ["no", "yes"], self.tokenizer, vectors)  # type: ignore[attr-defined]
            return model.to(self.device)

    def milliseconds(self, seconds: Callable[[int], float]) -> float:
        """Milliseconds a step: of what a longer training takes beyond a shorter one, after one that warms up."""
        few, many = self.n_steps
        seconds(few)
        start = seconds(few)
        return 1000 * (seconds(many) - start) / (many - few)

    def ours(self, name: str) -> Callable[[int], float]:
        """Seconds of a training of so many steps."""
        options = ENCODER_TRAINING if name in ENCODERS else {}
        data = self.labeled(800)

        def seconds(steps: int) -> float:
            model = self.new_model(name)
            with torch_stream(0, 0, "steps"), timed(self.device) as taken:
                config = TrainingConfig(steps=steps, **options)
                training.train(model, data, None, config, self.accelerator, rng=np.random.default_rng(3))
            return taken[0]

        return seconds

    def trainer(self, name: str) -> Callable[[int], float]:
        """Seconds of a training of so many steps by transformers' Trainer, batches of 16."""
        examples = [
            {"input_ids": self.texts.token_ids(row).tolist(), "labels": int(label)}
            for row, label in enumerate(self.labels[:800])
        ]

        def seconds(steps: int) -> float:
            with tempfile.TemporaryDirectory() as folder:
                arguments = TrainingArguments(
                    output_dir=folder,
                    max_steps=steps,
                    per_device_train_batch_size=16,
                    bf16=self.precision == "bf16",
                    save_strategy="no",
                    logging_strategy="no",
                    report_to=[],
                    disable_tqdm=True,
                )
                trainer = Trainer(self.new_model(name), arguments, padded, examples)  # type: ignore[arg-type]
                with timed(self.device) as taken:
                    trainer.train()
            return taken[0]

        return seconds

    def pass_seconds(self, name: str) -> float:
        """Seconds that predicting every text takes, after one pass that warms up."""
        model, rows = self.new_model(name), np.arange(len(self.texts))
        predict_probabilities(model, self.texts, rows)
        with timed(self.device) as taken:
            predict_probabilities(model, self.texts, rows)
        return taken[0]


def padded(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Examples as a batch that is padded to the longest of them."""
    width = max(len(example["input_ids"]) for example in examples)
    ids = torch.zeros(len(examples), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for line, example in enumerate(examples):
        n = len(example["input_ids"])
        ids[line, :n], mask[line, :n] = torch.tensor(example["input_ids"]), 1
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([e["labels"] for e in examples])}


@contextmanager
def timed(device: torch.device) -> Iterator[list[float]]:
    """Collect the seconds that the block takes on the device."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    taken: list[float] = []
    wait()
    start = time.perf_counter()
    yield taken
    wait()
    taken.append(time.perf_counter() - start)


def measured(bench: Bench) -> list[dict[str, Any]]:
    """A line a model: milliseconds a step with and without captured steps and by Trainer, and seconds a pass."""
    lines = []
    for name in (*SMALL, *ENCODERS):
        captured = bench.milliseconds(bench.ours(name))
        with patch.object(training._Steps, "_captures", lambda steps: False):
            plain = bench.milliseconds(bench.ours(name))
        line = {"model": name, "precision": bench.precision, "captured": captured, "plain": plain}
        lines.append(line | {"trainer": None, "pass": bench.pass_seconds(name)})
    for line in lines:  # last of all: a Trainer replaces the accelerator
        if line["model"] in ENCODERS:
            line["trainer"] = bench.milliseconds(bench.trainer(line["model"]))
    return lines


def table(lines: list[dict[str, Any]], title: str) -> str:
    """The lines in Markdown."""
    rows = [
        f"| {line['model']} | {line['precision']} | {line['captured']:.2f} | {line['plain']:.2f} | "
        f"{'' if line['trainer'] is None else format(line['trainer'], '.2f')} | {line['pass']:.3f} |"
        for line in lines
    ]
    head = "| model | precision | ms a step | without captured steps | Trainer | seconds a pass |"
    return "\n".join([title, "", head, "|---|---|---|---|---|---|", *rows, ""])


def main() -> None:
    """Measure in one precision, or merge with what another call has measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results/gpu"))
    parser.add_argument("--mixed-precision", choices=["no", "bf16"], default="no", help="of the encoders too")
    parser.add_argument("--rehearse", action="store_true", help="few texts and steps, and small encoders")
    options = parser.parse_args()
    if options.rehearse:
        ENCODERS.update(dict.fromkeys(ENCODERS, (1, 32, 2, 64)))
    elif not torch.cuda.is_available():
        parser.error("this machine has no CUDA card; give --rehearse to run a few steps without one")
    accelerator = make_accelerator(options.mixed_precision)
    bench = Bench(accelerator, *((300, (3, 6)) if options.rehearse else (7500, (100, 400))))
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no card"
    lines = measured(bench)
    options.output.mkdir(parents=True, exist_ok=True)
    name = f"gpu-{options.mixed_precision}"
    record = {"card": card, "torch": torch.__version__, "lines": lines}
    (options.output / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    text = table(lines, f"{card}, torch {torch.__version__}")
    (options.output / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
