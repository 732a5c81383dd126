"""Rows of a pool, and ids of texts that depend on their content."""

from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from datasets import Dataset

#: Row numbers.
Rows = NDArray[np.int64]


def text_hash(text: str) -> bytes:
    """8 bytes that depend on the text."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def text_hashes(texts: "Dataset", read: Callable[[str], str] = str) -> NDArray[np.uint64]:
    """The hash of each of the column `text` (N,), as `read` has it."""
    hashes = np.empty(len(texts), np.uint64)
    start = 0
    for batch in texts.select_columns("text").iter(10_000):
        digests = b"".join(text_hash(read(text)) for text in batch["text"])
        hashes[start : start + len(batch["text"])] = np.frombuffer(digests, ">u8")
        start += len(batch["text"])
    return hashes


def content_hashes(texts: "Dataset") -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The hash of each of the column `text` (N,) and its place among the texts of the same hash (N,)."""
    hashes = text_hashes(texts)
    order = np.argsort(hashes, kind="stable")
    first = np.searchsorted(hashes[order], hashes[order], side="left")
    places = np.empty(len(texts), np.int64)
    places[order] = np.arange(len(texts)) - first
    return hashes, places


def stable_id(content_hash: int | np.uint64, place: int | np.int64) -> str:
    """The id of a text by its hash and its place among the texts of the same hash."""
    return f"{int(content_hash):016x}-{place}"
