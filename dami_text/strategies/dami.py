"""DAMI: label the texts that represent the model's linear regions best.

Liu et al. 2020, "Deep Active Learning by Model Interpretability", Algorithm 2:

    I_ij = d yhat_i / d x_ij                               interpret: the region, as word j of text i shows it
    Ibar = mean over texts of (mean over words of I_ij)
    d_i  = argmax_j ||I_ij - Ibar||^2,  r_i = I_i,d_i      informative_words: what the text represents
    query = the medoids of K-medoids over {r_i}, K = n     KMedoids: one text for each region

A table's row counts as a text of one word, and so do a frozen encoder's features of a text (see `models.regions`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.clustering import KMedoids
from dami_text.clustering.plan import Method
from dami_text.config.defaults import BATCH_SIZE, CLUSTERING_MEMORY, CLUSTERING_SECONDS
from dami_text.config.options import StrategyConfig
from dami_text.data.batches import Batch
from dami_text.data.ids import Rows
from dami_text.data.pool import Pool
from dami_text.data.texts import Texts
from dami_text.interpretation.aggregation import InformativeWords, informative_words, words_by_score
from dami_text.interpretation.word_gradients import Target, TargetClass, interpret, weights_by_word, word_influence
from dami_text.models.inference import batch_limits, device_of
from dami_text.models.regions import FeatureRows, in_fewer_numbers, regions_of
from dami_text.models.resident import resident
from dami_text.processes import Processes, where_float64_is
from dami_text.randomness import hashed_noise
from dami_text.strategies.base import Query, word_to_show


@dataclass(frozen=True)
class Representation:
    """How a text is represented: what of the model's output is differentiated, whose (see `interpret`), and which word.

    The words of the largest norm and random ones are ablations; a random word depends on the text's id alone. With
    `source` "auto", the gradient is by a frozen encoder's features where there is a network for it, else by words.
    """

    target: Target = "probability"
    target_class: TargetClass = "auto"
    batch_size: int = BATCH_SIZE
    word: Literal["deviation", "norm", "random"] = "deviation"
    source: Literal["auto", "words", "features"] = "auto"

    @classmethod
    def of(cls, config: StrategyConfig) -> Self:
        """The representation as the options say."""
        return cls(
            target=config.interpretation_target,
            target_class=config.interpretation_class,
            batch_size=config.inference_batch_size,
            word=config.informative_word,
            source=config.interpretation_source,
        )

    def by_features(self, model: PreTrainedModel, texts: Texts) -> bool:
        """Whether the texts are represented by their features, not by a word."""
        return self._read(model, texts)[0] is not model

    def compact(
        self, representations: NDArray[np.float32], model: PreTrainedModel, texts: Texts
    ) -> NDArray[np.float32]:
        """The representations (N, D) in fewer numbers with the same distances, where texts are so by their features."""
        network = regions_of(model)
        if network is None or not self.by_features(model, texts):
            return representations
        return in_fewer_numbers(representations, network)

    def of_unlabeled(self, model: PreTrainedModel, pool: Pool, rng: np.random.Generator) -> InformativeWords:
        """The informative words of the unlabelled texts, in the order of `pool.unlabeled`."""
        reader, texts = self._read(model, pool.texts)
        rows, lengths, device = pool.unlabeled, texts.lengths[pool.unlabeled], device_of(reader)
        batch_size, tokens = batch_limits(device, self.batch_size, texts.least_batch)
        collating, processes = resident(texts, device), Processes.all()

        def interpretations(positions: Rows) -> tuple[torch.Tensor, torch.Tensor]:
            batch = collating.collate(rows[positions]).to(device)
            return interpret(reader, batch, self.target, self.target_class), batch.is_word

        if self.word == "deviation":
            return informative_words(interpretations, lengths, batch_size, processes, tokens_a_text=tokens)
        seed = int(rng.integers(2**63)) if self.word == "random" else 0

        def noise(positions: Rows, found: torch.Tensor, is_word: torch.Tensor) -> torch.Tensor:
            values = hashed_noise(seed, pool.texts.keys(rows[positions]), is_word.shape[1])
            return torch.from_numpy(values.astype(np.float32)).to(is_word.device)

        scorer = noise if self.word == "random" else norms
        return words_by_score(scorer, interpretations, lengths, batch_size, processes, tokens_a_text=tokens)

    def _read(self, model: PreTrainedModel, texts: Texts) -> tuple[PreTrainedModel, Texts | FeatureRows]:
        """What is differentiated, and what it reads of the texts."""
        features, network = texts.frozen_features, regions_of(model)
        if features is None or network is None or self.source == "words":
            return model, texts
        return network, FeatureRows(features)

    def deviations(
        self, model: PreTrainedModel, texts: Texts, rows: Rows, mean: NDArray[np.float64]
    ) -> list[NDArray[np.float64]]:
        """||I_ij - Ibar||^2 (W,) of the words j of each text i of `rows` (n,); `mean` is Ibar (D,)."""

        def squared(batch: Batch) -> torch.Tensor:
            (found,) = where_float64_is(interpret(model, batch, self.target, self.target_class))
            return (found.double() - torch.as_tensor(mean, device=found.device)).square().sum(dim=-1)

        return weights_by_word(squared, model, texts, rows)


def norms(positions: Rows, interpretations: torch.Tensor, is_word: torch.Tensor) -> torch.Tensor:
    """The lengths (B, T) of interpretations (B, T, D)."""
    lengths: torch.Tensor = torch.linalg.vector_norm(interpretations.double(), dim=-1)
    return lengths


def word_reasons(
    representation: Representation, model: PreTrainedModel, pool: Pool, found: InformativeWords, positions: Rows
) -> list[dict[str, Any]]:
    """Of the unlabelled texts at `positions` of `found`, the informative word's deviation, and the word to show.

    That is the informative one or, where it is punctuation, the one that deviates most among the others; None where
    texts are represented by their features.
    """
    by_features = representation.by_features(model, pool.texts)
    reasons = []
    for i in positions.tolist():
        row, word = int(pool.unlabeled[i]), int(found.words[i])
        weigh = partial(representation.deviations, model, pool.texts, mean=found.mean)
        shown = None if by_features else word_to_show(pool.texts, row, word, weigh)
        reasons.append({"word": shown, "deviation": float(found.deviations[i])})
    return reasons


def _known(mean: NDArray[np.float64] | None) -> NDArray[np.float64]:
    if mean is None:
        raise ValueError("there was no query yet, whose mean interpretation words deviate from; query first")
    return mean


def choose_with_words(found: InformativeWords, n: int, choose: Callable[[NDArray[np.float32], int], Rows]) -> Rows:
    """n positions (n,) of texts: what `choose` makes of the representations (W, D) of those with words, then others.

    `choose` gives as many places (k,) among them as it is asked for. A text without words represents nothing, and all
    of them are the same to the model: they are asked for when no other is left.
    """
    with_words, without = np.flatnonzero(found.words >= 0), np.flatnonzero(found.words < 0)
    k = min(n, len(with_words))
    chosen = with_words[choose(found.representations[with_words], k)] if k else with_words
    return np.concatenate([chosen, without[: n - k]])


@dataclass(kw_only=True)
class Dami:
    """The medoids of the unlabelled texts' representations.

    Attributes:
        mean: Ibar (D,) of the last query; None before the first.
    """

    representation: Representation = Representation()
    distance: Literal["euclidean", "cosine"] = "euclidean"
    clustering: Method | Literal["park-jun"] = "auto"
    max_memory: int = CLUSTERING_MEMORY * 2**20  # bytes of distances, see KMedoids
    max_seconds: float = CLUSTERING_SECONDS  # about, see KMedoids
    mean: NDArray[np.float64] | None = field(default=None, init=False, repr=False, compare=False)

    needs: ClassVar[frozenset[str]] = frozenset({"word gradients"})
    multilabel: ClassVar[bool] = True

    @classmethod
    def of(cls, config: StrategyConfig) -> Self:
        """The strategy as the options say."""
        return cls(
            representation=Representation.of(config),
            distance=config.distance,
            clustering=config.clustering,
            max_memory=config.clustering_memory * 2**20,
            max_seconds=config.clustering_seconds,
        )

    def query(self, model: PreTrainedModel, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        """The n medoids, those of the largest clusters first.

        The reasons: the informative word, its deviation, and how many unlabelled texts the row stands for.
        """
        found = self.representation.of_unlabeled(model, pool, rng)
        self.mean = found.mean
        sizes, details = np.ones(n, np.int64), {}  # a text without words stands for itself

        def medoids(representations: NDArray[np.float32], k: int) -> Rows:
            representations = self.representation.compact(representations, model, pool.texts)
            rows = torch.from_numpy(representations).to(device_of(model))
            clusters = Processes.all().on_main(lambda: self._clustering(k, rng).fit(rows))
            counts = np.bincount(clusters.labels_, minlength=k)
            order = np.argsort(-counts, kind="stable")
            sizes[:k], details["clustering"] = counts[order], clusters.method_
            return np.asarray(clusters.medoid_indices_[order])

        chosen = choose_with_words(found, n, medoids)
        words = word_reasons(self.representation, model, pool, found, chosen)
        reasons = [{**reason, "cluster_size": int(size)} for reason, size in zip(words, sizes, strict=True)]
        return Query.of(pool.unlabeled[chosen], reasons, **details, interpreted_twice=found.repeated)

    def explain(self, model: PreTrainedModel, texts: Texts, rows: Rows) -> list[NDArray[np.float64]]:
        """The deviation (W,) of each word of the texts at `rows` (n,) from Ibar of the last query.

        Where texts are represented by their features, how much the prediction depends on each word.
        """
        if self.representation.by_features(model, texts):
            return word_influence(model, texts, rows)
        return self.representation.deviations(model, texts, rows, _known(self.mean))

    def _clustering(self, k: int, rng: np.random.Generator) -> KMedoids:
        paper: dict[str, Any] = {"method": "alternate", "init": "park-jun"}
        how = paper if self.clustering == "park-jun" else {"method": self.clustering}
        limits: dict[str, Any] = {"max_memory": self.max_memory, "max_seconds": self.max_seconds}
        return KMedoids(k, metric=self.distance, random_state=rng, **limits, **how)
