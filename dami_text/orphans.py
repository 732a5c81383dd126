"""Processes that end with the one that started them: left alone, they would wait for each other for a month."""

import os
import sys
import threading
import time
from functools import cache

SECONDS = 1.0  # between two looks at whether the parent is there


def end_with_launcher() -> None:
    """End this process when torchrun, or what else of torch.distributed started it, has ended or was killed."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        end_with(os.getppid())


@cache
def end_with(parent: int) -> None:
    """End this process at once when its parent process has ended."""

    def watch() -> None:
        while _is_there(parent):
            time.sleep(SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _is_there(parent: int) -> bool:
    if sys.platform != "win32":
        return os.getppid() == parent
    import psutil  # accelerate has it

    return psutil.pid_exists(parent)
