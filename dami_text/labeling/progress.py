"""How far a session is: counts, accuracy on held-out texts with its interval, what more labels may bring, agreement.

Every round predicts all texts that may be held out. So each new label of one of them tells of all rounds, and the
learning curve is measured on the same texts throughout: its differences are far more certain than its heights.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dami_text.config.fields import listed
from dami_text.labeling.session import Session
from dami_text.labeling.settled import Settled, settled
from dami_text.labeling.snapshot import PREDICTION, LabelSnapshot
from dami_text.labeling.store.queues import RoundRecord
from dami_text.labeling.unfound import Unfound, unfound
from dami_text.learning.projected_gain import Gain, projected_gain
from dami_text.models.scores import ClassReport

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from dami_text.data.texts import Texts

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Proportion:
    """A share of n texts with its 95% interval (Wilson 1927)."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, successes: int, n: int) -> "Proportion":
        """`successes` out of n; n is at least 1."""
        z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
        p, weight = successes / n, z * z / n
        middle = (p + weight / 2) / (1 + weight)
        half = z / (1 + weight) * (p * (1 - p) / n + weight / (4 * n)) ** 0.5
        return cls(p, 0.0 if successes == 0 else middle - half, 1.0 if successes == n else middle + half, n)

    def __str__(self) -> str:
        return f"{self.value:.1%} (95% interval {self.low:.1%} to {self.high:.1%}, {self.n} text{'s' * (self.n != 1)})"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Of two annotators on the n texts that both labelled: the share of equal labels, and Cohen's kappa.

    kappa is None where chance alone would make all labels equal.
    """

    first: str
    second: str
    n: int
    observed: float
    kappa: float | None

    def __str__(self) -> str:
        kappa = "undefined" if self.kappa is None else f"{self.kappa:.2f}"
        return f"Cohen's kappa {kappa}, {self.observed:.0%} equal, {self.n} text{'s' * (self.n != 1)}"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Everything that the page's side panel and `dami-text status` show.

    Texts that are the same count once; `n_copies` and `n_labeled_copies` are those beside them.
    """

    n_texts: int
    n_labeled: int
    n_skipped: int
    n_flagged: int
    by_class: dict[str, int]
    by_annotator: dict[str, int]
    rounds: int
    n_since_round: int
    query_size: int
    curve: list[tuple[int, float]]  # labelled texts and accuracy of each round
    accuracy: Proportion | None
    gain: Gain | None
    report: ClassReport | None = None
    settled: Settled | None = None
    unfound: Sequence[Unfound] = ()
    n_reviewed: int = 0
    n_copies: int = 0
    n_labeled_copies: int = 0
    recall: dict[str, Proportion] = field(default_factory=dict)  # of classes that held-out texts have

    @property
    def outlook(self) -> list[str]:
        """What is known of more labels beside the expected gain, in sentences without a full stop."""
        predictions = [f"Predictions {self.settled}"] if self.settled else []
        return [*predictions, *map(str, self.unfound)]


def progress_of(session: Session) -> Progress:
    """The session's progress now."""
    store = session.store
    with store.snapshot():
        labels = {row["row"]: row["label"] for row in store.labels()}
        decisions, rounds = store.decisions(), store.rounds()
        skipped, n_flagged, n_reviewed = store.skipped(), len(store.flags()), store.n_reviewed()
    counts = Counter(session.class_names[label] for label in labels.values())
    annotators = Counter(row["annotator"] for row in decisions if row["label"] is not None)
    right = held_out_hits(session, labels, rounds)
    last = held_out_hits(session, labels, rounds[-1:])
    sizes = np.array([record.n_labeled for record in rounds])
    measured = right.shape[0] and right.shape[1]
    return Progress(
        n_texts=session.copies.n_different,
        n_labeled=len(labels),
        n_copies=len(session.copies.others),
        n_labeled_copies=len(session.copies.with_all(labels)) - len(labels),
        n_skipped=len(skipped),
        n_flagged=n_flagged,
        by_class={name: counts[name] for name in session.class_names},
        by_annotator=dict(sorted(annotators.items())),
        rounds=len(rounds),
        n_since_round=max(0, len(labels) - (rounds[-1].n_labeled if rounds else 0)),  # labels may have been undone
        query_size=session.query_size() if rounds else session.initial_size(),
        curve=list(zip(sizes.tolist(), right.mean(axis=1).tolist(), strict=True)) if measured else [],
        accuracy=Proportion.of(int(last.sum()), last.size) if last.size else None,
        gain=projected_gain(sizes, right) if measured else None,
        report=_report(session, labels, rounds[-1]) if last.size else None,
        settled=settled(rounds),
        unfound=unfound(session, labels, set(skipped)),
        n_reviewed=n_reviewed,
        recall=_recall(session, labels, rounds[-1]) if last.size else {},
    )


def missing_classes(session: Session, now: LabelSnapshot) -> list[str]:
    """In words, which classes have no label to train on and which none to measure; empty before there are labels."""
    if not now.all:
        return []
    parts = {"to train on": now.labels.tolist(), "among the held-out": now.held_out.values()}
    found = {
        part: [name for i, name in enumerate(session.class_names) if i not in set(labels)]
        for part, labels in parts.items()
    }
    return [f"no label {part}: {listed(names)}" for part, names in found.items() if names]


def _measured(session: Session, labels: Mapping[int, int], record: RoundRecord) -> list[int]:
    """The places in `Session.held_out` of texts with a label that a round's model has predicted."""
    n = len(record.predictions) // PREDICTION.itemsize  # fewer than are held out where texts were added since
    return [i for i, row in enumerate(session.held_out[:n].tolist()) if row in labels]


def _predictions(
    session: Session, labels: Mapping[int, int], record: RoundRecord
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A round's predictions (V,) of the held-out texts with a label, and these labels (V,)."""
    places = _measured(session, labels, record)
    truth = np.array([labels[int(session.held_out[i])] for i in places], np.int64)
    return np.frombuffer(record.predictions, PREDICTION)[places].astype(np.int64), truth


def _report(session: Session, labels: Mapping[int, int], record: RoundRecord) -> ClassReport | None:
    """The report on a round's predictions of the held-out texts with a label."""
    return ClassReport.of(*_predictions(session, labels, record), session.class_names)


def _recall(session: Session, labels: Mapping[int, int], record: RoundRecord) -> dict[str, Proportion]:
    """Of each class that a held-out text has, the share of its held-out texts that a round's model recognizes."""
    predicted, truth = _predictions(session, labels, record)
    n_classes = len(session.class_names)
    present = np.bincount(truth, minlength=n_classes).tolist()
    right = np.bincount(truth[predicted == truth], minlength=n_classes).tolist()
    found = zip(session.class_names, right, present, strict=True)
    return {name: Proportion.of(n_right, n) for name, n_right, n in found if n}


def held_out_hits(session: Session, labels: Mapping[int, int], rounds: Sequence[RoundRecord]) -> NDArray[np.bool_]:
    """For each round (R,) and each held-out text with a label (V,), whether the round's model was right: (R, V).

    Texts that were added after one of the rounds are left out.
    """
    first = min(rounds, key=lambda record: len(record.predictions), default=None)
    places = _measured(session, labels, first) if first else []
    truth = np.array([labels[int(session.held_out[i])] for i in places], np.int64)
    hits = np.zeros((len(rounds), len(places)), bool)
    for record, line in zip(rounds, hits, strict=True):
        line[:] = np.frombuffer(record.predictions, PREDICTION)[places] == truth if places else False
    return hits


def measure(
    model: "PreTrainedModel", texts: "Texts", labels: Mapping[int, int], class_names: Sequence[str]
) -> tuple[Proportion | None, ClassReport | None]:
    """The accuracy of a model on the texts with these labels, by row, and the report; None where there are none."""
    from dami_text.models.inference import predict_probabilities

    if not labels:
        return None, None
    rows, truth = (np.array([*values], np.int64) for values in (labels.keys(), labels.values()))
    predicted = predict_probabilities(model, texts, rows).argmax(axis=1)
    return Proportion.of(int((predicted == truth).sum()), len(rows)), ClassReport.of(predicted, truth, class_names)


def agreements(session: Session) -> list[Agreement]:
    """How well each two annotators agree on the texts that both have labelled, not seeing the other's label."""
    given: dict[str, dict[int, int]] = {}
    for row in session.store.opinions():
        if row["label"] is not None:
            given.setdefault(row["annotator"], {})[row["row"]] = row["label"]
    found = []
    for first, second in combinations(sorted(given), 2):
        shared = sorted(given[first].keys() & given[second].keys())
        if shared:
            a, b = ([given[name][row] for row in shared] for name in (first, second))
            observed = sum(x == y for x, y in zip(a, b, strict=True)) / len(shared)
            expected = sum(a.count(label) * b.count(label) for label in {*a}) / len(shared) ** 2
            kappa = None if expected == 1 else (observed - expected) / (1 - expected)
            found.append(
                Agreement(
                    first=first,
                    second=second,
                    n=len(shared),
                    observed=observed,
                    kappa=None if kappa is None else float(kappa),
                )
            )
    return found
