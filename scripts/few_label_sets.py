"""Write the data sets of `reproduce_few_labels.sh` as files of the columns text and label.

    python scripts/few_label_sets.py DATA FOLDER --rows 6250 --sets subj mr

DATA is the folder of the data sets of `benchmarks/few_labels.py`. Of a set of more rows, so many are drawn by seed 0.
Of texts with several labels, only those with one take part. A file that is there is left as it is.
"""

import argparse
import csv
from pathlib import Path

from benchmarks.few_labels import Rows, rows_of

from dami_text.data.hub import no_progress_bars
from dami_text.files import whole_file

#: The sets by the names of their files, which those of the runs' folders are made of.
NAMES = {
    "subj": "subj",
    "mr": "MR",
    "sst5": "SST, 5 classes",
    "banking77": "banking77",
    "sms": "sms",
    "goemotions": "goemotions",
    "logs": "logs",
    "chnsenticorp": "ChnSentiCorp",
    "waimai": "waimai",
    "gnad": "10kGNAD",
}


def main() -> None:
    """Write what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the data sets")
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--rows", type=int, required=True, help="of a set, at most")
    parser.add_argument("--sets", nargs="+", choices=NAMES, default=[*NAMES], help="default: all")
    options = parser.parse_args()
    no_progress_bars()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.sets:
        file = options.folder / f"{name}.csv"
        if not file.exists():
            write(file, rows_of(options.data, NAMES[name], options.rows))


def write(file: Path, rows: Rows) -> None:
    """Write one set."""
    texts, labels = [*rows.pool, *rows.test], [*rows.labels, *rows.expected]
    with whole_file(file) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
        writer.writerow(["text", "label"])
        writer.writerows((text, rows.class_names[label]) for text, label in zip(texts, labels, strict=True))


if __name__ == "__main__":
    main()
