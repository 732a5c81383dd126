"""Arrays that take long to compute, kept in the folder dami_text of the Hugging Face cache."""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from huggingface_hub.constants import HF_HOME
from numpy.typing import NDArray

from dami_text.data.ids import Rows
from dami_text.files import whole_file
from dami_text.progress import tell_progress


def cached_array(kind: str, key: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """What `make` returns, from the file of `kind` and `key` where it is there, which is written otherwise.

    `key` must stand for everything that decides the content. The array is a read-only view of the file.
    """
    return _cached(_folder(kind) / f"{key}.npy", make)


def cached_rows(
    kind: str, key: str, parts: Sequence[Rows], work: Sequence[float], make: Callable[[Rows], NDArray[Any]]
) -> NDArray[Any]:
    """The rows (N, ...) that `make` computes of row numbers, as `cached_array`, each part kept as soon as it is made.

    A process that is killed loses the part that it was at, and one that wants the same array waits for the first. What
    is done is told before each part (see `progress`); where that raises, the parts so far are kept.

    Args:
        kind: as for `cached_array`.
        key: as for `cached_array`.
        parts: the row numbers of each part; all rows are in one of them.
        work: how much work each part is.
        make: computes the rows of a part.
    """
    folder = _folder(kind) / f"{key}.parts"

    def whole() -> NDArray[Any]:
        n, done, spent, made = sum(map(len, parts)), 0, 0.0, []
        for i, rows in enumerate(parts):
            file = folder / f"{i}.npy"
            if not file.exists():
                tell_progress("encoding texts", done, n, spent / sum(work))
            made.append(_cached(file, partial(make, rows)))
            done, spent = done + len(rows), spent + work[i]
        assembled = np.empty((n, *made[0].shape[1:]), made[0].dtype)
        for rows, values in zip(parts, made, strict=True):
            assembled[rows] = values
        return assembled

    path = _folder(kind) / f"{key}.npy"
    while not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            held = FileLock(folder / "lock").acquire()
        except FileNotFoundError:  # another process has just made the array, and taken the folder away
            continue
        with held:
            _cached(path, whole)
        shutil.rmtree(folder, ignore_errors=True)
    return _cached(path, whole)


class StoredRows:
    """Rows (N, ...) of an array that stays on disk: what is asked for is read, in any order and with repeats."""

    def __init__(self, array: NDArray[Any], places: Rows) -> None:
        """The rows at `places` (N,) of the array."""
        self._array, self._places = array, places
        self.shape: tuple[int, ...] = (len(places), *array.shape[1:])

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, rows: Rows | slice) -> NDArray[Any]:
        values: NDArray[Any] = self._array[self._places[rows]]
        return values

    def part(self, start: int, stop: int) -> "StoredRows":
        """The rows from `start` to before `stop`."""
        return StoredRows(self._array, self._places[start:stop])


def _folder(kind: str) -> Path:
    return Path(HF_HOME) / "dami_text" / kind


def _cached(path: Path, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
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
