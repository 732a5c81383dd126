"""Strategies of a user's own that fail, or whose process dies, on the way; files in the working directory arm them."""

import os
import signal
from pathlib import Path

from dami_text.strategies import RandomSampling


class Fails(RandomSampling):
    """An error in the second round, as long as the file `fail` is there."""

    def query(self, model, pool, n, rng):
        if len(pool.labeled) > 20 and Path("fail").exists():
            raise ArithmeticError("no more than 20 \x1b[31m")
        return super().query(model, pool, n, rng)


class Dies(RandomSampling):
    """SIGKILL in the second round, once for each file named kill-*."""

    def query(self, model, pool, n, rng):
        files = sorted(Path().glob("kill-*"))
        if len(pool.labeled) > 20 and files:
            files[0].unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().query(model, pool, n, rng)
