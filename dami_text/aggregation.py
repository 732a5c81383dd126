"""The deviation aggregator: each text's most informative word, exactly, in little more than one pass over the texts.

    Ibar = mean over texts of (mean over the text's words of I_ij)
    d_i  = argmax_j ||I_ij - Ibar||^2          r_i = I_i,d_i

Ibar is known only after a pass over all texts, and the interpretations are too many to keep. So the pass goes on in
stages, each as large as all before it together, and chooses each word by its distance to J, the mean over the earlier
stages. Where a text's largest distance to J exceeds the second largest by more than 2 ||J - Ibar||, the triangle
inequality says that Ibar would choose the same word. The few other texts are interpreted again at the end, with Ibar.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dami_text.data.pool import Rows, batches_by_length
from dami_text.processes import ALONE, Processes

#: What rounding in float32 may add to a difference of two distances, in units of the larger one.
ROUNDING = 1e-5

#: From positions (B,) of texts to their words' interpretations (B, T, D) and which of the places are words (B, T).
Interpreter = Callable[[Rows], tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class InformativeWords:
    """Each text's most informative word.

    Attributes:
        representations: (N, D) float32, r_i, the word's interpretation; 0 for a text without words.
        words: (N,) int64, d_i, the word's number in its text; -1 for a text without words.
        deviations: (N,) float32, ||r_i - Ibar||^2; 0 for a text without words.
        mean: (D,) float64, Ibar.
        repeated: how many texts were interpreted twice.
    """

    representations: NDArray[np.float32]
    words: NDArray[np.int64]
    deviations: NDArray[np.float32]
    mean: NDArray[np.float64]
    repeated: int


def informative_words(
    interpreter: Interpreter,
    lengths: NDArray[np.int64],
    batch_size: int,
    rng: np.random.Generator,
    processes: Processes = ALONE,
) -> InformativeWords:
    """The informative words of N texts, the same that two full passes (first Ibar, then the argmax) would choose.

    `interpreter` is called with batches of positions 0..N-1 of like `lengths` (N,). The result depends neither on
    `rng`, which orders the batches, nor on the number of processes, which share them; each process gets all of it.
    """
    batches = batches_by_length(lengths, batch_size)
    batches = [batches[i] for i in rng.permutation(len(batches))]
    chosen = _Chosen(len(lengths))
    total, n_texts = np.zeros(1), 0  # the sum over texts of the mean over their words (D,)
    stages = []  # the texts of each stage, and the J that chose their words

    begin = 0
    while begin < len(batches):
        stage, center = batches[begin : max(1, 2 * begin)], total / max(n_texts, 1)
        for choice in processes.gather(_choose(positions, interpreter, center) for positions in processes.share(stage)):
            chosen.take(choice)
            total, n_texts = total + choice.total, n_texts + len(choice.positions)
        stages.append((np.concatenate(stage), center))
        begin += len(stage)
    mean = total / max(n_texts, 1)

    limits = np.zeros(len(lengths))
    for positions, center in stages:
        limits[positions] = 2 * np.linalg.norm(center - mean)
    doubtful = np.flatnonzero(chosen.margins <= limits)
    again = [doubtful[positions] for positions in batches_by_length(lengths[doubtful], batch_size)]
    for choice in processes.gather(_choose(positions, interpreter, mean) for positions in processes.share(again)):
        chosen.take(choice)
    return InformativeWords(chosen.representations, chosen.words, chosen.deviations(mean), mean, len(doubtful))


@dataclass(frozen=True)
class _Choice:
    """A batch's informative words; texts without words are left out.

    positions, words and margins (B,), representations (B, D), and the sum over the texts of their words' mean (D,). A
    margin is by how much the chosen word is farther from the center than any other (not squared).
    """

    positions: Rows
    words: NDArray[np.int64]
    margins: NDArray[np.float32]
    representations: NDArray[np.float32]
    total: NDArray[np.float64]


def _choose(positions: Rows, interpreter: Interpreter, center: NDArray[np.float64]) -> _Choice:
    """The words of texts `positions` (B,) whose interpretations are farthest from `center` (D,)."""
    interpretations, is_word = interpreter(positions)
    reference = torch.as_tensor(center, dtype=interpretations.dtype, device=interpretations.device)
    distances = torch.linalg.vector_norm(interpretations - reference, dim=-1).masked_fill(~is_word, -torch.inf)
    farthest, words = distances.max(dim=1)  # the first word, where several are equally far
    second = distances.scatter(1, words.unsqueeze(1), -torch.inf).amax(dim=1)
    counts = is_word.sum(dim=1)
    means = (interpretations * is_word.unsqueeze(-1)).sum(dim=1).double() / counts.clamp(min=1).unsqueeze(1)
    texts = torch.arange(len(positions), device=words.device)
    has_words = (counts > 0).cpu().numpy()
    return _Choice(
        positions[has_words],
        words.cpu().numpy()[has_words],
        (farthest - second - ROUNDING * farthest).cpu().numpy()[has_words],
        interpretations[texts, words].cpu().numpy()[has_words],
        means.sum(dim=0).cpu().numpy(),
    )


class _Chosen:
    """The choices for N texts so far; the margin of a text without words is infinite."""

    def __init__(self, n: int) -> None:
        self.words = np.full(n, -1)
        self.margins = np.full(n, np.inf, np.float32)
        self.representations = np.zeros((n, 0), np.float32)

    def take(self, choice: _Choice) -> None:
        """Take over a batch's choice in place of an earlier one."""
        if not self.representations.shape[1]:  # D is known with the first batch
            self.representations = np.zeros((len(self.words), choice.representations.shape[1]), np.float32)
        self.words[choice.positions] = choice.words
        self.margins[choice.positions] = choice.margins
        self.representations[choice.positions] = choice.representations

    def deviations(self, mean: NDArray[np.float64]) -> NDArray[np.float32]:
        """The squared distances (N,) of the representations to `mean` (D,); 0 for a text without words."""
        squared = np.zeros(len(self.words), np.float32)
        for start in range(0, len(squared), 65_536):
            rows = slice(start, start + 65_536)
            squared[rows] = ((self.representations[rows] - mean) ** 2).sum(axis=1)
        return np.where(self.words >= 0, squared, np.float32(0))
