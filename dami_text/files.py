"""Files and folders that are written whole or not at all."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ENDING = ".unfinished"


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path to write a file at. At the end of the block the file takes the place of `target`.

    If the block raises, the file is removed and `target` stays as it was.
    """
    unfinished = _beside(target)
    try:
        yield unfinished
        unfinished.replace(target)
    finally:
        with suppress(OSError):
            unfinished.unlink()


@contextmanager
def whole_folder(target: Path, overwrite: bool = False) -> Iterator[Path]:
    """A new folder to write in. At the end of the block it takes the name `target`.

    If the block raises, the folder is removed and `target` stays as it was. Its parents are made if they are missing.

    Args:
        target: the name. A folder of that name must be empty by then.
        overwrite: take the place of a folder that is not empty, too.
    """
    unfinished = _beside(target.absolute())
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        if overwrite:
            shutil.rmtree(target, ignore_errors=True)
        else:
            with suppress(OSError):
                target.rmdir()  # if it is there and empty: Windows replaces no folder, not even an empty one
        unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_whole(file: Path, content: bytes) -> None:
    """Write a file whole, or raise OSError and leave what is there."""
    with whole_file(file) as unfinished:
        unfinished.write_bytes(content)


def remove_unfinished(target: Path) -> None:
    """Remove what killed processes have left of `target`. No other process may be writing it now."""
    for left in target.parent.glob(f".{target.name}.*{ENDING}"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _beside(target: Path) -> Path:
    """A name for the unfinished file or folder that no other process uses, on the same disk."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}{ENDING}")
