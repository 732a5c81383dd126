"""The deviation aggregator: each text's most informative word, exactly, in little more than one pass over the texts.

    Ibar = mean over texts of (mean over the text's words of I_ij)
    d_i  = argmax_j ||I_ij - Ibar||^2          r_i = I_i,d_i

Ibar is known only after a pass over all texts, and the interpretations are too many to keep. So the pass goes on in
stages, each as large as all before it together, and chooses each word a_i by its distance to J, the mean over the
earlier stages. Another word b of the text takes its place only where Ibar lies beyond the plane between a_i and b, and
J is

    (||a_i - J||^2 - ||b - J||^2) / (2 ||a_i - b||)

away from that plane: b is a rival if that is not more than ||J - Ibar||. How far J is from Ibar shows only at the end,
so the nearest rivals within reach of a generous guess are kept beside the word, and the end decides among them. The few
texts with more rivals than were kept are interpreted again, with Ibar.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from dami_text.data.batches import TOKENS_A_TEXT, batches_by_length
from dami_text.data.ids import Rows
from dami_text.models.inference import in_halves
from dami_text.processes import ALONE, Processes, where_float64_is

#: What rounding in float32 may do to a difference of squared distances, relative to the largest term in it.
ROUNDING = 1e-5

#: Words kept beside each text's choice, at most, and how many times the last step of J they may be away.
RIVALS, REACH = 3, 4

#: From positions (B,) of texts to their words' interpretations (B, T, D) and which of the places are words (B, T).
Interpreter = Callable[[Rows], tuple[torch.Tensor, torch.Tensor]]
#: From the same, positions first, to a score (B, T) of every word.
Scorer = Callable[[Rows, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
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
    processes: Processes = ALONE,
    *,
    tokens_a_text: float = TOKENS_A_TEXT,
) -> InformativeWords:
    """The informative words of N texts, the same that two full passes (first Ibar, then the argmax) would choose.

    `interpreter` is called with batches of positions 0..N-1 of like `lengths` (N,), as `batches_by_length` makes them,
    or with parts of them where the device has no memory for all. The processes share the batches, and each gets all of
    the result, which does not depend on their number.
    """
    batches = batches_by_length(lengths, batch_size, tokens_a_text)
    batches = [batches[i] for i in evenly_spread(len(batches))]
    chosen = _Chosen(len(lengths))
    total, n_texts = np.zeros(1), 0  # the sum over texts of the mean over their words (D,)
    center, stages = total, []  # J, and of each stage the texts and the J that chose their words

    def around(point: NDArray[np.float64], reach: float | None) -> Callable[[Rows], _Choice]:
        return lambda positions: _choose(positions, *_interpreted(interpreter, positions), point, reach)

    begin = 0
    while begin < len(batches):
        stage, before = batches[begin : max(1, 2 * begin)], center
        center = total / max(n_texts, 1)
        reach = REACH * float(np.linalg.norm(center - before))
        found = _choices(around(center, reach), processes.share(stage))
        for choice in processes.gather(found):
            chosen.take(choice)
            total, n_texts = total + choice.total, n_texts + len(choice.positions)
        stages.append((np.concatenate(stage), center))
        begin += len(stage)
    mean = total / max(n_texts, 1)

    errors = np.zeros(len(lengths))
    for positions, center in stages:
        errors[positions] = np.linalg.norm(center - mean)
    doubtful = chosen.settle(mean, errors)
    again = [doubtful[positions] for positions in batches_by_length(lengths[doubtful], batch_size, tokens_a_text)]
    found = _choices(around(mean, None), processes.share(again))
    for choice in processes.gather(found):
        chosen.take(choice)
    return InformativeWords(
        representations=chosen.representations,
        words=chosen.words,
        deviations=chosen.deviations(mean),
        mean=mean,
        repeated=len(doubtful),
    )


def words_by_score(
    scorer: Scorer,
    interpreter: Interpreter,
    lengths: NDArray[np.int64],
    batch_size: int,
    processes: Processes = ALONE,
    *,
    tokens_a_text: float = TOKENS_A_TEXT,
) -> InformativeWords:
    """The words of N texts that `scorer` gives the highest score, the first of equal ones: ablations of the deviation.

    The rest is as in `informative_words`.
    """
    chosen = _Chosen(len(lengths))
    total, n_texts = np.zeros(1), 0

    def choose(positions: Rows) -> _Choice:
        interpretations, is_word = _interpreted(interpreter, positions)
        scores = scorer(positions, interpretations, is_word).masked_fill(~is_word, -torch.inf)
        words = scores.argmax(dim=1, keepdim=True)
        return _choice(
            positions,
            words,
            torch.full_like(scores, torch.inf),
            reach=None,
            interpretations=interpretations,
            is_word=is_word,
        )

    batches = batches_by_length(lengths, batch_size, tokens_a_text)
    for choice in processes.gather(_choices(choose, processes.share(batches))):
        chosen.take(choice)
        total, n_texts = total + choice.total, n_texts + len(choice.positions)
    mean = total / max(n_texts, 1)
    return InformativeWords(
        representations=chosen.representations,
        words=chosen.words,
        deviations=chosen.deviations(mean),
        mean=mean,
        repeated=0,
    )


def _interpreted(interpreter: Interpreter, positions: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    """What the interpreter gives, where sums in float64 can be made of it."""
    interpretations, is_word = where_float64_is(*interpreter(positions))
    return interpretations, is_word


def evenly_spread(n: int) -> NDArray[np.int64]:
    """An order (n,) of 0..n-1 whose every beginning is spread evenly over them, by the golden ratio.

    Batches come sorted by length, and interpretations depend on the length: an even beginning has the better mean.
    """
    return np.argsort(np.argsort((0.5 + np.arange(n) * (5**0.5 - 1) / 2) % 1, kind="stable"), kind="stable")


@dataclass(frozen=True)
class _Rivals:
    """Words that may turn out to be farther from Ibar than their texts' choices.

    Attributes:
        texts: (M,) the positions of their texts, some of them several times.
        words: (M,) the numbers of the words in their texts.
        radii: (M,) the choice stands against the word while Ibar is closer to J than this.
        vectors: (M, D) the words' interpretations.
    """

    texts: Rows
    words: NDArray[np.int64]
    radii: NDArray[np.float64]
    vectors: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """A batch's informative words. Texts without words are left out.

    Attributes:
        positions: (B,) the texts' positions.
        words: (B,) the numbers of the chosen words.
        representations: (B, D) their interpretations.
        total: (D,) the sum over the texts of the mean of their words.
        rivals: words that may still take the place of the chosen ones.
        radii: (B,) each choice stands against all words but its rivals while Ibar is closer to J than this.
    """

    positions: Rows
    words: NDArray[np.int64]
    representations: NDArray[np.float32]
    total: NDArray[np.float64]
    rivals: _Rivals
    radii: NDArray[np.float64]


def _choices(choose: Callable[[Rows], _Choice], batches: Iterable[Rows]) -> Iterator[_Choice]:
    """The choice for each batch of positions; where the device has no memory for one, it and later ones are halved."""
    most: float = np.inf  # positions that there was room for
    for positions in batches:
        pieces = np.array_split(positions, math.ceil(len(positions) / most) or 1)
        parts = [part for piece in pieces for part in in_halves(choose, piece)]
        if len(parts) > len(pieces):
            most = math.ceil(len(positions) / len(parts))
        yield parts[0] if len(parts) == 1 else _joined(parts)


def _joined(parts: Sequence[_Choice]) -> _Choice:
    """The choices for the parts of a batch as one."""

    def joined(name: str, parts: Sequence[Any]) -> NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    rivals = [part.rivals for part in parts]
    return _Choice(
        **{name: joined(name, parts) for name in ("positions", "words", "representations", "radii")},
        rivals=_Rivals(**{field.name: joined(field.name, rivals) for field in fields(_Rivals)}),
        total=np.sum([part.total for part in parts], axis=0),
    )


def _choose(
    positions: Rows,
    interpretations: torch.Tensor,
    is_word: torch.Tensor,
    center: NDArray[np.float64],
    reach: float | None,
) -> _Choice:
    """The words of a batch whose interpretations are farthest from a point.

    Args:
        positions: (B,) the texts' positions.
        interpretations: (B, T, D).
        is_word: (B, T), which places are words.
        center: (D,) the point, J or Ibar.
        reach: words whose radius is at most this become rivals, those within rounding of the choice among them. With
            None there are no rivals: distances are exact, and of words that are equally far the first is chosen.
    """
    reference = torch.as_tensor(center, dtype=interpretations.dtype, device=interpretations.device)
    squares = torch.linalg.vector_norm(interpretations, dim=-1) ** 2  # (B, T)
    if reach is None:
        center64 = torch.as_tensor(center, device=interpretations.device)
        distances = (interpretations.double() - center64).square().sum(dim=-1)
    else:  # less ||center||^2, which would drown small interpretations
        distances = squares - 2 * interpretations @ reference.expand(interpretations.shape[-1])
    distances = distances.masked_fill(~is_word, -torch.inf)
    farthest, words = distances.max(dim=1, keepdim=True)
    texts = torch.arange(len(positions), device=words.device)
    representations = interpretations[texts, words[:, 0]]  # (B, D)

    products = (interpretations @ representations.unsqueeze(-1)).squeeze(-1)
    own_squares = squares.gather(1, words)
    gaps = (squares + own_squares - 2 * products).clamp(min=0) + ROUNDING * (squares + own_squares)  # (B, T), squared
    largest = squares.amax(dim=1, keepdim=True)
    slack = ROUNDING * (largest + 2 * largest.sqrt() * reference.norm())
    radii = ((farthest - distances - slack) / (2 * gaps.sqrt())).masked_fill(~is_word, torch.inf)
    radii = radii.scatter(1, words, torch.inf).nan_to_num(0, posinf=torch.inf)
    return _choice(positions, words, radii, reach=reach, interpretations=interpretations, is_word=is_word)


def _choice(
    positions: Rows,
    words: torch.Tensor,
    radii: torch.Tensor,
    reach: float | None,
    interpretations: torch.Tensor,
    *,
    is_word: torch.Tensor,
) -> _Choice:
    """A batch's words (B, 1) and radii (B, T), with the interpretations that are kept of (B, T, D); see `_choose`."""
    radii = functional.pad(radii, (0, max(0, RIVALS + 1 - radii.shape[1])), value=torch.inf)
    nearest, who = radii.topk(RIVALS + 1, dim=1, largest=False)
    is_rival = nearest[:, :RIVALS] <= (-torch.inf if reach is None else reach)
    left_out = nearest.gather(1, is_rival.sum(dim=1, keepdim=True))[:, 0]
    of, place = is_rival.nonzero(as_tuple=True)
    rivals = who[of, place]

    texts = torch.arange(len(positions), device=words.device)
    counts = is_word.sum(dim=1)
    sums = (is_word.double().unsqueeze(1) @ interpretations.double()).squeeze(1)  # (B, D)
    total = (sums / counts.clamp(min=1).unsqueeze(1)).sum(dim=0)
    has_words = (counts > 0).cpu().numpy()
    return _Choice(
        positions=positions[has_words],
        words=words[:, 0].cpu().numpy()[has_words],
        representations=interpretations[texts, words[:, 0]].float().cpu().numpy()[has_words],
        total=total.cpu().numpy(),
        rivals=_Rivals(
            positions[of.cpu().numpy()],
            rivals.cpu().numpy(),
            nearest[of, place].double().cpu().numpy(),
            interpretations[of, rivals].float().cpu().numpy(),
        ),
        radii=left_out.double().cpu().numpy()[has_words],
    )


class _Chosen:
    """The choices for N texts so far. The choice for a text without words always stands: its radius is infinite."""

    def __init__(self, n: int) -> None:
        self.words = np.full(n, -1)
        self.radii = np.full(n, np.inf)
        self.representations = np.zeros((n, 0), np.float32)
        self._rivals: list[_Rivals] = []

    def take(self, choice: _Choice) -> None:
        """Take over a batch's choice in place of an earlier one."""
        if not self.representations.shape[1]:  # D is known with the first batch
            self.representations = np.zeros((len(self.words), choice.representations.shape[1]), np.float32)
        self.words[choice.positions] = choice.words
        self.radii[choice.positions] = choice.radii
        self.representations[choice.positions] = choice.representations
        self._rivals.append(choice.rivals)

    def settle(self, mean: NDArray[np.float64], errors: NDArray[np.float64]) -> Rows:
        """Put rivals that are farther from `mean` (D,) in the place of the words chosen by a J `errors` (N,) away.

        Of words that are equally far, the first in the text is taken. Returns the texts whose word may be yet another.
        """
        for rivals in self._rivals:
            near = rivals.radii <= errors[rivals.texts]
            texts, words, vectors = rivals.texts[near], rivals.words[near], rivals.vectors[near]
            own = np.unique(texts)
            texts = np.concatenate([own, texts])
            words = np.concatenate([self.words[own], words])
            vectors = np.concatenate([self.representations[own], vectors])
            distances = ((vectors - mean) ** 2).sum(axis=1)
            order = np.lexsort((words, -distances, texts))
            best = order[np.flatnonzero(np.diff(texts[order], prepend=-1))]
            self.words[own], self.representations[own] = words[best], vectors[best]
        return np.flatnonzero(self.radii <= errors)

    def deviations(self, mean: NDArray[np.float64]) -> NDArray[np.float32]:
        """The squared distances (N,) of the representations to `mean` (D,); 0 for a text without words."""
        squared = np.zeros(len(self.words), np.float32)
        for start in range(0, len(squared), 65_536):
            rows = slice(start, start + 65_536)
            squared[rows] = ((self.representations[rows] - mean) ** 2).sum(axis=1)
        return np.where(self.words >= 0, squared, np.float32(0))
