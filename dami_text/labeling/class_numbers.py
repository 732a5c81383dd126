"""The classes that labels from elsewhere name: as they are written, by former names, or by the number they write."""

from collections.abc import Mapping, Sequence
from typing import Any

from dami_text.data.classes import NUMBER
from dami_text.labeling.labels import Label


class ClassNumbers:
    """Which class a label names.

    Examples:
        >>> numbers = ClassNumbers(["0", "1", "good film"], {"good": "good film"})
        >>> [numbers.of(label) for label in ("good", " 1 ", "1.0", "true", "bad")]
        [2, 1, 1, 1, None]
        >>> ClassNumbers(["food", "price"], {}, multilabel=True).label(["price", "food"])
        (0, 1)

    Args:
        class_names: the classes.
        renamed: the names that classes had once, and those they have now.
        multilabel: whether a text has any number of them.
    """

    def __init__(self, class_names: Sequence[str], renamed: Mapping[str, str], *, multilabel: bool = False) -> None:
        self._multilabel = multilabel
        self._numbers = {name: i for i, name in enumerate(class_names)}
        self._renamed = renamed
        values = [_value(name) for name in class_names]
        self._values = {value: i for i, value in enumerate(values) if value is not None and values.count(value) == 1}

    def of(self, label: str) -> int | None:
        """The class that a label names: as it is written, or by its value, such as 1.0 for 1 and TRUE for True."""
        for name in (self._renamed.get(name, name) for name in (label, label.strip())):
            if name in self._numbers:
                return self._numbers[name]
        value = _value(label)
        return None if value is None else self._values.get(value)

    def label(self, given: Any) -> Label:
        """The label that a name gives or, with any number of labels a text, a list of names.

        Raises:
            ValueError: it is of the other kind, names no class, or is a list that has a name twice or a null; the
                message says which, beginning with a small letter.
        """
        if isinstance(given, list) != self._multilabel:
            wanted = "a list of them" if self._multilabel else "one name: a text has one class here"
            raise ValueError(f"{given!r:.60} is given for the labels of a text; wanted {wanted}")
        if not self._multilabel:
            return self._known(given)
        numbers = [self._known(name) for name in given]
        twice = [name for name, number in zip(given, numbers, strict=True) if numbers.count(number) > 1]
        if twice:
            raise ValueError(f"the label {twice[0]!r:.60} is there twice; give each label once")
        return tuple(sorted(numbers))

    def _known(self, name: Any) -> int:
        if name is None:
            raise ValueError("a null is among the labels; leave it out")
        number = self.of(name) if isinstance(name, str) else None
        if number is None:
            raise ValueError(f"the label {name!r:.60} is no class of the session")
        return number


def _value(label: str) -> float | None:
    """The number that a label writes out, 1 for true and 0 for false in any case; None for other words."""
    name = label.strip().lower()
    if name in ("true", "false"):
        return float(name == "true")
    return float(name) if NUMBER.fullmatch(name) else None
