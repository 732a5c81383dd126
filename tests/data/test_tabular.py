"""Tables: which columns are numbers, what is fitted on the training split alone, and rows as texts of one word."""

import gzip
import json
import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from sklearn.metrics import roc_auc_score
from transformers import AutoModelForSequenceClassification

from dami_text.cli.run import run_al
from dami_text.config.data_options import DataConfig, TabularConfig
from dami_text.config.defaults import PRESETS
from dami_text.config.run import RunConfig
from dami_text.data.splits import split_source
from dami_text.data.tabular import FILES, EncodedTable, TableEncoder, _cells, _frame, load_table, load_transformer
from dami_text.errors import ColumnError, DataError
from dami_text.learning.preparation import prepare

ROWS = """age,city,"id, long",score,y
31, Ulm ,7,1.5,no
,Bonn,8,nan,yes
44,,7,inf,no
27,Ulm,9,2.5e1,yes
"""


@pytest.fixture
def people(tmp_path):
    file = tmp_path / "people.csv"
    file.write_text(ROWS, encoding="utf-8")
    return file


def load(file, label="y", **options):
    return load_table(DataConfig(dataset=str(file), task="tabular", label_column=label), TabularConfig(**options))


def rows_of(dataset):
    return dataset.with_format("arrow")["row"][:].combine_chunks().to_pylist()


def typed(file, **options):
    """The rows of a file, all of them for training, and which columns are numbers there."""
    tabular = TabularConfig(**options)
    train = load_table(DataConfig(dataset=str(file), task="tabular", label_column="y"), tabular)["train"]
    encoder = TableEncoder.fit(train, tabular)
    return _frame(_cells(train), encoder.numeric), encoder.numeric


def test_columns_are_numbers_where_all_their_values_are_and_rows_are_written_out(people):
    table = load(people)["train"]
    assert table.features["label"].names == ["no", "yes"]
    assert list(table["label"]) == [0, 1, 0, 1]
    assert rows_of(table)[:2] == [
        {"age": "31", "city": " Ulm ", "id, long": "7", "score": "1.5"},
        {"age": "", "city": "Bonn", "id, long": "8", "score": "nan"},
    ]
    assert table[1]["text"] == "age=, city=Bonn, id, long=8, score=nan"
    frame, numeric = typed(people)
    assert numeric == ["age", "id, long", "score"]
    np.testing.assert_array_equal(frame["age"], [31.0, np.nan, 44.0, 27.0])
    np.testing.assert_array_equal(frame["score"], [1.5, np.nan, np.nan, 25.0])
    assert frame["city"].tolist() == [" Ulm ", "Bonn", "", "Ulm"]


def test_a_number_that_is_too_large_to_be_read_is_missing(tmp_path):
    file = tmp_path / "large.csv"
    file.write_text("x,y\n1e400,0\n-1e999,1\n1e300,0\n", encoding="utf-8")
    np.testing.assert_array_equal(typed(file)[0]["x"], [np.nan, np.nan, 1e300])


@pytest.mark.parametrize("cell", ["12", "-1", "+1.", ".5", "1e5", " 1E-3 ", "NaN", "-inf", "?", "", "1e400", "-nan"])
def test_what_a_number_is(tmp_path, cell):
    file = tmp_path / "a.csv"
    file.write_text(f'x,y\n"{cell}",0\n1,1\n', encoding="utf-8")
    assert typed(file)[1] == ["x"]
    file.write_text(f'x,y\n"{cell}x",0\n1,1\n', encoding="utf-8")
    assert typed(file)[1] == []


@pytest.mark.parametrize("cell", ["1,5", "0x10", "1_0", "1e", "e5", "1 2", "\N{ARABIC-INDIC DIGIT THREE}", "--1", "."])
def test_what_no_number_is(tmp_path, cell):
    file = tmp_path / "a.csv"
    file.write_text(f'x,y\n"{cell}",0\n1,1\n', encoding="utf-8")
    assert typed(file)[1] == []


def test_named_columns_are_dropped_or_categorical(people):
    assert rows_of(load(people, drop_columns="score, city")["train"])[0] == {"age": "31", "id, long": "7"}
    assert typed(people, categorical_columns="age, score")[1] == ["id, long"]


def test_typed_files_give_the_same_as_text(tmp_path, people):
    frame = pd.DataFrame({"age": [31.0, None], "n": [1, 2], "ok": [True, False], "city": ["Ulm", None], "y": [0, 1]})
    frame.to_parquet(tmp_path / "typed.parquet")
    assert pq.read_schema(tmp_path / "typed.parquet").field("ok").type == "bool"
    read, numeric = typed(tmp_path / "typed.parquet")
    assert numeric == ["age", "n"]
    np.testing.assert_array_equal(read["age"], [31.0, np.nan])
    assert (read["ok"].tolist(), read["city"].tolist()) == (["true", "false"], ["Ulm", ""])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop_columns": "sex"}, r"no columns \['sex'\] in .*'age'.*; correct --drop-columns"),
        ({"categorical_columns": "age,sex"}, r"no columns \['sex'\] in .*; correct --categorical-columns"),
        ({"label": "z"}, r"no column 'z' in .*; name it with --label-column"),
        ({"drop_columns": "age,city,score,x"}, "correct --drop-columns"),
    ],
)
def test_a_column_that_is_missing_is_named(people, options, message):
    with pytest.raises(ColumnError, match=message):
        load(people, **options)


def test_columns_that_hold_no_features_are_errors(tmp_path):
    file = tmp_path / "nested.jsonl"
    file.write_text('{"x": [1, 2], "y": 0}\n{"x": [3], "y": 1}\n', encoding="utf-8")
    with pytest.raises(ColumnError, match=r"column 'x' holds .*not numbers or strings; leave it out"):
        load(file)
    with pytest.raises(ColumnError, match=r"no column is left of \['x', 'y'\]"):
        load(file, drop_columns="x")


def test_a_preset_whose_file_is_missing_is_one_error(tmp_path):
    config = RunConfig.of(dataset="telescope", data_dir=str(tmp_path))
    with pytest.raises(DataError, match=r"no file magic04.csv in --data-dir .*; give the folder that has it"):
        load_table(config.data, config.tabular)


def table_of(columns):
    """A data set as load_table makes it, of columns of numbers or strings; None is missing."""
    written = [["" if cell is None else str(cell) for cell in cells] for cells in columns.values()]
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*written, strict=True)]
    texts = [", ".join(f"{name}={cell}" for name, cell in row.items()) for row in rows]
    return Dataset.from_dict({"text": texts, "row": rows, "label": [i % 2 for i in range(len(rows))]})


def test_features_by_hand():
    train = table_of(
        {"x": [1.0, 3.0, None, 8.0], "constant": [2.0] * 4, "empty": [None, None, 0.0, 0.0], "c": list("abba")}
    )
    encoder = TableEncoder.fit(train, TabularConfig(hashed_features=8))
    filled = np.array([1.0, 3.0, 3.0, 8.0])  # the median of 1, 3, 8
    scaled = (filled - filled.mean()) / filled.std()
    one_hot = [[1, 0], [0, 1], [0, 1], [1, 0]]
    expected = np.hstack([scaled[:, None], np.zeros((4, 2)), one_hot])
    features = encoder.features(train)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, atol=1e-6)
    other = table_of({"x": [5.0, None], "constant": [4.0, 2.0], "empty": [1.0, 0.0], "c": ["z", "b"]})
    found = encoder.features(other)
    np.testing.assert_allclose(found[:, 0], (np.array([5.0, 3.0]) - filled.mean()) / filled.std(), atol=1e-6)
    assert found[:, 3:].tolist() == [[0, 0], [0, 1]]  # a value that was not there in training is none of them


@pytest.mark.parametrize(("train", "other"), [(1e300, 1.0), (1e308, -1e308), (2.0, -1e300)])
def test_numbers_that_are_too_large_for_the_features_are_an_error_that_names_the_column(train, other):
    encoder = TableEncoder.fit(
        table_of({"a": [0.0, 1.0], "x": [1.0, train], "c": ["u", "v"]}), TabularConfig(hashed_features=8)
    )
    with pytest.raises(ColumnError, match="column 'x' holds numbers that are too large beside the others; correct"):
        encoder.features(table_of({"a": [0.0, 1.0], "x": [1.0, other], "c": ["u", "v"]}))


def test_columns_of_more_than_50_values_share_hashed_features():
    n = 102
    few, many = [f"v{i % 50}" for i in range(n)], [f"v{i % 51}" for i in range(n)]
    features = TableEncoder.fit(
        table_of({"few": few, "many": many, "more": many}), TabularConfig(hashed_features=16)
    ).features(table_of({"few": few, "many": many, "more": many}))
    assert features.shape == (n, 50 + 16)
    hashed = features[:, 50:]
    assert (np.abs(hashed).sum(axis=1) <= 2).all()
    np.testing.assert_array_equal(hashed[:51], hashed[51:])
    # The same value of another column is another word.
    alone = TableEncoder.fit(table_of({"many": many}), TabularConfig(hashed_features=16)).features(
        table_of({"many": many})
    )
    assert not np.array_equal(hashed, 2 * alone)


@pytest.mark.parametrize("splits", ["resplit", "keep"])
def test_what_validation_and_test_rows_hold_changes_nothing_in_training(tmp_path, splits, caplog):
    """Two tables that differ in these rows alone, and there in everything: types, values, sizes and what is missing."""
    rng = np.random.default_rng(0)
    n = 300
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=n).astype(str),
            "gap": np.where(rng.random(n) < 0.2, "", rng.normal(size=n).astype(str)),
            "few": rng.choice(list("abc"), n),
            "many": [f"v{i % 60}" for i in range(n)],
            "y": rng.choice(["no", "yes"], n),
        }
    )
    held_out = np.sort(np.random.default_rng(5).choice(n, n // 3, replace=False))

    def prepared(frame):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        if splits == "keep":
            parts = np.split(held_out, 2)
            frame.drop(index=held_out).to_csv(folder / "train.csv", index=False)
            for name, part in zip(("validation", "test"), parts, strict=True):
                frame.loc[part].to_csv(folder / f"{name}.csv", index=False)
            source = folder
        else:
            source = folder / "a.csv"
            frame.to_csv(source, index=False)
        config = RunConfig.of(dataset=str(source), task="tabular", label_column="y", splits=splits, hashed_features=8)
        return prepare(config)

    first = prepared(frame)
    train_rows = {first.train.texts.text(row) for row in range(len(first.train.labels))}
    written = [", ".join(f"{name}={cell}" for name, cell in row.items() if name != "y") for _, row in frame.iterrows()]
    others = [i for i, text in enumerate(written) if text not in train_rows]
    assert len(others) in (90, 100)
    changed = frame.copy()
    changed.loc[others, "x"] = ["a word" if i % 2 else "1e6" for i in others]
    changed.loc[others, ["gap", "few", "many"]] = ["not a number", "z", "new"]
    second = prepared(changed)
    np.testing.assert_array_equal(first.train.texts.matrix, second.train.texts.matrix)
    assert first.source.preprocessor.numeric == second.source.preprocessor.numeric == ["x", "gap"]
    assert not np.array_equal(first.test.texts.matrix, second.test.texts.matrix)
    told = [record.getMessage() for record in caplog.records]
    expected = (
        "column 'x' holds numbers in the training split, and .* of another are none, such as 'a word': they count"
    )
    assert sum(bool(re.match(expected, message)) for message in told) == 2  # of validation and of test


def test_the_scale_is_that_of_the_training_split(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(3, 2, size=60), "y": rng.integers(0, 2, 60)})
    frame.to_csv(tmp_path / "a.csv", index=False)
    splits = split_source(load(tmp_path / "a.csv"), "resplit", 0)
    encoder = TableEncoder.fit(splits.train, TabularConfig(hashed_features=8))
    train_x, test_x = (np.array([float(row["x"]) for row in rows_of(part)]) for part in (splits.train, splits.test))
    mean = sum(train_x) / len(train_x)
    deviation = (sum((x - mean) ** 2 for x in train_x) / len(train_x)) ** 0.5
    for part, x in ((splits.train, train_x), (splits.test, test_x)):
        np.testing.assert_allclose(encoder.features(part)[:, 0], (x - mean) / deviation, atol=1e-5)


def test_a_row_is_a_text_of_one_word_whose_embedding_are_its_features():
    features = np.arange(12, dtype=np.float32).reshape(4, 3)
    table = EncodedTable(Dataset.from_dict({"text": ["a", "b", "a", "c"]}), features)
    batch = table.collate(np.array([2, 0]))
    assert batch.input_ids.tolist() == [[[6, 7, 8]], [[0, 1, 2]]]
    assert batch.attention_mask.tolist() == [[1], [1]]
    assert table.lengths.tolist() == [1, 1, 1, 1]
    assert len(table) == 4
    assert table.text(3) == "c"
    ids = [table.stable_id(row) for row in range(4)]
    assert [i[-2:] for i in ids] == ["-0", "-0", "-1", "-0"]
    assert ids[0][:16] == ids[2][:16]
    assert len({int(key) for key in table.keys(np.arange(4))}) == 4


@pytest.fixture(scope="module")
def table_file(tmp_path_factory):
    """400 rows whose class is told by a sum of two columns and by a city."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"a": rng.normal(size=400), "b": rng.normal(size=400), "city": rng.choice(["Ulm", "Bonn"], 400)}
    )
    frame["y"] = np.where(frame["a"] + frame["b"] + (frame["city"] == "Ulm") > 0.5, "yes", "no")
    file = tmp_path_factory.mktemp("table") / "rows.csv.gz"
    with gzip.open(file, "wt", encoding="utf-8") as stream:
        frame.to_csv(stream, index=False)
    return file


@pytest.mark.parametrize("strategy", ["dami", "egl", "bald"])
def test_a_run_on_a_table_learns_and_its_model_predicts_again(table_file, tmp_path, capsys, strategy):
    path = tmp_path / "run"
    options = ["--dataset", str(table_file), "--task", "tabular", "--label-column", "y", "--strategy", strategy]
    sizes = ["--initial-size", "20", "--query-size", "20", "--budget", "80", "--output-dir", str(path)]
    assert run_al([*options, *sizes]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["labelled", "share", "roc_auc", "seconds"]
    rounds = [json.loads(line) for line in (path / "rounds.jsonl").read_text().splitlines()]
    assert [line["n_labeled"] for line in rounds] == [20, 40, 60, 80]
    assert rounds[-1]["metrics"]["roc_auc"] > 0.9
    assert rounds[-1]["validation"].keys() == {"roc_auc"}
    queries = [json.loads(line) for line in (path / "queries.jsonl").read_text().splitlines()]
    assert all(query["text"].startswith("a=") for query in queries)

    encoder = load_transformer(path / "model")
    model = AutoModelForSequenceClassification.from_pretrained(path / "model").eval()
    frame = pd.read_csv(table_file)
    features = encoder.transform(frame).astype(np.float32)
    import torch

    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(features)[:, None]).logits
    positive = model.config.label2id["yes"]
    assert roc_auc_score(frame["y"] == "yes", logits[:, positive] - logits[:, 1 - positive]) > 0.9


@pytest.mark.parametrize(
    ("preset", "n_rows", "n_features", "positive_share"),
    [
        ("telescope", 19_020, 10, 0.6484),
        ("default", 30_000, 20 + 2 + 7 + 4, 0.2212),
        ("employee", 32_769, 64, 0.9421),
        ("news", 32_533, 58, 0.5342),
    ],
)
def test_presets_know_their_tables(real_data, preset, n_rows, n_features, positive_share):
    assert PRESETS.keys() == FILES.keys()
    config = RunConfig.of(dataset=preset, data_dir=str(real_data / "tabular"))
    source = load_table(config.data, config.tabular)
    splits = split_source(source, "resplit", 0)
    features = TableEncoder.fit(splits.train, config.tabular).features(splits.train)
    assert features.shape == (n_rows - round(0.1 * n_rows) - round(0.2 * n_rows), n_features)
    assert np.isfinite(features).all()
    assert abs(np.mean(source["train"]["label"][:]) - positive_share) < 5e-5


def test_a_tables_model_has_no_code_to_export(people, capsys):
    assert run_al(["--dataset", str(people), "--task=tabular", "--label-column=y", "--export-code"]) == 1
    assert capsys.readouterr().err == (
        "error: --export-code is for CNN, BiLSTM and encoders, and --model is mlp; leave it out\n"
    )
