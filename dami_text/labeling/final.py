"""The final model of a session and its card, in a folder that is there whole or not at all."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from dami_text.config.conflicts import WITH_VALIDATION
from dami_text.data.ids import text_hash
from dami_text.errors import ConfigError, DataError, RecordError
from dami_text.escaping import to_json
from dami_text.files import whole_folder
from dami_text.labeling.label_progress import LabelReport
from dami_text.labeling.progress import Agreements, Progress, Proportion, agreements, measure, progress_of
from dami_text.labeling.rounds import learner_with_labels
from dami_text.labeling.session import FILE_ANNOTATOR, Session, SessionConfig
from dami_text.labeling.snapshot import LabelSnapshot
from dami_text.learning.learner import ActiveLearner
from dami_text.models.auto import is_own
from dami_text.models.scores import ClassReport
from dami_text.models.threshold import FEWEST, choose_thresholds, move, move_threshold, rarer_class
from dami_text.models.training import Training
from dami_text.publishing.cards import AnnotatorLabels, CardFacts, model_card

RECORD = "labeling.json"  # beside the model: what it was made of


@dataclass(frozen=True, kw_only=True)
class FinalModel:
    """What a model was made of.

    Attributes:
        made_of: a hash of the texts, the options and the labels.
        n_texts, n_labeled, n_trained_on: texts, those with a label, and those among them that trained it.
        accuracy, report: on the held-out texts that have a label; None where none has. Of any number of labels a text,
            micro F1 instead of the accuracy.
        merged: whether its adapter is merged.
        threshold: in words, from which probability on the rarer class is predicted, where that was moved.
    """

    made_of: str
    n_texts: int
    n_labeled: int
    n_trained_on: int
    accuracy: Proportion | None
    report: ClassReport | LabelReport | None = None
    merged: bool = False
    threshold: str | None = None
    metric: str = "accuracy"

    @classmethod
    def read(cls, folder: Path) -> "FinalModel | None":
        """What the model in `folder` was made of; None where there is none of a session's."""
        try:
            found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            accuracy, report = found.pop("accuracy"), found.pop("report", None)
            kind = LabelReport if found.get("metric") == LabelReport.metric else ClassReport
            return cls(
                **found,
                accuracy=None if accuracy is None else Proportion(**accuracy),
                report=None if report is None else kind(**report),
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


def fine_tuning(config: SessionConfig) -> SessionConfig:
    """The config of a session whose encoder is to be fine-tuned on pairs of labelled texts.

    Raises:
        ConfigError: its model is no encoder, or has an adapter; or a text has any number of labels.
    """
    model = config.run.model
    if config.run.data.is_multilabel:
        raise ConfigError("--fine-tune is for one class a text, and the session has any number of labels; leave it out")
    if not model.kind.is_pretrained:
        raise ConfigError(f"--fine-tune is for a session with an encoder, and its model is {model.model}; leave it out")
    if model.lora is not None:
        raise ConfigError("--fine-tune is for a whole encoder, and the session's learns by an adapter; leave it out")
    return replace(config, run=config.run.changed(freeze_encoder=False, contrastive=True))


def check_threshold(session: Session, now: LabelSnapshot) -> None:
    """Raise an error if the final model's threshold cannot be chosen.

    Raises:
        ConfigError: there are neither two classes nor any number of labels, or the model is no linear one.
        DataError: the rarer class has too few labels.
    """
    model, names = session.config.run.model, session.class_names
    if len(names) != 2 and not session.multilabel:
        raise ConfigError(f"--threshold is for two classes, and the session has {len(names)}; leave it out")
    if not model.is_regression:
        what = f"{model.model}, fine-tuned" if model.kind.is_pretrained else model.model
        raise ConfigError(f"--threshold is for linear and for frozen encoders, and the model is {what}; leave it out")
    if session.multilabel:
        return  # a label of too few texts keeps one half
    rarer = rarer_class(now.labels)
    if (n := int((now.labels == rarer).sum())) < FEWEST:
        raise DataError(
            f"--threshold needs {FEWEST} texts of each class to train on, and {names[rarer]!r} has {n}; label more, or "
            "leave it out"
        )


def train_final(
    session: Session, folder: Path, merged: bool = False, *, overwrite: bool = False, threshold: bool = False
) -> FinalModel:
    """Train a model on all labels but those held out and write it with tokenizer and card; what it was made of.

    A model of the very same labels that is in `folder` already is left as it is: the same command again is done at
    once. With `merged`, a model's adapter is merged. With `overwrite`, the model takes the place of what is there. With
    `threshold`, the rarer of two classes is predicted from the probability on at which its F1 is highest, or each of
    any number of labels.

    Raises:
        TrainingError: there is no label to train on.
        ConfigError, DataError: as of `check_threshold`.
        RecordError: `folder` holds something else, or cannot be written.
    """
    with session.store.snapshot():
        now, done, agreed = LabelSnapshot.of(session), progress_of(session), agreements(session)
        sizes = [record.n_labeled for record in session.store.rounds()]
    if threshold:
        check_threshold(session, now)
    made_of = text_hash(repr((session.fingerprint, session.config, now.all, *["threshold"] * threshold))).hex()
    found = FinalModel.read(folder)
    if found is not None and (found.made_of, found.merged) == (made_of, merged):
        return found
    try:
        if not overwrite and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = "a model of other labels" if found else "something else"
            if found is not None and found.made_of == made_of:
                what = f"this model {'merged' if found.merged else 'as an adapter'}"
            raise RecordError(f"{folder} is there already and holds {what}; choose another with --output-dir")
        with whole_folder(folder, overwrite=overwrite) as unfinished:
            learner = learner_with_labels(session, now)
            training = learner.train()
            model = learner.trained_model()
            moved = _moved_threshold(session, learner, training) if threshold else None
            learner.save_pretrained(unfinished, merged)
            accuracy, report = measure(session, model, learner.pool.texts, now.held_out)
            final = FinalModel(
                made_of=made_of,
                n_texts=done.n_texts,
                n_labeled=len(now.all),
                n_trained_on=len(now.rows),
                accuracy=accuracy,
                report=report,
                merged=merged,
                threshold=moved,
                metric=done.metric,
            )
            facts = card_facts(session, done, sizes, agreed, final)
            told = learner.pool.texts.long_texts
            facts = replace(facts, needs_dami_text=is_own(model), long_texts=told, merged=merged)
            card = model_card(facts)
            (unfinished / "README.md").write_text(str(card), encoding="utf-8")
            (unfinished / RECORD).write_text(to_json(asdict(final)) + "\n", encoding="utf-8")
    except OSError as error:
        raise RecordError(f"cannot write {folder}: {error}; choose another with --output-dir") from error
    return final


def _moved_threshold(session: Session, learner: ActiveLearner, training: Training) -> str:
    """Move the threshold of the learner's model, and say so in words."""
    model, cross_validated = learner.trained_model(), training.cross_validated
    assert cross_validated is not None
    if session.multilabel:
        chosen = choose_thresholds(cross_validated, learner.labels)
        move(model, chosen)
        before, after = np.mean([(each.f1_before, each.f1_after) for each in chosen] or [(0.0, 0.0)], axis=0)
        return (
            f"{len(chosen)} of {len(session.class_names)} labels from a probability of their own on, which is moved to "
            f"0.5: their mean F1 among cross-validated labels is {after:.2f}, and was {before:.2f}"
        )
    found = move_threshold(model, cross_validated, learner.labels)
    name = session.class_names[found.number]
    return (
        f"{name!r} from a probability of {found.probability:.2g} on, which is moved to 0.5: "
        f"its F1 among cross-validated labels is {found.f1_after:.2f}, and was {found.f1_before:.2f}"
    )


def card_facts(
    session: Session, done: Progress, sizes: Sequence[int], agreed: Agreements, final: FinalModel
) -> CardFacts:
    """What the card of a session's model tells: no text of the pool, and no annotator's name.

    `sizes` are the numbers of labels of the rounds.
    """
    config, accuracy, report = session.config.run, final.accuracy, final.report
    options = session.config.options() | {"initial_size": session.initial_size(), "query_size": session.query_size()}
    for name in ("labels", "validation", *WITH_VALIDATION):  # the card has labels with counts; the others do nothing
        options.pop(name)
    options |= {} if final.threshold is None else {"threshold": final.threshold}
    name = "micro_f1" if session.multilabel else "accuracy"
    measured = [{name: value} for _, value in done.curve] or [{} for _ in sizes]
    by_annotator = dict(done.by_annotator)
    return CardFacts(
        config=config,
        options=options,
        n_texts=final.n_texts,
        n_labeled=done.n_labeled,
        class_counts=done.by_class,
        rounds=[*zip(sizes, measured, strict=True)],
        metrics=_metrics(report),
        curve_metric=name,
        commit=None,
        labels=AnnotatorLabels(
            n_before=by_annotator.pop(FILE_ANNOTATOR, 0),
            n_trained_on=final.n_trained_on,
            n_held_out=final.n_labeled - final.n_trained_on,
            by_annotator=sorted(by_annotator.values(), reverse=True),
            agreements=[*map(str, agreed)],
            accuracy=None if accuracy is None else str(accuracy),
        ),
        report=report if isinstance(report, ClassReport) else None,
        n_without_label=done.n_without_label,
    )


def _metrics(report: ClassReport | LabelReport | None) -> dict[str, float]:
    """What a report measures, by the names of metrics."""
    if isinstance(report, ClassReport):
        return {"accuracy": report.accuracy}
    names = () if report is None else ("micro_f1", "macro_f1", "subset_accuracy")
    return {name: getattr(report, name) for name in names}
