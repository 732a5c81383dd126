"""Sharing work among the processes of a launch: each takes whole batches, results come together on all of them.

Under a single process everything here is a plain function call.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from accelerate import Accelerator, InitProcessGroupKwargs, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, gather_object
from numpy.typing import NDArray

from dami_text.errors import ConfigError, DamiError

#: The kind of device that `use_device` has chosen, if it has.
_chosen: list[str] = []

#: What `--mixed-precision` computes in.
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}

T = TypeVar("T")
M = TypeVar("M", bound=torch.nn.Module)
S = TypeVar("S", list[Any], NDArray[Any])


def make_accelerator(mixed_precision: str = "no") -> Accelerator:
    """The accelerator of this launch, whose processes wait for each other however long a training takes.

    Raises:
        ConfigError: this process has begun with another precision, or cannot have this one.
    """
    patience = InitProcessGroupKwargs(timeout=timedelta(days=30))
    try:
        return Accelerator(cpu=_cpu_only(), mixed_precision=mixed_precision, kwargs_handlers=[patience])
    except ValueError as error:
        raise ConfigError(
            f"--mixed-precision {mixed_precision} cannot be used in this process: {error}; start a new process"
        ) from error


def asked_half() -> torch.dtype | None:
    """The type of half precision that this process has begun with (`--mixed-precision`), if it has."""
    asked: str = AcceleratorState._shared_state.get("_mixed_precision", "no")
    return HALVES.get(asked)


def use_device(wanted: str, small: bool) -> None:
    """Decide what this process computes on, before it first does; it keeps to that.

    `auto` is what accelerate finds. For `small` models (word-level ones, tables), whose every step waits for a GPU's
    launches, it is the CPU unless there is a CUDA card.

    Raises:
        ConfigError: this machine has no such device, or the process has begun on another.
    """
    there = torch.accelerator.current_accelerator()
    found = there.type if there is not None and torch.accelerator.is_available() else "cpu"
    if wanted not in ("auto", "cpu", found):
        known = "auto or cpu" if found == "cpu" else f"auto, cpu or {found}"
        raise ConfigError(f"--device is {wanted}, and this machine has {found}; give {known}")
    chosen = "cpu" if wanted == "cpu" or (wanted == "auto" and small and found != "cuda") else found
    begun = PartialState._shared_state.get("device")
    if begun is None:
        _chosen.clear()
        _chosen.append(chosen)
    elif begun.type != chosen and wanted != "auto":
        raise ConfigError(f"--device is {wanted}, and this process computes on {begun.type} to its end; start another")


def own_device() -> torch.device:
    """The device of this process."""
    device: torch.device = PartialState(cpu=_cpu_only()).device
    return device


def on_own_device(model: M) -> M:
    """The model, moved to the device of this process."""
    torch.nn.Module.to(model, own_device())
    return model


def is_card(device: torch.device) -> bool:
    """Whether the device is a CUDA card, which waits for Python between small pieces of work."""
    return device.type == "cuda"


def lacks_float64(values: torch.Tensor) -> bool:
    """Whether the device of the values has no float64, as Apple's mps."""
    return values.device.type == "mps"


def where_float64_is(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The values as they are, or on the CPU where their device has no float64."""
    return tuple(each.cpu() if lacks_float64(each) else each for each in values)


def _cpu_only() -> bool:
    """Whether accelerate must be told to use the CPU, so that processes of torchrun without a GPU find each other."""
    return not torch.accelerator.is_available() or _chosen == ["cpu"]


def disconnect() -> None:
    """Leave the other processes: one that ends on an error without this aborts in gloo's threads."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@dataclass(frozen=True)
class Processes:
    """The processes that share a piece of work: this one's index among `count`."""

    index: int = 0
    count: int = 1

    @classmethod
    def all(cls) -> "Processes":
        """All processes of the launch."""
        state = PartialState(cpu=_cpu_only())
        return cls(state.process_index, state.num_processes)

    def share(self, items: S) -> S:
        """This process's items: every `count`-th."""
        return items[self.index :: self.count]

    def gather(self, items: Iterable[T]) -> Iterable[T]:
        """All processes' results, in the order of the items before `share` split them.

        Under a single process the items pass through as they are made.
        """
        if self.count == 1:
            return items
        every: list[list[T]] = gather_object([list(items)])
        return (every[i % self.count][i // self.count] for i in range(sum(map(len, every))))

    def on_main(self, function: Callable[[], T]) -> T:
        """What `function` returns on the main process, on all of them; it runs there alone.

        A DamiError that it raises there is raised on all.
        """
        if self.count == 1:
            return function()
        outcome: list[Any] = [None, None]
        if self.index == 0:
            try:
                outcome[0] = function()
            except DamiError as error:
                outcome[1] = error
        broadcast_object_list(outcome)
        if outcome[1] is not None:
            raise outcome[1]
        return cast(T, outcome[0])

    def main_first(self, function: Callable[[], T]) -> T:
        """What `function` returns here; the others call it after the main process, and find the caches warm."""
        made: list[T] = []
        self.on_main(lambda: made.append(function()))
        return made[0] if made else function()

    def broadcast(self, tensors: Iterable[torch.Tensor]) -> None:
        """Copy the main process's values of the tensors into those of the others."""
        if self.count > 1:
            for tensor in tensors:
                torch.distributed.broadcast(tensor, src=0)


ALONE = Processes()
