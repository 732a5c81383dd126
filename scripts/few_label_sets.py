"""Write the data sets of `reproduce_few_labels.sh` as files of the columns text and label, of 10,000 rows at most.

    python scripts/few_label_sets.py DATA FOLDER

DATA and the sets are those of `benchmarks/few_labels.py`. Of a larger set, the rows are drawn by seed 0. Of texts with
several labels, only those with one take part. A file that is there is left as it is.
"""

import argparse
import csv
from pathlib import Path

from benchmarks.few_labels import SETS, rows_of

from dami_text.data.hub import no_progress_bars
from dami_text.files import whole_file

#: Rows of a set: 8,000 to choose from, and 2,000 to test on.
MOST = 10_000

#: The names of the files, which those of the runs' folders are made of.
FILES = {
    "subj": "subj",
    "MR": "mr",
    "SST, 5 classes": "sst5",
    "banking77": "banking77",
    "sms": "sms",
    "goemotions": "goemotions",
    "logs": "logs",
    "ChnSentiCorp": "chnsenticorp",
    "waimai": "waimai",
    "10kGNAD": "gnad",
}


def main() -> None:
    """Write what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the data sets")
    parser.add_argument("folder", type=Path, help="where the files go")
    options = parser.parse_args()
    no_progress_bars()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in SETS:
        file = options.folder / f"{FILES[name]}.csv"
        if not file.exists():
            write(file, options.data, name)


def write(file: Path, data: Path, name: str) -> None:
    """Write one set."""
    rows = rows_of(data, name, MOST)
    texts, labels = [*rows.pool, *rows.test], [*rows.labels, *rows.expected]
    with whole_file(file) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
        writer.writerow(["text", "label"])
        writer.writerows((text, rows.class_names[label]) for text, label in zip(texts, labels, strict=True))


if __name__ == "__main__":
    main()
