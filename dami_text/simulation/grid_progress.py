"""What is left of a grid, and a bar that shows it."""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dami_text.errors import DamiError
from dami_text.simulation.cells import Cell, Outcome
from dami_text.simulation.grid import GridRun, finished, share_done


def unfinished(cells: Sequence[Cell], save_models: bool, overwrite: bool = False) -> tuple[list[Cell], list[Outcome]]:
    """The cells that are not finished, and those whose folders cannot be used."""
    left, problems = [], []
    for cell in cells:
        try:
            if overwrite or not finished(cell, save_models):
                left.append(cell)
        except DamiError as error:
            problems.append(Outcome(cell, "failed", str(error)))
    return left, problems


@contextmanager
def grid_bar(run: GridRun, total: int, problems: Sequence[Outcome], kind: Any, *, off: bool = False) -> Iterator[Any]:
    """A bar of all runs, those that are on their way counted in part, brought up to date by a thread.

    `kind` is tqdm's class; with `off`, the bar shows nothing.
    """

    def position() -> float:
        return round(total - sum(1 - share_done(cell) for cell in run.left), 2)

    def show() -> None:
        bar.n = position()
        bar.set_postfix(running=len(run.running), failed=len(problems))

    def keep_showing() -> None:
        while not ended.wait(seconds):
            show()

    seconds = 1 if sys.stderr.isatty() else 60
    ended = threading.Event()
    thread = threading.Thread(target=keep_showing, daemon=True)
    with kind(total=total, initial=position(), desc="grid", unit="run", disable=off) as bar:
        thread.start()
        try:
            yield bar
        finally:
            ended.set()
            thread.join()
            show()
