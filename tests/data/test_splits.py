import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from dami_text.config.data_options import DataConfig
from dami_text.data.copies import copy_hashes, deal, warn_of_frequent_texts
from dami_text.data.sources import load_source
from dami_text.data.splits import rarefied, split_source, warn_of_copies, warn_of_missing_classes
from dami_text.errors import ConfigError, DataError


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
from dami_text.config.data_options import DataConfig
from dami_text.data.sources import load_source
from dami_text.data.copies import copy_hashes, deal, warn_of_frequent_texts
from dami_text.data.splits import rarefied, split_source, warn_of_copies, warn_of_missing_classes

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


def labeled(texts: list[str], labels: list[int], n_classes: int = 2) -> DatasetDict:
    features = Features(text=Value("string"), label=ClassLabel(names=[f"c{i}" for i in range(n_classes)]))
    return DatasetDict(train=Dataset.from_dict({"text": texts, "label": labels}, features=features))


def test_copies_are_drawn_into_one_split() -> None:
    texts = [f"text {i % 100}{' ' * (i // 100)}" for i in range(200)]  # a blank at the end makes no other text
    for seed in range(5):
        splits = split_source(labeled(texts, [0, 1] * 100), "resplit", seed, together=True)
        assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [140, 20, 40]
        parts = [{text.strip() for text in part["text"]} for part in (splits.train, splits.validation, splits.test)]
        assert list(map(len, parts)) == [70, 10, 20]
        assert len(set.union(*parts)) == 100


def test_without_copies_the_split_is_the_papers_bit_for_bit() -> None:
    source = labeled([f"text {i}" for i in range(103)], [0] * 50 + [1] * 53)
    apart, together = (split_source(source, "resplit", 4, option) for option in (False, True))
    for part in ("train", "validation", "test"):
        assert getattr(apart, part)["text"][:] == getattr(together, part)["text"][:]


def test_a_text_that_is_there_too_often_for_a_split_is_for_training() -> None:
    source = labeled(["spam"] * 60 + [f"text {i}" for i in range(40)], [0, 1] * 50)
    splits = split_source(source, "resplit", 0, together=True)
    assert splits.train["text"][:].count("spam") == 60
    assert len(splits.test) == 20


def test_nothing_but_copies_cannot_be_split() -> None:
    with pytest.raises(DataError, match=r"so many copies of the same texts that a split is left empty.*--duplicates"):
        split_source(labeled(["a"] * 20 + ["b"] * 20, [0, 1] * 20), "resplit", 0, together=True)


def test_a_deal_takes_each_group_whole_and_every_row_once() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        groups = rng.integers(0, 12, 40).astype(np.uint64)
        order = rng.permutation(40)
        sizes = rng.integers(0, 20, 2).tolist()
        parts = deal(order, groups[order], sizes)
        assert sorted(np.concatenate(parts).tolist()) == list(range(40))
        assert all(len(part) <= size for part, size in zip(parts, sizes, strict=False))
        held = [set(groups[part].tolist()) for part in parts]
        assert len(set.union(*held)) == sum(map(len, held))


def test_stratified_deals_each_class_to_all_splits_where_it_can() -> None:
    labels = [0] * 900 + [1] * 97 + [2] * 2 + [3]
    splits = split_source(labeled([f"text {i}" for i in range(1000)], labels, 4), "stratified", 1)
    counts = [np.bincount(p["label"][:], minlength=4).tolist() for p in (splits.train, splits.validation, splits.test)]
    assert counts == [[630, 68, 1, 1], [90, 10, 0, 0], [180, 19, 1, 0]]
    texts = [text for part in (splits.train, splits.validation, splits.test) for text in part["text"]]
    assert len(set(texts)) == 1000
    assert splits.train["label"][:] != sorted(splits.train["label"])


def test_stratified_keeps_copies_together_too() -> None:
    texts = [f"text {i % 50}" for i in range(100)]
    splits = split_source(labeled(texts, [i % 50 % 2 for i in range(100)]), "stratified", 0, together=True)
    parts = [set(part["text"]) for part in (splits.train, splits.validation, splits.test)]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 50
    assert all(0 < np.mean(part["label"][:]) < 1 for part in (splits.train, splits.test))


def test_hashes_of_copies_look_past_white_space_and_composition() -> None:
    rows = Dataset.from_dict({"text": ["caf\u00e9  noir", " cafe\u0301 noir\n", "Caf\u00e9 noir", ""]})
    first, same, other, empty = copy_hashes(rows).tolist()
    assert first == same
    assert len({first, other, empty}) == 3


def warned(caplog: pytest.LogCaptureFixture, warn: Any, *arguments: Any) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        warn(*arguments)
    return [record.getMessage() for record in caplog.records]


def test_copies_across_splits_are_counted_in_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    texts = [f"text {i % 100}" for i in range(200)]
    labels = [i % 2 for i in range(200)]
    labels[0] = 1  # text 0 is 1 and 0
    source = labeled(texts, labels)
    only_validated = 0
    for seed in range(4):
        splits = split_source(source, "resplit", seed)
        training, validation = set(splits.train["text"]), set(splits.validation["text"])
        known = sum(text in training | validation for text in splits.test["text"])
        only_validated += sum(text in validation - training for text in splits.test["text"])
        (message,) = warned(caplog, warn_of_copies, splits)
        assert "100 of 200 texts are copies of others" in message
        assert f": {known} of the 40 test texts are in training or validation too" in message
        assert "--duplicates together" in message
        assert "1 texts have copies of different labels" in message
    assert only_validated > 0
    (message,) = warned(caplog, warn_of_copies, split_source(source, "resplit", 0, together=True))
    assert "they stay in one split" in message
    assert warned(caplog, warn_of_copies, split_source(labeled(list("abcdefghij"), [0, 1] * 5), "resplit", 0)) == []


def test_classes_that_a_split_lacks_are_named(caplog: pytest.LogCaptureFixture) -> None:
    source = labeled([f"text {i}" for i in range(100)], [0] * 50 + [1] * 49 + [2], 4)
    splits = split_source(source, "stratified", 0)
    names = ["zero", "one", "rare", "never"]
    (message,) = warned(caplog, warn_of_missing_classes, splits, names, "resplit")
    assert "no text in training: 'never'; no text in test: 'rare', 'never'" in message
    assert "--splits stratified" in message
    (message,) = warned(caplog, warn_of_missing_classes, splits, names, "stratified")
    assert "--splits" not in message
    assert warned(caplog, warn_of_missing_classes, splits, names[:2], "resplit") == []


def test_hashes_of_more_rows_than_are_read_at_once() -> None:
    texts = [f"text {i % 10_007}" for i in range(20_030)]
    hashes = copy_hashes(Dataset.from_dict({"text": texts}))
    assert len(np.unique(hashes)) == 10_007
    assert (hashes[:10_023] == hashes[10_007:]).all()


@pytest.mark.parametrize(("n", "often"), [(15, False), (120, True)])
def test_a_text_is_very_frequent_from_a_tenth_of_all_on(n: int, often: bool, caplog: pytest.LogCaptureFixture) -> None:
    dataset = Dataset.from_dict({"text": ["again"] * n + [f"text {i}" for i in range(1000 - n)]})
    messages = warned(caplog, warn_of_frequent_texts, dataset, copy_hashes(dataset))
    assert any(f"'again' is there {n} times" in message for message in messages) == often


def labelled(n: int, share: float) -> DatasetDict:
    """n rows of which `share` are spam."""
    features = Features({"row": Value("int64"), "label": ClassLabel(names=["ham", "spam"])})
    labels = (np.random.default_rng(0).random(n) < share).astype(int).tolist()
    return DatasetDict(train=Dataset.from_dict({"row": list(range(n)), "label": labels}, features=features))


@pytest.mark.parametrize("share", [0.03, 0.2])
def test_a_class_is_made_rare_in_each_split(share: float) -> None:
    whole = split_source(labelled(2000, 0.5), "resplit", seed=0)
    rare = rarefied(whole, "spam", share, seed=0)
    assert rare.validation is not None
    for before, after in ((whole.train, rare.train), (whole.validation, rare.validation), (whole.test, rare.test)):
        others = [row for row, label in zip(before["row"], before["label"], strict=True) if label == 0]
        assert [row for row, label in zip(after["row"], after["label"], strict=True) if label == 0] == others
        assert set(after["row"]) <= set(before["row"])
        assert sum(after["label"]) / len(after) == pytest.approx(share, abs=1 / len(after))
    assert rare.train["row"] == rarefied(whole, "spam", share, seed=0).train["row"]
    assert rare.train["row"] != rarefied(whole, "spam", share, seed=1).train["row"]


def test_a_rare_class_keeps_a_text_in_each_split_and_a_rarer_one_all_of_them() -> None:
    whole = split_source(labelled(100, 0.5), "resplit", seed=0)
    assert [sum(part["label"]) for part in (whole.validation, rarefied(whole, "spam", 1e-6, seed=0).validation)] == [
        sum(whole.validation["label"]),
        1,
    ]
    assert rarefied(whole, "spam", 0.99, seed=0).train["row"] == whole.train["row"]


def test_a_class_to_make_rare_has_to_exist() -> None:
    with pytest.raises(DataError, match=r"--rarefy egg=0.03: no class 'egg'; name one of 'ham', 'spam'"):
        rarefied(split_source(labelled(100, 0.5), "resplit", seed=0), "egg", 0.03, seed=0)


@pytest.mark.parametrize("value", ["spam", "spam=", "spam=0", "spam=1", "spam=a third", "=0.1"])
def test_a_share_that_is_none(value: str) -> None:
    with pytest.raises(ConfigError, match="rarefy"):
        DataConfig(rarefy=value)
