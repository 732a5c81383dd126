"""What an option is: a field of a frozen dataclass with its help text, whose type is checked where it is made."""

import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from dami_text.errors import ConfigError

#: What stands for a number that is found.
AUTO = "auto"

Device = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True, init=False)
class Size:
    """A number of texts: a count (an integer) or a share of the training set (a number with a decimal point).

    Examples:
        >>> Size(50).of(2000), Size("0.02").of(2000)
        (50, 40)

    Raises:
        ValueError: for text that is no number.
    """

    value: int | float

    def __init__(self, value: "int | float | str | Size") -> None:
        if isinstance(value, Size):
            value = value.value
        if isinstance(value, str):
            try:
                value = int(value) if value.strip().lstrip("+-").isdigit() else float(value)
            except ValueError:
                raise ValueError("a count such as 50 or a share such as 0.02") from None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("a count such as 50 or a share such as 0.02")
        object.__setattr__(self, "value", value)

    @property
    def is_share(self) -> bool:
        """Whether this is a share, not a count."""
        return isinstance(self.value, float)

    def of(self, total: int) -> int:
        """The number of texts out of `total`."""
        return round(self.value * total) if self.is_share else int(self.value)

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, init=False)
class Count:
    """A number of things, from 1, or auto.

    Examples:
        >>> Count("4").value, Count("auto").value
        (4, None)

    Attributes:
        value: the number; None is auto.

    Raises:
        ValueError: for anything else.
    """

    value: int | None

    def __init__(self, value: "int | str | Count") -> None:
        if isinstance(value, Count):
            value = value.value or AUTO
        if isinstance(value, str) and value != AUTO and value.isascii() and value.isdigit():
            value = int(value)
        if value != AUTO and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ValueError(f"a number of at least 1, or {AUTO}")
        object.__setattr__(self, "value", None if value == AUTO else value)

    def __str__(self) -> str:
        return AUTO if self.value is None else str(self.value)


def option(default: Any, help: str) -> Any:  # noqa: A002 - argparse's word
    """A field of a config with its help text."""
    return field(default=default, metadata={"help": help})


class Options:
    """What the frozen config dataclasses share: types are checked on construction, `_check` is theirs to extend."""

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            if get_origin(kind) is not ClassVar:
                object.__setattr__(self, name, _checked(name, getattr(self, name), kind))
        self._check()

    def _check(self) -> None:
        """Raise ConfigError for values of the right type that cannot work."""

    def require(self, condition: bool, name: str, wanted: str) -> None:
        """Raise ConfigError, naming the option, its value and what was wanted, unless `condition` holds."""
        if not condition:
            value = getattr(self, name)
            raise ConfigError(
                f"{flag(name)} is {repr(value) if isinstance(value, str) else value}; it must be {wanted}"
            )


def flag(name: str) -> str:
    """The command-line flag of a field."""
    return "--" + name.replace("_", "-")


def listed(names: Sequence[str], most: int = 10) -> str:
    """The names as they stand in a message, the first of them where they are many."""
    shown = ", ".join(map(repr, names[:most]))
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def inner_type(kind: Any) -> Any:
    """The annotated type without the None that it may be."""
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (part for part in get_args(kind) if part is not type(None))
    return kind


def _checked(name: str, value: Any, kind: Any) -> Any:
    """`value` as the annotated type `kind`, or ConfigError."""
    if value is None and inner_type(kind) is not kind:
        return None
    kind = inner_type(kind)
    if get_origin(kind) is list:
        items = value if isinstance(value, list | tuple) else [value]
        return [str(item) for item in items]
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
        wanted = "one of " + ", ".join(map(str, get_args(kind)))
    elif kind in (Size, Count):
        try:
            return kind(value)
        except ValueError as error:
            wanted = str(error)
    else:
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is kind:
            return value
        wanted = {bool: "true or false", int: "an integer", float: "a number", str: "text"}[kind]
    raise ConfigError(f"{flag(name)} is {value!r}; it must be {wanted}")
