"""When a training is evaluated and stops, and which of its evaluations is the best."""

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dami_text.config.options import TrainingConfig
from dami_text.models.evaluation import Scorer
from dami_text.models.tasks import Task


class EarlyStopping:
    """The evaluations of a training, by what its model predicts of a validation split in each of them.

    The best is that of the highest metric and, where several have it, of the lowest loss. Training is over after
    `patience` evaluations that neither raised the metric nor lowered the loss, counted from when it has begun to learn;
    and when probabilities are not finite, because it only gets worse.

    Attributes:
        evaluations: how many there were.
        has_begun: whether the training has begun to learn, as its caller finds out.
        score: the metric of the best evaluation; None before there is one.
        span: over about how many steps the weights are averaged that are evaluated; 0: they are those of now.
    """

    def __init__(self, task: Task, score: Scorer, config: TrainingConfig, n: int) -> None:
        """Of a training on n texts."""
        self._task, self._score, self._config = task, score, config
        self._intervals = evaluation_intervals(n, config)
        # Where a pass has few steps, a model learns much from each, and what it was before is worse.
        of_pass = steps_of_pass(n, config)
        self.span = min(config.averaging_steps, of_pass) if of_pass >= config.epoch_steps else 0
        self.evaluations, self.has_begun = 0, False
        self.score: float | None = None
        self._rank = (-np.inf, -np.inf)  # a metric of one's own may be no number where a class is missing: the lowest
        self._lowest_loss = np.inf
        self._age = 0
        self._is_finite = True

    @property
    def is_over(self) -> bool:
        """Whether the training ends here."""
        config = self._config
        return self.epochs >= config.epochs or self._age >= config.patience or not self._is_finite

    @property
    def epochs(self) -> float:
        """How many epochs there were; the last may be a part of one."""
        return self.evaluations / len(self._intervals)

    @property
    def next_steps(self) -> int:
        """How many steps to take before the next evaluation."""
        return self._intervals[self.evaluations % len(self._intervals)]

    @property
    def share_of_newest(self) -> float:
        """What the weights weigh in their average when they are added to it for the next evaluation.

        Each step since the last one moves the average by 1 / span of the way. The n-th weights weigh 1 / n at least, so
        that the first ones, which have learned least, do not stay.
        """
        if not self.span:
            return 1.0
        return float(max(1 - (1 - 1 / self.span) ** self.next_steps, 1 / (self.evaluations + 1)))

    def offer(self, probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> bool:
        """Take note of an evaluation's probabilities (n, C); whether it is the best so far."""
        self.evaluations += 1
        self._is_finite = bool(np.isfinite(probabilities).all())
        if not self._is_finite:
            return False
        score, loss = self._score(probabilities, labels), self._task.surprise(probabilities, labels)
        # A model that learns slowly shows it in the loss long before the metric moves.
        self._age = 0 if loss < self._lowest_loss else self._age + 1
        self._lowest_loss = min(loss, self._lowest_loss)
        rank = (-np.inf if np.isnan(score) else score, -loss)
        is_best = self.score is None or rank > self._rank
        if is_best:
            self.score, self._rank, self._age = score, rank, 0
        if not self.has_begun:
            self._age = 0
        return is_best


def steps_of_pass(n: int, config: TrainingConfig) -> int:
    """The steps of a pass over n texts."""
    return math.ceil(math.ceil(n / config.train_batch_size) / config.gradient_accumulation_steps)


def evaluation_intervals(n: int, config: TrainingConfig) -> list[int]:
    """The numbers of steps (E,) from one evaluation to the next in an epoch on n texts, as equal as can be.

    An epoch is a pass, or as many passes as make `epoch_steps` steps. It has as many evaluations as `evaluation_steps`
    goes into it, rounded, and one at least; the last one is at its end.
    """
    of_pass = steps_of_pass(n, config)
    steps = of_pass * math.ceil(config.epoch_steps / of_pass)
    parts = max(1, round(steps / config.evaluation_steps)) if config.evaluation_steps else 1
    ends = [steps * i // parts for i in range(parts + 1)]
    return [end - start for start, end in pairwise(ends)]
