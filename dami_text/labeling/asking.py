"""What a session asks for once it has a model: by disagreement or by the strategy, and no two texts nearly the same."""

from typing import Any

import numpy as np

from dami_text.data.ids import Rows
from dami_text.data.similarity import compared_features, similarities
from dami_text.data.texts import Texts
from dami_text.labeling.session import Session
from dami_text.labeling.suggestions import NONE
from dami_text.learning.learner import ActiveLearner
from dami_text.models.inference import predict_probabilities
from dami_text.strategies import Query

BLOCK = 10_000  # texts that are compared at once


def ask(session: Session, learner: ActiveLearner, n: int, beside: Rows | None = None) -> Query:
    """The n rows to label next, most wanted first; fewer where all others are nearly the same as these.

    With `--ask disagreement` those come first for which the model, trained on people's labels, is surest of another
    class than the one suggested. No two of the rows have features whose cosine similarity is `--near-duplicates` or
    more, and none has with those of `beside`. Only features that are there already are compared: a frozen encoder's,
    and TF-IDF.
    """
    labeling, whole = session.config.labeling, learner.pool
    kept: list[tuple[int, Any]] = []
    details: dict[str, Any] = {}
    try:
        if beside is not None:
            _leave_out_like(learner, beside, labeling.near_duplicates)
        by_disagreement = labeling.ask == "disagreement"
        while len(kept) < n and len(learner.pool.unlabeled):
            query = _disagreements(session, learner, n - len(kept)) if by_disagreement else None
            if query is None:
                by_disagreement = False
                query = learner.ask(n - len(kept))
                details = details or dict(query.details)
            apart = _apart(learner.pool.texts, query.rows, labeling.near_duplicates)
            kept += [(int(query.rows[place]), query.reasons[place]) for place in apart]
            _leave_out_like(learner, query.rows[apart], labeling.near_duplicates)
    finally:
        learner.pool = whole
    return Query.of(np.array([row for row, _ in kept], np.int64), [reason for _, reason in kept], **details)


def _disagreements(session: Session, learner: ActiveLearner, n: int) -> Query | None:
    """At most n rows whose suggestion the model contradicts, by how much likelier its class is; None without one."""
    suggestions, rows = session.suggestions, learner.pool.unlabeled
    assert suggestions is not None  # the options have seen to it
    rows = rows[suggestions.labels[rows] != NONE]
    if not len(rows):
        return None
    suggested = suggestions.labels[rows]
    probabilities = predict_probabilities(learner.trained_model(), learner.pool.texts, rows)
    margin = probabilities.max(axis=1) - probabilities[np.arange(len(rows)), suggested]
    order = np.argsort(-margin, kind="stable")
    order = order[margin[order] > 0][:n]
    if not len(order):
        return None
    reasons = [{"strategy": "disagreement", "score": round(float(margin[place]), 4)} for place in order]
    return Query.of(rows[order], reasons)


def _leave_out_like(learner: ActiveLearner, rows: Rows, threshold: float) -> None:
    """Leave rows, and those that are nearly the same, out of the learner's pool."""
    learner.pool = learner.pool.without(rows)
    free = learner.pool.unlabeled
    features = compared_features(learner.pool.texts)
    if features is None or threshold >= 1 or not len(rows):
        return
    near = [
        similarities(features, free[start : start + BLOCK], rows).max(axis=1) >= threshold
        for start in range(0, len(free), BLOCK)
    ]
    if near:
        learner.pool = learner.pool.without(free[np.concatenate(near)])


def _apart(texts: Texts, rows: Rows, threshold: float) -> list[int]:
    """The places of rows (n,) that are not nearly the same as an earlier one that is kept."""
    features = compared_features(texts)
    if features is None or threshold >= 1:
        return list(range(len(rows)))
    similarity = similarities(features, rows, rows)
    kept: list[int] = []
    for place in range(len(rows)):
        if not kept or similarity[place, kept].max() < threshold:
            kept.append(place)
    return kept
