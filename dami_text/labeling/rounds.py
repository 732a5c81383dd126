"""A round of labelling for real: the labels so far are told to a new learner, which is asked for the next queue.

It is the simulation's own learner, in a process of its own for each round (`python -m dami_text.labeling.rounds
SESSION`), so that a page goes on while it trains and survives whatever happens to it. A round depends on the session's
options, its number and the labels, and nothing of it counts before the one transaction that records it.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from transformers import PreTrainedModel

from dami_text.data.hub import no_progress_bars
from dami_text.data.texts import Texts
from dami_text.errors import BusyError, DamiError, TrainingError
from dami_text.files import remove_unfinished, whole_folder
from dami_text.labeling.creation import new_session
from dami_text.labeling.session import MODEL, Session, SessionConfig, interleaved
from dami_text.labeling.snapshot import PREDICTION, LabelSnapshot
from dami_text.labeling.store.queues import Kind, QueueItem, RoundRecord
from dami_text.learning.explaining import prediction_weights, telling_weights
from dami_text.learning.learner import ActiveLearner
from dami_text.learning.preparation import text_learner
from dami_text.models.inference import predict_probabilities
from dami_text.strategies import Explaining, Query, QueryStrategy, build_strategy, require_given

LOCK = ".trainer.lock"


def word_weights(strategy: QueryStrategy, model: PreTrainedModel, texts: Texts, row: int) -> list[list[float]]:
    """For each word of a text where it begins and ends, and its weight.

    The weight is that in the strategy's choice or, where the strategy has none, that in the model's prediction. Bare
    punctuation is left out, unless the text is nothing else.
    """
    if isinstance(strategy, Explaining):
        weights = strategy.explain(model, texts, row)
    else:
        weights = prediction_weights(model, texts, row)
    return [[start, end, weight] for (start, end), weight in telling_weights(texts, row, weights)]


def new_learner(session: Session) -> ActiveLearner:
    """A learner of the session's texts that knows no label and asks for none that is held out."""
    learner = text_learner(session.texts, session.class_names, session.config.run)
    learner.exclude(session.held_out)
    return learner


def learner_with_labels(session: Session, now: LabelSnapshot) -> ActiveLearner:
    """A learner that knows the labels so far, in the session's next round, and asks for nothing skipped or held out.

    Raises:
        TrainingError: there is no label to train on.
    """
    if not len(now.rows):
        raise TrainingError("there is no labelled text to train on; label one at least")
    learner = new_learner(session)
    learner.exclude(session.store.skipped())
    learner.tell(now.rows, now.labels, round_number=now.round)
    return learner


def start_queue(session: Session) -> list[QueueItem]:
    """The texts to label before there is a model, chosen by the cold start that the options name, and a reserve."""
    n, loop = session.initial_size(), session.config.run.loop
    held_out = session.items(session.to_hold_out(n), "held-out")
    further = session.random_items(n - len(held_out) + 2 * session.query_size(), "start", "start")
    first, reserve = further[: n - len(held_out)], further[n - len(held_out) :]
    if loop.cold_start != "random" or loop.init_model is not None:
        learner = new_learner(session)
        learner.exclude([row["row"] for row in session.store.labels()])
        if len(learner.pool.unlabeled):
            query = learner.ask(min(n - len(held_out), len(learner.pool.unlabeled)))
            by_strategy = loop.cold_start == "strategy" or loop.init_model is not None
            name = session.config.run.strategy.strategy if by_strategy else loop.cold_start
            reasons = [{**reason, "strategy": name} for reason in query.reasons]
            first = session.items(query.rows.tolist(), "asked", reasons)
            chosen = set(query.rows.tolist())
            reserve = [item for item in further if item.row not in chosen][: 2 * session.query_size()]
    return [*interleaved(first, held_out), *reserve]


def create_session(folder: Path, config: SessionConfig) -> Session:
    """Make a session of the texts that `config.run.data` names, with the queue of its start.

    Raises:
        DamiError: as `new_session`, and for a strategy, a model, word vectors or a cold start that cannot work; the
            folder is not made then.
    """
    # What cannot work is told now: after the first labels the options cannot be changed any more.
    build_strategy(config.run.strategy)

    def begin(session: Session) -> None:
        run = session.config.run  # with the model that is chosen, where that was left open
        kind = run.model.kind
        kind.require(run)
        if kind.reads_files(run):
            text_learner(session.texts.select(range(2)), session.class_names, run)
        if not kind.is_pretrained:  # what an encoder gives is known when it is read
            given = kind.gives | (kind.takes & {"dropout"})  # `check_together` has seen that its rate is above 0
            require_given(build_strategy(run.strategy), given, run.strategy.strategy)
        session.store.extend_queue(0, start_queue(session))

    return new_session(folder, config, begin)


def train_round(session: Session) -> RoundRecord:
    """Train on the labels so far, choose the next queue, and record both; the reserve of the queue comes after that."""
    start = time.perf_counter()
    now = LabelSnapshot.of(session)
    learner = learner_with_labels(session, now)
    number = learner.round
    training = learner.train()
    model = learner.trained_model()
    trained = time.perf_counter()

    held_out = session.to_hold_out(session.query_size())
    free = len(learner.pool.unlabeled)
    n = min(session.query_size() - len(held_out), free)
    query = learner.ask(n) if n > 0 else Query.of(np.zeros(0, np.int64))
    asked = explained(session, learner, query)
    items = interleaved(asked, with_guesses(session, learner, session.items(held_out, "held-out")))
    predictions = predict_probabilities(model, learner.pool.texts, session.held_out)
    with whole_folder(session.folder / MODEL, overwrite=True) as unfinished:
        learner.save_pretrained(unfinished)
    record = RoundRecord(
        number=number,
        through=now.through,
        n_labeled=len(now.all),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        details={
            "n_trained_on": len(now.rows),
            "class_counts": np.bincount(now.labels, minlength=len(session.class_names)).tolist(),
            "steps": training.steps,
            "seconds": {"train": round(trained - start, 3), "query": round(time.perf_counter() - trained, 3)},
            "query": dict(query.details),
        },
        predictions=predictions.argmax(axis=1).astype(PREDICTION).tobytes() if len(session.held_out) else b"",
    )
    session.store.finish_round(record, items)

    reserve = min(2 * session.query_size(), free - n)
    if reserve > 0:
        learner.exclude(query.rows)
        further = explained(session, learner, learner.ask(reserve), "reserve")
        session.store.extend_queue(number + 1, further)
    return record


def explained(session: Session, learner: ActiveLearner, query: Query, kind: Kind = "asked") -> list[QueueItem]:
    """The query as queue items, each with its reason, the weights of its words, and the model's guess."""
    model, texts = learner.trained_model(), learner.pool.texts
    name = session.config.run.strategy.strategy
    reasons: list[dict[str, Any]] = [
        {**reason, "strategy": name, "shades": word_weights(learner.strategy, model, texts, int(row))}
        for row, reason in zip(query.rows, query.reasons, strict=True)
    ]
    return with_guesses(session, learner, session.items(query.rows.tolist(), kind, reasons))


def with_guesses(session: Session, learner: ActiveLearner, items: Sequence[QueueItem]) -> list[QueueItem]:
    """The items with the model's guess, the class of the highest probability, and that probability."""
    if not items:
        return []
    rows = np.array([item.row for item in items])
    probabilities = predict_probabilities(learner.trained_model(), learner.pool.texts, rows)
    return [
        replace(item, reason={**item.reason, "guess": int(p.argmax()), "probability": round(float(p.max()), 4)})
        for item, p in zip(items, probabilities, strict=True)
    ]


@contextmanager
def locked(session: Session) -> Iterator[None]:
    """Keep trainings away inside the block; BusyError if one is under way."""
    lock = FileLock(session.folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BusyError(f"a model of {session.folder} is in training; wait for its end") from None
    try:
        yield
    finally:
        lock.release()


def main() -> int:
    """Train one round of the session named on the command line, unless another process does already."""
    no_progress_bars()
    folder = Path(sys.argv[1])
    try:
        with FileLock(folder / LOCK, timeout=0):
            remove_unfinished(folder / MODEL)
            with Session(folder) as session:
                train_round(session)
    except Timeout:
        return 0
    except DamiError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
