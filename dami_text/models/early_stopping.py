"""When a training by epochs stops, and which of its epochs is the best."""

import numpy as np
from numpy.typing import NDArray

from dami_text.config.options import TrainingConfig
from dami_text.models.evaluation import Scorer
from dami_text.models.tasks import Task


class EarlyStopping:
    """The epochs of a training, by what its model predicts of a validation split after each of them.

    The best epoch is that of the highest metric and, where several have it, of the lowest loss. Training is over after
    `patience` epochs that neither raised the metric nor lowered the loss, counted from when it has begun to learn; and
    when probabilities are not finite, because it only gets worse.

    Attributes:
        epochs: how many there were.
        has_begun: whether the training has begun to learn, as its caller finds out.
        score: the metric of the best epoch; None before there is one.
    """

    def __init__(self, task: Task, score: Scorer, config: TrainingConfig) -> None:
        self._task, self._score, self._config = task, score, config
        self.epochs, self.has_begun = 0, False
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

    def offer(self, probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> bool:
        """Take note of an epoch's validation probabilities (n, C); whether it is the best so far."""
        self.epochs += 1
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
