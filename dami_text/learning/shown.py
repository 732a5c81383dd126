"""What a learner gives back, as a terminal and a notebook show it: queries, and explanations of predictions."""

import html
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dami_text.escaping import printable, visible
from dami_text.strategies import Query

if TYPE_CHECKING:
    import pandas as pd

#: Rows and characters of a text that a table in a terminal has at most.
MOST_ROWS, MOST_CHARACTERS = 20, 60


def text_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table for a terminal; what a terminal would act on is written out, and long texts are cut."""
    cells = [[_short(cell) for cell in row] for row in (header, *rows[:MOST_ROWS])]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    left_out = [f"and {len(rows) - MOST_ROWS} more"] if len(rows) > MOST_ROWS else []
    return "\n".join([*lines, *left_out])


def html_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table for a notebook, with whatever cells hold shown and not done."""
    lines = [f"<tr>{''.join(f'<th>{_escaped(cell)}</th>' for cell in header)}</tr>"]
    lines += [f"<tr>{''.join(f'<td>{_escaped(_value(cell))}</td>' for cell in row)}</tr>" for row in rows]
    return f"<table>{''.join(lines)}</table>"


def _value(cell: Any) -> str:
    return "" if cell is None else f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _short(cell: Any) -> str:
    return printable(textwrap.shorten(_value(cell)[:1000], MOST_CHARACTERS, placeholder=" ..."))


def _escaped(text: str) -> str:
    return html.escape(visible(text))


@dataclass(frozen=True, repr=False)
class TextQuery(Query):
    """The rows to label next, with their texts and the reasons for which they were chosen.

    Examples:
        >>> from dami_text import make_learner
        >>> texts = ["a good film", "a bad film", "good music", "bad music"]
        >>> learner = make_learner(texts, ["bad", "good"], model="linear", labels=["good", "bad", None, None])
        >>> query = learner.ask(2)
        >>> sorted(query.texts), query.to_pandas().columns.tolist()
        (['bad music', 'good music'], ['row', 'text', 'score'])

    Attributes:
        rows: (n,) places in the pool, most wanted first.
        reasons: for each row why it was chosen, by name.
        details: what there is to know of the query as a whole.
        texts: (n,) of the rows.
    """

    texts: Sequence[str] = field(default=())

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def _header(self) -> list[str]:
        return ["row", "text", *dict.fromkeys(name for reason in self.reasons for name in reason)]

    def _lines(self) -> list[list[Any]]:
        names = self._header[2:]
        lines = zip(self.rows.tolist(), self.texts, self.reasons, strict=True)
        return [[row, text, *(reason.get(name) for name in names)] for row, text, reason in lines]

    def to_pandas(self) -> "pd.DataFrame":
        """A table of the columns row, text, and one for each kind of reason."""
        import pandas as pd

        return pd.DataFrame(self._lines(), columns=self._header)

    def __repr__(self) -> str:
        return text_table(self._header, self._lines())

    def _repr_html_(self) -> str:
        return html_table(self._header, self._lines())


@dataclass(frozen=True, repr=False)
class Explanation:
    """A prediction, and how much each word of the text has to do with it.

    Examples:
        >>> Explanation("so good", "pos", 0.9, ((0, 2), (3, 7)), (0.1, 2.0)).words
        [('so', 0.1), ('good', 2.0)]

    Attributes:
        text: what was explained.
        label, probability: the predicted class and its probability.
        places: where each word begins and ends in the text, in characters.
        weights: (W,) of the words, at least 0. They compare the words of one text.
    """

    text: str
    label: str
    probability: float
    places: Sequence[tuple[int, int]]
    weights: Sequence[float]

    @property
    def words(self) -> list[tuple[str, float]]:
        """The words and their weights, in the order of the text."""
        found = zip(self.places, self.weights, strict=True)
        return [(self.text[start:end], weight) for (start, end), weight in found]

    def __repr__(self) -> str:
        heaviest = sorted(self.words, key=lambda word: -word[1])[:5]
        shown = ", ".join(f"{_short(word)} {weight:.3g}" for word, weight in heaviest)
        return f"{printable(self.label)} ({self.probability:.0%}): {_short(self.text)}\n  {shown}"

    def _repr_html_(self) -> str:
        most = max(self.weights, default=0.0) or 1.0
        parts, end = [], 0
        for (start, stop), weight in zip(self.places, self.weights, strict=True):
            shade = f"background: rgba(255, 170, 0, {min(1.0, weight / most):.2f})"
            parts += [_escaped(self.text[end:start]), f'<span style="{shade}">{_escaped(self.text[start:stop])}</span>']
            end = stop
        parts.append(_escaped(self.text[end:]))
        return f"<p><b>{_escaped(self.label)}</b> {self.probability:.0%}: {''.join(parts)}</p>"


class Explanations(list[Explanation]):
    """Explanations of several texts, one below the other in a notebook.

    Examples:
        >>> Explanations([Explanation("so good", "pos", 0.9, ((0, 2), (3, 7)), (0.1, 2.0))])
        pos (90%): so good
          good 2, so 0.1
    """

    def to_pandas(self) -> "pd.DataFrame":
        """A table of the columns text (its number), label, probability, word and weight, a line a word."""
        import pandas as pd

        lines = [
            (number, each.label, each.probability, word, weight)
            for number, each in enumerate(self)
            for word, weight in each.words
        ]
        return pd.DataFrame(lines, columns=["text", "label", "probability", "word", "weight"])

    def __repr__(self) -> str:
        return "\n".join(map(repr, self))

    def _repr_html_(self) -> str:
        return "".join(each._repr_html_() for each in self)
