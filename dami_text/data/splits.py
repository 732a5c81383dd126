"""Training, validation and test: drawn at random from all rows, as in the paper, or the data set's own."""

from dataclasses import dataclass
from typing import Literal

from datasets import Dataset, DatasetDict, concatenate_datasets

from dami_text.errors import DataError
from dami_text.randomness import numpy_stream

VALIDATION_SHARE = 0.1
TEST_SHARE = 0.2
MINIMUM = 10  # rows, with which each of the three splits has at least one

VALIDATION_NAMES = ("validation", "valid", "dev")
ORDER = ("train", *VALIDATION_NAMES, "test")


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set, of the same columns; they share no row."""

    train: Dataset
    validation: Dataset | None
    test: Dataset


def split_source(source: DatasetDict, how: Literal["resplit", "keep"], seed: int) -> Splits:
    """Split `source` into training, validation and test rows.

    `resplit` joins all splits (train, validation, test, then any others as they come) and draws 20% of the rows
    for test and 10% for validation, at random by `seed`; the rest is for training. `keep` takes the splits train,
    validation (or valid, or dev; None where there is none) and test as they are. Rows are selected, not copied,
    and the same source and seed give the same fingerprints in every process.

    Raises:
        DataError: `keep` without a train or test split, or `resplit` of fewer than 10 rows.
    """
    return _keep(source) if how == "keep" else _resplit(source, seed)


def _resplit(source: DatasetDict, seed: int) -> Splits:
    names = sorted(source, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    rows = concatenate_datasets([source[name] for name in names])
    if len(rows) < MINIMUM:
        raise DataError(f"{len(rows)} labelled rows are too few to split; wanted at least {MINIMUM}")
    order = numpy_stream(seed, 0, "split").permutation(len(rows))
    n_test, n_validation = round(TEST_SHARE * len(rows)), round(VALIDATION_SHARE * len(rows))
    return Splits(
        train=rows.select(order[n_test + n_validation :]),
        validation=rows.select(order[n_test : n_test + n_validation]),
        test=rows.select(order[:n_test]),
    )


def _keep(source: DatasetDict) -> Splits:
    if not ("train" in source and "test" in source):
        raise DataError(f"no splits 'train' and 'test' in {list(source)}; split at random with --splits resplit")
    validation = next((source[name] for name in VALIDATION_NAMES if name in source), None)
    return Splits(source["train"], validation, source["test"])
