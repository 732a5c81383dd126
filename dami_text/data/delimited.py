"""How a table in text is laid out: what separates its columns, whether it has a header, where quotes close."""

import codecs
import csv
import gzip
import io
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dami_text.config.data_options import DataConfig
from dami_text.errors import DataError

logger = logging.getLogger(__name__)

DELIMITERS = (",", "\t", ";", "|")
RARE_DELIMITERS = "#~^:"  # which are never taken, but named where they give the column of texts or labels
NO_QUOTE = "none"  # --quote, where quotes are part of the texts

#: A first line that names neither texts nor labels, and has a cell of so many words, is taken for a row.
WORDS_OF_A_TEXT = 2

LONGEST_CELL = 1000  # lines


@dataclass(frozen=True)
class Layout:
    """How to read a table in text.

    Attributes:
        sep: what separates the columns.
        quotechar: what quotes cells; empty where quotes are part of the texts.
        encoding: of the file; None for UTF-8.
        column_names: the columns' names where the file has no line of them; otherwise empty.
    """

    sep: str
    quotechar: str
    encoding: str | None
    column_names: tuple[str, ...]


def layout_of(path: Path, config: DataConfig) -> Layout:
    """The layout of the csv or tsv file at `path`: as the options say, and as its first line shows.

    Raises:
        DataError: it has no header, or one that nothing separates as the options want.
    """
    columns = tuple(config.columns or ())
    quote = '"' if config.quote is None else "" if config.quote == NO_QUOTE else config.quote
    usual = "\t" if path.name.lower().removesuffix(".gz").endswith(".tsv") else ","
    header = first_line(path, config.encoding)
    given = separator(config)
    if given is None and columns:
        given = _delimiter_of_rows(path, usual, quote, config)
    sep = given or _delimiter(header, usual, quote, config)
    names = split(header, sep, quote)
    if not columns and looks_like_data(names, config):
        example = " ".join(example_columns(len(names)))
        raise DataError(
            f"{path} has no header: its first line is {header[:80]!r}; name its columns with --columns, such as "
            f"--columns {example}, or, if it is a header, name the column with --text-column"
        )
    if columns and len(columns) != len(names):
        raise DataError(
            f"{path} has {len(names)} columns separated by {sep!r} in its first line, but --columns names "
            f"{len(columns)}; name all, or what separates them with --delimiter"
        )
    return Layout(sep, quote, config.encoding, columns)


def separator(config: DataConfig) -> str | None:
    """What `--delimiter` names; a shell leaves a tab as a backslash and a t."""
    return "\t" if config.delimiter == "\\t" else config.delimiter


def example_columns(n: int) -> list[str]:
    """Names for n columns, as an example."""
    return ["text", "label", *(f"column{i}" for i in range(3, n + 1))][:n]


def looks_like_data(names: Sequence[str], config: DataConfig) -> bool:
    """Whether the first line is a row: it names neither texts nor labels, and a cell of it has the words of a text."""
    wanted = {column_key(name) for name in (*config.text_columns, *config.columns_of_labels)}
    known = any(column_key(name) in wanted for name in names)
    texts = config.task != "tabular"  # a table's columns have names of any length
    return texts and not known and any(len(name.split()) >= WORDS_OF_A_TEXT for name in names)


def column_key(name: str) -> str:
    """A column's name without blanks around it and in lower case: what names are compared by."""
    return name.strip().lower()


def split(line: str, sep: str, quote: str) -> list[str]:
    """The cells of one line."""
    options: dict[str, str | int] = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    return next(csv.reader([line], delimiter=sep, **options), [])  # type: ignore[arg-type]  # one type for two


def _delimiter(header: str, usual: str, quote: str, config: DataConfig) -> str:
    """What separates the columns: the usual, unless another one alone gives the names of text or label."""
    wanted = {column_key(name) for name in (*config.text_columns, *config.columns_of_labels)}

    def names(sep: str) -> list[str]:
        return [column_key(name) for name in split(header, sep, quote)]

    found = [sep for sep in dict.fromkeys((usual, *DELIMITERS)) if wanted & set(names(sep))]
    if usual in found or not found:
        others = [sep for sep in DELIMITERS if sep != usual and len(names(sep)) > 1]
        others += [sep for sep in RARE_DELIMITERS if wanted & set(names(sep))]
        if not found and others and len(names(usual)) == 1 and not looks_like_data([header], config):
            raise DataError(
                f"the header {header[:80]!r} is one column for {usual!r}, and {others[0]!r} separates it; name what "
                f"separates the columns, such as --delimiter {others[0]!r}"
            )
        return usual
    logger.info("the columns are separated by %r", found[0])
    return found[0]


def _delimiter_of_rows(path: Path, usual: str, quote: str, config: DataConfig) -> str | None:
    """What separates each of the first rows into as many cells as there are names of columns; None for nothing."""
    with opened(path) as stream:
        start = stream.read(1 << 16)
    lines = start.decode(config.encoding or "utf-8-sig", errors="replace").splitlines()
    if len(start) == 1 << 16 and len(lines) > 1:
        lines.pop()  # which may be cut
    wanted = {len(config.columns or ())}
    seps = dict.fromkeys((usual, *DELIMITERS))
    return next((sep for sep in seps if {len(split(line, sep, quote)) for line in lines[:20] if line} == wanted), None)


def opened(path: Path) -> IO[bytes]:
    """The file, unpacked where it is a .gz."""
    is_packed = path.name.lower().endswith(".gz")
    return gzip.open(path, "rb") if is_packed else path.open("rb")  # type: ignore[return-value]  # GzipFile is an IO too


def first_line(path: Path, encoding: str | None) -> str:
    """The first line, without its end.

    Raises:
        DataError: it is no text of this encoding.
    """
    with opened(path) as stream:
        line = stream.readline(1 << 20)
    if line[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        if encoding is None:
            raise DataError(f"{path} is not UTF-8 but UTF-16; name it with --encoding utf-16")
        line = line.rstrip(b"\n\r\0") + b"\0" * (len(line.rstrip(b"\n\r\0")) % 2)
    try:
        return line.decode(encoding or "utf-8-sig").rstrip("\r\n")
    except (UnicodeError, LookupError) as error:
        raise not_encoded(path, encoding, error) from error


def not_encoded(path: object, encoding: str | None, error: Exception) -> DataError:
    """The error for a file whose bytes are no text of the expected encoding."""
    found = f"{path} is not {(encoding or 'UTF-8').upper()} ({error})"
    return DataError(f"{found}; name its encoding, such as --encoding latin-1, or save it as UTF-8")


# Quotes ---------------------------------------------------------------------------------------------------------


def with_closed_quotes(lines: Iterator[str], sep: str, quote: str = '"') -> Iterator[str]:
    """The lines of a table whose quotes count only where they close: others are quoted anew, as part of their texts.

    A quoted cell may have several lines. One that holds a separator as well may not have a line that is a whole row by
    itself: a quote that stays open would swallow such rows.
    """
    q, end = re.escape(quote), re.escape(sep)
    cell = re.compile(rf"{q}(?:[^{q}]|{q}{q})*{q}(?={end}|\Z)")
    width = 0
    pending: list[str] = []
    for line in lines:
        body = line.rstrip("\r\n")
        cells, is_open = _cells(body, sep, quote, cell)
        width = width or len(cells)
        together = _cells("\n".join([*pending, body]), sep, quote, cell)
        if pending and not together[1] and len(together[0]) == width and not _holds(together[0], sep):
            yield "\n".join([*pending, body]) + "\n"
            pending = []
            continue
        if pending and (len(cells) == width or len(pending) > LONGEST_CELL):  # the quote before never closed
            yield from (_requoted(held, sep, quote, cell) for held in pending)
            pending = []
        elif pending:
            pending.append(body)
            if not together[1]:
                yield "\n".join(pending) + "\n"
                pending = []
            continue
        if is_open:
            pending = [body]
        else:
            yield f"{body}\n"
    yield from (_requoted(held, sep, quote, cell) for held in pending)


def _holds(cells: Sequence[str], sep: str) -> bool:
    """Whether a cell of several lines holds a separator."""
    return any("\n" in cell and sep in cell for cell in cells)


def _cells(text: str, sep: str, quote: str, quoted: re.Pattern[str]) -> tuple[list[str], bool]:
    """The cells of a row as they are written, and whether one begins with a quote that does not close."""
    cells: list[str] = []
    start, is_open = 0, False
    while True:
        found = quoted.match(text, start)
        is_open = is_open or (found is None and text.startswith(quote, start))
        end = found.end() if found else text.find(sep, start)
        if end < 0 or end == len(text):
            return [*cells, text[start:]], is_open
        cells.append(text[start:end])
        start = end + len(sep)


def _requoted(line: str, sep: str, quote: str, quoted: re.Pattern[str]) -> str:
    """A line whose cells with open quotes are quoted anew, as a whole."""
    cells, _ = _cells(line, sep, quote, quoted)
    is_open = [cell.startswith(quote) and not quoted.fullmatch(cell) for cell in cells]
    doubled = quote * 2
    again = [f"{quote}{c.replace(quote, doubled)}{quote}" if o else c for c, o in zip(cells, is_open, strict=True)]
    return sep.join(again) + "\n"


def rewritten(stream: IO[bytes], encoding: str | None, sep: str, quote: str) -> io.BytesIO:
    """A table as UTF-8 with closed quotes.

    Raises:
        UnicodeError: it is no text of this encoding.
    """
    out = io.StringIO()
    # A line ends at a line feed alone: a text may hold other characters that end lines, such as U+2028.
    lines = io.StringIO(stream.read().decode(encoding or "utf-8-sig"), newline="\n")
    out.writelines(with_closed_quotes(iter(lines), sep, quote))
    return io.BytesIO(out.getvalue().encode())


def escaped_quotes(stream: IO[bytes]) -> int:
    r"""How many \" a file has; the stream is read to its end."""
    count, last = 0, b""
    while block := stream.read(1 << 20):
        count += len(re.findall(rb'\\"', last + block))
        last = block[-1:] if block.endswith(b"\\") else b""
    return count
