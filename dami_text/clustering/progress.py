"""A progress bar for fits that take long."""

import torch
from tqdm import tqdm

DELAY = 5.0  # seconds before a bar shows itself


def bar(total: int, description: str) -> "tqdm[None]":
    """A bar that shows on a terminal, on the main process, once the work has taken some seconds."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    off = True if distributed and torch.distributed.get_rank() > 0 else None  # None: unless it is a terminal
    return tqdm(total=total, desc=description, unit="row", delay=DELAY, disable=off, leave=False)
