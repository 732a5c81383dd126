"""The estimator: checks what it is given, plans the fit, runs it."""

import logging
from numbers import Integral
from typing import Any, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import validate_data
from torch import Tensor

from dami_text.clustering.alternate import alternate
from dami_text.clustering.distances import Matrix, Metric, Vectors, assign, prepare
from dami_text.clustering.fasterpam import swap_until_optimal
from dami_text.clustering.initialization import Init
from dami_text.clustering.plan import Method, Plan, plan
from dami_text.clustering.sampled import first_medoids, sampled
from dami_text.clustering.streamed import swap_narrowing

logger = logging.getLogger(__name__)


class KMedoids(ClusterMixin, BaseEstimator):
    """K rows, the medoids, such that the sum of every row's distance to its nearest medoid is small.

    Args:
        n_clusters: K.
        metric: "euclidean" or "cosine".
        method:
            "fasterpam": swaps until no single swap lowers the loss, on all N * N distances in memory.
            "streamed": the same swaps, with distances computed in tiles as they are needed.
            "sampled": swaps over samples of candidates and evaluators: for millions of rows.
            "alternate": Park & Jun's alternation, for replication; its own start is init="park-jun".
            "auto": "fasterpam" where 4 * N * N bytes are within max_memory, else "streamed" up to some 200,000 rows,
            else "sampled".
        init: "k-means++", "random", "park-jun", or K distinct row numbers. The swapping methods start with a search
            on a sample of the rows, which starts like this; row numbers are started from directly.
        max_iter: sweeps over the candidates, or rounds of the alternation, at most.
        max_memory: bytes for the arrays of a fit, beside the data and a float32 copy of it.
        random_state: None, an integer, or a NumPy Generator or RandomState. The same seed on the same device gives
            the same medoids.

    Attributes:
        medoid_indices_: (K,) int64, distinct rows in rising order.
        labels_: (N,) int64, each row's place in medoid_indices_.
        inertia_: the sum of the distances of all rows to their medoids.
        n_iter_: sweeps, or rounds of the alternation, that the fit took.
        method_: the method that was used, never "auto".

    Sources: Schubert & Rousseeuw, Information Systems 101 (2021), for FasterPAM; Kaufman & Rousseeuw 1990 (CLARA);
    Park & Jun, Expert Systems with Applications 36(2) (2009); Arthur & Vassilvitskii, SODA 2007 (k-means++).
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        metric: Metric = "euclidean",
        method: Method = "auto",
        init: Init = "k-means++",
        max_iter: int = 100,
        max_memory: int = 2 * 1024**3,
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.metric = metric
        self.method = method
        self.init = init
        self.max_iter = max_iter
        self.max_memory = max_memory
        self.random_state = random_state

    def fit(self, X: Any, y: None = None) -> Self:
        """Find the medoids of X, (N, D) numbers: an array, or a tensor, whose device is then used.

        Raises:
            ValueError: X is not two-dimensional, is empty or has NaN or infinite rows, there are fewer rows than
                clusters, or a parameter has no such value.
        """
        rows = self._checked_rows(X)
        init = self._checked_parameters(rows)
        generator = np.random.default_rng(_seed(self.random_state))
        work = plan(
            *rows.shape, int(self.n_clusters), self.method, int(self.max_memory), isinstance(init, str)
        )
        logger.info("%s", work)
        vectors = prepare(rows, self.metric)
        medoids, self.n_iter_ = self._search(vectors, work, init, generator)
        medoids = medoids.sort().values
        labels, distances = assign(vectors, medoids)
        self.medoid_indices_: NDArray[np.int64] = medoids.cpu().numpy()
        self.labels_: NDArray[np.int64] = labels.cpu().numpy()
        self.inertia_ = float(distances.double().sum()) * vectors.unit
        self.method_ = work.method
        return self

    def _search(
        self, vectors: Vectors, work: Plan, init: Init, generator: np.random.Generator
    ) -> tuple[Tensor, int]:
        medoids = first_medoids(vectors, work.n_clusters, init, work.sample, generator)
        if work.method == "alternate":
            return alternate(vectors, medoids, int(self.max_iter))
        if work.method == "sampled":
            return sampled(vectors, medoids, work.candidates, work.evaluators, int(self.max_iter), generator)
        if work.method == "streamed":
            return swap_narrowing(vectors, vectors, medoids, int(self.max_iter))
        state, sweeps = swap_until_optimal(Matrix(vectors), medoids, int(self.max_iter))
        return state.medoids, sweeps

    def _checked_rows(self, X: Any) -> Tensor:
        if not isinstance(X, Tensor):
            dtypes = [np.float64, np.float32, np.float16]
            X = torch.from_numpy(np.ascontiguousarray(validate_data(self, X, dtype=dtypes, ensure_all_finite=False)))
        if X.ndim != 2 or 0 in X.shape:
            raise ValueError(f"X has the shape {tuple(X.shape)}; it must be (rows, numbers), with one of each at least")
        if X.is_complex():
            raise ValueError(f"Complex data not supported: X is of type {X.dtype}; pass real numbers")
        bad = (~X.isfinite().all(dim=1)).nonzero().view(-1)
        if len(bad):
            raise ValueError(
                f"{len(bad)} of {len(X)} rows of X have NaN or inf: rows {bad[:10].tolist()}"
                f"{' and more' if len(bad) > 10 else ''}; leave them out or mend them"
            )
        self.n_features_in_ = X.shape[1]
        return X if X.is_floating_point() else X.double()

    def _checked_parameters(self, rows: Tensor) -> Init:
        for name, least in (("n_clusters", 1), ("max_iter", 1), ("max_memory", 1)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < least:
                raise ValueError(f"{name} is {value!r}; it must be an integer of at least {least}")
        if self.n_clusters > len(rows):
            raise ValueError(
                f"n_clusters={self.n_clusters} but n_samples={len(rows)}: ask for at most {len(rows)} clusters"
            )
        for name, known in (("metric", get_args(Metric)), ("method", get_args(Method))):
            if getattr(self, name) not in known:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}; it must be one of {', '.join(known)}")
        return self._checked_init(len(rows))

    def _checked_init(self, n_rows: int) -> Init:
        if isinstance(self.init, str):
            known = ("random", "k-means++", "park-jun")
            if self.init not in known:
                raise ValueError(f"unknown init {self.init!r}; it must be one of {', '.join(known)}, or row numbers")
            return self.init
        init = np.asarray(self.init)
        if init.shape != (self.n_clusters,) or not np.issubdtype(init.dtype, np.integer):
            raise ValueError(
                f"init has the shape {init.shape} and the type {init.dtype}; "
                f"it must be {self.n_clusters} (n_clusters) row numbers, integers"
            )
        if len(np.unique(init)) < len(init) or init.min() < 0 or init.max() >= n_rows:
            raise ValueError(
                f"init has {len(np.unique(init))} distinct row numbers from {init.min()} to {init.max()}; "
                f"it must have {self.n_clusters} distinct ones from 0 to {n_rows - 1}"
            )
        return init


def _seed(random_state: Any) -> Any:
    """What np.random.default_rng takes; a RandomState gives a number of its stream."""
    if isinstance(random_state, np.random.RandomState):
        return random_state.randint(2**31)
    return random_state
