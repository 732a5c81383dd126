"""What a label is: the names of the classes that the cells of a column stand for, the same for every command."""

import logging
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from dami_text.errors import DataError

logger = logging.getLogger(__name__)

NUMBER = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")
MISSING = ("nan", "null", "none", "na", "n/a")  # names that often stand for no label
SEPARATORS = re.compile(r"\s*[,;|]\s*")


def class_name(value: Any, keep: Collection[str] = ()) -> str | None:
    """The name of the class that a cell stands for: 1.0 is 1, and True is True.

    None, NaN, "" and -1 are no label; "-1" is one where `keep` names it.
    """
    if value is None or value == "" or value != value:  # noqa: PLR0124 - NaN
        return None
    whole = isinstance(value, float) and value.is_integer()
    name = str(int(value)) if whole else str(value)
    return None if name == "-1" and name not in keep else name


def in_class_order(names: Iterable[str]) -> list[str]:
    """Distinct names, in the order of the numbers where all of them are numbers, otherwise of the alphabet."""
    found = sorted(set(names))
    return sorted(found, key=float) if are_numbers(found) else found


def are_numbers(names: Collection[str]) -> bool:
    """Whether all names, of one at least, are numbers."""
    return bool(names) and all(NUMBER.fullmatch(name) for name in names)


def renaming(pairs: Sequence[str] | None) -> dict[str, str]:
    """The names that `--label-names` gives, by what stands in the file."""
    return {old.strip(): new.strip() for old, _, new in (pair.partition("=") for pair in pairs or ())}


def require_renamed(found: Collection[str], names: dict[str, str]) -> None:
    """Raise DataError if `--label-names` names a class that no row has, or two classes alike."""
    if unknown := names.keys() - set(found):
        raise DataError(f"--label-names names {sorted(unknown)}, but the labels are {in_class_order(found)}; mend it")
    renamed = [names.get(name, name) for name in set(found)]
    if len(set(renamed)) < len(renamed):
        raise DataError(f"--label-names gives a class the name of another, in {sorted(renamed)}; choose another name")


def warn_of_names(names: Sequence[str], column: str) -> None:
    """Warn of classes that may be mistakes: alike but for case or blanks, or named like no label."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(name.strip().casefold(), []).append(name)
    if twins := [group for group in alike.values() if len(group) > 1]:
        logger.warning("column %r has classes that differ by case or blanks alone: %s", column, twins[:5])
    equal: dict[float, list[str]] = {}
    for name in filter(NUMBER.fullmatch, names):
        equal.setdefault(float(name), []).append(name)
    if twins := [group for group in equal.values() if len(group) > 1]:
        logger.warning("column %r has classes that are the same number written differently: %s", column, twins[:5])
    if missing := [name for name in names if name.strip().lower() in MISSING]:
        logger.warning("column %r has the classes %s: empty cells are no labels, these are", column, missing)


def warn_of_combinations(names: Sequence[str], column: str) -> None:
    """Warn of classes that look like several labels in one cell."""
    parts = {name: SEPARATORS.split(name) for name in names if SEPARATORS.search(name)}
    single = set(names) - parts.keys()
    joined = [name for name, of in parts.items() if single.intersection(of)]
    shared = Counter(part for of in parts.values() for part in set(of))
    if not joined and 2 * len(parts) > len(names) and sum(n > 1 for n in shared.values()) > 1:
        joined = list(parts)  # no label stands alone, but several are in more cells than one
    if len(joined) > 1:
        logger.warning(
            "column %r looks like several labels a text, such as %r; each combination is taken for a class of its own "
            "(--task multilabel with --label-separator takes them apart)",
            *(column, joined[0]),
        )
