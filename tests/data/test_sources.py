import gzip
import json
import logging
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError

from dami_text.config.data_options import DataConfig
from dami_text.data import hub
from dami_text.data.sources import load_source
from dami_text.errors import ColumnError, DataError

Texts = list[tuple[str, str]]

UNLABELED = (None, "", -1, "-1")


def load(dataset: Path | str, **options: Any) -> DatasetDict:
    return load_source(DataConfig(dataset=str(dataset), **options))


def rows(source: DatasetDict, split: str = "train") -> Texts:
    """A split's texts with the names of their classes."""
    names = source[split].features["label"].names
    return [(row["text"], names[row["label"]]) for row in source[split]]


def names(source: DatasetDict) -> list[str]:
    (features,) = {str(split.features): split.features for split in source.values()}.values()
    assert list(features) == ["text", "label"]
    assert features["text"] == Value("string")
    assert isinstance(features["label"], ClassLabel)
    return list(features["label"].names)


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_jsonl(path: Path, texts: list[Any], labels: list[Any], **columns: list[Any]) -> Path:
    table = {"text": texts, "label": labels, **columns}
    lines = [json.dumps(dict(zip(table, values, strict=True))) for values in zip(*table.values(), strict=True)]
    return write(path, "\n".join(lines) + "\n")


def message(error: pytest.ExceptionInfo[Exception]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


class TestFormats:
    SEVERAL = ("a.csv", "a.csv.gz", "a.tsv", "a.tsv.gz", "a.jsonl", "a.jsonl.gz", "a.json", "a.parquet", "A.CSV")

    @pytest.mark.parametrize("name", SEVERAL)
    def test_a_file_of_any_format(self, tmp_path: Path, name: str) -> None:
        table = [{"text": "one, two", "label": "b"}, {"text": "drei\tvier", "label": "a"}]
        contents = {
            "csv": 'text,label\n"one, two",b\ndrei\tvier,a\n',
            "tsv": 'text\tlabel\none, two\tb\n"drei\tvier"\ta\n',
            "jsonl": "".join(json.dumps(row) + "\n" for row in table),
            "json": json.dumps(table),
        }
        path = tmp_path / name
        if name.endswith("parquet"):
            pq.write_table(pa.Table.from_pylist(table), path)
        else:
            write(path, contents[name.lower().split(".")[1]])
        source = load(path)
        assert list(source) == ["train"]
        assert names(source) == ["a", "b"]
        assert rows(source) == [("one, two", "b"), ("drei\tvier", "a")]

    def test_a_folder_in_the_layout_of_the_hub(self, tmp_path: Path) -> None:
        write(tmp_path / "train.csv", "text,label\nNA,yes\nNone,no\n")
        write(tmp_path / "test.csv", "text,label\n007,no\n")
        source = load(tmp_path)
        assert names(source) == ["no", "yes"]
        assert rows(source, "train") == [("NA", "yes"), ("None", "no")]
        assert rows(source, "test") == [("007", "no")]

    def test_a_name_that_could_be_a_pattern(self, tmp_path: Path) -> None:
        path = write(tmp_path / "my [1] *é?.csv", "text,label\nhere,1\nthere,0\n")
        write(tmp_path / "my 1 x.csv", "text,label\nnot,1\nthese,0\n")
        assert rows(load(path)) == [("here", "1"), ("there", "0")]

    def test_a_changed_file_is_read_again(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "text,label\nold,1\nb,0\n")
        assert rows(load(path))[0] == ("old", "1")
        write(path, "text,label\nnew,1\nb,0\n")
        assert rows(load(path))[0] == ("new", "1")

    def test_a_second_load_comes_from_the_cache(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "text,label\na,1\nb,0\n")
        first, again = load(path)["train"], load(path)["train"]
        assert first._fingerprint == again._fingerprint
        assert first.cache_files == again.cache_files
        assert len(first.cache_files) == 1  # memory-mapped

    def test_a_local_folder_wins_over_a_hub_id(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path / "SetFit" / "subj" / "train.csv", "text,label\na,1\nb,0\n")
        monkeypatch.chdir(tmp_path)
        assert rows(load("SetFit/subj")) == rows(load("subj")) == [("a", "1"), ("b", "0")]

    def test_demo(self) -> None:
        source = load("demo")
        assert names(source) == ["negative", "positive"]
        assert len(source["train"]) == 4000
        with pytest.raises(DataError, match="demo has no configurations"):
            load("demo", dataset_config="x")

    def test_the_libraries_log_as_before_afterwards(self, tmp_path: Path) -> None:
        before = datasets.logging.get_verbosity(), huggingface_hub.logging.get_verbosity()
        with pytest.raises(DataError):
            load(write(tmp_path / "a.jsonl", "{"))
        assert (datasets.logging.get_verbosity(), huggingface_hub.logging.get_verbosity()) == before


class TestCsvCells:
    def test_texts_stay_as_they_are_written(self, tmp_path: Path) -> None:
        cells = ["None", "NA", "007", "1.50", "null", "nan", "true", " padded ", "2020-01-01", "#N/A", "1e5"]
        path = write(tmp_path / "a.csv", "text,label\n" + "".join(f"{cell},{i % 2}\n" for i, cell in enumerate(cells)))
        assert [text for text, _ in rows(load(path))] == cells

    def test_an_empty_text_is_a_text(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", 'text,label\n,1\n"",0\n')
        assert rows(load(path)) == [("", "1"), ("", "0")]

    @pytest.mark.parametrize("folder", [True, False])
    def test_a_column_of_numbers_can_be_the_text(self, tmp_path: Path, folder: bool) -> None:
        path = write(tmp_path / "a.csv", "text,label\n007,1\n08,0\n")
        assert rows(load(tmp_path if folder else path)) == [("007", "1"), ("08", "0")]

    def test_byte_order_mark_quotes_newlines_and_nuls(self, tmp_path: Path) -> None:
        content = '\ufefftext,label\r\n"said ""no"",\r\nand left",1\r\n"nul\0 inside",0\r\n'
        path = write(tmp_path / "a.csv", content)
        assert rows(load(path)) == [('said "no",\r\nand left', "1"), ("nul\0 inside", "0")]

    def test_other_columns_may_hold_anything(self, tmp_path: Path) -> None:
        body = "".join(f"{'x' if i > 15_000 else i},text {i},{i % 2}\n" for i in range(20_000))
        path = write(tmp_path / "a.csv", "id,text,label\n" + body)
        assert rows(load(path))[19_999] == ("text 19999", "1")

    def test_class_names_in_the_folders_card(self, tmp_path: Path) -> None:
        write(tmp_path / "train.csv", "text,label\nNA,1\nb,0\n")
        card = "---\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n  - name: label\n    dtype:\n"
        write(
            tmp_path / "README.md",
            card + "      class_label:\n        names:\n          '0': nay\n          '1': yea\n---\n",
        )
        source = load(tmp_path)
        assert names(source) == ["nay", "yea"]
        assert rows(source) == [("NA", "yea"), ("b", "nay")]

    def test_reader_options_in_the_folders_card(self, tmp_path: Path) -> None:
        card = "---\nconfigs:\n- config_name: {}\n  data_files: '*.csv'\n  {}\n---\n"
        write(tmp_path / "a" / "README.md", card.format("default", "sep: ;"))
        write(tmp_path / "a" / "x.csv", "text;label\nNA;1\nb;0\n")
        assert rows(load(tmp_path / "a")) == [("NA", "1"), ("b", "0")]
        write(tmp_path / "b" / "README.md", card.format("default", "skiprows: 1"))
        write(tmp_path / "b" / "x.csv", "text;label\nNA;1\nb;0\n")
        with pytest.raises(DataError, match=r"the options \['skiprows'\] of b's CSV files are not supported"):
            load(tmp_path / "b")


class TestBrokenFiles:
    @pytest.mark.parametrize(
        ("name", "content", "found"),
        [
            ("a.csv", "text,label\na,1\nb\n", "Row #3: Expected 2 columns, got 1"),
            ("a.csv", "text,label\na,1\nb,2,3\n", "Row #3: Expected 2 columns, got 3"),
            ("a.csv.gz", "text,label\na,1,2\nb,2,3\n", "Row #2: Expected 2 columns, got 3"),
            ("a.csv", 'text,label\na,1\n"b,2\nc,1\n', "Row #3: Expected 2 columns, got 1"),
            ("a.csv", "text,text,label\na,b,1\n", "columns of the same name"),
            ("a.csv", "text,label\n", "no rows"),
            ("a.csv", "\n\n", "Empty CSV file"),
            ("a.csv", "", "is empty"),
            ("a.csv", "text,label\na,1\ncafé,2\n".encode("latin-1"), "is not UTF-8"),
            ("a.csv", "texté,label\na,1\n".encode("latin-1"), "is not UTF-8"),
            ("a.csv", "text,label\na,1\ncafé,2\n".encode("utf-16"), "is not UTF-8 but UTF-16"),
            ("a.jsonl", '{"text":"café","label":1}\n{"text":"b","label":0}\n'.encode("latin-1"), "that is not UTF-8"),
            ("a.jsonl", '{"text":"a","label":"é"}\n{"text":"b","label":"e"}\n'.encode("latin-1"), "that is not UTF-8"),
            ("a.jsonl", '{"text":"a","label":1}\n{"text":"b",', "cannot be read as a data set: JSON parse error"),
            ("a.parquet", "no parquet", "cannot be read as a data set: "),
            ("a.csv.gz", b"", "is empty"),
            (
                "a.doc",
                "x",
                "is of no known format; wanted one of .csv, .tsv, .jsonl, .ndjson, .json, .parquet, .txt, .xlsx",
            ),
        ],
    )
    def test_one_error_that_names_the_file(self, tmp_path: Path, name: str, content: str | bytes, found: str) -> None:
        path = tmp_path / name
        if content:
            write(path, content)
        else:
            path.touch()
        with pytest.raises(DataError) as error:
            load(path)
        assert found in message(error)
        assert str(path) in message(error)

    def test_the_message_stays_short_where_a_quote_swallows_the_file(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", 'text,label\n"' + "\x1b[31m word" * 100_000)
        with pytest.raises(DataError, match=r"Row #2: Expected 2 columns, got 1") as error:
            load(path)
        assert len(message(error)) < 500 + len(str(path))
        assert message(error).isprintable()

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="doesn't contain any data files"):
            load(tmp_path)


class TestLabels:
    def test_class_label_names_are_kept(self, tmp_path: Path) -> None:
        features = Features(text=Value("string"), label=ClassLabel(names=["zeta", "alpha", "unused"]))
        Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features).to_parquet(tmp_path / "a.parquet")
        source = load(tmp_path / "a.parquet")
        assert names(source) == ["zeta", "alpha", "unused"]
        assert rows(source) == [("a", "alpha"), ("b", "zeta")]

    def test_a_class_id_without_a_name(self, tmp_path: Path) -> None:
        features = Features(text=Value("string"), label=ClassLabel(names=["x", "y"]))
        table = pa.table({"text": ["a", "b", "c"], "label": [0, 1, 7]})
        pq.write_table(table.replace_schema_metadata(features.arrow_schema.metadata), tmp_path / "a.parquet")
        with pytest.raises(DataError, match=r"column 'label' holds the class ids \[7\], but has 2 classes"):
            load(tmp_path / "a.parquet")

    @pytest.mark.parametrize(
        ("labels", "expected"),
        [
            (["pos", "neg", "Neu"], ["Neu", "neg", "pos"]),
            (["10", "9", "2"], ["2", "9", "10"]),
            (["10", "9", "x"], ["10", "9", "x"]),
            (["+1", "0", "5"], ["0", "+1", "5"]),
            (["1.0", "0.0", "10.0"], ["0.0", "1.0", "10.0"]),
            ([10, 9, 2], ["2", "9", "10"]),
            ([5.0, 1.0, 12.0], ["1", "5", "12"]),
            ([-2, 3, 0], ["-2", "0", "3"]),
            ([True, False, True], ["False", "True"]),
            (["a\n\x1b[0m", "b" * 10_000, "a"], ["a", "a\n\x1b[0m", "b" * 10_000]),
            ([" x", "x", "x "], [" x", "x", "x "]),
            (["9" * 5000, "1", "2"], ["1", "2", "9" * 5000]),
        ],
    )
    def test_classes_and_their_order(self, tmp_path: Path, labels: list[Any], expected: list[str]) -> None:
        source = load(write_jsonl(tmp_path / "a.jsonl", ["a", "b", "c"], labels))
        assert names(source) == expected
        assert [label for _, label in rows(source)] == [
            str(label) if isinstance(label, str | bool) else str(int(label)) for label in labels
        ]

    def test_numbers_in_csv_are_numbers(self, tmp_path: Path) -> None:
        source = load(write(tmp_path / "a.csv", "text,label\na,10\nb,9\nc,-1\nd,\n"))
        assert names(source) == ["9", "10"]
        assert rows(source) == [("a", "10"), ("b", "9")]

    @pytest.mark.parametrize("labels", [[0, 1, 0], ["0", "1", "0"], [0.0, 1.0, 0.0], [False, True, False]])
    def test_names_beside_numbers(self, tmp_path: Path, labels: list[Any]) -> None:
        path = write_jsonl(tmp_path / "a.jsonl", ["a", "b", "c"], labels, label_text=["zero", "one", "zero"])
        assert names(load(path)) == ["zero", "one"]
        assert rows(load(path)) == [("a", "zero"), ("b", "one"), ("c", "zero")]

    def test_names_beside_numbers_of_another_column(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "text,coarse,coarse_text\na,4,place\nb,0,person\n")
        assert rows(load(path, label_column="coarse")) == [("a", "place"), ("b", "person")]

    @pytest.mark.parametrize("beside", [["x", "y", "z"], ["x", "x", "x"], ["x", "", "x"], ["x", None, "x"]])
    def test_names_that_are_none(self, tmp_path: Path, beside: list[Any], caplog: pytest.LogCaptureFixture) -> None:
        source = load(write_jsonl(tmp_path / "a.jsonl", ["a", "b", "c"], [0, 1, 0], label_text=beside))
        assert names(source) == ["0", "1"]
        assert "does not give each label in 'label' one name" in caplog.text

    def test_strings_are_their_own_names(self, tmp_path: Path) -> None:
        path = write_jsonl(tmp_path / "a.jsonl", ["a", "b"], ["p", "n"], label_text=["positive", "negative"])
        assert names(load(path)) == ["n", "p"]

    @pytest.mark.parametrize(
        "labels", [[1, None, 0, -1], ["x", None, "", "y"], ["1", "-1", "", "0"], [1.0, None, -1, 0]]
    )
    def test_unlabelled_rows_are_left_out_and_counted(
        self, tmp_path: Path, labels: list[Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        source = load(write_jsonl(tmp_path / "a.jsonl", ["a", "b", "c", "d"], labels))
        kept = {label: text for text, label in rows(source)}
        assert len(kept) == 2
        assert set(kept.values()) == {
            text for text, label in zip("abcd", labels, strict=True) if label not in UNLABELED
        }
        assert [record.getMessage() for record in caplog.records] == [
            "2 of 4 rows have no label (null, -1 or empty): left out"
        ]

    @pytest.mark.parametrize(("n_classes", "warned"), [(9, True), (8, False)])
    def test_a_column_of_nearly_as_many_classes_as_rows_may_be_an_id(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, n_classes: int, warned: bool
    ) -> None:
        labels = [f"id{i % n_classes}" for i in range(16)]
        assert len(names(load(write_jsonl(tmp_path / "a.jsonl", ["a"] * 16, labels)))) == n_classes
        wanted = "column 'label' has 9 classes in 16 rows; if it is an id, name another with --label-column"
        assert [record.getMessage() for record in caplog.records] == [wanted] * warned

    def test_one_warning_for_all_splits_and_no_split_without_labels(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        write_jsonl(tmp_path / "train.jsonl", ["a", "b", "c"], [0, 1, -1])
        write_jsonl(tmp_path / "test.jsonl", ["d", "e"], [-1, -1])
        source = load(tmp_path)
        assert list(source) == ["train"]
        assert [record.getMessage() for record in caplog.records] == [
            "3 of 5 rows have no label (null, -1 or empty): left out"
        ]

    @pytest.mark.parametrize("labels", [[None, None], [-1, None], ["", ""]])
    def test_nothing_labelled(self, tmp_path: Path, labels: list[Any]) -> None:
        with pytest.raises(DataError, match=r"^no label in column 'label' of 2 rows .*--label-column$"):
            load(write_jsonl(tmp_path / "a.jsonl", ["a", "b"], labels))

    @pytest.mark.parametrize(("labels", "name"), [(["x", "x"], "x"), ([1, -1], "1"), ([3.0, None], "3")])
    def test_one_class_only(self, tmp_path: Path, labels: list[Any], name: str) -> None:
        with pytest.raises(DataError, match=f"^only one class, '{name}', in column 'label' of 2 rows"):
            load(write_jsonl(tmp_path / "a.jsonl", ["a", "b"], labels))

    def test_one_class_only_of_a_class_label(self, tmp_path: Path) -> None:
        features = Features(text=Value("string"), label=ClassLabel(names=["neg", "pos"]))
        Dataset.from_dict({"text": ["a", "b"], "label": [1, 1]}, features=features).to_parquet(tmp_path / "a.parquet")
        with pytest.raises(DataError, match=r"^only one class, 'pos',"):
            load(tmp_path / "a.parquet")

    @pytest.mark.parametrize("labels", [[0.5, 1.0], ["0.5", "1"], [1e-3, 2.0]])
    def test_a_regression_target(self, tmp_path: Path, labels: list[Any]) -> None:
        with pytest.raises(ColumnError, match=r"holds numbers such as .*a regression target is no class"):
            load(write_jsonl(tmp_path / "a.jsonl", ["a", "b"], labels))

    def test_lists_are_for_another_task(self, tmp_path: Path) -> None:
        with pytest.raises(
            ColumnError, match=r"^column 'label' holds lists of labels, .* take lists with --task multilabel"
        ):
            load(write_jsonl(tmp_path / "a.jsonl", ["a", "b"], [[0], [1]]))

    @pytest.mark.parametrize("labels", [[{"x": 1}, {"x": 2}], [1, "x"]])
    def test_no_classes(self, tmp_path: Path, labels: list[Any]) -> None:
        with pytest.raises(
            ColumnError, match=r"^column 'label' holds .*, not classes; name another with --label-column$"
        ):
            load(write_jsonl(tmp_path / "a.jsonl", ["a", "b"], labels))


class TestColumns:
    def test_named_columns(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "text,review,stars,label\nx,first,5,1\ny,second,1,1\n")
        source = load(path, text_column="review", label_column="stars")
        assert rows(source) == [("first", "5"), ("second", "1")]

    def test_missing_label_column(self, tmp_path: Path) -> None:
        with pytest.raises(ColumnError) as error:
            load(write(tmp_path / "a.csv", "a,b\n1,2\n"))
        assert str(error.value) == "no column 'label' in ['a', 'b']; name it with --label-column"

    def test_missing_text_column(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "a,b,label\n1,2,3\n")
        with pytest.raises(ColumnError) as error:
            load(path)
        assert str(error.value) == "no column 'text' in ['a', 'b', 'label']; name it with --text-column"

    def test_the_only_column_of_strings_is_the_text(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, logger="dami_text")
        lines = [{"idx": i, "sentence": f"s{i}", "label": i, "label_text": f"name {i}"} for i in range(2)]
        path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, lines)))
        assert rows(load(path)) == [("s0", "name 0"), ("s1", "name 1")]
        assert "the texts are in column 'sentence', the only one of strings" in caplog.text
        with pytest.raises(ColumnError, match=r"^no column 'body' in"):
            load(path, text_column="body")

    def test_text_that_is_no_text(self, tmp_path: Path) -> None:
        path = write_jsonl(tmp_path / "a.jsonl", [1, 2], [0, 1])
        with pytest.raises(ColumnError, match=r"^column 'text' holds Value\('int64'\), not strings; .*--text-column$"):
            load(path)

    def test_one_column_cannot_be_both(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "a,b\n1,2\n")
        with pytest.raises(ColumnError, match="column 'a' cannot be text and label both"):
            load(path, text_column="a", label_column="a")

    def test_null_texts_become_empty_and_are_counted(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        source = load(write_jsonl(tmp_path / "a.jsonl", ["a", None, ""], ["x", "y", "x"]))
        assert rows(source) == [("a", "x"), ("", "y"), ("", "x")]
        assert [record.getMessage() for record in caplog.records] == ["1 of 3 texts are null: taken as empty"]

    def test_parquet_with_large_and_dictionary_strings(self, tmp_path: Path) -> None:
        texts = pa.array(["a", None, "c"], pa.large_string())
        pq.write_table(
            pa.table({"text": texts, "label": pa.array(["x", "y", "x"]).dictionary_encode()}), tmp_path / "a.parquet"
        )
        source = load(tmp_path / "a.parquet")
        assert names(source) == ["x", "y"]
        assert rows(source) == [("a", "x"), ("", "y"), ("c", "x")]


class TestSplitsAndConfigurations:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        configs = "".join(f"- config_name: {c}\n  data_files:\n  - split: train\n    path: {c}.csv\n" for c in "ab")
        write(tmp_path / "README.md", f"---\nconfigs:\n{configs}---\n")
        write(tmp_path / "a.csv", "text,label\nfrom a,1\nx,0\n")
        write(tmp_path / "b.csv", "text,label\nfrom b,1\nx,0\n")
        return tmp_path

    def test_only_one_split(self, tmp_path: Path) -> None:
        for split in ("train", "validation", "test"):
            write(tmp_path / f"{split}.csv", f"text,label\n{split},1\nx,0\n")
        source = load(tmp_path, dataset_split="validation")
        assert list(source) == ["validation"]
        assert rows(source, "validation") == [("validation", "1"), ("x", "0")]

    def test_an_unknown_split(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "text,label\na,1\nx,0\n")
        with pytest.raises(DataError, match=r"^no split 'dev' in \['train'\] of .*; choose one with --dataset-split$"):
            load(path, dataset_split="dev")

    def test_a_configuration(self, folder: Path) -> None:
        assert rows(load(folder, dataset_config="b"))[0] == ("from b", "1")

    @pytest.mark.parametrize(("name", "found"), [(None, "no configuration chosen"), ("c", "no configuration 'c'")])
    def test_an_unknown_configuration(self, folder: Path, name: str | None, found: str) -> None:
        with pytest.raises(DataError) as error:
            load(folder, dataset_config=name)
        assert str(error.value) == f"{found} of ['a', 'b'] in '{folder}'; choose one with --dataset-config"

    def test_a_file_has_none(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.csv", "text,label\na,1\nx,0\n")
        with pytest.raises(DataError, match="is a file and has no configurations"):
            load(path, dataset_config="x")


class TestHub:
    """The Hub's side is played by what its client raises; no test here needs a network."""

    def answer(self, monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
        def dataset_info(*_: Any, **__: Any) -> SimpleNamespace:
            if error is not None:
                raise error
            return SimpleNamespace(sha="0" * 40)

        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)

    def failure(self, dataset: str) -> str:
        with pytest.raises(DataError) as error:
            load(dataset)
        assert error.value.__cause__ is not None
        return message(error)

    @pytest.mark.parametrize("dataset", ["no/such/file.csv", "./nothing", "a b", "~/nothing", "x\0y", "a" * 5000])
    def test_neither_a_path_nor_an_id(self, dataset: str) -> None:
        assert repr(dataset)[:50] in self.failure(dataset)

    def test_offline_with_a_cold_cache(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer(monkeypatch, OfflineModeIsEnabled("offline"))
        found = self.failure("mr")
        assert found.startswith("'cornell-movie-review-data/rotten_tomatoes' is no file or folder here, and the Hub is")
        assert "HF_HUB_OFFLINE" in found
        assert "give the path of a local copy" in found

    def test_not_on_the_hub(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer(monkeypatch, not_found(RepositoryNotFoundError, 404))
        found = self.failure("nobody/nothing")
        assert "the Hub has no such data set, or a private one" in found
        assert "hf auth login" in found

    def test_gated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer(monkeypatch, None)

        def hf_hub_download(*_: Any, **__: Any) -> None:
            raise not_found(GatedRepoError, 401)

        monkeypatch.setattr(huggingface_hub.HfApi, "hf_hub_download", hf_hub_download)
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
        assert "is gated on the Hub; ask for access on its page and log in" in self.failure("some/gated")

    def test_a_cached_copy_serves_where_the_hub_cannot_be_reached(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.answer(monkeypatch, ConnectionError("no route to host"))
        assert "cannot be reached: no route to host" in self.failure("some/cached")
        texts = Dataset.from_dict({"text": ["a", "b"], "label": ["x", "y"]})
        folder = Path(datasets.config.HF_DATASETS_CACHE) / "some___cached" / "default" / "0.0.0" / "0123abcd"
        folder.mkdir(parents=True)
        info = {"builder_name": "json", "dataset_name": "cached", "config_name": "default", "version": "0.0.0"}
        info |= {"features": {column: {"dtype": "string", "_type": "Value"} for column in ("text", "label")}}
        info |= {"splits": {"train": {"name": "train", "num_bytes": 9, "num_examples": 2, "dataset_name": "cached"}}}
        (folder / "dataset_info.json").write_text(json.dumps(info))
        with (
            pa.OSFile(str(folder / "cached-train.arrow"), "wb") as file,
            pa.ipc.new_stream(file, texts.data.schema) as out,
        ):
            out.write_table(texts.data.table)
        assert rows(load("some/cached")) == [("a", "x"), ("b", "y")]
        assert "using the copy of some/cached that is in the cache" in caplog.text

    @pytest.mark.parametrize("answering", [False, True])
    def test_a_hub_out_of_reach_is_found_out_in_seconds(self, monkeypatch: pytest.MonkeyPatch, answering: bool) -> None:
        with socket.socket() as server:  # one that refuses connections, or takes them and never says a word
            server.bind(("127.0.0.1", 0))
            if answering:
                server.listen()
            monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
            monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
            monkeypatch.setattr(hub, "HUB_TIMEOUT", 0.5)
            start = time.monotonic()
            assert "no file or folder here, and the Hub cannot be reached: " in self.failure("subj")
            assert time.monotonic() - start < 4


def not_found(kind: type[Exception], status: int) -> Exception:
    """The Hub client's error of a kind, with as much of the response as it looks at."""
    return kind("refused", response=SimpleNamespace(status_code=status, headers={}, request=None))  # type: ignore[call-arg]


class TestScale:
    def test_two_hundred_thousand_rows(self, tmp_path: Path) -> None:
        n = 200_000
        body = "".join(f"{i},text number {i},{('neg', 'pos', '')[i % 3]}\n" for i in range(n))
        path = write(tmp_path / "a.csv", "id,text,label\n" + body)
        start = time.process_time()
        source = load(path)
        assert time.process_time() - start < 10
        assert len(source["train"]) == 133_334
        assert rows(DatasetDict(train=source["train"].select([133_333]))) == [("text number 199999", "pos")]
        assert source["train"].cache_files


class TestRealData:
    def test_subj(self, real_data: Path) -> None:
        source = load(real_data / "SetFit" / "subj")
        assert names(source) == ["objective", "subjective"]
        assert {split: len(texts) for split, texts in source.items()} == {"train": 8000, "test": 2000}
        assert rows(source)[0] == (
            "the movie slides downhill as soon as macho action conventions assert themselves .",
            "subjective",
        )

    def test_movie_reviews(self, real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(real_data)
        source = load("mr")
        assert names(source) == ["neg", "pos"]
        assert {split: len(texts) for split, texts in source.items()} == {
            "train": 8530,
            "validation": 1066,
            "test": 1066,
        }
        assert [sum(texts["label"]) for texts in source.values()] == [4265, 533, 533]

    def test_sentiment_phrases(self, real_data: Path) -> None:
        source = load(real_data / "pools" / "sst_phrases.csv.gz", label_column="label5")
        assert names(source) == ["0", "1", "2", "3", "4"]
        assert len(source["train"]) == 230_709
