"""Texts that are there more than once, so that no copy of a test text is trained on and none is labelled twice."""

import logging
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from dami_text.data.ids import Rows, text_hashes

logger = logging.getLogger(__name__)

OFTEN, OFTEN_SHARE = 1000, 0.1  # how often a text is there to be warned of: times, or share of all


#: What `bare_text` keeps of punctuation: marks that are words (C#, 5%), smileys, signs, and what stands in numbers.
WORDLIKE = "#%&@§"
_KEPT = re.compile(r"[:;=][-'^]?[()\[\]/\\|]+|(?<!\w)[-\u2212](?=\d)|(?<=\d)[.,:/](?=\d)|([^\w\s])")


def plain_text(text: str) -> str:
    """The text in Unicode's composed form (NFC), with one blank for each run of white space and none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def bare_text(text: str) -> str:
    """The `plain_text` in lower case, with punctuation taken for blanks; as it is where it is punctuation alone.

    Examples:
        >>> [bare_text(text) for text in ("So  good!!", "so good", "so good :(", "C# at -5.5%", "!?")]
        ['so good', 'so good', 'so good :(', 'c# at -5.5%', '!?']
    """
    plain = plain_text(text)
    return " ".join(_KEPT.sub(_without_punctuation, plain.casefold()).split()) or plain


def _without_punctuation(found: "re.Match[str]") -> str:
    mark = found[1]
    is_bare = mark is not None and mark not in WORDLIKE and unicodedata.category(mark)[0] == "P"
    return " " if is_bare else found[0]


def copy_hashes(dataset: Dataset) -> NDArray[np.uint64]:
    """A number for each of the column `text` (N,); texts of one number are copies, the same in `plain_text`."""
    return text_hashes(dataset, plain_text)


def warn_of_frequent_texts(dataset: Dataset, hashes: NDArray[np.uint64]) -> None:
    """Warn of copies, by their `hashes` (N,), and of a text that is there very often: see OFTEN."""
    _, first, counts = np.unique(hashes, return_index=True, return_counts=True)
    if len(first) < len(hashes):
        logger.warning("%d of %d texts are copies of others", len(hashes) - len(first), len(hashes))
    most = int(counts.argmax())
    if counts[most] >= OFTEN or counts[most] > max(10, OFTEN_SHARE * len(hashes)):
        text = str(dataset[int(first[most])]["text"])[:60]
        logger.warning("the text %r is there %d times; if it says nothing, remove it", text, counts[most])


def deal(order: Rows, groups: NDArray[np.uint64], sizes: Sequence[int]) -> list[Rows]:
    """Deal rows into parts of at most these sizes, and the rest into one more; a group's rows come into one part.

    Groups come in the order of their first rows, and each goes to the first part that has room for all of it. So parts
    are slices of `order` where every group has one row, and a large group goes to the rest.

    Args:
        order: the rows (n,), all different.
        groups: the group (n,) of each row of `order`.
        sizes: of the parts.
    """
    _, first, group, counts = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    room = list(sizes)
    part = np.full(len(first), len(sizes))
    for g in np.argsort(first).tolist():
        fits = next((i for i, free in enumerate(room) if counts[g] <= free), None)
        if fits is not None:
            part[g] = fits
            room[fits] -= int(counts[g])
    by_group = np.argsort(first[group], kind="stable")
    order, part = order[by_group], part[group[by_group]]
    return [order[part == i] for i in range(len(sizes) + 1)]
