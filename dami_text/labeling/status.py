"""How far a session is, and what became of its final model, in lines of text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dami_text.escaping import printable
from dami_text.labeling.encoding import Encoding
from dami_text.labeling.progress import Agreements, Progress, agreements, missing_classes, progress_of
from dami_text.labeling.session import Session
from dami_text.labeling.snapshot import LabelSnapshot
from dami_text.labeling.suggestion_accuracy import suggestion_accuracy

if TYPE_CHECKING:
    from dami_text.labeling.final import FinalModel  # torch, which the status does without


def session_status(session: Session) -> str:
    """How far a session is, its model, what its trainer does, and how right its suggestions are."""
    lines = [
        status_text(progress_of(session), agreements(session), missing_classes(session, LabelSnapshot.of(session))),
        f"model      {printable(session.model_told)}",
    ]
    if (encoding := Encoding.of(session)) is not None:
        lines.append(f"trainer    {encoding}")
    if (suggested := suggestion_accuracy(session)) is not None:
        lines.append(f"suggested  {suggested}")
    return "\n".join(lines)


def final_text(final: "FinalModel") -> str:
    """How many labels made a final model, and its accuracy."""
    return (
        f"labelled {final.n_labeled} of {final.n_texts} texts; {final.n_trained_on} trained the model\n"
        f"{final.metric} {measured(final) or 'not measured: no held-out text has a label'}"
        + (f"\nthreshold {printable(final.threshold)}" if final.threshold else "")
    )


def final_warnings(session: Session, final: "FinalModel") -> list[str]:
    """What the accuracy of a final model does not show, and the classes that nobody has labelled."""
    warnings = final.report.warnings() if final.report else []
    can_move = (session.multilabel or len(session.class_names) == 2) and session.config.run.model.is_regression
    if final.report and final.report.never_predicted and final.threshold is None and can_move:
        rare = "rare labels" if session.multilabel else "the rarer class"
        warnings.append(f"--threshold f1 predicts {rare} from a lower probability on")
    return [printable(told) for told in [*warnings, *missing_classes(session, LabelSnapshot.of(session))]]


def measured(done: "Progress | FinalModel") -> str | None:
    """The accuracy, and what it does not show; None where it was not measured."""
    if done.accuracy is None:
        return None
    return printable(f"{done.accuracy}; {done.report}" if done.report else str(done.accuracy))


def towards_next(done: Progress) -> str:
    """How far the labels since the last training are from the next one."""
    if done.n_since_round < done.query_size:
        return f"{done.n_since_round} of {done.query_size} labels towards the next"
    return f"the next is due ({done.n_since_round} new labels; it takes {done.query_size})"


def status_text(done: Progress, agreement: Agreements, missing: Sequence[str] = ()) -> str:
    """The progress, the agreements and the missing classes in lines."""
    looked = f", {done.n_reviewed} with a second look" if done.n_reviewed else ""
    counts = ", ".join(f"{name} {count}" for name, count in done.by_class.items())
    without = None if done.n_without_label is None else f"; {done.n_without_label} texts have none"
    marked = f"{done.n_skipped} skipped, {done.n_flagged} flagged{looked}"
    lines = [
        f"labelled   {done.n_labeled} of {done.n_texts} texts; {marked}",
        *(
            [f"copies     {done.n_labeled_copies} of {done.n_copies} have the label of their text"]
            * bool(done.n_copies)
        ),
        f"{'classes' if without is None else 'labels':<10} {counts}{without or ''}",
        *(f"           {told}" for told in missing),
        f"annotators {', '.join(f'{name} {count}' for name, count in done.by_annotator.items()) or 'none yet'}",
        f"rounds     {done.rounds}; {towards_next(done)}",
        f"{done.metric:<10} {measured(done) or 'not measured yet'}",
        *(f"           {told}" for told in (done.report.warnings() if done.report else ())),
    ]
    if done.gain is not None:
        gain = done.gain
        lines.append(
            f"next {gain.labels}   {100 * gain.value:+.1f} points expected "
            f"(95% interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
        )
    if done.settled:
        lines.append(f"predictions {done.settled}")
    lines += [f"{'unfound' if not i else '':10} {told}" for i, told in enumerate(done.unfound)]
    lines += [f"agreement  {pair.first} and {pair.second}: {pair}" for pair in agreement]
    return "\n".join(printable(line) for line in lines)
