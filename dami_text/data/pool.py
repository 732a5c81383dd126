"""The pool to choose from, which rows of it have labels, and who reveals them in a simulation."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dami_text.data.ids import Rows
from dami_text.data.texts import Texts


class Pool:
    """The texts to choose from, which of them are labelled, and the labels that these were told; immutable.

    Examples:
        >>> from dami_text import make_learner, RunConfig
        >>> texts = make_learner(["a", "b", "c"], ["no", "yes"], RunConfig.of(word_vectors="random")).pool.texts
        >>> pool = Pool(texts, [1])
        >>> pool.unlabeled.tolist(), pool.with_labeled([0]).labeled.tolist()
        ([0, 2], [0, 1])

    `labeled` and `unlabeled` are sorted int64 row numbers of the whole pool; `unlabeled` are those to choose from, all
    that are not labelled but for a pool that `sample`, `without` or `among` made. `labels` are those of `labeled`: the
    numbers of their classes (L,), or 0 and 1 for each of any number of labels (L, C); None where they were not given.
    No label of another row is in the pool.

    Raises:
        ValueError: a row that is not in the pool.
    """

    def __init__(
        self, texts: Texts, labeled: Sequence[int] | Rows = (), labels: NDArray[np.int64] | None = None
    ) -> None:
        self.texts = texts
        self.labeled: Rows
        self.labeled, first = np.unique(np.asarray(labeled, np.int64), return_index=True)
        self.labels = None if labels is None else labels[first]
        if len(self.labeled) and not 0 <= self.labeled[0] <= self.labeled[-1] < len(texts):
            raise ValueError(f"got labelled rows from {self.labeled[0]} to {self.labeled[-1]} of {len(texts)} texts")
        mask = np.ones(len(texts), bool)
        mask[self.labeled] = False
        self.unlabeled: Rows = np.flatnonzero(mask)

    def __len__(self) -> int:
        return len(self.texts)

    def with_labeled(self, rows: Rows, labels: NDArray[np.int64] | None = None) -> "Pool":
        """The pool in which `rows` (n,) are labelled too, with these labels, (n,) or (n, C), in place of any before."""
        known = None if labels is None or self.labels is None else np.concatenate([labels, self.labels])
        return Pool(self.texts, np.concatenate([rows, self.labeled]), known)

    def with_texts(self, texts: Texts) -> "Pool":
        """The pool of the same texts, encoded by another tokenizer."""
        return Pool(texts, self.labeled, self.labels).among(self.unlabeled)

    def sample(self, n: int, rng: np.random.Generator) -> "Pool":
        """The pool in which only n random rows of the unlabelled ones are there to choose from; all, if n is more."""
        return self.among(
            np.sort(rng.choice(self.unlabeled, n, replace=False)) if n < len(self.unlabeled) else self.unlabeled
        )

    def without(self, rows: Rows) -> "Pool":
        """The pool in which `rows` are not there to choose from."""
        return self.among(np.setdiff1d(self.unlabeled, rows))

    def among(self, rows: Rows) -> "Pool":
        """The pool in which only `rows`, sorted and of the unlabelled ones, are there to choose from."""
        pool = Pool(self.texts, self.labeled, self.labels)
        pool.unlabeled = rows
        return pool


class Oracle:
    """Reveals the labels of rows that were asked for: a simulated annotator who is always right.

    Examples:
        >>> import numpy as np
        >>> Oracle(np.array([1, 0, 1])).reveal(np.array([2, 1])).tolist()
        [1, 0]
    """

    def __init__(self, labels: NDArray[np.int64]) -> None:
        self._labels = labels

    def reveal(self, rows: Rows) -> NDArray[np.int64]:
        """The labels (n,) of `rows` (n,)."""
        return self._labels[rows]
