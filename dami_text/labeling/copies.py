"""Texts of a session that are the same but for case, spaces and punctuation: one is asked, all get its label.

The first row of each group stands for all of it: queues, events and labels are of these rows alone, and so a label, its
correction, an undo, a skip, a flag or a note is of all copies at once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from dami_text.data.copies import bare_text
from dami_text.data.ids import Rows, text_hashes
from dami_text.labeling.labels import Label


class Copies:
    """Which row stands for each row (N,) of a pool.

    Examples:
        >>> copies = Copies.of({3: 1}, 4)
        >>> copies.first.tolist(), copies.n_different, copies.rows(1), copies.others.tolist()
        ([0, 1, 2, 1], 3, [1, 3], [3])
    """

    def __init__(self, first: Rows) -> None:
        self.first = first

    @classmethod
    def of(cls, copies: Mapping[int, int], n: int) -> "Copies":
        """Of n rows, from the first of its group by each row that is a copy."""
        first = np.arange(n)
        first[list(copies)] = list(copies.values())
        return cls(first)

    @cached_property
    def others(self) -> Rows:
        """The rows that another one stands for: they are never asked."""
        return np.flatnonzero(self.first != np.arange(len(self.first)))

    @property
    def n_different(self) -> int:
        """How many texts are different."""
        return len(self.first) - len(self.others)

    @cached_property
    def _rows(self) -> dict[int, list[int]]:
        """The rows of each group of more than one, by the first."""
        groups: dict[int, list[int]] = {}
        for row in self.others.tolist():
            groups.setdefault(int(self.first[row]), []).append(row)
        return {first: [first, *rows] for first, rows in groups.items()}

    def rows(self, first: int) -> list[int]:
        """The rows that a row stands for, itself among them."""
        return self._rows.get(first, [first])

    def with_all(self, firsts: Iterable[int]) -> list[int]:
        """These rows and all that they stand for, in ascending order."""
        return sorted(row for first in firsts for row in self.rows(first))


def found_copies(texts: Dataset) -> dict[int, int]:
    """The first row of its group, by each row of the column `text` that is a copy."""
    _, firsts, group = np.unique(text_hashes(texts, bare_text), return_index=True, return_inverse=True)
    first = firsts[group]
    return {int(row): int(first[row]) for row in np.flatnonzero(first != np.arange(len(first)))}


def labels_of_groups(
    labels: Sequence[tuple[int, Label]], first: NDArray[np.int64]
) -> tuple[list[tuple[int, Label]], int]:
    """The label that most of each group's rows have, by the group's first row, and how many groups are undecided.

    A group in which two labels are as frequent has none.

    Args:
        labels: pairs of a row and its label.
        first: (N,) which row stands for each row.
    """
    votes: dict[int, dict[Label, int]] = {}
    for row, label in labels:
        counts = votes.setdefault(int(first[row]), {})
        counts[label] = counts.get(label, 0) + 1
    agreed = list(_winners(votes))
    return agreed, len(votes) - len(agreed)


def _winners(votes: Mapping[int, Mapping[Label, int]]) -> Iterator[tuple[int, Label]]:
    for row, counts in sorted(votes.items()):
        most = max(counts.values())
        labels = [label for label, count in counts.items() if count == most]
        if len(labels) == 1:
            yield row, labels[0]
