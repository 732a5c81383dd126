"""Texts that are there more than once, so that no copy of a test text is trained on."""

import unicodedata
from collections.abc import Sequence

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from dami_text.data.pool import Rows, text_hash


def plain_text(text: str) -> str:
    """The text in Unicode's composed form (NFC), with one blank for each run of white space and none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def copy_hashes(dataset: Dataset) -> NDArray[np.uint64]:
    """A number for each of the column `text` (N,); texts of one number are copies, the same in `plain_text`."""
    hashes = np.empty(len(dataset), np.uint64)
    start = 0
    for batch in dataset.select_columns("text").iter(10_000):
        digests = b"".join(text_hash(plain_text(text)) for text in batch["text"])
        hashes[start : start + len(batch["text"])] = np.frombuffer(digests, ">u8")
        start += len(batch["text"])
    return hashes


def deal(order: Rows, groups: NDArray[np.uint64], sizes: Sequence[int]) -> list[Rows]:
    """Deal rows into parts of at most these sizes, and the rest into one more; a group's rows come into one part.

    Groups come in the order of their first rows, and each goes to the first part that has room for all of it. So parts
    are slices of `order` where every group has one row, and a large group goes to the rest.

    Args:
        order: the rows (n,), all different.
        groups: the group (n,) of each row of `order`.
        sizes: of the parts.
    """
    _, first, group, counts = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    room = list(sizes)
    part = np.full(len(first), len(sizes))
    for g in np.argsort(first).tolist():
        fits = next((i for i, free in enumerate(room) if counts[g] <= free), None)
        if fits is not None:
            part[g] = fits
            room[fits] -= int(counts[g])
    by_group = np.argsort(first[group], kind="stable")
    order, part = order[by_group], part[group[by_group]]
    return [order[part == i] for i in range(len(sizes) + 1)]
