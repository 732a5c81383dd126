"""How right the suggestions are that texts came with, by the labels that people gave."""

from dataclasses import dataclass

from dami_text.labeling.progress import Proportion
from dami_text.labeling.session import Session
from dami_text.labeling.suggestions import NONE


@dataclass(frozen=True)
class SuggestionAccuracy:
    """How often the suggestions that texts came with are the labels that people gave on the page.

    Attributes:
        at_random: of texts that were chosen without a look at suggestion or model: held out, or random at the start.
        others: of all others, which says nothing of all texts: right, and how many.
    """

    at_random: Proportion | None
    others: tuple[int, int]

    def __str__(self) -> str:
        told = "not measured yet: no text drawn at random has a label"
        if self.at_random is not None:
            told = f"right in {self.at_random} drawn at random"
        right, n = self.others
        return told + (f"; {right} of {n} where a model or an import chose the text, which is biased" if n else "")


def suggestion_accuracy(session: Session) -> SuggestionAccuracy | None:
    """How right the suggestions are; None where the texts came with none.

    Labels that a file brought are no measure: nobody knows how its texts were chosen.
    """
    suggestions, store = session.suggestions, session.store
    if suggestions is None:
        return None
    with store.snapshot():
        labels = {row["row"]: row["label"] for row in store.labels()}
        start, rounds = store.queue(0), store.rounds_of_labels()
    held_out = {*session.held_out.tolist()}
    # Models may ask later for what the start had in reserve, too.
    at_start = {item.row for item in start if item.kind == "start" and rounds.get(item.row) == 0}
    drawn = at_start | (held_out & rounds.keys())
    hits = {row: suggestions.labels[row] == label for row, label in labels.items() if suggestions.labels[row] != NONE}
    at_random = [hit for row, hit in hits.items() if row in drawn]
    others = [hit for row, hit in hits.items() if row not in drawn]
    measured = Proportion.of(int(sum(at_random)), len(at_random)) if at_random else None
    return SuggestionAccuracy(measured, (int(sum(others)), len(others)))
