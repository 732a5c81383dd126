"""Which texts to label first, by the features of all of them: those typical of clusters, or those like descriptions."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors

from dami_text.config.fields import listed
from dami_text.data.ids import Rows
from dami_text.errors import ConfigError

#: Neighbours that tell how typical a text is of its cluster, as in TypiClust.
NEIGHBOURS = 20

#: Texts like a class's description among which each typical one is looked for.
LIKELIEST = 15


def typical_rows(features: NDArray[np.float32], n: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """n rows of `features` (N, H), each the most typical of a cluster, and how many rows each cluster has.

    The typicality of a row is the inverse of its mean distance to its NEIGHBOURS nearest rows in its cluster of K-means
    (TypiClust, Hacohen et al. 2022). Largest clusters come first. Where rows are copies, there may be fewer clusters
    than n; rows at random stand in, each for itself.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters
        cluster = KMeans(n, n_init=1, random_state=int(rng.integers(2**31))).fit(features).labels_
    counts = np.bincount(cluster, minlength=n)
    chosen, sizes = [], []
    for c in np.argsort(-counts, kind="stable"):
        members = np.flatnonzero(cluster == c)
        if len(members):
            chosen.append(int(members[_most_typical(features[members])]))
            sizes.append(len(members))
    rest = np.setdiff1d(np.arange(len(features)), chosen)
    further = rng.choice(rest, n - len(chosen), replace=False)
    return np.array([*chosen, *further], np.int64), np.array([*sizes, *np.ones(len(further))], np.int64)


def _most_typical(features: NDArray[np.float32]) -> int:
    """The row of a cluster that is nearest to its neighbours."""
    k = min(NEIGHBOURS, len(features) - 1)
    if k == 0:
        return 0
    distances, _ = NearestNeighbors(n_neighbors=k).fit(features).kneighbors()
    return int(distances.mean(axis=1).argmin())


def described_rows(
    features: NDArray[np.float32], descriptions: NDArray[np.float32], n: int, rng: np.random.Generator
) -> Rows:
    """n rows of `features` (N, H), as many for each of `descriptions` (C, H), the classes in turn.

    A row's score for a class is its cosine similarity to the description, standardized over all rows, less the highest
    of its other classes: some descriptions are like all texts. A class's first third are the rows with the highest
    scores, which finds a rare class. As these are alike, the others are typical of clusters among the next LIKELIEST
    times as many. Where n is less than C, the classes are drawn at random.
    """
    scores = _margins(features, descriptions)
    order = rng.permutation(len(descriptions))
    free = np.ones(len(features), bool)
    by_class: list[list[int]] = []
    for place, c in enumerate(order):
        wanted = n // len(order) + (place < n % len(order))
        if wanted:
            ranked = np.argsort(-np.where(free, scores[:, c], -np.inf), kind="stable")[: free.sum()]
            highest = -(-wanted // 3)
            rows, rest = ranked[:highest].tolist(), wanted - highest
            if rest:
                among = ranked[highest : highest + LIKELIEST * rest]
                rows += among[typical_rows(features[among], rest, rng)[0]].tolist()
            free[rows] = False
            by_class.append(rows)
    turns = max(map(len, by_class))
    return np.array([rows[turn] for turn in range(turns) for rows in by_class if turn < len(rows)], np.int64)


def _margins(features: NDArray[np.float32], descriptions: NDArray[np.float32]) -> NDArray[np.float64]:
    """How much more each row is like each description than like any other (N, C)."""
    similarity = unit(features).astype(np.float64) @ unit(descriptions).T.astype(np.float64)
    spread = similarity.std(axis=0)
    scores = (similarity - similarity.mean(axis=0)) / np.where(spread > 0, spread, 1)
    two = np.sort(scores, axis=1)[:, -2:]
    margins: NDArray[np.float64] = scores - np.where(scores == two[:, 1:], two[:, :1], two[:, 1:])
    return margins


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors (N, H), each divided by its length; those of length 0 as they are."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: NDArray[np.float32] = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return found


def read_descriptions(describe: Sequence[str], class_names: Sequence[str]) -> list[str]:
    """What `--describe` says of each class, in their order; of a class that it leaves out, the name.

    It is NAME=TEXT for each class, or a file of lines NAME: TEXT, which is YAML, as JSON is, too.

    Raises:
        ConfigError: the file cannot be read, something else is in it, or a name is no class.
    """
    told = _from_file(Path(describe[0])) if len(describe) == 1 and "=" not in describe[0] else _from_pairs(describe)
    if unknown := [name for name in told if name not in class_names]:
        raise ConfigError(
            f"--describe has {listed(unknown)}, and the classes are {listed(class_names)}; describe these alone"
        )
    return [told.get(name) or name for name in class_names]


def _from_pairs(describe: Sequence[str]) -> dict[str, str]:
    pairs = [part.partition("=") for part in describe]
    if wrong := [
        part for part, (_, equals, text) in zip(describe, pairs, strict=True) if not (equals and text.strip())
    ]:
        raise ConfigError(f"--describe has {wrong[0]!r}; it must be NAME=TEXT for each class, or one file")
    return {name.strip(): text.strip() for name, _, text in pairs}


def _from_file(file: Path) -> dict[str, str]:
    try:
        found = yaml.load(file.expanduser().read_text(encoding="utf-8"), yaml.BaseLoader)  # no: is a class
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"--describe is {str(file)!r}, which cannot be read ({reason}); it must be NAME=TEXT for each class, or a "
            "file of lines NAME: TEXT"
        ) from error
    fits = isinstance(found, dict) and all(isinstance(text, str) for text in found.values())
    if not fits or not found:
        raise ConfigError(f"--describe {file} holds no descriptions; it must have a line NAME: TEXT for each class")
    return {str(name).strip(): str(text).strip() for name, text in found.items()}
