"""The next texts to label, for another tool."""

from dami_text.errors import DataError
from dami_text.labeling.asking import ask
from dami_text.labeling.exchange.matching import suggested, told_of
from dami_text.labeling.exchange.records import Record
from dami_text.labeling.rounds import explained, learner_with_labels
from dami_text.labeling.session import Session
from dami_text.labeling.snapshot import LabelSnapshot


def selected_records(session: Session, n: int) -> list[Record]:
    """The next n texts to label, most wanted first, with guesses and reasons; before there is a label, the queue's.

    Raises:
        DataError: nothing is left to label.
    """
    now, rounds = LabelSnapshot.of(session), len(session.store.rounds())
    if len({*now.all, *session.store.skipped(), *session.held_out.tolist()}) == session.copies.n_different:
        raise DataError(f"all texts of {session.folder} are labelled, skipped or held out; there is nothing to select")
    if len(now.rows):
        learner = learner_with_labels(session, now)
        items = explained(session, learner, ask(session, learner, n))
    else:
        decided = session.store.decided()
        queue = session.store.queue(rounds) + session.random_items(n, "select", "start")
        items = [item for item in queue if item.kind != "held-out" and item.row not in decided][:n]
    columns = session.own_columns([item.row for item in items])
    return [
        Record(
            id=session.id(item.row),
            text=session.text(item.row),
            round=rounds,
            own=own,
            **told_of(session, item),
            **suggested(session, item.row),
        )
        for item, own in zip(items, columns, strict=True)
    ]
