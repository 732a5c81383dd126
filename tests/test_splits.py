import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict

from dami_text.config import DataConfig
from dami_text.data.sources import load_source
from dami_text.data.splits import split_source
from dami_text.errors import DataError


def numbered(**sizes: int) -> DatasetDict:
    """Splits of the given sizes, whose rows are numbered through in the order of the arguments."""
    source, start = DatasetDict(), 0
    for name, size in sizes.items():
        source[name] = Dataset.from_dict({"row": list(range(start, start + size))})
        start += size
    return source


@pytest.mark.parametrize(
    ("n", "train", "validation", "test"),
    [(10_000, 7000, 1000, 2000), (10_662, 7464, 1066, 2132), (10, 7, 1, 2), (13, 9, 1, 3), (17, 12, 2, 3)],
)
def test_resplit_sizes(n: int, train: int, validation: int, test: int) -> None:
    splits = split_source(numbered(train=n), "resplit", seed=0)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (train, validation, test)


def test_resplit_deals_every_row_of_every_split_out_once() -> None:
    splits = split_source(numbered(test=30, other=7, train=50, validation=13), "resplit", seed=3)
    parts = [set(splits.train["row"]), set(splits.validation["row"]), set(splits.test["row"])]
    assert set.union(*parts) == set(range(100))
    assert sum(map(len, parts)) == 100


def test_resplit_does_not_depend_on_the_order_in_which_the_splits_are_listed() -> None:
    rows = numbered(train=50, validation=13, test=30)
    shuffled = DatasetDict({name: rows[name] for name in ("test", "train", "validation")})
    assert split_source(rows, "resplit", 0).train["row"] == split_source(shuffled, "resplit", 0).train["row"]


def test_resplit_is_random_by_seed() -> None:
    source = numbered(train=200)
    first, again, other = (split_source(source, "resplit", seed) for seed in (0, 0, 1))
    assert first.train["row"] == again.train["row"]
    assert first.test["row"] != other.test["row"]
    assert first.train["row"] != sorted(first.train["row"])
    # A test set of 40 from 200 numbers has a mean of 99.5 with a standard deviation of 8.2.
    assert 65 < sum(first.test["row"]) / 40 < 134


def test_rows_are_selected_and_not_copied() -> None:
    source = numbered(train=100)
    splits = split_source(source, "resplit", 0)
    assert splits.train.data.table.equals(splits.test.data.table)
    assert splits.train.data.num_rows == 100


def test_too_few_rows_to_split() -> None:
    with pytest.raises(DataError, match=r"^9 labelled rows are too few to split; wanted at least 10$"):
        split_source(numbered(train=5, test=4), "resplit", 0)


@pytest.mark.parametrize("name", ["validation", "valid", "dev"])
def test_keep_takes_the_splits_as_they_are(name: str) -> None:
    splits = split_source(numbered(train=3, **{name: 2}, test=1, extra=5), "keep", 0)
    assert list(splits.train["row"]) == [0, 1, 2]
    assert list(splits.validation["row"]) == [3, 4]
    assert list(splits.test["row"]) == [5]


def test_keep_without_validation() -> None:
    assert split_source(numbered(train=3, test=1), "keep", 0).validation is None


@pytest.mark.parametrize("sizes", [{"train": 20}, {"test": 20}, {"training": 3, "test": 4}])
def test_keep_needs_train_and_test(sizes: dict[str, int]) -> None:
    with pytest.raises(DataError) as error:
        split_source(numbered(**sizes), "keep", 0)
    assert str(error.value) == (f"no splits 'train' and 'test' in {list(sizes)}; split at random with --splits resplit")


PARTS = """
from dami_text.config import DataConfig
from dami_text.data.sources import load_source
from dami_text.data.splits import split_source

def parts(name):
    splits = split_source(load_source(DataConfig(dataset=name)), "resplit", 5)
    return [(part._fingerprint, part[:5]) for part in (splits.train, splits.validation, splits.test)]
"""


def test_another_process_gives_the_same_rows_and_fingerprints(tmp_path: Path) -> None:
    file = tmp_path / "texts.csv"
    file.write_text("text,label\n" + "".join(f"text {i},{i % 2}\n" for i in range(40)))
    names = [str(file), "demo"]
    here: dict[str, Any] = {}
    exec(PARTS, here)
    there = subprocess.run(
        [sys.executable, "-c", f"{PARTS}\nprint([parts(name) for name in {names}])"],
        env=os.environ | {"HF_HOME": str(tmp_path / "home"), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == str([here["parts"](name) for name in names])


@pytest.mark.parametrize(
    ("folder", "sizes"),
    [
        ("SetFit/subj", (7000, 1000, 2000)),
        ("cornell-movie-review-data/rotten_tomatoes", (7464, 1066, 2132)),
    ],
)
def test_real_data_is_split_as_in_the_paper(real_data: Path, folder: str, sizes: tuple[int, int, int]) -> None:
    source = load_source(DataConfig(dataset=str(real_data / folder)))
    splits = split_source(source, "resplit", seed=0)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == sizes
    # Both data sets are half of each class; three standard deviations of 1,000 fair coins are 0.047.
    assert abs(sum(splits.validation["label"]) / len(splits.validation) - 0.5) < 0.05
