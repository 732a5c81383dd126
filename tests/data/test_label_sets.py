"""Texts with any number of labels: how they are read, what is refused, and how they are split."""

import json

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value, concatenate_datasets

from dami_text.config.data_options import DataConfig
from dami_text.config.run import RunConfig
from dami_text.data.label_sets import LabelSets
from dami_text.data.labels import checked_labels, label_counts, named
from dami_text.data.sources import load_source
from dami_text.data.splits import labels_of, names_of_labels, split_source
from dami_text.data.stratification import stratified_parts
from dami_text.errors import ColumnError, ConfigError, DataError, DataTypeError
from dami_text.learning.cold_start import label_balanced_rows


def load(path, **options):
    """The only split of a file, its labels by name."""
    rows = load_source(DataConfig(dataset=str(path), task="multilabel", **options))["train"]
    names = names_of_labels(rows)
    return names, [[names[i] for i in row] for row in rows["label"]], rows["text"][:]


def jsonl(path, labels):
    path.write_text("\n".join(json.dumps({"text": f"text {i}", "label": each}) for i, each in enumerate(labels)))
    return path


def test_lists_of_names(tmp_path, caplog):
    names, labels, texts = load(jsonl(tmp_path / "a.jsonl", [["b", "a"], [], None, ["c"]]))
    assert names == ["a", "b", "c"]
    assert labels == [["b", "a"], [], ["c"]]
    assert texts == ["text 0", "text 1", "text 3"]
    assert "1 of 4 rows are not labelled (null): left out" in caplog.text


def test_lists_of_numbers(tmp_path):
    names, labels, _ = load(jsonl(tmp_path / "a.jsonl", [[10, 2], [2]]), label_names=["2=two"])
    assert names == ["two", "10"]
    assert labels == [["10", "two"], ["two"]]


def test_lists_of_class_labels_keep_all_names(tmp_path):
    features = Features(text=Value("string"), label=List(ClassLabel(names=["z", "a", "never"])))
    Dataset.from_dict({"text": ["x", "y"], "label": [[1, 0], []]}, features).to_parquet(tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet")[:2] == (["z", "a", "never"], [["a", "z"], []])


def test_names_with_a_separator(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\nx,b; a\ny,\nz,a\n")
    assert load(tmp_path / "a.csv", label_separator=";")[:2] == (["a", "b"], [["b", "a"], [], ["a"]])


def test_a_column_for_each_label(tmp_path):
    (tmp_path / "a.csv").write_text("text,spam,ham\nx,1,0\ny,0.0,0\nz,,\nw,True,1\n")
    assert load(tmp_path / "a.csv", label_columns=["spam", "ham"]) == (
        ["spam", "ham"],
        [["spam"], [], ["spam", "ham"]],
        ["x", "y", "w"],
    )


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ([["a"], ["b", "b"]], "row 1 of split 'train' .*: the label 'b' is there twice"),
        ([["a"], ["b", None]], "row 1 .*: a null or an empty name is among the labels"),
        ([["a", ""]], "row 0 .*: a null or an empty name is among the labels"),
        ([[], None, []], "no label in column 'label' of 3 rows"),
    ],
)
def test_what_is_wrong_with_a_list(tmp_path, labels, told):
    with pytest.raises(DataError, match=told):
        load(jsonl(tmp_path / "a.jsonl", labels))


@pytest.mark.parametrize(
    ("labels", "options", "told"),
    [
        ([[["a"]]], {}, "holds lists of unequal types or of more than values"),
        ([["a"]], {"label_separator": ";"}, "holds lists, and --label-separator is for strings"),
        (["a;b"], {}, "holds strings, .* with --label-separator"),
        ([1, 2], {}, "wanted lists of labels, names with a --label-separator between them, or a column of 0 and 1"),
    ],
)
def test_what_is_wrong_with_a_column(tmp_path, labels, options, told):
    with pytest.raises(ColumnError, match=told):
        load(jsonl(tmp_path / "a.jsonl", labels), **options)


@pytest.mark.parametrize("number", [2, -1])
def test_a_number_without_a_name(tmp_path, number):
    """datasets checks numbers where it writes a ClassLabel, so the column is declared when they are there."""
    rows = Dataset.from_dict({"text": ["x", "y"], "label": [[0], [number]]})
    rows.to_parquet(tmp_path / "a.parquet")
    declared = Features(text=Value("string"), label=List(ClassLabel(names=["a", "b"])))
    source = DatasetDict(train=Dataset(rows.data, info=rows.info))
    source["train"].info.features = declared
    with pytest.raises(DataError, match=rf"row 1 .*: the label {number} has no name; the column names 2"):
        LabelSets.of(source, ["label"], DataConfig(task="multilabel"))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("x,2,0", "column 'spam' holds '2'; wanted 0 or 1"),
        ("x,1,", "column 'ham' is empty, and others are not"),
    ],
)
def test_what_is_wrong_with_columns(tmp_path, row, told):
    (tmp_path / "a.csv").write_text(f"text,spam,ham\n{row}\n")
    with pytest.raises(DataError, match=f"row 0 .*: {told}"):
        load(tmp_path / "a.csv", label_columns=["spam", "ham"])


def test_values_of_unequal_types(tmp_path):
    """Older versions of datasets do not read them."""
    with pytest.raises(DataError, match=r"holds lists of unequal types|cannot be read as a data set"):
        load(jsonl(tmp_path / "a.jsonl", [["a", 1]]))


def test_a_column_that_is_named_twice(tmp_path):
    (tmp_path / "a.csv").write_text("text,Spam\nx,1\n")
    with pytest.raises(ColumnError, match="--label-columns names a column twice, in 'Spam', 'Spam'"):
        load(tmp_path / "a.csv", label_columns=["spam", "Spam"])


def test_a_column_that_is_not_there(tmp_path):
    (tmp_path / "a.csv").write_text("text,spam\nx,1\n")
    with pytest.raises(ColumnError, match=r"no column 'ham' in \['text', 'spam'\]; name it with --label-columns$"):
        load(tmp_path / "a.csv", label_columns=["spam", "ham"])


def test_an_empty_name_between_separators(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\nx,a;;b\n")
    with pytest.raises(DataError, match="'a;;b' has an empty name between its separators ';'"):
        load(tmp_path / "a.csv", label_separator=";")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"label_separator": ";", "task": "text"}, "label_separator has no effect without task multilabel"),
        ({"label_aggregation": "max", "task": "text"}, "label_aggregation has no effect without task multilabel"),
        ({"metric": "samples_f1", "task": "text"}, "metric samples_f1 is for texts with any number of labels"),
        ({"metric": "accuracy"}, "metric is accuracy, and task is multilabel; it must be one of micro_f1"),
        ({"metric": "./mine.py"}, "task is multilabel; it must be one of micro_f1"),
        ({"metric": "recall"}, "task is multilabel; it must be one of micro_f1"),
        ({"rarefy": "a=0.1"}, "rarefy is for one class a text"),
        ({"stop": "stable"}, "stop stable is for one class a text"),
        ({"cold_start": "strategy"}, "cold_start strategy is for one class a text"),
        ({"contrastive": True, "model": "x"}, "contrastive is for one class a text"),
        ({"label_columns": ["a"], "label_separator": ";"}, "label_separator has no effect with label_columns"),
        ({"label_columns": ["a"], "label_column": "b"}, "label_column has no effect with label_columns"),
        ({"label_columns": ["a", "a"]}, "different names, one or more"),
        ({"label_separator": ""}, "one character or more"),
        ({"label_separator": ";", "label_names": ["0=a;b"]}, "names without the separator ';'"),
        ({"model": "mlp"}, "model mlp reads tables, and task is multilabel"),
        ({"drop_columns": "a"}, "drop_columns is for tables, and task is multilabel"),
    ],
)
def test_options_that_cannot_work(options, told):
    with pytest.raises(ConfigError, match=told):
        RunConfig.of(**{"task": "multilabel"} | options)


def test_what_the_task_implies():
    config = RunConfig.of(task="multilabel")
    assert (config.training.metric, config.strategy.strategy) == ("micro_f1", "margin")
    assert RunConfig.of(task="multilabel", stop="budget:50").loop.stop == "budget:50"


def test_arrays_of_labels():
    labels = np.array([[1, 0, 1], [0, 0, 0]])
    assert label_counts(labels, 3).tolist() == [1, 0, 1]
    assert label_counts(np.array([2, 0, 2]), 4).tolist() == [1, 0, 2, 0]
    assert [named(row, "abc") for row in labels] == [["a", "c"], []]
    assert named(np.int64(1), "abc") == "b"
    rows = np.array([4, 7])
    assert checked_labels(labels.tolist(), rows, 3, multilabel=True).tolist() == labels.tolist()
    for wrong, error, told in (
        ([1, 0], DataError, r"labels of shape \(2,\); wanted 0 or 1 for each of 3 labels"),
        ([[2, 0, 0], [0, 0, 0]], DataError, "row 4 has the label"),
        (labels / 2, DataTypeError, "labels are integers from 0 to 1"),
    ):
        with pytest.raises(error, match=told):
            checked_labels(wrong, rows, 3, multilabel=True)


def random_labels(n, shares, seed=0):
    return (np.random.default_rng(seed).random((n, len(shares))) < shares).astype(np.int64)


def test_parts_keep_each_labels_share():
    labels = random_labels(1000, [0.5, 0.2, 0.05, 0.02, 0.01])
    part = stratified_parts(labels, (0.2, 0.1))
    assert np.bincount(part).tolist() == [200, 100, 700]
    for i, share in enumerate((0.2, 0.1, 0.7)):
        assert labels[part == i].sum(axis=0) == pytest.approx(share * labels.sum(axis=0), abs=1.5)


@pytest.mark.parametrize(("n", "parts"), [(2, {0, 2}), (4, {0, 1, 2})])
def test_a_rare_label_comes_into_as_many_parts_as_it_can(n, parts):
    labels = random_labels(200, [0.5, 0])
    labels[:n, 1] = 1
    assert set(stratified_parts(labels, (0.2, 0.1))[:n].tolist()) == parts


def source_of(labels, texts=None):
    names = [f"label {i}" for i in range(labels.shape[1])]
    features = Features(text=Value("string"), label=List(ClassLabel(names=names)))
    texts = texts or [f"text {i}" for i in range(len(labels))]
    lists = [np.flatnonzero(row).tolist() for row in labels]
    return DatasetDict(train=Dataset.from_dict({"text": texts, "label": lists}, features))


@pytest.mark.parametrize("how", ["resplit", "stratified"])
def test_splits(how):
    labels = random_labels(300, [0.5, 0.1, 0.02])
    splits = split_source(source_of(labels), how, seed=1)
    found = {}
    for rows in (splits.train, splits.validation, splits.test):
        found |= dict(zip(rows["text"], labels_of(rows).tolist(), strict=True))
    assert found == {f"text {i}": row.tolist() for i, row in enumerate(labels)}
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (210, 30, 60)


def test_labels_of_parts_of_a_data_set():
    labels = random_labels(50, [0.5, 0.1, 0.02])
    rows = source_of(labels)["train"]
    for part in (range(50), range(10, 30), [4, 2, 49], []):
        assert labels_of(rows.select(part)).tolist() == labels[list(part)].tolist()
    joined = concatenate_datasets([rows.select(range(20, 50)), rows.select(range(5))])
    assert labels_of(joined).tolist() == [*labels[20:].tolist(), *labels[:5].tolist()]


def test_copies_come_into_one_split():
    labels = np.repeat(random_labels(150, [0.5, 0.1]), 2, axis=0)
    splits = split_source(source_of(labels, [f"text {i // 2}" for i in range(300)]), "stratified", 0, together=True)
    parts = [set(rows["text"]) for rows in (splits.train, splits.validation, splits.test)]
    assert sum(map(len, parts)) == 150
    assert all(len(part) > 10 for part in parts)


def test_a_balanced_start_has_the_rarest_labels():
    labels = random_labels(500, [0.5, 0.3, 0])
    labels[[100, 300, 400], 2] = 1
    rows = label_balanced_rows(labels, 9, np.random.default_rng(0))
    assert len(set(rows.tolist())) == 9
    assert labels[rows].sum(axis=0).min() >= 3
    every = label_balanced_rows(labels, 500, np.random.default_rng(0))
    assert sorted(every.tolist()) == list(range(500))
