"""CUDA graphs: what a function launches on a card, recorded once and replayed as one launch."""

import logging
import warnings
from collections.abc import Callable

import torch
from torch.optim import Optimizer

logger = logging.getLogger(__name__)

#: Calls of a function before it is recorded: in them, libraries choose their kernels and take their memory.
EAGER_STEPS = 2

#: Records what a function does on the device and returns what repeats it.
Record = Callable[[Callable[[], None]], Callable[[], object]]


def recorder() -> Record:
    """What records CUDA graphs, which share their memory: never are two of them replayed at a time."""
    pool = torch.cuda.graph_pool_handle()

    def record(function: Callable[[], None]) -> Callable[[], object]:
        graph, generator = torch.cuda.CUDAGraph(), torch.cuda.default_generators[torch.cuda.current_device()]
        before = generator.clone_state()
        torch.cuda.synchronize()
        try:
            with torch.cuda.graph(graph, pool=pool):
                function()
        except RuntimeError:
            # The generator would take every draw for a part of the recording that failed, and refuse it.
            generator.graphsafe_set_state(before)
            raise
        return graph.replay

    return record


_told: set[str] = set()


def tell_not_recorded(what: str, error: RuntimeError) -> None:
    """Say, once in this process, that `what` cannot be recorded, and why."""
    if what not in _told:
        _told.add(what)
        reason = str(error).splitlines()[0]
        logger.info("%s cannot be recorded as a CUDA graph (%s); kernels are launched one by one", what, reason)


def take_step(optimizer: Optimizer) -> None:
    """Take a step without torch's warning of an optimizer for graphs: its first steps are taken before recording."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This instance was constructed with capturable=True", UserWarning)
        optimizer.step()
