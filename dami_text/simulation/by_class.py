"""What the rounds of a run have recorded of each class: how many texts were found, and how well it is predicted."""

from collections.abc import Mapping
from typing import Any

from dami_text.config.metrics import WITH_CLASS, split_metric

Line = Mapping[str, Any]

#: What is recorded of each class on the test split, and what a report calls it, in the order in which it is shown.
MEASURES = {"average_precision": "average precision", "f1": "F1", "precision": "precision", "recall": "recall"}


def class_score(line: Line, metric: str) -> float | None:
    """A metric of a class by its name, such as recall:spam, in a round; None where the round has not recorded it.

    A metric without a name is that of the second class of two.
    """
    name, class_name = split_metric(metric)
    names = list(line.get("class_counts", ()))
    if name not in WITH_CLASS or "by_class" not in line or (class_name is None and len(names) != 2):
        return None
    class_name = names[1] if class_name is None else class_name
    if class_name not in names:
        return None
    c, found = names.index(class_name), line["by_class"]
    if name == "average_precision":
        return float(found[name][c])
    right, present, predicted = (found[count][c] for count in ("right", "present", "predicted"))
    of = {"recall": present, "precision": predicted, "f1": (present + predicted) / 2}[name]
    return right / of if of else 0.0


def found_of(line: Line, class_name: str) -> tuple[int, int] | None:
    """How many texts of a class are labelled in a round, and how many the pool has; None where it is not recorded."""
    names = list(line.get("class_counts", ()))
    if class_name not in names or "by_class" not in line:
        return None
    return int(line["class_counts"][class_name]), int(line["by_class"]["pool"][names.index(class_name)])
