"""A progress bar for fits that take long."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from tqdm import tqdm

DELAY = 5.0  # seconds before a bar shows itself

T = TypeVar("T")


def progress(items: Sequence[T], description: str) -> Iterator[T]:
    """The items, with a bar on a terminal, on the main process, once they have taken some seconds."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    off = True if distributed and torch.distributed.get_rank() > 0 else None  # None: unless it is a terminal
    return iter(tqdm(items, desc=description, delay=DELAY, disable=off, leave=False))
