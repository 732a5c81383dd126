"""The texts that a session asks for before it has a model."""

from collections.abc import Callable

import numpy as np

from dami_text.data.ids import Rows
from dami_text.labeling.session import Session, interleaved
from dami_text.labeling.store.queues import QueueItem
from dami_text.learning.learner import ActiveLearner
from dami_text.learning.preparation import text_learner
from dami_text.randomness import numpy_stream

#: What is encoded before the first text shows: so many texts, drawn at random, and so many words of theirs, but
#: ENOUGH texts for each one to ask for. A CPU takes a few seconds for them, and minutes for 10,000 texts.
MOST_TEXTS, MOST_WORDS, ENOUGH = 1_000, 25_000, 5

#: Cold starts that look at the features of texts alone, so that some of the texts will do.
BY_FEATURES = ("typical", "described", "kmeans-features")


def start_queue(session: Session, new_learner: Callable[[Session], ActiveLearner]) -> list[QueueItem]:
    """The texts to label before there is a model, chosen by the cold start that the options name, and a reserve.

    `new_learner` makes a learner of all texts, for a cold start that needs one.
    """
    n = session.initial_size()
    held_out = session.items(session.to_hold_out(n), "held-out")
    n_first = n - len(held_out)
    further = session.random_items(n_first + 2 * session.query_size(), "start", "start")
    first = chosen(session, n_first, new_learner) or further[:n_first]
    rows = {item.row for item in first}
    reserve = [item for item in further if item.row not in rows][: 2 * session.query_size()]
    return [*interleaved(first, held_out), *reserve]


def chosen(session: Session, n: int, new_learner: Callable[[Session], ActiveLearner]) -> list[QueueItem]:
    """The n texts of a cold start that is not random, fewer where there are no more; empty for a random one."""
    run = session.config.run
    kind = run.loop.cold_start  # auto has become another when the session was made
    if kind == "random" and run.loop.init_model is None:
        return []
    if kind in BY_FEATURES and run.model.freeze_encoder:
        rows = some_texts(session, n)
        if not len(rows):
            return []
        query = text_learner(session.texts.select(rows), session.class_names, run).ask(n)
        reasons = [{**reason, "strategy": kind, "considered": len(rows)} for reason in query.reasons]
        return session.items(rows[query.rows].tolist(), "asked", reasons)
    learner = new_learner(session)
    learner.exclude([row["row"] for row in session.store.labels()])
    if not len(learner.pool.unlabeled):
        return []
    query = learner.ask(n)
    name = run.strategy.strategy if kind == "strategy" or run.loop.init_model is not None else kind
    reasons = [{**reason, "strategy": name} for reason in query.reasons]
    return session.items(query.rows.tolist(), "asked", reasons)


def some_texts(session: Session, n: int) -> Rows:
    """Rows that a start of n texts may ask for, at random, so few that their features take seconds."""
    free = np.setdiff1d(np.arange(len(session)), [*session.held_out, *session.copies.others])
    free = np.setdiff1d(free, [row["row"] for row in session.store.labels()])
    rows = numpy_stream(session.seed, 0, "start sample").permutation(free)[:MOST_TEXTS]
    lengths = [len(text.split()) for text in session.texts.select(rows)["text"]] if len(rows) else []
    within = int(np.searchsorted(np.cumsum(lengths), MOST_WORDS, side="right"))
    return np.sort(rows[: max(within, ENOUGH * n)])
