"""The estimator: checks what it is given, plans the fit, runs it."""

import logging
import time
import warnings
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from dami_text.clustering.alternate import alternate, first_of_equals
from dami_text.clustering.distances import (
    Matrix,
    Metric,
    Vectors,
    assign,
    nearest,
    pairwise,
    prepare,
    row_slices,
    widened,
)
from dami_text.clustering.fasterpam import swap_until_optimal
from dami_text.clustering.initialization import INITS, Init
from dami_text.clustering.plan import Method, Plan, plan
from dami_text.clustering.sampled import first_medoids, swap_sampled
from dami_text.clustering.streamed import SMALL, swap_narrowing
from dami_text.config.defaults import CLUSTERING_MEMORY, CLUSTERING_SECONDS
from dami_text.processes import is_card, where_float64_is

logger = logging.getLogger(__name__)

BROKEN_TIES = 5  # times that ties are broken and the search goes on, at most: rounding might make it go in a circle
PREDICTED_ROWS = 50_000  # at a time
LONG = 5.0  # seconds: shorter fits are announced at the level DEBUG only


class KMedoids(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    """K rows, the medoids, such that the sum of all rows' distances to their nearest medoids is small.

    Args:
        n_clusters: K.
        metric: "euclidean" or "cosine".
        method: how the medoids are found.
            "fasterpam" swaps until no single swap lowers the loss, with all N * N distances in memory.
            "streamed" makes such swaps with distances computed in tiles as they are needed; on more than 2,500 rows it
            stops where a fifth of them promise to lower the loss by less than 0.1%.
            "sampled" swaps by samples of candidates and evaluators, then polishes: for millions of rows.
            "alternate" is Park & Jun's alternation, for replication; its own start is init="park-jun".
            "auto" is "fasterpam" up to 8,192 rows whose 4 * N * N bytes are within max_memory, else "streamed" as long
            as that is within max_seconds (70,000 rows of 100 numbers in 60), else "sampled", with as large samples as
            there is time for.
        init: "k-means++", "random", "park-jun", or the row numbers of K distinct rows. A name says how the search
            starts: by "alternate" on all rows, by the others on a sample whose medoids they then go on from. Row
            numbers are gone on from directly.
        max_iter: sweeps over the candidates, or rounds of the alternation, at most.
        max_memory: bytes that a matrix of distances may take, twice what the sample's may. Beside these a fit needs
            a float32 copy of the data, a distance for each row and medoid, and some 200 MB.
        max_seconds: about how long "auto" may take, on one core of usual speed or, for a tensor on a CUDA card, on the
            card. The estimate is of the sizes alone, so that the same data have the same medoids on every machine. What
            "sampled" needs at least it takes anyway.
        random_state: None, an integer, or a NumPy Generator or RandomState. The same seed gives the same medoids.

    Attributes:
        medoid_indices_: (K,) int64, distinct rows, rising. Of rows of a cluster that would be equally good medoids, it
            is the first (in clusters of more than 1,000 rows: of equal rows).
        cluster_centers_: (K, D), the medoids' rows of X.
        labels_: (N,) int64, each row's place in medoid_indices_.
        inertia_: the sum of all rows' distances to their medoids, each times the row's weight.
        n_iter_: the sweeps, or the rounds of the alternation.
        method_: the method, never "auto".

    Sources: Schubert & Rousseeuw, Information Systems 101, 2021 (FasterPAM); Kaufman & Rousseeuw, 1990 (CLARA); Park
    & Jun, Expert Systems with Applications 36(2), 2009; Arthur & Vassilvitskii, SODA 2007 (k-means++).
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        metric: Metric = "euclidean",
        method: Method = "auto",
        init: Init = "k-means++",
        max_iter: int = 100,
        max_memory: int = CLUSTERING_MEMORY * 2**20,
        max_seconds: float = CLUSTERING_SECONDS,
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.metric = metric
        self.method = method
        self.init = init
        self.max_iter = max_iter
        self.max_memory = max_memory
        self.max_seconds = max_seconds
        self.random_state = random_state

    def fit(self, X: Any, y: None = None, sample_weight: Any = None) -> Self:
        """Find the medoids of X, (N, D): an array of real numbers, or a tensor, whose device is then used (but
        for one that has no float64).

        float16, bfloat16 and integers are computed in float32, and so is float64 once it is centred and scaled.

        Each row's distance counts by its `sample_weight` (N,), as if the row were there so many times. A row of weight
        0 adds nothing to the sum; it can be a medoid. Equal weights give the same medoids as none.

        Raises:
            ValueError: X is not (N, D) with one of each at least, it has NaN or infinite rows, there are fewer rows
                than clusters, a parameter cannot have the value that it has, or the weights are not one finite number
                of at least 0 a row, or all 0.
        """
        rows = self._checked_rows(X)
        init = self._checked_parameters(len(rows))
        weights, unit_weight = _checked_weights(sample_weight, len(rows))
        generator = np.random.default_rng(_seed(self.random_state))
        n_clusters, max_memory = int(self.n_clusters), int(self.max_memory)
        init_given, seconds = not isinstance(init, str), float(self.max_seconds)
        work = plan(
            len(rows),
            rows.shape[1],
            n_clusters,
            method=self.method,
            max_memory=max_memory,
            init_given=init_given,
            max_seconds=seconds,
            on_card=is_card(rows.device),
        )
        vectors = prepare(rows, self.metric)
        if weights is not None:
            vectors = vectors.weighted(torch.from_numpy(weights).to(rows.device))
        start, expected = time.perf_counter(), _seconds(work, vectors)
        level = logging.INFO if expected >= LONG else logging.DEBUG
        logger.log(level, "%s, some %.0f s", work, expected)
        medoids, self.n_iter_ = self._search(vectors, work, init, generator)
        medoids = medoids.sort().values
        labels, distances = assign(vectors, medoids)
        self.medoid_indices_: NDArray[np.int64] = medoids.cpu().numpy()
        self.cluster_centers_: NDArray[Any] = widened(rows[medoids]).cpu().numpy()
        self.labels_: NDArray[np.int64] = labels.cpu().numpy()
        self.inertia_ = vectors.total(distances) * vectors.unit * unit_weight
        self.method_ = work.method
        logger.log(level, "K-medoids by %r took %.1f s", work.method, time.perf_counter() - start)
        return self

    def predict(self, X: Any) -> NDArray[np.int64]:
        """The place in medoid_indices_ (n,) of the medoid that is nearest to each row of X (n, D)."""
        return np.concatenate([nearest(part).cpu().numpy() for part in self._distances(X)])

    def transform(self, X: Any) -> NDArray[np.floating]:
        """The distances (n, K) from the rows of X (n, D) to the medoids, in the units of the data.

        They have float32's accuracy, and the type of X where it is float64.
        """
        return np.concatenate([part.cpu().numpy() for part in self._distances(X)])

    @property
    def _n_features_out(self) -> int:
        """How many columns `transform` gives, for scikit-learn's names of them."""
        return len(self.cluster_centers_)

    def _distances(self, X: Any) -> Iterator[Tensor]:
        """The distances (n, K) from the rows of X to the medoids, some rows at a time."""
        check_is_fitted(self)
        rows = self._checked_rows(X, reset=False)
        centres = torch.from_numpy(self.cluster_centers_).to(rows)
        for part in rows.split(PREDICTED_ROWS):
            vectors = prepare(torch.cat([centres, part]), self.metric)
            distances = pairwise(vectors[len(centres) :], vectors[: len(centres)])
            yield distances.to(widened(part).dtype).mul_(vectors.unit)

    def _search(self, vectors: Vectors, work: Plan, init: Init, generator: np.random.Generator) -> tuple[Tensor, int]:
        max_iter = int(self.max_iter)
        medoids = first_medoids(vectors, work, init, max_iter, generator)
        if work.method == "alternate":
            medoids, sweeps = alternate(vectors, medoids, max_iter)
        elif work.method == "sampled":
            medoids, sweeps = swap_sampled(vectors, medoids, work, max_iter, generator)
        elif work.method == "streamed" and len(vectors) > SMALL:
            medoids, sweeps = swap_narrowing(vectors, vectors, medoids, max_iter)
        else:
            return self._search_to_the_end(vectors, work, medoids)
        return first_of_equals(vectors, medoids), sweeps

    def _search_to_the_end(self, vectors: Vectors, work: Plan, medoids: Tensor) -> tuple[Tensor, int]:
        """Swap until no swap lowers the loss, also after ties have been broken, which may make room for more."""
        matrix = Matrix(vectors) if work.method == "fasterpam" else None
        sweeps = 0
        for _ in range(BROKEN_TIES):
            left = int(self.max_iter) - sweeps
            if matrix is None:
                medoids, more = swap_narrowing(vectors, vectors, medoids, left)
            else:
                medoids, more = swap_until_optimal(matrix, medoids, left)
            found, medoids, sweeps = medoids, first_of_equals(vectors, medoids, matrix), sweeps + more
            if sweeps >= int(self.max_iter) or torch.equal(medoids.sort().values, found.sort().values):
                break
        return medoids, sweeps

    def _checked_rows(self, data: Any, reset: bool = True) -> Tensor:
        """X as a tensor; of new rows (not `reset`) there are as many numbers as of those that were clustered."""
        (X,) = where_float64_is(data.detach() if isinstance(data, Tensor) else self._tensor(data, reset))
        if X.ndim != 2 or 0 in X.shape:
            raise ValueError(f"X has the shape {tuple(X.shape)}; it must be (rows, numbers), with one of each at least")
        if X.is_complex():
            raise ValueError(f"Complex data not supported: X is of the type {X.dtype}; pass real numbers")
        bad = (
            torch.cat([~X[part].isfinite().all(dim=1) for part in row_slices(*X.shape, device=X.device)])
            .nonzero()
            .view(-1)
        )
        if len(bad):
            raise ValueError(
                f"{len(bad)} of the {len(X)} rows of X have NaN or inf: {', '.join(map(str, bad[:10].tolist()))}"
                f"{', ...' if len(bad) > 10 else ''}; leave them out or mend them"
            )
        if reset:
            self.n_features_in_ = X.shape[1]
        elif X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} numbers a row; it must have {self.n_features_in_}, as the rows that were clustered"
            )
        return X

    def _tensor(self, X: Any, reset: bool) -> Tensor:
        dtypes = [np.float64, np.float32, np.float16]  # others become the first
        array = np.ascontiguousarray(validate_data(self, X, dtype=dtypes, ensure_all_finite=False, reset=reset))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # it is only read
            return torch.from_numpy(array)

    def _checked_parameters(self, n_rows: int) -> Init:
        for name in ("n_clusters", "max_iter", "max_memory"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} is {value!r}; it must be an integer of at least 1")
        if not isinstance(self.max_seconds, Real) or isinstance(self.max_seconds, bool) or not self.max_seconds > 0:
            raise ValueError(f"max_seconds is {self.max_seconds!r}; it must be a number greater than 0")
        if self.n_clusters > n_rows:
            raise ValueError(
                f"n_clusters={self.n_clusters} is more than n_samples={n_rows}; ask for {n_rows} clusters at most"
            )
        for name, known in (("metric", get_args(Metric)), ("method", get_args(Method))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(known)}")
        if isinstance(self.init, str):
            if self.init not in INITS:
                raise ValueError(f"init is {self.init!r}; it must be one of {', '.join(INITS)}, or row numbers")
            return self.init
        return self._checked_init(np.asarray(self.init), n_rows)

    def _checked_init(self, init: NDArray[Any], n_rows: int) -> NDArray[np.integer]:
        if init.shape != (self.n_clusters,) or not np.issubdtype(init.dtype, np.integer):
            raise ValueError(
                f"init has the shape {init.shape} and the type {init.dtype}; "
                f"it must have the shape ({self.n_clusters},), for n_clusters, and hold row numbers, integers"
            )
        distinct = len(np.unique(init))
        if distinct < len(init) or init.min() < 0 or init.max() >= n_rows:
            raise ValueError(
                f"init holds {distinct} distinct row numbers from {init.min()} to {init.max()}; "
                f"it must hold {self.n_clusters}, for n_clusters, from 0 to {n_rows - 1}"
            )
        return init


def _checked_weights(sample_weight: Any, n_rows: int) -> tuple[NDArray[np.float32] | None, float]:
    """The rows' weights (N,) and what a weight of 1 of these stands for; None where all weights are equal."""
    if sample_weight is None:
        return None, 1.0
    given = sample_weight.detach().cpu().double() if isinstance(sample_weight, Tensor) else sample_weight
    weights = np.asarray(given, np.float64)
    if weights.shape != (n_rows,):
        raise ValueError(f"sample_weight has the shape {weights.shape}; it must be ({n_rows},), a weight a row")
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise ValueError(
            f"sample_weight has {weights[bad[0]]} for row {bad[0]}; weights must be finite numbers of at least 0"
        )
    largest = float(weights.max())
    if largest == 0:
        raise ValueError("all weights in sample_weight are zero; one at least must be greater")
    return None if weights.min() == largest else (weights / largest).astype(np.float32), largest


def _seed(random_state: Any) -> Any:
    """What np.random.default_rng takes; a RandomState gives a number of its stream."""
    if isinstance(random_state, np.random.RandomState):
        return random_state.randint(2**31)
    return random_state


def _seconds(work: Plan, vectors: Vectors) -> float:
    """About how long the fit will take, by a sample of distances; half as long again goes to the search in them."""
    rows, columns = vectors[:2048], vectors[:128]
    taken = []
    for _ in range(2):  # the first time wakes the libraries
        start = time.perf_counter()
        pairwise(rows, columns).sum().item()  # waits for the device
        taken.append(time.perf_counter() - start)
    return 1.5 * work.distances * min(taken) / (len(rows) * len(columns))
