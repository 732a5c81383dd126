"""One seed, independent streams: every random draw belongs to (seed, round, purpose).

A stream depends on nothing else, not on what was drawn before it, so a round can be replayed alone and a
resumed run draws what an uninterrupted one would have drawn.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
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
    import torch

    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(integer_seed(seed, round_number, purpose))
        yield


@dataclass(frozen=True)
class TorchState:
    """How far torch's global generators are in a stream, to go on there later, whatever is drawn meanwhile.

    Attributes:
        cpu: the state of the CPU's generator.
        cards: those of the CUDA cards.
    """

    cpu: "torch.Tensor"
    cards: "tuple[torch.Tensor, ...]"

    @classmethod
    def now(cls) -> Self:
        """The state at this moment."""
        import torch

        return cls(torch.get_rng_state(), tuple(torch.cuda.get_rng_state_all()))

    @contextmanager
    def resumed(self) -> Iterator[None]:
        """Draw from there on inside the block, and restore the generators after it."""
        import torch

        with torch.random.fork_rng(devices=range(len(self.cards))):
            torch.set_rng_state(self.cpu)
            torch.cuda.set_rng_state_all(self.cards)
            yield

    def generator(self, device: "torch.device") -> "torch.Generator":
        """A generator of its own that goes on there, on the CPU or a card."""
        import torch

        generator = torch.Generator(device)
        generator.set_state(self.cpu if device.type == "cpu" else self.cards[device.index or 0])
        return generator


def hashed_noise(seed: int, keys: NDArray[np.uint64], n: int) -> NDArray[np.uint16]:
    """Noise (K, n), uniform on 0..65535, whose row k depends on `seed` and `keys[k]` alone.

    Unlike a generator's, it does not depend on which other keys there are, or in which order. Each 64 bits are a
    counter through the finaliser of SplitMix64 (Steele, Lea, Flood 2014), starting from the key's own hash.
    """
    with np.errstate(over="ignore"):
        start = _mix(keys ^ _mix(np.array(seed, np.uint64) + _GAMMA))
        counters = start[:, None] + np.arange(1, -(-n // 4) + 1, dtype=np.uint64) * _GAMMA
        return _mix(counters).view(np.uint16)[:, :n]


_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
