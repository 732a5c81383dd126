"""What the latest model makes of the pool, in one file of the session, for a page that has no model."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dami_text.data.ids import Rows
from dami_text.files import write_whole
from dami_text.labeling.session import Session
from dami_text.randomness import numpy_stream

if TYPE_CHECKING:
    from dami_text.learning.learner import ActiveLearner

FILE = "scores.npz"
MOST_SCORED = 20_000  # texts; of larger pools so many are drawn at random, the same in every round
LIKELIEST = 5
MOST_KEYS = 9  # classes that have a key of their own on the page


@dataclass(frozen=True)
class PoolScores:
    """The scores of some rows of the pool.

    Attributes:
        rows: (R,) in ascending order.
        probabilities: (R, C) float16, of the classes.
        features: (R, H) float16, a frozen encoder's; H is 0 for other models.
    """

    rows: Rows
    probabilities: NDArray[np.float16]
    features: NDArray[np.float16]

    @classmethod
    def of(cls, session: Session, learner: "ActiveLearner") -> "PoolScores":
        """The scores by a learner's trained model."""
        from dami_text.models.inference import predict_probabilities  # torch, which a page has no use for

        n, texts = len(session), learner.pool.texts
        rows = np.arange(n)
        if n > MOST_SCORED:
            rng = numpy_stream(session.seed, 0, "scored texts")
            rows = np.sort(rng.choice(n, MOST_SCORED, replace=False))
        frozen = getattr(texts, "frozen_features", None)
        features = np.zeros((len(rows), 0)) if frozen is None else frozen.features[rows]
        probabilities = predict_probabilities(learner.trained_model(), texts, rows)
        return cls(rows, probabilities.astype(np.float16), features.astype(np.float16))

    def save(self, folder: Path) -> None:
        """Write them into a session's folder, in place of earlier ones."""
        content = io.BytesIO()
        np.savez(content, rows=self.rows, probabilities=self.probabilities, features=self.features)
        write_whole(folder / FILE, content.getvalue())

    @classmethod
    def load(cls, session: Session) -> "PoolScores | None":
        """Those in a session's folder; None where there are none that fit its texts and classes."""
        try:
            with (session.folder / FILE).open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                scores = cls(arrays["rows"], arrays["probabilities"], arrays["features"])
            n, n_classes = scores.probabilities.shape
            fits = scores.rows.shape == (n,) and len(scores.features) == n and n_classes == len(session.class_names)
            return scores if fits and n and 0 <= scores.rows.min() <= scores.rows.max() < len(session) else None
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
            return None

    def place(self, row: int) -> int | None:
        """Where a row stands in `rows`, or None."""
        place = int(np.searchsorted(self.rows, row))
        return place if place < len(self.rows) and self.rows[place] == row else None


def guess_of(probabilities: NDArray[np.floating], *, multilabel: bool = False) -> dict[str, object]:
    """The part of a reason that holds the model's guess by probabilities (C,): what it predicts, and how sure it is.

    Only where there are more classes than keys is the list of the likeliest of use, so only there it is in the reason.
    Of any number of labels it is there always, with their probabilities, and holds all that are predicted.
    """
    p = probabilities.astype(float)
    best = np.argsort(-p, kind="stable")
    if multilabel:
        predicted, probability = predicted_labels(p)
        shown = best[: max(LIKELIEST, len(predicted))]
        return {
            **{"guess": predicted, "probability": round(probability, 4)},
            **{"likeliest": shown.tolist(), "probabilities": p[shown].round(4).tolist()},
        }
    guess = {"guess": int(best[0]), "probability": round(float(probabilities[best[0]]), 4)}
    return guess | ({"likeliest": best[:LIKELIEST].tolist()} if len(probabilities) > MOST_KEYS else {})


def predicted_labels(probabilities: NDArray[np.float64]) -> tuple[tuple[int, ...], float]:
    """The labels that are more probable than not, of probabilities (C,), and how probable it is that just these hold.

    Labels are taken as independent of each other, as models with a probability for each do.
    """
    holds = probabilities > 0.5
    return tuple(np.flatnonzero(holds).tolist()), float(np.where(holds, probabilities, 1 - probabilities).prod())
