"""How doubtful labels are: what a model makes of each that was not trained on it (see `learning.label_quality`).

Where the model's head is found by logistic regression, its own cross-validation says so, at no cost, and the round's
model judges the labels of held-out texts, which no training sees. For other models a linear one is cross-validated.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dami_text.data.ids import Rows
from dami_text.errors import DataError
from dami_text.labeling.labels import Label
from dami_text.labeling.pool_scores import predicted_labels
from dami_text.labeling.session import Session
from dami_text.labeling.snapshot import LabelSnapshot
from dami_text.labeling.store.doubts import Doubt
from dami_text.learning.label_quality import label_quality, probabilities_by_words
from dami_text.learning.learner import ActiveLearner
from dami_text.models.inference import predict_probabilities
from dami_text.models.training import Training


def doubts_of(session: Session, now: LabelSnapshot, learner: ActiveLearner, training: Training) -> list[Doubt]:
    """The doubts about all labels so far, by the model that was trained on them and how its training went."""
    if training.cross_validated is None:
        return doubts_by_words(session, now)
    rows, probabilities = learner.pool.labeled, training.cross_validated
    if now.held_out:
        held_out = np.array([*now.held_out], np.int64)
        by_model = predict_probabilities(learner.trained_model(), learner.pool.texts, held_out)
        rows, probabilities = np.concatenate([rows, held_out]), np.concatenate([probabilities, by_model])
    return _doubts(session, now, rows, probabilities)


def doubts_by_words(session: Session, now: LabelSnapshot) -> list[Doubt]:
    """The doubts about all labels so far, by the linear model; none where no text has a word."""
    rows = np.array([*now.all], np.int64)
    labels = session.label_array(now.all.values())
    config, n_classes = session.config.run.tokenization, len(session.class_names)
    try:
        probabilities = probabilities_by_words(session.texts.select(rows), labels, n_classes, config)
    except DataError:
        return []
    return _doubts(session, now, rows, probabilities)


def _doubts(session: Session, now: LabelSnapshot, rows: Rows, probabilities: NDArray[np.floating[Any]]) -> list[Doubt]:
    """The doubts about the labels of rows (n,), by probabilities (n, C); NaN says nothing of a label."""
    given = [now.all[row] for row in rows.tolist()]
    labels = session.label_array(given)
    quality = label_quality(probabilities, labels)
    if session.multilabel:  # what nothing is said of is taken as it was given
        probabilities = np.where(np.isnan(probabilities), labels, probabilities)
    return [
        Doubt(row=int(rows[i]), label=given[i], quality=float(quality[i]), guess=guess, probability=probability)
        for i in np.flatnonzero(~np.isnan(quality)).tolist()
        for guess, probability in [_guess(probabilities[i], session.multilabel)]
    ]


def _guess(probabilities: NDArray[np.floating[Any]], multilabel: bool) -> tuple[Label, float]:
    """What probabilities (C,) predict, and how probable that is."""
    if multilabel:
        return predicted_labels(probabilities.astype(np.float64))
    return int(probabilities.argmax()), float(probabilities.max())
