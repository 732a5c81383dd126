"""Trainings to be done side by side: small models in double precision on texts of random words, one of which tells."""

from typing import Any

import numpy as np
import torch
from conftest import encode_texts, make_texts, small_model
from numpy.typing import NDArray

from dami_text.config.options import TrainingConfig
from dami_text.data.texts import EncodedTexts, LabeledTexts
from dami_text.models.jobs import TrainingJob
from dami_text.models.word_level import MULTILABEL
from dami_text.randomness import TorchState, torch_stream

KINDS = ("cnn", "bilstm")

#: What is quick, and long enough for trainings to stop at different times.
QUICK = {"learning_rate": 1e-2, "train_batch_size": 8, "steps": 25, "patience": 2, "epochs": 4, "epoch_steps": 4}


def telling_texts(n: int, n_classes: int, multilabel: bool = False) -> tuple[EncodedTexts, NDArray[np.int64]]:
    """n texts, the first without words, and their labels (n,) or (n, C), a fifth of which no word tells."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (n, n_classes)) if multilabel else rng.integers(0, n_classes, n)
    texts = make_texts(n - 1, shortest=2)
    for i in range(1, n):
        told = np.flatnonzero(labels[i]) if multilabel else [labels[i]]
        if rng.random() < 0.8:
            texts[i - 1] += "".join(f" class{label}" for label in told)
    return encode_texts(["", *texts]), labels


def jobs_on(
    encoded: EncodedTexts,
    labels: NDArray[np.int64],
    kind: str = "cnn",
    n_jobs: int = 7,
    *,
    n_classes: int = 3,
    validation: bool = True,
    model_options: dict[str, Any] | None = None,
    **options: Any,
) -> list[TrainingJob]:
    """Jobs of different numbers of labels, seeds and first weights; the last 30 texts are the validation split."""
    config = TrainingConfig(**QUICK | options)
    model_options = dict(model_options or {}) | ({"problem_type": MULTILABEL} if labels.ndim == 2 else {})
    held_out = np.arange(len(labels) - 30, len(labels))
    jobs = []
    for seed in range(n_jobs):
        rows = np.random.default_rng(seed).permutation(len(labels) - 30)[: 6 + 9 * seed]
        with torch_stream(seed, 0, "training"):
            torch.rand(seed)  # what the weights of a new model took
            state = TorchState.now()
        options_there = {"vocab_size": len(encoded.tokenizer), **model_options}
        model = small_model(kind, n_classes=n_classes, seed=seed, **options_there)
        jobs.append(
            TrainingJob(
                model=model.double(),
                data=LabeledTexts(encoded, rows, labels[rows]),
                validation=LabeledTexts(encoded, held_out, labels[held_out]) if validation else None,
                config=config,
                rng=np.random.default_rng(seed),
                state=state,
            )
        )
    return jobs


def distance(jobs: list[TrainingJob], others: list[TrainingJob]) -> float:
    """The largest difference of any weight of two lists of jobs' models."""
    return max(
        float((found - wanted).detach().abs().max())
        for job, other in zip(jobs, others, strict=True)
        for found, wanted in zip(job.model.parameters(), other.model.parameters(), strict=True)
    )
