"""Progress bars for scripts and notebooks."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dami_text.progress import progress_told

#: Seconds before a bar shows itself.
DELAY = 2.0


def bar_kind() -> Any:
    """tqdm's class of bars for a notebook or a terminal, whichever this is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a notebook lacks ipywidgets: the bar is of text then
        from tqdm.auto import tqdm
    return tqdm


@contextmanager
def progress_bars() -> Iterator[None]:
    """Show a bar for each work inside the block that takes some seconds, and take it away at the end."""
    kind = bar_kind()
    bars: dict[str, Any] = {}

    def tell(work: str, done: int, n: int, share: float) -> None:
        if work not in bars:
            bars[work] = kind(total=n, desc=work, delay=DELAY, leave=False)
        bars[work].update(done - bars[work].n)

    try:
        with progress_told(tell):
            yield
    finally:
        for bar in bars.values():
            bar.close()
