"""Write GoEmotions with its 28 labels, and with six groups of them, as files of texts with any number of labels.

    python scripts/multilabel_sets.py DATA/real/goemotions FOLDER --rows 10000

The folder holds the authors' train.tsv and goemotions_labels.txt; its first rows are taken. The groups are those of the
authors, after Ekman's six emotions; a neutral text has none of them. A file that is there is left as it is.
"""

import argparse
import csv
from itertools import islice
from pathlib import Path

from dami_text.escaping import to_json
from dami_text.files import whole_file

#: The labels of each group. Neutral is in none.
GROUPS = {
    "anger": ["anger", "annoyance", "disapproval"],
    "disgust": ["disgust"],
    "fear": ["fear", "nervousness"],
    "joy": [
        *("admiration", "amusement", "approval", "caring", "desire", "excitement"),
        *("gratitude", "joy", "love", "optimism", "pride", "relief"),
    ],
    "sadness": ["disappointment", "embarrassment", "grief", "remorse", "sadness"],
    "surprise": ["confusion", "curiosity", "realization", "surprise"],
}

Row = tuple[str, list[str]]


def main() -> None:
    """Write what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the authors' files")
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--rows", type=int, default=10_000, help="of the training split, at most (default: 10000)")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    rows = rows_of(options.data, options.rows)
    write(options.folder / "goemotions.jsonl", rows)
    write(options.folder / "groups.jsonl", [(text, in_groups(labels)) for text, labels in rows])


def rows_of(data: Path, n: int) -> list[Row]:
    """The first n texts of the training split, with the names of their labels."""
    names = (data / "goemotions_labels.txt").read_text(encoding="utf-8").split()
    with (data / "train.tsv").open(encoding="utf-8", newline="") as stream:
        lines = list(islice(csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE), n))
    return [(text, [names[int(number)] for number in numbers.split(",")]) for text, numbers, _ in lines]


def in_groups(labels: list[str]) -> list[str]:
    """The groups that labels are in."""
    return [group for group, members in GROUPS.items() if not set(members).isdisjoint(labels)]


def write(file: Path, rows: list[Row]) -> None:
    """Write one set."""
    if not file.exists():
        with whole_file(file) as unfinished:
            lines = [to_json({"text": text, "label": labels}) + "\n" for text, labels in rows]
            unfinished.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
