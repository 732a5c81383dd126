"""The columns of a source: found by their names, and the file's own among those of a data set of texts."""

from collections.abc import Iterable

from dami_text.data.delimited import column_key

#: What the names of a source's other columns begin with beside its texts.
OWN = "own."


def own_columns(columns: Iterable[str]) -> list[str]:
    """Which columns are those that a source has beside its texts, with OWN before their names."""
    return [name for name in columns if name.startswith(OWN)]


def find_column(columns: Iterable[str], name: str) -> str | None:
    """The column of that name, or the only one whose name differs by case and blanks alone; None without one."""
    columns = list(columns)
    alike = [column for column in columns if column_key(column) == column_key(name)]
    return name if name in columns else alike[0] if len(alike) == 1 else None
