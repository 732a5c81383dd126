"""One regression for each label, of texts that have it against those that have it not."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dami_text.models.last_layer import UNSEEN
from dami_text.models.logistic import LogisticFit

Floats = NDArray[np.floating[Any]]

#: From labels (n,) and the number of classes to their regression and, beside it, weights (C, K) of tokens.
FitClasses = Callable[[NDArray[np.int64], int], tuple[LogisticFit, Floats | None]]


def fit_each_label(labels: NDArray[np.int64], fit: FitClasses) -> tuple[LogisticFit, Floats | None]:
    """The regressions of labels (n, C) of 0 and 1, as one: its logits are the log-odds of each label.

    A label that no text has is never predicted, and one that all have always.
    """
    found, tokens = zip(*(fit(labels[:, c], 2) for c in range(labels.shape[1])), strict=True)
    whole = LogisticFit(
        weight=np.stack([_odds(each.weight) for each in found]),
        bias=np.stack([_odds(each.bias) for each in found]).clip(UNSEEN, -UNSEEN),
        sharpness=float(np.mean([each.sharpness for each in found])),
        share=float(np.mean([each.share for each in found])),
        iterations=max(each.iterations for each in found),
        held_out=np.concatenate([each.held_out for each in found]),
        cross_validated=np.stack([each.cross_validated[:, 1] for each in found], axis=1),
    )
    return whole, None if tokens[0] is None else np.stack([_odds(each) for each in tokens])


def _odds(of_both: Floats) -> Floats:
    """What the log-odds of the second of two classes are made of."""
    odds: Floats = of_both[1] - of_both[0]
    return odds
