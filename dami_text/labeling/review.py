"""A second look at labels, from the most doubtful: who looks at which next, and the same as a table."""

from dami_text.labeling.exchange.records import Record
from dami_text.labeling.session import Session
from dami_text.labeling.snapshot import LabelSnapshot
from dami_text.labeling.store.doubts import Doubt
from dami_text.labeling.store.events import Shown


class Review:
    """The second looks of all annotators of a session; what somebody passed over comes again when they begin anew."""

    def __init__(self, session: Session, lease_seconds: float) -> None:
        self._session, self._lease_seconds = session, lease_seconds
        self._passed: dict[str, set[int]] = {}

    def begin(self, annotator: str) -> None:
        """Begin anew."""
        self._passed[annotator] = set()

    def pass_over(self, annotator: str, row: int) -> None:
        """Leave a row for another time."""
        self._passed.setdefault(annotator, set()).add(row)

    def next(self, annotator: str) -> tuple[Shown, Doubt, int] | None:
        """What this annotator looks at next, with its doubt, and how many labels are left; None at the end."""
        doubts = [d for d in self._session.store.doubts() if d.row not in self._passed.get(annotator, ())]
        for doubt in doubts:
            if (shown := self._session.store.lease(doubt.row, annotator, self._lease_seconds)) is not None:
                return shown, doubt, len(doubts)
        return None


def find_doubts(session: Session) -> None:
    """Judge all labels anew, unless that was done with the very labels that there are.

    Raises:
        TrainingError: there is no label to train on.
    """
    from dami_text.labeling.doubts import doubts_by_words, doubts_of  # torch, which a page has no use for
    from dami_text.labeling.rounds import learner_with_labels

    now = LabelSnapshot.of(session)
    if session.store.meta("doubts_through") == now.through:
        return
    model = session.config.run.model
    if model.freeze_encoder or model.model == "linear" or not len(now.rows):
        learner = learner_with_labels(session, now)
        doubts = doubts_of(session, now, learner, learner.train())
    else:
        doubts = doubts_by_words(session, now)
    session.store.set_doubts(doubts, now.through)


def doubtful_records(session: Session) -> list[Record]:
    """The labelled texts that had no second look, the most doubtful first, as records of the label that each has."""
    with session.store.snapshot():
        doubts, labels = session.store.doubts(), {row["row"]: row for row in session.store.labels()}
    columns = session.own_columns([doubt.row for doubt in doubts])
    return [
        Record(
            id=session.id(doubt.row),
            text=session.text(doubt.row),
            label=session.named(doubt.label),
            status="labelled",
            guess=session.named(doubt.guess),
            score=round(doubt.probability, 4),
            reason={"quality": round(doubt.quality, 4)},
            own=own,
            **{field: labels[doubt.row][field] for field in ("annotator", "time", "seconds", "round")},
        )
        for doubt, own in zip(doubts, columns, strict=True)
    ]
