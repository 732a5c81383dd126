"""What a CUDA card does: steps alone and side by side, passes, queries, K-medoids and fine-tuning.

    python scripts/benchmarks/gpu.py --output results/gpu

One call takes some five minutes and needs no data: texts are random words with the lengths of film reviews, a text's
class says whether it has a certain word, and models have random weights. `gpu.json` and `gpu.md` are written after each
part, so that a call that is ended loses the last part only. A part that fails is named, and the others follow. No part
begins after --seconds. With --rehearse, a little of everything is done on any device.

`gpu_grid.py` measures a grid of runs.
"""

import argparse
import copy
import gc
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from accelerate.state import AcceleratorState
from datasets import Dataset
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel, Trainer, TrainingArguments

from dami_text.clustering import KMedoids
from dami_text.config.data_options import TokenizationConfig
from dami_text.config.kinds import kind_of
from dami_text.config.options import ModelConfig, TrainingConfig
from dami_text.data.batches import batches_by_length
from dami_text.data.pool import Pool
from dami_text.data.texts import EncodedTexts, LabeledTexts
from dami_text.data.tokenization import build_tokenizer, encode
from dami_text.models import training
from dami_text.models.inference import predict_probabilities
from dami_text.models.jobs import TrainingJob
from dami_text.models.resident import resident
from dami_text.models.stacked.stack import Stack
from dami_text.models.stacked.trainings import train_together
from dami_text.models.tasks import ONE_CLASS
from dami_text.processes import make_accelerator
from dami_text.randomness import TorchState, torch_stream
from dami_text.strategies.dami import Representation
from dami_text.strategies.egl import Egl
from dami_text.strategies.egl_word import EglWord

VOCABULARY, DIMENSIONS, SMALL = 18_000, 100, ("cnn", "bilstm")
ENCODER_TRAINING: dict[str, Any] = {"train_batch_size": 16, "optimizer": "adamw", "learning_rate": 5e-5}


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        texts, validated, labeled: numbers of texts: the pool, the validation split, those that are trained on.
        steps: of a short and a long training, whose difference is measured.
        curve: steps after which losses are compared.
        models: side by side.
        clusterings: rows, medoids, the seconds wanted, and whether the CPU's objective is compared.
        encoders: layers, hidden size, heads and inner size.
    """

    texts: int = 6_700
    validated: int = 1_066
    labeled: int = 800
    steps: tuple[int, int] = (100, 400)
    curve: tuple[int, ...] = (10, 50, 200)
    models: int = 70
    clusterings: tuple[tuple[int, int, float, bool], ...] = (
        *((7_000, 140, 0.15, True), (20_000, 400, 0.8, True)),
        (100_000, 1_000, 5.0, False),
    )
    encoders: tuple[tuple[str, int, int, int, int], ...] = (
        *(("BERT-base", 12, 768, 12, 3072), ("MiniLM", 6, 384, 12, 1536)),
    )


LITTLE = Sizes(
    *(300, 100, 60, (3, 6), (2, 4), 3),
    clusterings=((300, 6, 0.15, True),),
    encoders=(("BERT-base", 1, 32, 2, 64), ("MiniLM", 1, 32, 2, 64)),
)


@dataclass(frozen=True)
class Figure:
    """A figure, in its unit, and the highest that is wanted; None where it is there to compare with."""

    name: str
    value: float
    unit: str
    wanted: float | None = None


def random_texts(n: int) -> Dataset:
    """n texts of 2 to 60 words, whose frequencies fall as 1 / rank."""
    rng = np.random.default_rng(0)
    shares = 1 / np.arange(1, VOCABULARY + 1)
    lengths = rng.gamma(3.5, 6, size=n).clip(2, 60).astype(int)
    drawn = (rng.choice(VOCABULARY, length, p=shares / shares.sum()) for length in lengths)
    return Dataset.from_dict({"text": [" ".join(f"w{i}" for i in words) for words in drawn]})


class Bench:
    """Labelled texts, and what is measured on them."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes, self.precision = sizes, "no"
        self.accelerator = make_accelerator()
        self.device = self.accelerator.device
        texts = random_texts(sizes.texts)
        self.tokenizer = build_tokenizer(texts, TokenizationConfig(min_document_frequency=1))
        self.texts = EncodedTexts(encode(texts, self.tokenizer), self.tokenizer)
        self.labels = np.array([" w1 " in f" {text} " for text in texts["text"]], np.int64)
        self.rows = np.arange(sizes.texts)

    def in_half_precision(self) -> None:
        """From now on all is in bfloat16."""
        AcceleratorState._reset_state()
        self.precision, self.accelerator = "bf16", make_accelerator("bf16")

    def labeled(self, n: int) -> LabeledTexts:
        """The first n texts."""
        return LabeledTexts(self.texts, self.rows[:n], self.labels[:n])

    def new_model(self, name: str, seed: int = 0) -> PreTrainedModel:
        """A new model, on the CPU."""
        with torch_stream(seed, 0, "training"):
            if name in SMALL:
                vectors = np.random.default_rng(2).normal(size=(len(self.tokenizer), DIMENSIONS)) / 10
                options, kind = ModelConfig(model=name), kind_of(name)
                small: PreTrainedModel = kind.new_model(options, ["no", "yes"], self.tokenizer, vectors.astype("f4"))  # type: ignore[attr-defined]
                return small
            (sizes,) = (sizes for known, *sizes in self.sizes.encoders if known == name)
            names = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")
            dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # its noise is by the padding
            config = BertConfig(vocab_size=len(self.tokenizer), **dict(zip(names, sizes, strict=True)), **dropout)
            return BertForSequenceClassification(config)

    @contextmanager
    def timed(self) -> Iterator[list[float]]:
        """Collect the seconds that the block takes on the device."""
        taken: list[float] = []
        self.wait()
        start = time.perf_counter()
        yield taken
        self.wait()
        taken.append(time.perf_counter() - start)

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], Any], times: int = 3) -> float:
        """The least seconds that work takes, of so many times after one that warms up."""
        found = []
        for _ in range(times + 1):
            with self.timed() as taken:
                work()
            found += taken
        return min(found[1:])

    def milliseconds(self, seconds: Callable[[int], float]) -> float:
        """Milliseconds a step: of what a longer training takes beyond a shorter one, after one that warms up."""
        few, many = self.sizes.steps
        seconds(few)
        start = seconds(few)
        return 1000 * (seconds(many) - start) / (many - few)

    def trained(self, name: str, steps: int) -> tuple[PreTrainedModel, float]:
        """A model after so many steps, and the seconds that they took."""
        config = TrainingConfig(steps=steps, **({} if name in SMALL else ENCODER_TRAINING))
        model = self.new_model(name).to(self.device)
        with torch_stream(0, 0, "steps"), self.timed() as taken:
            data = self.labeled(self.sizes.labeled)
            training.train(model, data, None, config, self.accelerator, rng=np.random.default_rng(3))
        return model, taken[0]

    def step(self, name: str) -> float:
        """Milliseconds a step of a model."""
        return self.milliseconds(lambda steps: self.trained(name, steps)[1])

    def by_trainer(self, name: str, steps: int) -> float:
        """Seconds of a training of so many steps by transformers' Trainer, batches of 16."""
        labels = self.labels[: self.sizes.labeled]
        examples = [
            {"input_ids": self.texts.token_ids(row).tolist(), "labels": int(label)} for row, label in enumerate(labels)
        ]
        with tempfile.TemporaryDirectory() as folder:
            quiet: dict[str, Any] = {"save_strategy": "no", "logging_strategy": "no", "report_to": []}
            half = self.precision == "bf16"
            size = {"max_steps": steps, "per_device_train_batch_size": 16, "bf16": half}
            quiet["use_cpu"] = self.device.type == "cpu"
            arguments = TrainingArguments(output_dir=folder, disable_tqdm=True, **size, **quiet)
            trainer = Trainer(self.new_model(name), arguments, padded, examples)  # type: ignore[arg-type]
            with self.timed() as taken:
                trainer.train()
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


def steps_alone(bench: Bench) -> Iterator[Figure]:
    """A training step of one model, recorded, and as it comes."""
    for name, wanted in zip(SMALL, (0.8, 3.0), strict=True):
        yield Figure(f"{name}: a step", bench.step(name), "ms", wanted)
        with patch.object(training._Steps, "_captures", lambda steps: False):
            yield Figure(f"{name}: a step, not recorded", bench.step(name), "ms")


def side_by_side(bench: Bench) -> Iterator[Figure]:
    """A step and a validation pass of one of many models that are trained side by side."""
    n, validation = bench.sizes.models, bench.labeled(bench.sizes.validated)
    for name, step, validated in (("cnn", 0.1, 0.5), ("bilstm", 0.3, 2.0)):
        model = bench.new_model(name)

        def seconds(steps: int, model: PreTrainedModel = model) -> float:
            jobs = [job(bench, model, steps, seed) for seed in range(n)]
            with bench.timed() as taken:
                for outcome in train_together(jobs, bench.accelerator, n):
                    if isinstance(outcome, Exception):
                        raise outcome
            return taken[0] / n

        yield Figure(f"{name}: a step of one of {n}", bench.milliseconds(seconds), "ms", step)
        stack = Stack(model, n, TrainingConfig(), bench.device, vocab_size=model.config.vocab_size)
        for slot in range(n):
            stack.load(slot, job(bench, model, 1, slot))
        places = [stack.places(validation)] * n
        found = bench.seconds(partial(stack.probabilities, range(n), places)) / n
        yield Figure(f"{name}: a validation pass of one of {n}", 1000 * found, "ms", validated)


def job(bench: Bench, model: PreTrainedModel, steps: int, seed: int) -> TrainingJob:
    """A training of a copy of the model."""
    with torch_stream(seed, 0, "steps"):
        state, rng = TorchState.now(), np.random.default_rng(seed)
    data, config, new = bench.labeled(bench.sizes.labeled), TrainingConfig(steps=steps), copy.deepcopy(model)
    return TrainingJob(model=new, data=data, validation=None, config=config, rng=rng, state=state)


def passes(bench: Bench) -> Iterator[Figure]:
    """Passes of one model."""
    for name, wanted in (("cnn", 0.020), ("bilstm", None)):
        model = bench.new_model(name).to(bench.device)
        for rows, limit in ((bench.rows, wanted), (bench.rows[: bench.sizes.validated], None)):
            seconds = bench.seconds(lambda m=model, rows=rows: predict_probabilities(m, bench.texts, rows))  # type: ignore[misc]
            yield Figure(f"{name}: a pass over {len(rows):,} texts", seconds, "s", limit)


def queries(bench: Bench) -> Iterator[Figure]:
    """What strategies do with gradients, beside a forward and a backward pass in batches as large as a training's."""
    pool, model = Pool(bench.texts, [0]), bench.new_model("cnn").to(bench.device)
    rng, size, there = np.random.default_rng(0), TrainingConfig().train_batch_size, resident(bench.texts, bench.device)

    def training_pass() -> None:
        for places in batches_by_length(bench.texts.lengths, size):
            model(**there.collate(places).to(bench.device).inputs).logits.sum().backward()
            model.zero_grad()

    reference = bench.seconds(training_pass)
    yield Figure("cnn: forward and backward over the pool", reference, "s")
    for name, work in {
        "EGL-word": lambda: EglWord().query(model, pool, 10, rng),
        "EGL": lambda: Egl().query(model, pool, 10, rng),
        "DAMI's interpretations": lambda: Representation().of_unlabeled(model, pool, rng),
    }.items():
        found = bench.seconds(work)
        yield Figure(f"cnn: {name}", found, "s", 0.3)
        yield Figure(f"cnn: {name}, by forward and backward", found / reference, "times", 5.0)


def k_medoids(bench: Bench) -> Iterator[Figure]:
    """K-medoids on heavy-tailed clusters, and the objective beside that of the CPU."""
    rng = np.random.default_rng(0)
    KMedoids(20, random_state=0).fit(torch.randn(1_000, 100, device=bench.device))  # wakes the libraries
    for n, k, wanted, compared in bench.sizes.clusterings:
        centres = rng.standard_t(3, size=(60, 100))[rng.integers(60, size=n)]
        rows = ((centres + 0.5 * rng.normal(size=(n, 100))) * rng.lognormal(size=(n, 1))).astype(np.float32)
        there = torch.from_numpy(rows).to(bench.device)
        for method in ("fasterpam", "streamed") if compared else ("streamed",):
            with bench.timed() as taken:
                found = KMedoids(k, method=method, random_state=0).fit(there)  # type: ignore[arg-type]
            best = (method == "fasterpam") == (n <= 8_192)  # as auto chooses
            yield Figure(f"K-medoids, {method}, {n:,} rows, {k}", taken[0], "s", wanted if best else None)
            if compared and best:
                with bench.timed() as taken:
                    host = KMedoids(k, method=method, random_state=0).fit(rows)  # type: ignore[arg-type]
                yield Figure(f"K-medoids, {method}, {n:,} rows, on the CPU", taken[0], "s")
                ratio = found.inertia_ / host.inertia_
                yield Figure(f"K-medoids, {n:,} rows: objective, by the CPU's", ratio, "times", 1.001)


def encoders(bench: Bench) -> Iterator[Figure]:
    """Passes and fine-tuning of encoders in bfloat16."""
    bench.in_half_precision()
    (name, *_), *_ = bench.sizes.encoders
    model = bench.new_model(name).to(bench.device)
    ours = bench.seconds(lambda: predict_probabilities(model, bench.texts, bench.rows))
    plain = bench.seconds(lambda: plain_pass(bench, model))
    yield Figure(f"{name}: a pass over {len(bench.rows):,} texts", ours, "s")
    yield Figure(f"{name}: a pass, by a plain loop's", ours / plain, "times", 1.2)
    captured = {}
    for name, *_ in bench.sizes.encoders:
        captured[name] = bench.step(name)
        yield Figure(f"{name}: a step", captured[name], "ms")
        yield from losses(bench, name)
    for name, *_ in bench.sizes.encoders:  # last of all: a Trainer replaces the accelerator
        trainer = bench.milliseconds(partial(bench.by_trainer, name))
        yield Figure(f"{name}: a step by Trainer", trainer, "ms")
        yield Figure(f"{name}: a step, by Trainer's", captured[name] / trainer, "times", 0.25)


def plain_pass(bench: Bench, model: PreTrainedModel) -> None:
    """Predict every text in batches of 256 by length."""
    order = np.argsort(bench.texts.lengths, kind="stable")
    model.eval()
    with torch.no_grad(), torch.autocast(bench.device.type, torch.bfloat16):
        found = [
            model(**bench.texts.collate(order[i : i + 256]).to(bench.device).inputs).logits.float().softmax(dim=1)
            for i in range(0, len(order), 256)
        ]
    torch.cat(found).cpu()


def losses(bench: Bench, name: str) -> Iterator[Figure]:
    """The losses on the training texts after some steps, recorded, and how far they are from those not recorded."""
    data = bench.labeled(bench.sizes.labeled)

    def loss(steps: int) -> float:
        model, _ = bench.trained(name, steps)
        return ONE_CLASS.surprise(predict_probabilities(model, data.texts, data.rows), data.labels)

    differences = []
    for steps in bench.sizes.curve:
        found = loss(steps)
        with patch.object(training._Steps, "_captures", lambda steps: False):
            differences.append(abs(loss(steps) - found))
        yield Figure(f"{name}: loss after {steps} steps", found, "")
    yield Figure(f"{name}: these losses, greatest difference from steps not recorded", max(differences), "", 0.02)


PARTS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "steps": steps_alone,
    "side-by-side": side_by_side,
    "passes": passes,
    "queries": queries,
    "k-medoids": k_medoids,
    "encoders": encoders,
}


def measure(options: argparse.Namespace, card: str) -> None:
    """Measure the parts, and write what is known after each."""
    begun = time.perf_counter()
    bench, figures, failed = Bench(LITTLE if options.rehearse else Sizes()), [], {}
    for name in options.parts:
        if time.perf_counter() - begun > options.seconds:
            failed[name] = "there was no time left"
            continue
        try:
            for figure in PARTS[name](bench):
                print(f"{figure.name}: {figure.value:.4g} {figure.unit}", flush=True)
                figures.append(figure)
        except Exception as error:  # the others are to be measured all the same
            failed[name] = f"{type(error).__name__}: {str(error)[:300]}"
        gc.collect()
        torch.cuda.empty_cache()
        record = {"card": card, "torch": torch.__version__, "failed": failed, "figures": [*map(asdict, figures)]}
        (options.output / "gpu.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        (options.output / "gpu.md").write_text(table(figures, failed, card), encoding="utf-8")
    print(table(figures, failed, card), f"{time.perf_counter() - begun:.0f} seconds in all", sep="\n")


def table(figures: list[Figure], failed: dict[str, str], card: str) -> str:
    """The figures in Markdown."""
    lines = [f"{card}, torch {torch.__version__}", ""]
    lines += ["| | measured | wanted at most | measured / wanted |", "|---|---|---|---|"]
    for figure in figures:
        wanted = ("", "") if figure.wanted is None else (f"{figure.wanted:g}", f"{figure.value / figure.wanted:.2f}")
        lines.append(f"| {figure.name} | {figure.value:.4g} {figure.unit} | {wanted[0]} | {wanted[1]} |")
    return "\n".join([*lines, *(f"\nFailed: {name}: {error}" for name, error in failed.items()), ""])


def main() -> None:
    """Measure the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results/gpu"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=400.0, help="no part begins later (default: 400)")
    parser.add_argument("--rehearse", action="store_true", help="a little of everything, on any device")
    options = parser.parse_args()
    if not options.rehearse and not torch.cuda.is_available():
        parser.error("this machine has no CUDA card; give --rehearse to do a little of everything without one")
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no card"
    options.output.mkdir(parents=True, exist_ok=True)
    measure(options, card)


if __name__ == "__main__":
    main()
