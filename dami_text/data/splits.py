"""Training, validation and test: drawn at random from all rows, as in the paper, or the data set's own."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from datasets import Dataset, DatasetDict, List, concatenate_datasets
from numpy.typing import NDArray

from dami_text.config.fields import listed
from dami_text.data.copies import copy_hashes, deal
from dami_text.data.ids import Rows
from dami_text.data.labels import label_counts
from dami_text.data.stratification import stratified_parts
from dami_text.errors import DataError
from dami_text.randomness import numpy_stream

logger = logging.getLogger(__name__)

VALIDATION_SHARE = 0.1
TEST_SHARE = 0.2
MINIMUM = 10  # rows, with which each of the three splits has at least one

VALIDATION_NAMES = ("validation", "valid", "dev")
ORDER = ("train", *VALIDATION_NAMES, "test")

How = Literal["resplit", "stratified", "keep"]


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set, of the same columns, and the rows that `rarefied` left out; they share no row."""

    train: Dataset
    validation: Dataset | None
    test: Dataset
    left_out: Dataset | None = None

    def without_validation(self) -> "Splits":
        """The same with the validation rows behind the training rows, as part of them; the test rows stay."""
        if self.validation is None:
            return self
        return replace(self, train=concatenate_datasets([self.train, self.validation]), validation=None)


def split_source(source: DatasetDict, how: How, seed: int, together: bool = False) -> Splits:
    """Split `source` into training, validation and test rows.

    `resplit` joins all splits (train, validation, test, then any others as they come) and draws 20% of the rows
    for test and 10% for validation, at random by `seed`; the rest is for training. `stratified` draws these shares of
    each class: one row at least of a class that has two for test, and of one that has three for validation; of texts
    with any number of labels, these shares of each label as far as it goes (see `stratification`). `keep`
    takes the splits train, validation (or valid, or dev; None where there is none) and test as they are. Rows are
    selected, not copied, and the same source and seed give the same fingerprints in every process.

    With `together`, copies of a text (see `copies.copy_hashes`) are drawn into one split, which `keep` cannot do.

    Raises:
        DataError: `keep` without a train or test split, `resplit` of fewer than 10 rows, or so many copies that a
            split is left empty.
    """
    return _keep(source) if how == "keep" else _resplit(source, how, seed, together)


def _resplit(source: DatasetDict, how: How, seed: int, together: bool) -> Splits:
    names = sorted(source, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    rows = concatenate_datasets([source[name] for name in names])
    if len(rows) < MINIMUM:
        raise DataError(f"{len(rows)} labelled rows are too few to split; wanted at least {MINIMUM}")
    order = numpy_stream(seed, 0, "split").permutation(len(rows))
    groups = copy_hashes(rows) if together else np.arange(len(rows), dtype=np.uint64)
    if how == "stratified":
        labels = labels_of(rows)[order]
        deal_out = _by_class if labels.ndim == 1 else _by_label
        test, validation, train = deal_out(order, groups[order], labels)
    else:
        sizes = round(TEST_SHARE * len(rows)), round(VALIDATION_SHARE * len(rows))
        test, validation, train = deal(order, groups[order], sizes)
    if not all(map(len, (test, validation, train))):
        raise DataError(
            f"the {len(rows)} labelled rows hold so many copies of the same texts that a split is left empty; wanted "
            "more different texts, or --duplicates anywhere"
        )
    return Splits(rows.select(train), rows.select(validation), rows.select(test))


def _by_class(order: Rows, groups: NDArray[np.uint64], labels: NDArray[np.int64]) -> list[Rows]:
    """Test, validation and training rows of `order` (n,), dealt class by class; a group is of its first row's class."""
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    labels = labels[first][group]
    dealt = []
    for label in np.unique(labels):
        members = labels == label
        n = int(members.sum())
        sizes = max(n >= 2, round(TEST_SHARE * n)), max(n >= 3, round(VALIDATION_SHARE * n))
        dealt.append(deal(order[members], groups[members], sizes))
    place = np.argsort(order)
    parts = [np.concatenate(part) for part in zip(*dealt, strict=True)]
    return [part[np.argsort(place[part])] for part in parts]


def _by_label(order: Rows, groups: NDArray[np.uint64], labels: NDArray[np.int64]) -> list[Rows]:
    """Test, validation and training rows of `order` (n,) by labels (n, C) of 0 and 1; a group has its first row's."""
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    by_first = np.argsort(first)
    part = np.empty(len(first), np.int64)
    part[by_first] = stratified_parts(labels[first[by_first]], (TEST_SHARE, VALIDATION_SHARE))
    return [order[part[group] == i] for i in range(3)]


def _keep(source: DatasetDict) -> Splits:
    if not ("train" in source and "test" in source):
        raise DataError(f"no splits 'train' and 'test' in {list(source)}; split at random with --splits resplit")
    validation = next((source[name] for name in VALIDATION_NAMES if name in source), None)
    return Splits(source["train"], validation, source["test"])


def rarefied(splits: Splits, class_name: str, share: float, seed: int) -> Splits:
    """The splits in each of which `share` of the rows are of the class: others of it are left out at random by `seed`.

    Of a class that a split has, one row at least is left; a class that is rarer already is left as it is.

    Raises:
        DataError: there is no such class.
    """
    names = splits.train.features["label"].names
    if class_name not in names:
        raise DataError(f"--rarefy {class_name}={share:g}: no class {class_name!r}; name one of {listed(names)}")
    rng = numpy_stream(seed, 0, "rarefied")

    left_out = []

    def part(rows: Dataset) -> Dataset:
        is_rare = labels_of(rows) == names.index(class_name)
        (rare,) = np.nonzero(is_rare)
        n = min(len(rare), max(1, round(share / (1 - share) * int((~is_rare).sum()))))
        kept = rng.choice(rare, n, replace=False)
        left_out.append(rows.select(np.setdiff1d(rare, kept)))
        return rows.select(np.union1d(np.flatnonzero(~is_rare), kept))

    validation = None if splits.validation is None else part(splits.validation)
    train, test = part(splits.train), part(splits.test)
    return Splits(train, validation, test, concatenate_datasets(left_out))


def names_of_labels(dataset: Dataset) -> list[str]:
    """The names (C,) of the classes, or of the labels, of the column `label`."""
    feature = dataset.features["label"]
    names: list[str] = (feature.feature if isinstance(feature, List) else feature).names
    return names


def labels_of(dataset: Dataset) -> NDArray[np.int64]:
    """The column `label`: the numbers (N,) of classes or, where it has lists, 0 and 1 for each label (N, C)."""
    if not isinstance(dataset.features["label"], List):
        return np.asarray(dataset.with_format("numpy")["label"][:], np.int64)
    lists = dataset.with_format("arrow")["label"][:].combine_chunks()
    labels = np.zeros((len(dataset), len(names_of_labels(dataset))), np.int64)
    labels[lists.value_parent_indices().to_numpy(), lists.flatten().to_numpy()] = 1
    return labels


def warn_of_copies(splits: Splits) -> None:
    """Warn of texts that are there more than once, with how many test texts the training knows, and of their labels."""
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    hashes = [copy_hashes(part) for part in parts]
    together = np.concatenate(hashes)
    distinct = len(np.unique(together))
    if distinct == len(together):
        return
    labels = np.concatenate([labels_of(part).astype(np.uint64) for part in parts])
    of_several = _repeated(np.unique(np.column_stack([together, labels]), axis=0)[:, 0])
    known = int(np.isin(hashes[-1], np.concatenate(hashes[:-1])).sum())
    logger.warning(
        "%d of %d texts are copies of others: %s%s",
        *(len(together) - distinct, len(together)),
        f"{known} of the {len(hashes[-1])} test texts are in training or validation too, so that the accuracy is too "
        "high; --duplicates together keeps copies in one split"
        if known
        else "they stay in one split",
        f"; {of_several} texts have copies of different labels" if of_several else "",
    )


def _repeated(sorted_values: NDArray[np.uint64]) -> int:
    """How many values are there more than once."""
    return int((np.unique(sorted_values, return_counts=True)[1] > 1).sum())


def warn_of_missing_classes(splits: Splits, class_names: Sequence[str], how: How) -> None:
    """Warn of classes without a text in training, which no model can learn, or in test, where they are not measured."""
    parts = {"training": splits.train, "test": splits.test}
    missing = {
        name: [class_names[i] for i in np.flatnonzero(label_counts(labels_of(part), len(class_names)) == 0).tolist()]
        for name, part in parts.items()
    }
    if any(missing.values()):
        told = "; ".join(f"no text in {name}: {listed(names)}" for name, names in missing.items() if names)
        remedy = "" if how == "stratified" else "; --splits stratified deals each class to all splits where it can"
        logger.warning("some classes have %s%s", told, remedy)
