"""What each annotator has before them, and what a key does to it: the page without its components."""

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dami_text.escaping import visible
from dami_text.labeling.finding import Finder
from dami_text.labeling.labels import Label, from_json
from dami_text.labeling.page.view import Tokens, label_text, panel_html, shaded, why, why_again
from dami_text.labeling.progress import progress_of
from dami_text.labeling.review import Review
from dami_text.labeling.session import Session
from dami_text.labeling.store.doubts import Doubt
from dami_text.labeling.store.events import Refused, Shown
from dami_text.labeling.store.queues import QueueItem
from dami_text.labeling.suggestions import NONE
from dami_text.labeling.trainer import Trainer

NOTHING = "-"  # the token of a screen without a text
_TOKEN = re.compile(r"(\d{1,18})\.(\d{1,18})\.(\d{1,18})(\.r)?")


@dataclass(frozen=True, kw_only=True)
class Screen:
    """What an annotator sees.

    Attributes:
        token: what is on the screen: row, version of the row, what the annotator did last, and `r` in a second look;
            `-` without a text.
        text, why: shaded words, and the reason in words.
        notice: what there is to say about the last key.
        label: the label that the annotator gave the text before, where they look at it again; of any number of labels,
            those that are chosen when the text comes.
        flagged: whether they have flagged it.
        again: whether they look at a text again that they have decided on.
        note: what they have written about it.
        review: whether it is a second look at a label.
        batch: `similar` or `likely` where the text is one of those that the annotator asked for.
        likeliest: the model's likeliest classes, the most likely first, where there are more classes than keys.
    """

    token: str
    text: Tokens
    why: Tokens
    notice: str = ""
    label: Label | None = None
    flagged: bool = False
    again: bool = False
    note: str = ""
    review: bool = False
    batch: str = ""
    likeliest: tuple[int, ...] = ()


class Desk:
    """The desks of all annotators of a session.

    Every method that changes something takes the token of the screen on which it was decided, and returns the screen
    that comes next; a decision about a text that is no longer as it was is refused in the screen's notice.

    With `begin_with_review`, the page opens with a second look at labels.
    """

    def __init__(self, session: Session, begin_with_review: bool = False) -> None:
        self.session = session
        self._begins_with_review = begin_with_review
        self.trainer = Trainer(session)
        self.finder = Finder(session)
        self._lease_seconds = 60 * session.config.labeling.lease_minutes
        self._review = Review(session, self._lease_seconds)
        self._refill = threading.Lock()
        budget = session.config.run.loop.budget
        self.budget = None if budget is None else budget.of(session.copies.n_different)

    def first(self, annotator: str) -> Screen:
        """The screen when the page is opened."""
        return self.review(annotator, NOTHING) if self._begins_with_review else self.next(annotator)

    def review(self, annotator: str, token: str) -> Screen:
        """Begin a second look at labels, or go back to the queue from one."""
        if _is_review(token):
            return self.next(annotator)
        self._review.begin(annotator)
        return self._next_review(annotator)

    def confirm(self, annotator: str, token: str) -> Screen:
        """Confirm the label of the text on the screen, in a second look."""
        doubt = self._doubt(token)
        if doubt is None:
            return self.next(annotator, "There was no label to confirm on the screen.")
        return self._decide(annotator, token, doubt.label)

    def next(self, annotator: str, notice: str = "") -> Screen:
        """The text to label next."""
        return self._arrived(annotator, self._leased(annotator), notice)

    def label(self, annotator: str, token: str, label: Label) -> Screen:
        """Label the text on the screen."""
        return self._decide(annotator, token, label)

    def skip(self, annotator: str, token: str) -> Screen:
        """Skip the text on the screen."""
        return self._decide(annotator, token, None)

    def undo(self, annotator: str, token: str) -> Screen:
        """Take back the last decision or flag; the text of a decision is shown again, if nobody else has it."""
        store = self.session.store
        found_token = _TOKEN.fullmatch(token)
        last = int(found_token[3]) if found_token else store.last_act(annotator)
        with store.transaction():
            try:
                event = store.undo(annotator, last, self._lease_seconds)
            except Refused as refused:
                return self._arrived(annotator, self._leased(annotator), f"Not undone: {refused}.")
            found = None if _is_review(token) else self._leased(annotator)
        if event["action"] in ("flag", "unflag"):
            notice = "Undone: the flag is gone." if event["action"] == "flag" else "Undone: flagged."
        else:
            notice = "Undone. Here it is again." if found is not None and found[0].row == event["row"] else "Undone."
        if _is_review(token):
            return self._next_review(annotator, notice)
        screen = self._arrived(annotator, found, notice)
        is_here = isinstance(event["label"], tuple) and found is not None and found[0].row == event["row"]
        return replace(screen, label=event["label"]) if is_here else screen  # to be mended, not chosen all anew

    def flag(self, annotator: str, token: str) -> Screen:
        """Flag the text on the screen, or take its flag away."""
        shown = self._shown(token)
        if shown is None:
            return self.next(annotator)
        try:
            shown = self.session.store.toggle_flag(shown, annotator)
        except Refused as refused:
            return self.next(annotator, f"Not flagged: {refused}.")
        doubt = self._doubt(token)
        if doubt is not None:
            screen = self._review_screen(annotator, shown, doubt, "")
        else:
            screen = self._screen(annotator, shown, self.session.store.shown(shown.row, annotator)[1], "")
        return replace(screen, notice="Flagged." if screen.flagged else "The flag is gone.")

    def again(self, annotator: str, number: int) -> Screen:
        """Show a text that the annotator has decided on: the event `number`."""
        for decision in self.session.store.decisions(annotator):
            if decision["number"] == number:
                shown, item = self.session.store.shown(decision["row"], annotator)
                return self._screen(annotator, shown, item, "Choose again, or press Esc to go back.")
        return self.next(annotator, "That decision was changed meanwhile.")

    def similar(self, annotator: str, token: str) -> Screen:
        """Have the texts most like that on the screen come next; it stays on the screen until it is decided on."""
        shown = self._shown(token)
        if shown is None:
            return self.next(annotator, "There was no text on the screen.")
        store = self.session.store
        decided = store.decision(shown.row, annotator) is not None
        items = self.finder.similar(shown.row, annotator)
        if items:
            with store.transaction():
                if decided:
                    store.release(annotator)
                store.set_batch(annotator, items)
        n = len(items)
        notice = f"{n} similar text{'s' * (n != 1)} come{'s' * (n == 1)} next." if n else "No other text is like this."
        if decided and items:
            return self.next(annotator, notice)
        shown, item = store.shown(shown.row, annotator)
        return self._screen(annotator, shown, item, notice)

    def likely(self, annotator: str, label: int) -> Screen:
        """Have the texts come now that the model takes for a class."""
        name = visible(self.session.class_names[label])
        if self.finder.scores() is None:
            return self.next(annotator, "There is no model yet that could tell: it comes after the first labels.")
        items = self.finder.likely(label, annotator)
        if not items:
            return self.next(annotator, f"No unlabelled text is left that may be {name}.")
        self._set_batch(annotator, items)
        n = len(items)
        return self.next(annotator, f"{n} text{'s' * (n != 1)} that may be {name}, the likeliest first.")

    def back(self, annotator: str, token: str) -> Screen:
        """Go back to the queue: from a text that was decided on before, or from the texts that were asked for."""
        shown = self._shown(token)
        is_new = shown is not None and self.session.store.decision(shown.row, annotator) is None
        if is_new and not _is_review(token):
            self._set_batch(annotator, [])
        return self.next(annotator)

    def correct(self, annotator: str, row: int, version: int, label: Label) -> str:
        """Give a text in the table another label; what became of it, in words."""
        if not 0 <= row < len(self.session):
            return "There is no such text."
        try:
            changed = self.session.store.correct(Shown(row, version), annotator, label)
        except Refused as refused:
            return f"Not changed: {refused}."
        name = label_text(label, self.session.class_names)
        return f"Changed to {name}." if changed else f"It is {name} already."

    def guess(self, token: str) -> str:
        """What the model makes of the text on the screen, in words."""
        guess = self._guess(token)
        if guess is None:
            return "There is no guess for this text."
        names, likeliest = self.session.class_names, self._likeliest(token)
        told = label_text(guess[0], names) + ("" if likeliest else f", {guess[1]:.0%}")
        of_each = ", ".join(f"{visible(names[label])} {p:.0%}" for label, p in likeliest)
        return f"The model's guess: {told}" + (f" ({of_each})" if of_each else "")

    def suggestion(self, token: str) -> str:
        """The suggestion that the text on the screen came with, in words."""
        shown, found = self._shown(token), self.session.suggestions
        if shown is None or found is None or found.labels[shown.row] == NONE:
            return "There is no suggestion for this text."
        name, score = visible(self.session.class_names[found.labels[shown.row]]), found.score(shown.row)
        return f"The suggestion: {name}" + ("" if score is None else f", {score:.0%}")

    def accept(self, annotator: str, token: str) -> Screen:
        """Label the text on the screen with the model's guess, where there is one."""
        shown, guess = self._shown(token), self._guess(token)
        if shown is None:
            return self.next(annotator, "There was no text on the screen.")
        if guess is None:
            _, item = self.session.store.shown(shown.row, annotator)
            return self._screen(annotator, shown, item, "There is no guess for this text: choose a label.")
        return self._decide(annotator, token, guess[0])

    def _guess(self, token: str) -> tuple[Label, float] | None:
        """The model's guess for the text on the screen, and its probability; None where there is none."""
        shown, doubt = self._shown(token), self._doubt(token)
        if doubt is not None:
            return doubt.guess, doubt.probability
        reason = {} if shown is None else self.session.store.shown(shown.row, "")[1].reason
        return (from_json(reason["guess"]), reason["probability"]) if "guess" in reason else None

    def _likeliest(self, token: str) -> list[tuple[int, float]]:
        """The likeliest of any number of labels for the text on the screen, and their probabilities."""
        shown = None if _is_review(token) else self._shown(token)
        reason = {} if shown is None else self.session.store.shown(shown.row, "")[1].reason
        return list(zip(reason.get("likeliest", ()), reason.get("probabilities", ()), strict=False))

    def note(self, annotator: str, token: str, text: str) -> str:
        """Write the annotator's note on the text on the screen; what became of it, in words."""
        shown = self._shown(token)
        if shown is None:
            return ""
        changed = self.session.store.set_note(shown.row, annotator, text)
        return ("Note saved." if text.strip() else "Note removed.") if changed else ""

    def panel(self) -> str:
        """The side panel now, as HTML; starts a training that is due."""
        self.trainer.start_if_due()
        return panel_html(progress_of(self.session), self.trainer.state(), self.budget)

    def _set_batch(self, annotator: str, items: Sequence[QueueItem]) -> None:
        """Let these texts come before the one on the annotator's screen, which goes back."""
        with self.session.store.transaction():
            self.session.store.release(annotator)
            self.session.store.set_batch(annotator, items)

    def _decide(self, annotator: str, token: str, label: Label | None) -> Screen:
        shown = self._shown(token)
        if shown is None:
            return self.next(annotator, "There was no text on the screen.")
        if _is_review(token):
            return self._look_again(annotator, shown, label)
        notice = ""
        with self.session.store.transaction():  # the decision and the next text's lease wait for the disk once
            try:
                self.session.store.decide(shown, annotator, "skip" if label is None else "label", label)
            except Refused as refused:
                notice = f"Not counted: {refused}."
            found = self._leased(annotator)
        return self._arrived(annotator, found, notice)

    def _look_again(self, annotator: str, shown: Shown, label: Label | None) -> Screen:
        """Confirm or correct a label in a second look, or pass it over, and go on to the next."""
        if label is None:
            self._review.pass_over(annotator, shown.row)
            return self._next_review(annotator, "Left as it is, for another time.")
        doubt = self.session.store.doubt(shown.row)
        try:
            self.session.store.decide(shown, annotator, "label", label, review=True)
        except Refused as refused:
            return self._next_review(annotator, f"Not counted: {refused}.")
        name = label_text(label, self.session.class_names)
        same = doubt is not None and doubt.label == label
        return self._next_review(annotator, f"Confirmed: {name}." if same else f"Changed to {name}.")

    def _next_review(self, annotator: str, notice: str = "") -> Screen:
        """The next label to look at again; the queue where there is none."""
        self.session.refresh()
        found = self._review.next(annotator)
        if found is None:
            left = "There is no label to look at again: every new model brings those that it knows."
            return self.next(annotator, f"{notice} {left}".strip())
        shown, doubt, n_left = found
        return self._review_screen(annotator, shown, doubt, notice, n_left)

    def _leased(self, annotator: str) -> tuple[Shown, QueueItem] | None:
        """What the queue has for an annotator, theirs from now on; no new text where the budget is spent."""
        self.session.refresh()
        return self.session.store.next(annotator, self._lease_seconds, budget=self.budget)

    def _arrived(self, annotator: str, found: tuple[Shown, QueueItem] | None, notice: str) -> Screen:
        """The screen with what the queue had, with what else can be found, or with why there is nothing."""
        if found is None and self.budget is not None:
            if len(self.session.store.labels()) >= self.budget:
                return self._nothing(f"All {self.budget} labels of the budget are given. Thank you!", notice)
            if self.session.store.n_taken(annotator) >= self.budget:
                return self._nothing("The last texts of the budget are with others.", notice)
        found = found or self._further(annotator)
        if found is not None:
            return self._screen(annotator, *found, notice)
        if self.trainer.state().kind == "training":
            return self._nothing("The model is training on your labels. The next texts come in a moment.", notice)
        return self._at_the_end(annotator, notice)

    def _at_the_end(self, annotator: str, notice: str) -> Screen:
        """The screen at the end of the queue: what this annotator skipped, once again, or why there is nothing."""
        store = self.session.store
        skipped = len(store.skipped())
        if len(store.labels()) + skipped < self.session.copies.n_different:
            return self._nothing("There is no text for you now: the rest is held out, or others have it.", notice)
        if (again := store.skipped_by(annotator)) is not None:
            return self._screen(annotator, *again, f"{notice} You skipped this text: label it now, or skip it.".strip())
        if skipped:
            texts = "1 text was" if skipped == 1 else f"{skipped:,} texts were"
            return self._nothing(f"{texts} skipped, and all others are labelled. Thank you!", notice)
        return self._nothing("All texts are labelled. Thank you!", notice)

    def _further(self, annotator: str) -> tuple[Shown, QueueItem] | None:
        """Where the queue is empty, train on what is new, or draw further texts where nothing is."""
        self.trainer.start_if_due(exhausted=True)
        if self.trainer.state().kind == "training":
            return None
        with self._refill:
            store = self.session.store
            found = self._leased(annotator)  # somebody else may have come here first
            items = [] if found else self.session.random_items(self.session.query_size(), "refill")
            if items:
                store.extend_queue(len(store.rounds()), items)
                found = self._leased(annotator)
            return found

    def _screen(self, annotator: str, shown: Shown, item: QueueItem, notice: str) -> Screen:
        store = self.session.store
        earlier = store.decision(shown.row, annotator)
        batch = item.kind if item.kind in ("similar", "likely") and earlier is None else ""
        more = len([other for other in store.batch(annotator) if other.row != shown.row]) if batch else 0
        return Screen(
            token=f"{shown.row}.{shown.version}.{store.last_act(annotator)}",
            text=shaded(self.session.text(shown.row), item.reason),
            why=why(item, self.session.class_names, more, len(self.session.copies.rows(shown.row)) - 1),
            notice=notice,
            label=earlier["label"] if earlier else None,
            flagged=store.is_flagged(shown.row, annotator),
            again=earlier is not None,
            note=store.note(shown.row, annotator),
            batch=batch,
            likeliest=tuple(item.reason.get("likeliest", ())),
        )

    def _review_screen(
        self, annotator: str, shown: Shown, doubt: Doubt, notice: str, n_left: int | None = None
    ) -> Screen:
        screen = self._screen(annotator, shown, QueueItem(shown.row, "start", {}), notice)
        why = why_again(doubt, self.session.class_names, n_left)
        return replace(screen, token=f"{screen.token}.r", why=why, label=doubt.label, again=True, review=True)

    def _nothing(self, message: str, notice: str) -> Screen:
        return Screen(token=NOTHING, text=[(message, None)], why=[], notice=notice)

    def _doubt(self, token: str) -> Doubt | None:
        """The doubt about the label on the screen in a second look; None for other screens."""
        shown = self._shown(token) if _is_review(token) else None
        return None if shown is None else self.session.store.doubt(shown.row)

    def _shown(self, token: str) -> Shown | None:
        """What a token says was on the screen; None for no text that is asked."""
        match = _TOKEN.fullmatch(token)
        if match is None or int(match[1]) >= len(self.session):
            return None
        row = int(match[1])
        return Shown(row, int(match[2])) if self.session.copies.first[row] == row else None


def _is_review(token: str) -> bool:
    """Whether a token is of a second look."""
    return token.endswith(".r")
