"""Where a result comes from: figures vary in their last digits from processor to processor and version to version."""

import platform
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from dami_text.processes import own_device

#: What may change a result.
LIBRARIES = ("dami_text", "torch", "transformers", "datasets", "accelerate", "gensim", "scikit-learn", "scipy", "numpy")


def environment() -> dict[str, str | int]:
    """The processor and what of it torch uses, the threads, the device, and the versions of Python and libraries."""
    device = own_device()
    return {
        "cpu": f"{_cpu_name()}, {torch.backends.cpu.get_cpu_capability()}",
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "python": platform.python_version(),
        **_versions(LIBRARIES),
    }


@cache
def _versions(libraries: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in libraries:
        with suppress(PackageNotFoundError):  # gensim is not for every Python
            found[name] = version(name)
    return found


@cache
def _cpu_name() -> str:
    """The processor's name, or its architecture where the system does not say more."""
    file = Path("/proc/cpuinfo")
    if sys.platform == "linux" and file.exists():
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return " ".join(value.split())
    return platform.processor() or platform.machine()
