"""Labels and tasks in the formats of other tools.

A format is a module of this folder with two functions, and a third if its files are JSON:

    write(records, scheme, safe)    the records as the content of a file
    read(content, scheme)           the decisions that a file holds
    recognizes(first, is_lines)     whether a file of JSON whose first record is `first` is of this format
    check(scheme)                   raises an error for labels that the format cannot hold (optional)
    advice(scheme)                  what a person needs to know beside the file (optional)

`scheme` says what labels there are, and whether a text takes one or any number of them. `safe` keeps spreadsheets from
calculating cells; only csv has a use for it. Reading gives back what identifies a text and what was decided: id, text,
label, annotator.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dami_text.errors import ConfigError, DataError

if TYPE_CHECKING:
    from dami_text.labeling.exchange.records import Decision, Json, Record
    from dami_text.labeling.exchange.scheme import LabelScheme

#: The names of formats, and their modules. The first that recognizes a file of JSON has it.
FORMATS = {
    "csv": "csv_table",
    "jsonl": "jsonl",
    "parquet": "parquet",
    "label-studio": "label_studio",
    "argilla": "argilla",
    "prodigy": "prodigy",
    "doccano": "doccano",
}

#: Formats that are read; events are all that ever happened, and written by a function of their own.
READABLE = FORMATS | {"events": "events"}


def _module(name: str) -> Any:
    return import_module(f"{__package__}.{READABLE[name]}")


def write_records(
    name: str, records: Sequence["Record"], scheme: "LabelScheme | Sequence[str]", safe_csv: bool = False
) -> bytes:
    """The records in the format of that name; `safe_csv` keeps spreadsheets from calculating cells of a csv.

    `scheme` may be the names of the classes, where a text takes one.

    Raises:
        ConfigError: the format has no such form for labels.
        DataError: it cannot hold the labels.
    """
    content: bytes = _module(name).write(records, checked(name, scheme), safe_csv)
    return content


def checked(name: str, scheme: "LabelScheme | Sequence[str]") -> "LabelScheme":
    """The scheme of a file in the format of that name; see `write_records` for what is taken and raised."""
    from dami_text.labeling.exchange.scheme import LabelScheme

    scheme = scheme if isinstance(scheme, LabelScheme) else LabelScheme(names=scheme)
    scheme.check(name)
    check = getattr(_module(name), "check", None)
    if check is not None:
        check(scheme)
    return scheme


def check_safe_csv(name: str, safe_csv: bool) -> None:
    """Raise ConfigError for --safe-csv with another format than csv."""
    if safe_csv and name != "csv":
        raise ConfigError(f"--safe-csv is about csv, and --format is {name}; leave it out")


def advice(name: str, scheme: "LabelScheme") -> str | None:
    """What a person needs to know beside a file in the format of that name; None where there is nothing."""
    found = getattr(_module(name), "advice", None)
    return found(scheme) if found else None


def read_decisions(name: str, content: bytes, scheme: "LabelScheme | Sequence[str]") -> list["Decision"]:
    """What a file in the format of that name decides; a record with a part of the wrong kind has that as its problem.

    `scheme` is as in `write_records`. Where a text takes any number of labels, the plain name of one is a list of it.

    Raises:
        ConfigError: the format has no such form for labels.
        DataError: the file is not in this format, or all that it decides has such parts.
    """
    import csv

    import pyarrow as pa

    from dami_text.labeling.exchange.records import Decision, as_list

    scheme = checked(name, scheme)
    try:
        decisions: list[Decision] = list(_module(name).read(content, scheme))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error, pa.ArrowException) as error:
        raise DataError(f"the file is not in the format {name} ({type(error).__name__}: {error})") from error
    if scheme.multilabel:
        decisions = list(map(as_list, decisions))
    faults = [_fault(decision, scheme.multilabel) for decision in decisions]
    if decisions and all(faults):
        raise DataError(f"the file is not in the format {name}: {faults[0]}")
    found = zip(decisions, faults, strict=True)
    return [Decision(id=None, text=None, label=None, problem=fault) if fault else decision for decision, fault in found]


def _fault(decision: "Decision", multilabel: bool) -> str | None:
    """Which part of a decision is of the wrong kind; None where none is."""
    for part, value in vars(decision).items():
        if part == "label" and isinstance(value, list):
            if not multilabel:
                return f"it has {value!r:.60} for label; wanted text: the session takes one label a text"
            if not all(isinstance(name, str | None) for name in value):
                return f"it has {value!r:.60} for label; wanted names"
        elif not isinstance(value, str | bool | None):
            return f"it has {value!r:.60} for {part}; wanted text"
    if decision.annotator is not None and not decision.annotator.isprintable():
        return f"the annotator {decision.annotator!r:.60} has characters that cannot be shown; rename them"
    return None


def guess_format(file_name: str, content: bytes) -> str:
    """The format of a file, by its name and its first record.

    Raises:
        DataError: it is none of those that are known.
    """
    from dami_text.labeling.exchange.records import json_records

    suffix = file_name.lower().rpartition(".")[2]
    if suffix in ("csv", "tsv", "parquet"):
        return "csv" if suffix == "tsv" else suffix
    try:
        first: Json = json_records(content)[0]
    except (ValueError, IndexError, RecursionError) as error:
        raise DataError(f"{file_name} is of no known format; name it with --format") from error
    is_lines = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] != b"["
    for name in ("jsonl", "events", *READABLE):
        recognizes = getattr(_module(name), "recognizes", None)
        if recognizes and recognizes(first, is_lines):
            return name
    return "jsonl"
