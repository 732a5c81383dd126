"""Records as a csv file; labels from a csv or tsv file."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import replace

from dami_text.escaping import no_formula, without_guard
from dami_text.labeling.exchange.records import Decision, Record, normalized
from dami_text.labeling.exchange.scheme import LabelScheme
from dami_text.labeling.exchange.tables import as_cell, decisions_of, require_columns, row_of

#: What may separate the columns of a table in text.
DELIMITERS = "\t,;|"


def write(records: Sequence[Record], scheme: LabelScheme, safe: bool = False) -> bytes:
    """The records as a table; `safe` keeps spreadsheets from calculating its cells."""
    rows = [{name: as_cell(value) for name, value in row_of(record, scheme).items()} for record in records]
    names = list(rows[0] if rows else row_of(Record(id="", text=""), scheme))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, lineterminator="\r\n")
    writer.writerow({name: no_formula(name) if safe else name for name in names})
    for row in rows:
        writer.writerow({name: no_formula(value) for name, value in row.items()} if safe else row)
    return stream.getvalue().encode("utf-8")


def read(content: bytes, scheme: LabelScheme) -> Iterable[Decision]:
    """What the rows of a table decide, csv or tsv; it needs a column `label`, or one for each, and `text` or `id`."""
    csv.field_size_limit(2**31 - 1)
    text = content.decode("utf-8-sig")
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    names = [_unguarded(name, scheme) for name in reader.fieldnames or ()]
    require_columns(names, scheme)
    reader.fieldnames = names
    guarded = [name for name in names if normalized(name) in ("label", "annotator")]
    rows = (row | {name: without_guard(row[name]) for name in guarded} for row in reader)
    for decision in decisions_of(rows, scheme):
        before = without_guard(decision.text)
        yield decision if before == decision.text else replace(decision, unescaped=before)


def _unguarded(name: str, scheme: LabelScheme) -> str:
    """A column's name; one that a label gives it without what `no_formula` put before it."""
    plain = without_guard(name)
    return plain if plain is not None and plain in scheme.names else name


def _delimiter(text: str) -> str:
    """What separates the columns in the header of a table: what gives it a column `label`, or else most columns."""
    lines = io.StringIO(text, newline="")

    def fitness(delimiter: str) -> tuple[bool, int]:
        lines.seek(0)
        names = [normalized(name) for name in next(csv.reader(lines, delimiter=delimiter), [])]  # of one line or more
        return "label" in names, len(names)

    return max(DELIMITERS, key=fitness)
