"""One seed, independent streams: every random draw belongs to (seed, round, purpose).

A stream depends on nothing else, not on what was drawn before it, so a round can be replayed alone and a
resumed run draws what an uninterrupted one would have drawn.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from zlib import crc32

import numpy as np
import torch


def _sequence(seed: int, round_number: int, purpose: str) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, round_number, crc32(purpose.encode())])


def numpy_stream(seed: int, round_number: int, purpose: str) -> np.random.Generator:
    """A NumPy generator for one purpose of one round."""
    return np.random.default_rng(_sequence(seed, round_number, purpose))


def integer_seed(seed: int, round_number: int, purpose: str) -> int:
    """A 32-bit seed for libraries that take an integer."""
    return int(_sequence(seed, round_number, purpose).generate_state(1)[0])


@contextmanager
def torch_stream(seed: int, round_number: int, purpose: str) -> Iterator[None]:
    """Seed torch's global generators inside the block (dropout and initialisation know no other) and restore them."""
    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(integer_seed(seed, round_number, purpose))
        yield
