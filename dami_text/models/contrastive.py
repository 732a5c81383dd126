"""Contrastive fine-tuning of a sentence encoder for few labels, and then its head.

As in SetFit (Tunstall et al. 2022, "Efficient Few-Shot Learning Without Prompts"), the encoder first learns that texts
of one class belong together, and logistic regression follows on its features. The loss is the supervised contrastive
one (Khosla et al. 2020) over all pairs of a batch, so that each text is encoded once a pass, and not once a pair.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from dami_text.data.ids import Rows
from dami_text.data.texts import LabeledTexts
from dami_text.models.inference import device_of
from dami_text.progress import tell_progress

#: Passes over the labelled texts, the learning rate at its peak, and the temperature of similarities.
PASSES, LEARNING_RATE, TEMPERATURE = 10, 5e-5, 0.1

#: Texts of the pool, evenly from all, whose mean stands for that of the pool.
SAMPLE = 256

#: Texts in a batch, and texts of one class that stay together in one.
TRAIN_BATCH, TOGETHER = 32, 4


def tune_encoder(model: PreTrainedModel, data: LabeledTexts, rng: np.random.Generator) -> int:
    """Train the encoder `model.base_model` on the pairs of the labelled texts; the number of steps.

    Dropout draws from torch's global generator, the order of the texts from `rng`. A text that is alone of its class
    has no pair, and is left out: it would be pushed away from all others. Without two classes that have pairs, nothing
    is trained.
    """
    classes, counts = np.unique(data.labels, return_counts=True)
    paired = np.flatnonzero(np.isin(data.labels, classes[counts > 1]))
    if np.count_nonzero(counts > 1) < 2:
        return 0
    batches = [paired[batch] for _ in range(PASSES) for batch in batches_of_pairs(data.labels[paired], rng)]
    optimizer = torch.optim.AdamW(model.base_model.parameters(), LEARNING_RATE, weight_decay=0.01)
    warmup = max(1, len(batches) // 10)
    schedule = LambdaLR(optimizer, lambda step: min((step + 1) / warmup, (len(batches) - step) / len(batches)))
    model.base_model.train()
    with torch.enable_grad():
        for taken, positions in enumerate(batches):
            tell_progress("fine-tuning on pairs", taken, len(batches))
            batch = data.texts.collate(data.rows[positions]).to(device_of(model))
            features = model.base_model(**batch.inputs).pooler_output.float()
            labels = torch.from_numpy(data.labels[positions]).to(features.device)
            optimizer.zero_grad()
            contrastive_loss(features, labels).backward()
            optimizer.step()
            schedule.step()
    model.eval()
    return len(batches)


def batches_of_pairs(labels: NDArray[np.int64], rng: np.random.Generator) -> Iterator[Rows]:
    """Positions 0..n-1 of labels (n,), every one once, in random batches in which texts have others of their class."""
    groups = []
    for label in np.unique(labels):
        positions = rng.permutation(np.flatnonzero(labels == label))
        groups += np.array_split(positions, -(-len(positions) // TOGETHER))
    mixed = np.concatenate([groups[i] for i in rng.permutation(len(groups))])
    yield from np.array_split(mixed, -(-len(mixed) // TRAIN_BATCH))


def contrastive_loss(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The supervised contrastive loss (Khosla et al. 2020, L_out) of features (B, H) with labels (B,).

    For each text, -log of the softmax of its cosine similarities to all other texts, averaged over those of its label;
    and the mean of these over the texts that have any.
    """
    unit = functional.normalize(features, dim=-1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    similarities = (unit @ unit.T / TEMPERATURE).masked_fill(itself, -torch.inf)
    log_shares = functional.log_softmax(similarities, dim=1).masked_fill(itself, 0.0)
    same = (labels[:, None] == labels) & ~itself
    counts = same.sum(dim=1)
    means = -(log_shares * same).sum(dim=1) / counts.clamp(min=1)
    return means.sum() / (counts > 0).sum().clamp(min=1)
