"""What happened to a learner, in its order: what was asked, told, corrected, left out, added and measured."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

#: The columns of a history. An event has what there is to say of it.
COLUMNS = ("event", "round", "n_labeled", "rows", "labels", "before", "metric", "score")

Event = dict[str, Any]


class History:
    """The events of a learner.

    Attributes:
        events: each with its kind, the round and the number of labels after it.
    """

    def __init__(self, events: Sequence[Event] = ()) -> None:
        self.events: list[Event] = list(events)

    def add(self, event: str, round_number: int, n_labeled: int, **details: Any) -> None:
        """Add an event, unless it is a question that has just been asked."""
        new = {"event": event, "round": round_number, "n_labeled": n_labeled, **details}
        if not (event == "asked" and self.events[-1:] == [new]):
            self.events.append(new)

    def last_guesses(self) -> dict[int, str]:
        """What the model predicted of the rows that were asked for last, by row."""
        asked = [event for event in self.events if event["event"] == "asked"]
        return dict(zip(asked[-1]["rows"], asked[-1].get("guesses") or (), strict=False)) if asked else {}

    def labels(self) -> dict[int, tuple[str, int]]:
        """The label of each row, and the round that it began."""
        found: dict[int, tuple[str, int]] = {}
        for event in self.events:
            if event["event"] in ("told", "corrected"):
                found |= {
                    row: (label, event["round"]) for row, label in zip(event["rows"], event["labels"], strict=True)
                }
        return found

    def rows(self, event: str) -> set[int]:
        """The rows of all events of a kind."""
        return {row for each in self.events if each["event"] == event for row in each["rows"]}

    def to_pandas(self) -> "pd.DataFrame":
        """The events as a table of COLUMNS, a line each."""
        import pandas as pd

        return pd.DataFrame([{name: event.get(name) for name in COLUMNS} for event in self.events], columns=COLUMNS)
