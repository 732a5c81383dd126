"""Splits that keep the share of each label where texts have any number of labels.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, "On the Stratification of Multi-Label Data"): the texts
of the rarest label are dealt out first, each to the part that lacks most of them; then those of the rarest label of
what is left, and so on.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def stratified_parts(labels: NDArray[np.int64], shares: Sequence[float]) -> NDArray[np.int64]:
    """The part (N,) of each text: i for `shares[i]` of the texts and of each label's, and one more for the rest.

    Of a label with two texts the first part is to have one at least, of one with three the second, too, and so on.
    Of parts that lack as many of the label, one takes the text that lacks more texts; of these, the larger share; texts
    come in the order in which they stand. Texts without labels are dealt out last.

    Args:
        labels: (N, C) of 0 and 1, in random order.
        shares: of the parts but the last.
    """
    every = np.array([*shares, 1 - sum(shares)])
    room, left, part = every * len(labels), labels.sum(axis=0), np.full(len(labels), -1)
    lacking = every[:, None] * left  # (P, C)
    least = left >= np.arange(2, len(every) + 1)[:, None]
    lacking[:-1] = np.maximum(lacking[:-1], least)
    while left.any():
        rarest = int(np.where(left > 0, left, len(labels) + 1).argmin())
        for row in np.flatnonzero((part < 0) & (labels[:, rarest] == 1)).tolist():
            _give(row, part, [lacking[:, rarest], room, every])
            lacking[part[row]] -= labels[row]
            room[part[row]] -= 1
            left -= labels[row]
    for row in np.flatnonzero(part < 0).tolist():
        _give(row, part, [room, every])
        room[part[row]] -= 1
    return part


def _give(row: int, part: NDArray[np.int64], wants: Sequence[NDArray[np.float64]]) -> None:
    """Give a row to the part that wants it most, by the first of `wants` (P,) that tells parts apart."""
    part[row] = max(range(len(wants[0])), key=lambda p: [round(float(want[p]), 6) for want in wants])
