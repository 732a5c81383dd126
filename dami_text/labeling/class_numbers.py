"""The classes that labels from elsewhere name: as they are written, by former names, or by the number they write."""

from collections.abc import Mapping, Sequence

from dami_text.data.classes import NUMBER


class ClassNumbers:
    """Which class a label names.

    Examples:
        >>> numbers = ClassNumbers(["0", "1", "good film"], {"good": "good film"})
        >>> [numbers.of(label) for label in ("good", " 1 ", "1.0", "true", "bad")]
        [2, 1, 1, 1, None]

    Args:
        class_names: the classes.
        renamed: the names that classes had once, and those they have now.
    """

    def __init__(self, class_names: Sequence[str], renamed: Mapping[str, str]) -> None:
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


def _value(label: str) -> float | None:
    """The number that a label writes out, 1 for true and 0 for false in any case; None for other words."""
    name = label.strip().lower()
    if name in ("true", "false"):
        return float(name == "true")
    return float(name) if NUMBER.fullmatch(name) else None
