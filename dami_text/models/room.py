"""How many texts a card takes at a time: as many as keep it busy, and as its memory has room for, which is measured."""

import logging
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dami_text.data.batches import batches_by_length
from dami_text.data.ids import Rows

logger = logging.getLogger(__name__)

ENOUGH = 2**14  # tokens that keep a card busy: the first batch, whose memory is measured, has no more, and
PADDING = 0.05  # a batch that has more must not have a larger share of padding than this
SHARE = 0.5  # of the free memory that a batch may take by what was measured
GROWTH = 1.5  # a batch that is so many times wider, or has twice as many tokens, is measured again


class Memory(Protocol):
    """The memory of a device."""

    def begin(self) -> None:
        """Measure from here on."""

    def peak(self) -> int:
        """Bytes taken since then beyond what was taken before, at most."""

    def free(self) -> int:
        """Bytes that are free now."""


class CardMemory:
    """That of a CUDA card, for this process."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._before = device, 0

    def begin(self) -> None:
        """See Memory."""
        torch.cuda.reset_peak_memory_stats(self._device)
        self._before = torch.cuda.memory_allocated(self._device)

    def peak(self) -> int:
        """See Memory."""
        return int(torch.cuda.max_memory_allocated(self._device)) - self._before

    def free(self) -> int:
        """See Memory."""
        return free_bytes(self._device)


def free_bytes(device: torch.device) -> int:
    """What is free on a card, with what torch holds and does not use."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


class Room:
    """The batches of one pass over texts.

    A batch is measured while it is computed, so that the next ones are as large as they can be: ask for the next one
    when the one before has been computed.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._tokens, self._limit = ENOUGH, 2**62  # that a batch may have, and never more after memory has run out
        self._measured = (0, 0)  # width and tokens of the largest batch that was
        self._bytes = 0.0  # a token

    def batches(self, lengths: NDArray[np.int64]) -> Iterator[Rows]:
        """The positions of `lengths` (n,) in batches of like length, shortest first."""
        order, start = np.argsort(lengths, kind="stable"), 0
        sizes = np.maximum(lengths[order], 1)
        while start < len(order):
            size = self._size(sizes[start:])
            width = int(sizes[start + size - 1])
            is_new = width >= GROWTH * self._measured[0] or size * width >= 2 * self._measured[1]
            if is_new:
                self._memory.begin()
            yield order[start : start + size]
            if is_new:
                self._measure(width, size * width)
            start += size

    def _size(self, lengths: NDArray[np.int64]) -> int:
        """How many texts, of rising lengths, are the next batch."""
        lengths = lengths[: max(1, self._tokens // int(lengths[0]))]
        padded = lengths * np.arange(1, len(lengths) + 1)
        dense = lengths.cumsum() >= (1 - PADDING) * padded
        fits = (padded <= self._tokens) & ((padded <= ENOUGH) | dense)
        return int(np.flatnonzero(fits)[-1]) + 1 if fits.any() else 1

    def _measure(self, width: int, tokens: int) -> None:
        self._measured = max(width, self._measured[0]), max(tokens, self._measured[1])
        self._bytes = max(self._bytes, self._memory.peak() / tokens)
        affordable = SHARE * self._memory.free() / max(self._bytes, 1.0)
        self._tokens = max(1, min(int(affordable), self._limit))

    def ran_out(self, tokens: int) -> None:
        """Memory had no room for a batch of so many tokens: later ones are at most half as large."""
        self._limit = max(1, min(self._limit, tokens // 2))
        self._tokens = min(self._tokens, self._limit)


class StepRoom:
    """The parts in which the texts of a training step are computed: a step adds up their gradients."""

    def __init__(self, lengths: NDArray[np.int64], batch_size: int, tokens: int, *, may_halve: bool) -> None:
        """For texts of `lengths` (n,): parts of `batch_size` texts and so many tokens, with padding, at most.

        Where memory runs out although, they are halved if they `may`.
        """
        self._lengths, self._batch_size, self._tokens, self._may_halve = lengths, batch_size, tokens, may_halve

    def add_up(self, batches: list[Rows], add: Callable[[list[Rows]], None], undo: Callable[[], None]) -> None:
        """Have `add` add up the gradients of the parts of a step's batches of positions (B,).

        Where memory runs out, all is begun again with parts half as large, after `undo`; later steps begin with these.

        Raises:
            torch.OutOfMemoryError: there is no room for one text, or parts may not be halved.
        """
        while True:
            parts = [part for positions in batches for part in self._parts(positions)]
            most = max(map(len, parts))
            try:
                return add(parts)
            except torch.OutOfMemoryError:
                if most == 1 or not self._may_halve:
                    raise
            undo()  # not before the error is forgotten, which holds on to memory
            torch.cuda.empty_cache()
            tell_of_halving("training steps", most)
            self._tokens = max(len(part) * int(self._lengths[part].max()) for part in parts if len(part) > 1) // 2

    def _parts(self, positions: Rows) -> list[Rows]:
        """A batch in parts that memory has room for."""
        parts = batches_by_length(self._lengths[positions], self._batch_size, self._tokens / self._batch_size)
        return [positions[part] for part in parts]


_told: set[str] = set()


def tell_of_halving(what: str, n: int) -> None:
    """Say, once in this process, that batches of `what` are halved where one of n texts was too large."""
    if what not in _told:
        _told.add(what)
        logger.info("a batch of %d texts is more than the device has memory for; batches of %s are halved", n, what)
