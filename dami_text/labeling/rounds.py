"""A round of labelling for real: the labels so far are told to a new learner, which is asked for the next queue.

It is the simulation's own learner. A round depends on the session's options, its number and the labels, and nothing of
it counts before the one transaction that records it. A page has rounds done in a process of their own (see `worker`).
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from dami_text.data.ids import Rows
from dami_text.data.labels import label_counts
from dami_text.data.texts import Texts
from dami_text.data.tokenization import encode
from dami_text.errors import TrainingError
from dami_text.files import whole_folder
from dami_text.labeling.asking import ask
from dami_text.labeling.creation import new_session
from dami_text.labeling.doubts import doubts_of
from dami_text.labeling.pool_scores import PoolScores, guess_of
from dami_text.labeling.predictions import packed
from dami_text.labeling.session import MODEL, Session, SessionConfig, interleaved
from dami_text.labeling.settled import compressed, stop_rows
from dami_text.labeling.snapshot import LabelSnapshot
from dami_text.labeling.start import start_queue
from dami_text.labeling.store.queues import Kind, QueueItem, RoundRecord
from dami_text.learning.explaining import prediction_weights, telling_weights
from dami_text.learning.learner import ActiveLearner
from dami_text.learning.preparation import EncodedPool, encoded_pool, text_learner
from dami_text.models.inference import predict_probabilities
from dami_text.models.tasks import task_of
from dami_text.strategies import Explaining, Query, QueryStrategy, build_strategy, require_given, require_multilabel


def word_weights(strategy: QueryStrategy, model: PreTrainedModel, texts: Texts, rows: Rows) -> list[list[list[float]]]:
    """Of each text at `rows` (n,), for each word where it begins and ends, and its weight.

    The weight is that in the strategy's choice or, where the strategy has none, that in the model's prediction. Bare
    punctuation is left out, unless the text is nothing else.
    """
    if isinstance(strategy, Explaining):
        weights = strategy.explain(model, texts, rows)
    else:
        weights = prediction_weights(model, texts, rows)
    return [
        [[start, end, weight] for (start, end), weight in telling_weights(texts, row, of_text)]
        for row, of_text in zip(rows.tolist(), weights, strict=True)
    ]


def encoded_texts(session: Session) -> EncodedPool:
    """The session's texts as its models read them: what all rounds have in common until texts or options change."""
    return encoded_pool(session.texts, session.class_names, session.config.run)


def new_learner(session: Session, texts: EncodedPool | None = None) -> ActiveLearner:
    """A learner of the session's texts that knows no label and asks for none that is held out, nor for copies.

    `texts` are `encoded_texts` of the session as it is now, where they are at hand.
    """
    learner = (texts or encoded_texts(session)).learner()
    learner.exclude([*session.held_out, *session.copies.others])
    return learner


def learner_with_labels(session: Session, now: LabelSnapshot, texts: EncodedPool | None = None) -> ActiveLearner:
    """A learner that knows the labels so far, in the session's next round, and asks for nothing skipped or held out.

    Raises:
        TrainingError: there is no label to train on.
    """
    if not len(now.rows):
        raise TrainingError("there is no labelled text to train on; label one at least")
    learner = new_learner(session, texts)
    learner.exclude(session.store.skipped())
    learner.tell(now.rows, now.labels, round_number=now.round)
    return learner


def create_session(folder: Path, config: SessionConfig) -> Session:
    """Make a session of the texts that `config.run.data` names, with the queue of its start.

    Raises:
        DamiError: as `new_session`, and for a strategy, a model, word vectors or a cold start that cannot work; the
            folder is not made then.
    """
    # What cannot work is told now: after the first labels the options cannot be changed any more.
    strategy, name = build_strategy(config.run.strategy), config.run.strategy.strategy
    if config.run.data.is_multilabel:
        require_multilabel(strategy, name)

    def begin(session: Session) -> None:
        run = session.config.run  # with the model that is chosen, where that was left open
        kind = run.model.kind
        kind.require(run)
        if kind.reads_files(run) and run.loop.cold_start == "random":  # otherwise the start reads them
            reader = text_learner(Dataset.from_dict({"text": ["a", "b"]}), session.class_names, run).preprocessor
            if isinstance(reader, PreTrainedTokenizerFast) and kind.is_pretrained:
                encode(session.texts, reader)  # which counts the long texts
        if not kind.is_pretrained:  # what an encoder gives is known when it is read
            given = kind.gives | (kind.takes & {"dropout"})  # `check_together` has seen that its rate is above 0
            require_given(strategy, given, name)
        session.store.extend_queue(0, start_queue(session, new_learner))

    return new_session(folder, config, begin)


def train_round(session: Session, texts: EncodedPool | None = None) -> RoundRecord:
    """Train on the labels so far, choose the next queue, and record both; the reserve of the queue comes after that.

    `texts` are as for `new_learner`; the round is the same with and without them.
    """
    start = time.perf_counter()
    now = LabelSnapshot.of(session)
    learner = learner_with_labels(session, now, texts)
    number = learner.round
    training = learner.train()
    learner.trained_model()
    trained = time.perf_counter()

    held_out = session.to_hold_out(session.query_size())
    free = len(learner.pool.unlabeled)
    n = min(session.query_size() - len(held_out), free)
    query = ask(session, learner, n) if n > 0 else Query.of(np.zeros(0, np.int64))
    asked = explained(session, learner, query)
    items = interleaved(asked, with_guesses(session, learner, session.items(held_out, "held-out")))
    predicted, stop_set = (_predicted(session, learner, rows) for rows in (session.held_out, stop_rows(session)))
    with whole_folder(session.folder / MODEL, overwrite=True) as unfinished:
        learner.save_pretrained(unfinished)
    record = RoundRecord(
        number=number,
        through=now.through,
        n_labeled=len(now.all),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        details={
            "n_trained_on": len(now.rows),
            "class_counts": label_counts(now.labels, len(session.class_names)).tolist(),
            "steps": training.steps,
            "seconds": {"train": round(trained - start, 3), "query": round(time.perf_counter() - trained, 3)},
            "query": dict(query.details),
            "stop_set_of": len(session),
        },
        predictions=packed(predicted),
        stop_set=compressed(stop_set),
    )
    session.store.finish_round(record, items, doubts_of(session, now, learner, training))

    reserve = min(2 * session.query_size(), free - n)
    if reserve > 0:
        further = explained(session, learner, ask(session, learner, reserve, beside=query.rows), "reserve")
        session.store.extend_queue(number + 1, further)
    PoolScores.of(session, learner).save(session.folder)
    return record


def _predicted(session: Session, learner: ActiveLearner, rows: Rows) -> NDArray[np.int64]:
    """What the learner's model predicts for rows (n,): classes (n,), or 0 and 1 for each label (n, C)."""
    if not len(rows):
        return session.label_array([])
    model = learner.trained_model()
    return task_of(model).predicted(predict_probabilities(model, learner.pool.texts, rows))


def explained(session: Session, learner: ActiveLearner, query: Query, kind: Kind = "asked") -> list[QueueItem]:
    """The query as queue items, each with its reason, the weights of its words, and the model's guess."""
    model, texts = learner.trained_model(), learner.pool.texts
    name = session.config.run.strategy.strategy
    shades = word_weights(learner.strategy, model, texts, query.rows)
    reasons: list[dict[str, Any]] = [
        {"strategy": name, **reason, "shades": of_text} for reason, of_text in zip(query.reasons, shades, strict=True)
    ]
    return with_guesses(session, learner, session.items(query.rows.tolist(), kind, reasons))


def with_guesses(session: Session, learner: ActiveLearner, items: Sequence[QueueItem]) -> list[QueueItem]:
    """The items with the model's guess in their reasons."""
    if not items:
        return []
    rows = np.array([item.row for item in items])
    probabilities = predict_probabilities(learner.trained_model(), learner.pool.texts, rows)
    guesses = [guess_of(p, multilabel=session.multilabel) for p in probabilities]
    return [replace(item, reason={**item.reason, **guess}) for item, guess in zip(items, guesses, strict=True)]
