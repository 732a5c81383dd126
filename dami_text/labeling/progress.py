"""How far a session is: counts, accuracy on held-out texts with its interval, what more labels may bring, agreement.

Every round predicts all texts that may be held out. So each new label of one of them tells of all rounds, and the
learning curve is measured on the same texts throughout: its differences are far more certain than its heights.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dami_text.config.fields import listed
from dami_text.data.labels import label_counts
from dami_text.labeling.label_progress import LabelAgreement, LabelReport
from dami_text.labeling.labels import Label, numbers_of
from dami_text.labeling.predictions import unpacked
from dami_text.labeling.session import Session
from dami_text.labeling.settled import Settled, settled
from dami_text.labeling.snapshot import LabelSnapshot
from dami_text.labeling.store.queues import RoundRecord
from dami_text.labeling.unfound import Unfound, unfound
from dami_text.learning.projected_gain import Gain, projected_gain
from dami_text.models.scores import ClassReport

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from dami_text.data.texts import Texts

CONFIDENCE = 0.95

#: How two annotators agree: `Agreement` where a text has one class.
Agreements = Sequence["Agreement | LabelAgreement"]


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

    @classmethod
    def of_f1(cls, predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> "Proportion | None":
        """Micro F1 of predictions (n, C) of labels (n, C), both 0 and 1, with its interval; None without any label.

        With J the share of right ones among all labels that are there or predicted, F1 is 2 J / (1 + J): the interval
        is that of J, whose decisions are taken as independent of each other.
        """
        found = int((predicted | labels).sum())
        if not found:
            return None
        share = cls.of(int((predicted & labels).sum()), found)
        value, low, high = (2 * j / (1 + j) for j in (share.value, share.low, share.high))
        return cls(value, low, high, len(labels))

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
    accuracy: Proportion | None  # micro F1 instead, here and in the curve, where a text has any number of labels
    gain: Gain | None
    report: ClassReport | LabelReport | None = None
    settled: Settled | None = None
    unfound: Sequence[Unfound] = ()
    n_reviewed: int = 0
    n_copies: int = 0
    n_labeled_copies: int = 0
    recall: dict[str, Proportion] = field(default_factory=dict)  # of classes that held-out texts have
    metric: str = "accuracy"
    n_without_label: int | None = None  # of any number of labels, texts whose answer is that none holds

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
    counts = Counter(session.class_names[number] for label in labels.values() for number in numbers_of(label))
    annotators = Counter(row["annotator"] for row in decisions if row["label"] is not None)
    measured = _measured_labels if session.multilabel else _measured_classes
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
        settled=settled(rounds, multilabel=session.multilabel),
        unfound=unfound(session, labels, set(skipped)),
        n_reviewed=n_reviewed,
        **measured(session, labels, rounds),
    )


def _measured_classes(session: Session, labels: Mapping[int, Label], rounds: Sequence[RoundRecord]) -> dict[str, Any]:
    """What held-out texts show of the rounds, where a text has one class."""
    right = held_out_hits(session, labels, rounds)
    last = held_out_hits(session, labels, rounds[-1:])
    sizes = np.array([record.n_labeled for record in rounds])
    measured = right.shape[0] and right.shape[1]
    return {
        "curve": list(zip(sizes.tolist(), right.mean(axis=1).tolist(), strict=True)) if measured else [],
        "accuracy": Proportion.of(int(last.sum()), last.size) if last.size else None,
        "gain": projected_gain(sizes, right) if measured else None,
        "report": _report(session, labels, rounds[-1]) if last.size else None,
        "recall": _recall(session, labels, rounds[-1]) if last.size else {},
    }


def _measured_labels(session: Session, labels: Mapping[int, Label], rounds: Sequence[RoundRecord]) -> dict[str, Any]:
    """What they show where a text has any number of labels: no gain, since F1 has no curve that is known well enough.

    Texts that were added after one of the rounds are no part of the curve.
    """
    none = {"metric": LabelReport.metric, "n_without_label": sum(label == () for label in labels.values())}
    if not rounds:
        return none | {"curve": [], "accuracy": None, "gain": None}
    common = _measured(session, labels, min(rounds, key=lambda record: len(_predicted(session, record))))
    truth = session.label_array(labels[int(session.held_out[i])] for i in common)
    scores = [Proportion.of_f1(_predicted(session, record)[common], truth) for record in rounds]
    predicted, last = _predictions(session, labels, rounds[-1])
    n_there, n_right = last.sum(axis=0).tolist(), (last * predicted).sum(axis=0).tolist()
    of_each = zip(session.class_names, n_right, n_there, strict=True)
    return none | {
        "curve": [(record.n_labeled, f1.value) for record, f1 in zip(rounds, scores, strict=True) if f1],
        "accuracy": Proportion.of_f1(predicted, last),
        "gain": None,
        "report": LabelReport.of(predicted, last, session.class_names),
        "recall": {name: Proportion.of(right, n) for name, right, n in of_each if n},
    }


def missing_classes(session: Session, now: LabelSnapshot) -> list[str]:
    """In words, which classes have no label to train on and which none to measure; empty before there are labels."""
    if not now.all:
        return []
    names = session.class_names
    parts = {"to train on": now.labels, "among the held-out": session.label_array(now.held_out.values())}
    found = {
        part: [name for name, n in zip(names, label_counts(labels, len(names)), strict=True) if not n]
        for part, labels in parts.items()
    }
    return [f"no label {part}: {listed(missing)}" for part, missing in found.items() if missing]


def _predicted(session: Session, record: RoundRecord) -> NDArray[np.int64]:
    """What a round's model predicts for the texts to hold out, fewer than there are where texts were added since.

    Classes (n,), or 0 and 1 for each label (n, C), 0 for those that came after the round.
    """
    if not session.multilabel:
        return unpacked(record.predictions)
    n_labels = len(record.details["class_counts"])
    predicted = unpacked(record.predictions, n_labels)
    return np.pad(predicted, ((0, 0), (0, len(session.class_names) - n_labels)))


def _measured(session: Session, labels: Mapping[int, Label], record: RoundRecord) -> list[int]:
    """The places in `Session.held_out` of texts with a label that a round's model has predicted."""
    n = len(_predicted(session, record))
    return [i for i, row in enumerate(session.held_out[:n].tolist()) if row in labels]


def _predictions(
    session: Session, labels: Mapping[int, Label], record: RoundRecord
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A round's predictions of the held-out texts with a label, and these labels: (V,), or (V, C)."""
    places = _measured(session, labels, record)
    truth = session.label_array(labels[int(session.held_out[i])] for i in places)
    return _predicted(session, record)[places], truth


def _report(session: Session, labels: Mapping[int, Label], record: RoundRecord) -> ClassReport | None:
    """The report on a round's predictions of the held-out texts with a label."""
    return ClassReport.of(*_predictions(session, labels, record), session.class_names)


def _recall(session: Session, labels: Mapping[int, Label], record: RoundRecord) -> dict[str, Proportion]:
    """Of each class that a held-out text has, the share of its held-out texts that a round's model recognizes."""
    predicted, truth = _predictions(session, labels, record)
    n_classes = len(session.class_names)
    present = np.bincount(truth, minlength=n_classes).tolist()
    right = np.bincount(truth[predicted == truth], minlength=n_classes).tolist()
    found = zip(session.class_names, right, present, strict=True)
    return {name: Proportion.of(n_right, n) for name, n_right, n in found if n}


def held_out_hits(session: Session, labels: Mapping[int, Label], rounds: Sequence[RoundRecord]) -> NDArray[np.bool_]:
    """For each round (R,) and each held-out text with a label (V,), whether the round's model was right: (R, V).

    Texts that were added after one of the rounds are left out.
    """
    first = min(rounds, key=lambda record: len(record.predictions), default=None)
    places = _measured(session, labels, first) if first else []
    truth = session.label_array(labels[int(session.held_out[i])] for i in places)
    hits = np.zeros((len(rounds), len(places)), bool)
    for record, line in zip(rounds, hits, strict=True):
        line[:] = _predicted(session, record)[places] == truth
    return hits


def measure(
    session: Session, model: "PreTrainedModel", texts: "Texts", labels: Mapping[int, Label]
) -> tuple[Proportion | None, ClassReport | LabelReport | None]:
    """The accuracy or micro F1 of a model on the texts with these labels, by row, and the report; None without any."""
    from dami_text.models.inference import predict_probabilities
    from dami_text.models.tasks import task_of

    if not labels:
        return None, None
    rows, truth = np.array([*labels], np.int64), session.label_array(labels.values())
    predicted = task_of(model).predicted(predict_probabilities(model, texts, rows))
    if session.multilabel:
        return Proportion.of_f1(predicted, truth), LabelReport.of(predicted, truth, session.class_names)
    right = int((predicted == truth).sum())
    return Proportion.of(right, len(rows)), ClassReport.of(predicted, truth, session.class_names)


def agreements(session: Session) -> Agreements:
    """How well each two annotators agree on the texts that both have labelled, not seeing the other's label."""
    given: dict[str, dict[int, Label]] = {}
    for row in session.store.opinions():
        if row["label"] is not None:
            given.setdefault(row["annotator"], {})[row["row"]] = row["label"]
    found: list[Agreement | LabelAgreement] = []
    for first, second in combinations(sorted(given), 2):
        shared = sorted(given[first].keys() & given[second].keys())
        if not shared:
            continue
        pairs = [(given[first][row], given[second][row]) for row in shared]
        if session.multilabel:
            sets = [(numbers_of(a), numbers_of(b)) for a, b in pairs]
            found.append(LabelAgreement.of(first, second, sets))
        else:
            found.append(_agreement(first, second, pairs))
    return found


def _agreement(first: str, second: str, pairs: Sequence[tuple[Label, Label]]) -> Agreement:
    """The agreement of two annotators who gave these classes to the same texts."""
    a, b = zip(*pairs, strict=True)
    observed = sum(x == y for x, y in pairs) / len(pairs)
    expected = sum(a.count(label) * b.count(label) for label in {*a}) / len(pairs) ** 2
    kappa = None if expected == 1 else float((observed - expected) / (1 - expected))
    return Agreement(first=first, second=second, n=len(pairs), observed=observed, kappa=kappa)
