"""Arrays that take long to compute, kept in the folder dami_text of the Hugging Face cache."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub.constants import HF_HOME
from numpy.typing import NDArray

from dami_text.files import whole_file


def cached_array(kind: str, key: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """What `make` returns, from the file of `kind` and `key` where it is there, which is written otherwise.

    `key` must stand for everything that decides the content. The array is a read-only view of the file.
    """
    path = Path(HF_HOME) / "dami_text" / kind / f"{key}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = make()
        try:
            with whole_file(path) as unfinished, unfinished.open("wb") as stream:
                np.save(stream, made)
        except PermissionError:  # on Windows, where another process has made it meanwhile and reads it
            if not path.exists():
                raise
    cached: NDArray[Any] = np.load(path, mmap_mode="r")
    return cached
