"""The paper's toy data ("Sigmoid"): what clusters of 2-D points interpretations find, and what strategies choose there.

Points x are uniform on [-5, 5]^2, and p(y = 1 | x) = sigmoid(x1 x2). The regions in which one linear classifier
separates the classes are the four sectors around the half-axes; a quadrant holds a single class, almost.

The true log-odds are x1 x2, with the gradient (x2, x1), whose clusters are those of the points: the quadrants.
A model's log-odds find the sectors as long as they are coarser than that, so a longer training lowers the agreement.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from scipy.stats import entropy
from sklearn.metrics import adjusted_rand_score
from transformers import PreTrainedModel

from dami_text.clustering import KMedoids
from dami_text.config.options import TrainingConfig
from dami_text.config.run import RunConfig
from dami_text.data.ids import Rows
from dami_text.data.pool import Pool
from dami_text.data.tabular import EncodedTable
from dami_text.data.texts import LabeledTexts
from dami_text.learning.learner import ActiveLearner
from dami_text.models.inference import head_probabilities, predict_features, predict_probabilities
from dami_text.models.kinds.table import WITH_BALD
from dami_text.models.mlp import build_mlp
from dami_text.models.scores import accuracy
from dami_text.randomness import numpy_stream
from dami_text.strategies import Representation, build_strategy
from dami_text.strategies.badge import prediction_errors

EDGE = 5.0  # the points lie in [-EDGE, EDGE]^2
SECTORS = ("east", "north", "west", "south")
POOL_SIZE, VALIDATION_SIZE = 1500, 500
LARGE, SMALL = 2000, 100  # labelled points that a model is trained on
N_CHOSEN = 15

Distance = Literal["euclidean", "cosine"]
DISTANCES: tuple[Distance, ...] = ("euclidean", "cosine")

#: How the models are trained: pinned, so that other defaults do not move the figures.
BOTH = TrainingConfig(train_batch_size=50, epoch_steps=10, evaluation_steps=0, averaging_steps=0)
SHORT = replace(BOTH, learning_rate=1e-3, epochs=25, patience=5)
LONGER = replace(BOTH, learning_rate=1e-2, epochs=300, patience=30)

#: The models whose clusters are measured: labelled points and training.
CASES = {"ari": (LARGE, SHORT), "ari_longer": (LARGE, LONGER), "ari100": (SMALL, SHORT)}

#: What the points are clustered by; see `representations`.
REPRESENTATIONS = ("logit", "probability", "coreset", "badge", "inputs")

#: What chooses among the pool, and its options.
CHOOSERS: dict[str, dict[str, Any]] = {
    "random": {"strategy": "random"},
    "egl": {"strategy": "egl"},
    "bald": {"strategy": "bald"},
    "coreset": {"strategy": "coreset"},
    "badge": {"strategy": "badge"},
    "dami.probability": {"strategy": "dami", "interpretation_target": "probability"},
    "dami.logit": {"strategy": "dami", "interpretation_target": "logit"},
}


def sample(n: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """n points (n, 2) and their classes (n,)."""
    points = rng.uniform(-EDGE, EDGE, (n, 2)).astype(np.float32)
    positive = 1 / (1 + np.exp(-points[:, 0] * points[:, 1], dtype=np.float64))
    return points, (rng.random(n) < positive).astype(np.int64)


def sectors_of(points: NDArray[np.floating]) -> NDArray[np.int64]:
    """The number in SECTORS (n,) of the half-axis that each point (n, 2) is nearest to."""
    return np.asarray(np.argmax(np.hstack([points, -points]), axis=1))


def coverage(points: NDArray[np.floating]) -> tuple[int, float]:
    """How many sectors points (n, 2) lie in, and the entropy of their spread over the sectors, as a share of log 4."""
    counts = np.bincount(sectors_of(points), minlength=len(SECTORS))
    return int((counts > 0).sum()), float(entropy(counts) / np.log(len(SECTORS)))


@dataclass(frozen=True)
class Toy:
    """A model trained on the labelled points of a pool: points (N, 2) and their classes (N,)."""

    model: PreTrainedModel
    pool: Pool
    points: NDArray[np.float32]
    labels: NDArray[np.int64]

    @property
    def unlabeled_points(self) -> NDArray[np.float32]:
        """The points (n, 2) that can be chosen."""
        return self.points[self.pool.unlabeled]


def make_toy(n_labeled: int, seed: int, training: TrainingConfig = SHORT, dropout: float = 0.0) -> Toy:
    """A pool of 1,500 points and `n_labeled` labelled ones, and an MLP trained on these; 500 more stop the training."""
    rng = numpy_stream(seed, 0, "toy points")
    validation, (points, labels) = sample(VALIDATION_SIZE, rng), sample(POOL_SIZE + n_labeled, rng)
    learner = ActiveLearner(
        _encoded(points),
        partial(build_mlp, ["0", "1"], 2, dropout),
        build_strategy(RunConfig.of(task="tabular").strategy),
        2,
        validation=LabeledTexts(_encoded(validation[0]), np.arange(VALIDATION_SIZE), validation[1]),
        training=training,
        seed=seed,
    )
    rows = np.arange(POOL_SIZE, len(points))
    learner.tell(rows, labels[rows])
    return Toy(learner.trained_model(), learner.pool, points, labels)


def _encoded(points: NDArray[np.float32]) -> EncodedTable:
    return EncodedTable(Dataset.from_dict({"text": [f"x1={a:.4f}, x2={b:.4f}" for a, b in points]}), points)


def representations(toy: Toy) -> dict[str, NDArray[np.float32]]:
    """The vectors (n, D) of the unlabelled points by name.

    logit, probability: the interpretations; coreset: the features that the last layer reads; badge: the gradient
    embeddings of BADGE; inputs: the points themselves.
    """
    model, pool = toy.model, toy.pool
    features = predict_features(model, pool.texts, pool.unlabeled)
    errors = prediction_errors(head_probabilities(model, features))
    rng = np.random.default_rng(0)  # drawn from for random words alone
    return {
        "logit": Representation("logit").of_unlabeled(model, pool, rng).representations,
        "probability": Representation("probability").of_unlabeled(model, pool, rng).representations,
        "coreset": features,
        "badge": (errors[:, :, None] * features[:, None, :]).reshape(len(features), -1),
        "inputs": toy.unlabeled_points,
    }


def clusters_of(vectors: NDArray[np.float32], distance: Distance, seed: int) -> NDArray[np.int64]:
    """The clusters (n,) of four medoids of vectors (n, D)."""
    clustering = KMedoids(len(SECTORS), metric=distance, random_state=numpy_stream(seed, 0, "toy clusters"))
    return np.asarray(clustering.fit(vectors).labels_, np.int64)


def choose(toy: Toy, seed: int) -> Iterator[tuple[str, Rows]]:
    """What each of CHOOSERS chooses: its name and 15 rows of the pool.

    BALD asks a model of its own, trained on the same points with dropout, of which its samples are.
    """
    with_dropout = make_toy(len(toy.pool.labeled), seed, dropout=WITH_BALD["dropout"])
    for name, options in CHOOSERS.items():
        strategy = build_strategy(RunConfig.of(task="tabular", **options).strategy)
        asked = with_dropout if name == "bald" else toy
        yield name, strategy.query(asked.model, asked.pool, N_CHOSEN, numpy_stream(seed, 0, "toy query")).rows


def measure(seeds: Sequence[int]) -> dict[str, float]:
    """Mean and standard deviation over the seeds of what the figures show, by names such as ari.logit.euclidean.mean.

    ari and the other CASES: the adjusted Rand index of four clusters against the four sectors; accuracy: of the case's
    model on the pool. sectors, entropy: `coverage` of what a model trained on 100 points chooses; boundary: the mean
    distance of the chosen points to the nearer axis, where the classes change.
    """
    found: dict[str, list[float]] = {}
    for seed in seeds:
        for title, (n_labeled, training) in CASES.items():
            toy = make_toy(n_labeled, seed, training)
            probabilities = predict_probabilities(toy.model, toy.pool.texts, toy.pool.unlabeled)
            found.setdefault(f"accuracy.{title}", []).append(accuracy(probabilities, toy.labels[toy.pool.unlabeled]))
            sectors = sectors_of(toy.unlabeled_points)
            for name, vectors in representations(toy).items():
                for distance in DISTANCES:
                    ari = adjusted_rand_score(sectors, clusters_of(vectors, distance, seed))
                    found.setdefault(f"{title}.{name}.{distance}", []).append(float(ari))
        for name, rows in choose(make_toy(SMALL, seed), seed):
            points = toy.points[rows]
            hit, spread = coverage(points)
            measured = {"sectors": hit, "entropy": spread, "boundary": np.abs(points).min(axis=1).mean()}
            for title, value in measured.items():
                found.setdefault(f"{title}.{name}", []).append(float(value))
    summary = {}
    for name, values in found.items():
        summary[f"{name}.mean"] = float(np.mean(values))
        summary[f"{name}.std"] = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return summary
