"""Text from outside, made safe for the place where it is shown: a terminal, a spreadsheet, Markdown, one line of JSON.

Texts, labels, names of files and messages of libraries may hold whatever their authors liked. HTML is escaped by
`html.escape` and by Jinja.
"""

import json
import re
import textwrap
from typing import Any

#: What a spreadsheet begins to calculate at, its full-width forms among it.
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")

# What json leaves as it is though a terminal may act on it: C1 controls, and what turns the direction of text.
_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

# What may be markup, the item of a list, a link or an address, which renderers make links of, too.
_MARKUP = re.compile(
    r"[\\`*_\[\]<>|#~&${}!@]"
    r"|^(?:[-+]|\d{1,9}[.)])(?= |$)"
    r"|:(?=//)|(?i:(?<=www)\.|(?<=mailto):|(?<=xmpp):)"
)

# What would turn the direction of what follows, or be invisible; marks of direction that right-to-left texts need stay.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)


def printable(text: str) -> str:
    """The text with control characters and the like as Python's escapes, for a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def terminal_line(message: object) -> str:
    """A message on one line, for a terminal."""
    return printable(re.sub(r"\s*\n\s*", " ", str(message)))


def short_message(error: BaseException) -> str:
    """An error's message on one line of 300 characters at most, or its name: messages may quote a whole file."""
    message = "".join(c if c.isprintable() else " " for c in str(error)[:1000])
    return textwrap.shorten(message, 300) or type(error).__name__


def visible(text: str) -> str:
    """The text with what is invisible or would act on its surroundings written out, such as ⟨U+202E⟩; lines stay."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _INVISIBLE.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", text)


def to_json(value: Any) -> str:
    """One line of JSON that a terminal can show, whatever texts it holds."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))


def no_formula(value: Any) -> Any:
    """A cell that a spreadsheet shows and does not calculate: an apostrophe first, but for plain numbers."""
    risky = isinstance(value, str) and value.startswith(FORMULA) and not _is_number(value)
    return f"'{value}" if risky else value


def without_guard(value: str | None) -> str | None:
    """What a cell was before `no_formula`, of this version or of earlier ones, which guarded numbers too."""
    return value[1:] if value and value[0] == "'" and value[1:].startswith(FORMULA) else value


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, flags=re.ASCII) is not None


def markdown(value: object) -> str:
    """Text as Markdown shows it: on one line, with nothing that is markup, a link or an address."""
    line = " ".join(str(value).split())
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return _MARKUP.sub(lambda match: "".join(f"&#{ord(c)};" for c in match[0]), line)
