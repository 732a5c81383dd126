"""An annotator's own decisions, the latest first: searched, filtered, and shown a page at a time."""

from dataclasses import dataclass

from dami_text.escaping import visible
from dami_text.labeling.page.view import one_line
from dami_text.labeling.session import Session

PAGE = 10  # decisions on a page

#: Filters besides the classes, by what the page calls them.
FILTERS = {"all": "All", "skipped": "Skipped", "flagged": "Flagged", "noted": "With a note"}


@dataclass(frozen=True)
class Find:
    """What to look for in the history.

    Attributes:
        words: what the text or the annotator's note holds, upper and lower case alike; empty for everything.
        kind: a key of FILTERS, or the place of a class as text, such as "0".
        page: from 0, the page with the latest decisions.
    """

    words: str = ""
    kind: str = "all"
    page: int = 0


@dataclass(frozen=True)
class HistoryPage:
    """A page of the history: each decision's event and line, the latest first, and which of how many these are."""

    decisions: list[tuple[int, str]]
    page: int
    total: int

    @property
    def place(self) -> str:
        """Which decisions the page holds, in words."""
        if not self.total:
            return "No decision to show."
        first = self.page * PAGE
        return f"{first + 1:,} to {first + len(self.decisions):,} of {self.total:,}"


def history(session: Session, annotator: str, find: Find) -> HistoryPage:
    """The page of an annotator's decisions that fit `find`; the last page where it asks for a later one."""
    store = session.store
    with store.snapshot():
        decisions = store.decisions(annotator)
        flagged = store.flags(annotator)
        notes = {row: given[annotator] for row, given in store.notes().items() if annotator in given}
    if find.kind == "noted":
        decisions = [decision for decision in decisions if decision["row"] in notes]
    elif find.kind == "flagged":
        decisions = [decision for decision in decisions if decision["row"] in flagged]
    elif find.kind == "skipped":
        decisions = [decision for decision in decisions if decision["label"] is None]
    elif find.kind != "all":
        decisions = [decision for decision in decisions if str(decision["label"]) == find.kind]
    if words := find.words.strip().casefold():
        texts = session.texts[[decision["row"] for decision in decisions]]["text"] if decisions else []
        decisions = [
            decision
            for decision, text in zip(decisions, texts, strict=True)
            if words in text.casefold() or words in notes.get(decision["row"], "").casefold()
        ]
    page = min(max(find.page, 0), max(0, (len(decisions) - 1) // PAGE))
    lines = []
    for decision in decisions[page * PAGE : (page + 1) * PAGE]:
        label = "skipped" if decision["label"] is None else visible(session.class_names[decision["label"]])
        note = f" · note: {one_line(notes[decision['row']], 40)}" if decision["row"] in notes else ""
        lines.append((decision["number"], f"{label} · {one_line(session.text(decision['row']))}{note}"))
    return HistoryPage(lines, page, len(decisions))
