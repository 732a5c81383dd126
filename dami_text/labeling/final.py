"""The final model of a session and its card, in a folder that is there whole or not at all."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from dami_text.config.conflicts import WITH_VALIDATION
from dami_text.data.ids import text_hash
from dami_text.errors import ConfigError, RecordError
from dami_text.escaping import to_json
from dami_text.files import whole_folder
from dami_text.labeling.progress import Agreement, Progress, Proportion, agreements, measure, progress_of
from dami_text.labeling.rounds import learner_with_labels
from dami_text.labeling.session import FILE_ANNOTATOR, Session, SessionConfig
from dami_text.labeling.snapshot import LabelSnapshot
from dami_text.models.auto import is_own
from dami_text.models.scores import ClassReport
from dami_text.publishing.cards import AnnotatorLabels, CardFacts, model_card

RECORD = "labeling.json"  # beside the model: what it was made of


@dataclass(frozen=True, kw_only=True)
class FinalModel:
    """What a model was made of.

    Attributes:
        made_of: a hash of the texts, the options and the labels.
        n_texts, n_labeled, n_trained_on: texts, those with a label, and those among them that trained it.
        accuracy, report: on the held-out texts that have a label; None where none has.
        merged: whether its adapter is merged.
    """

    made_of: str
    n_texts: int
    n_labeled: int
    n_trained_on: int
    accuracy: Proportion | None
    report: ClassReport | None = None
    merged: bool = False

    @classmethod
    def read(cls, folder: Path) -> "FinalModel | None":
        """What the model in `folder` was made of; None where there is none of a session's."""
        try:
            found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            accuracy, report = found.pop("accuracy"), found.pop("report", None)
            return cls(
                **found,
                accuracy=None if accuracy is None else Proportion(**accuracy),
                report=None if report is None else ClassReport(**report),
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


def fine_tuning(config: SessionConfig) -> SessionConfig:
    """The config of a session whose encoder is to be fine-tuned on pairs of labelled texts.

    Raises:
        ConfigError: its model is no encoder, or has an adapter.
    """
    model = config.run.model
    if not model.kind.is_pretrained:
        raise ConfigError(f"--fine-tune is for a session with an encoder, and its model is {model.model}; leave it out")
    if model.lora is not None:
        raise ConfigError("--fine-tune is for a whole encoder, and the session's learns by an adapter; leave it out")
    return replace(config, run=config.run.changed(freeze_encoder=False, contrastive=True))


def train_final(session: Session, folder: Path, merged: bool = False, *, overwrite: bool = False) -> FinalModel:
    """Train a model on all labels but those held out and write it with tokenizer and card; what it was made of.

    A model of the very same labels that is in `folder` already is left as it is: the same command again is done at
    once. With `merged`, a model's adapter is merged. With `overwrite`, the model takes the place of what is there.

    Raises:
        TrainingError: there is no label to train on.
        RecordError: `folder` holds something else, or cannot be written.
    """
    with session.store.snapshot():
        now, done, agreed = LabelSnapshot.of(session), progress_of(session), agreements(session)
        sizes = [record.n_labeled for record in session.store.rounds()]
    made_of = text_hash(repr((session.fingerprint, session.config, now.all))).hex()
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
            learner.train()
            model = learner.trained_model()
            learner.save_pretrained(unfinished, merged)
            accuracy, report = measure(model, learner.pool.texts, now.held_out, session.class_names)
            final = FinalModel(
                made_of=made_of,
                n_texts=done.n_texts,
                n_labeled=len(now.all),
                n_trained_on=len(now.rows),
                accuracy=accuracy,
                report=report,
                merged=merged,
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


def card_facts(
    session: Session, done: Progress, sizes: Sequence[int], agreed: Sequence[Agreement], final: FinalModel
) -> CardFacts:
    """What the card of a session's model tells: no text of the pool, and no annotator's name.

    `sizes` are the numbers of labels of the rounds.
    """
    config, accuracy, report = session.config.run, final.accuracy, final.report
    options = session.config.options() | {"initial_size": session.initial_size(), "query_size": session.query_size()}
    for name in ("labels", "validation", *WITH_VALIDATION):  # the card has labels with counts; the others do nothing
        options.pop(name)
    measured = [{"accuracy": value} for _, value in done.curve] or [{} for _ in sizes]
    by_annotator = dict(done.by_annotator)
    return CardFacts(
        config=config,
        options=options,
        n_texts=final.n_texts,
        class_counts=done.by_class,
        rounds=[*zip(sizes, measured, strict=True)],
        metrics={} if report is None else {"accuracy": report.accuracy},
        curve_metric="accuracy",
        commit=None,
        labels=AnnotatorLabels(
            n_before=by_annotator.pop(FILE_ANNOTATOR, 0),
            n_trained_on=final.n_trained_on,
            n_held_out=final.n_labeled - final.n_trained_on,
            by_annotator=sorted(by_annotator.values(), reverse=True),
            agreements=[*map(str, agreed)],
            accuracy=None if accuracy is None else str(accuracy),
        ),
        report=report,
    )
