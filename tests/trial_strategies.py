"""Strategies of one's own for the tests of trials on labels that are there."""

from typing import ClassVar

from dami_text.strategies import RandomSampling


class Recorder(RandomSampling):
    """Random draws, which notes what it saw: the unlabelled and the labelled rows of each query."""

    seen: ClassVar[list] = []

    def query(self, model, pool, n, rng):
        self.seen.append((pool.unlabeled.tolist(), pool.labeled.tolist(), n))
        return super().query(model, pool, n, rng)
