"""Tables in text and folders of texts as people have them."""

import csv
import json
import logging
import os

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dami_text.config.data_options import DataConfig
from dami_text.data.classes import warn_of_combinations, warn_of_names
from dami_text.data.delimited import with_closed_quotes
from dami_text.data.sources import load_source, load_texts
from dami_text.errors import ColumnError, ConfigError, DataError

ROWS = [("good, warm film", "pos"), ("bad film", "neg"), ('he said "no"', "neg"), ("fine; really", "pos")]


def read(path, **options):
    """The pairs of text and label that a session reads, which are those that a run reads."""
    config = DataConfig(dataset=str(path), **options)
    texts, labels = load_texts(config)
    pairs = list(zip(texts["text"], labels, strict=True))
    for rows in load_source(config).values():
        names = rows.features["label"].names
        assert [(row["text"], names[row["label"]]) for row in rows] == [pair for pair in pairs if pair[1] is not None]
    return pairs


def write_table(path, delimiter, header=("text", "label"), rows=ROWS, encoding="utf-8"):
    with path.open("w", encoding=encoding, newline="") as stream:
        csv.writer(stream, delimiter=delimiter).writerows([header, *rows] if header else rows)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("header", [("text", "label"), (" Text", "LABEL ")])
def test_the_header_shows_what_separates_the_columns(tmp_path, name, delimiter, header):
    assert read(write_table(tmp_path / name, delimiter, header)) == ROWS


def test_any_separator_can_be_named(tmp_path):
    assert read(write_table(tmp_path / "a.csv", "#"), delimiter="#") == ROWS
    with pytest.raises(DataError, match="'#' separates it; name what separates the columns, such as --delimiter '#'"):
        read(write_table(tmp_path / "b.csv", "#"))


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_file_without_a_header_is_named_as_such_and_loses_no_text(tmp_path, delimiter):
    rows = [("a good and warm film", "pos"), *ROWS]
    path = write_table(tmp_path / "a.csv", delimiter, None, rows)
    with pytest.raises(DataError, match="has no header: its first line is 'a good and warm film"):
        read(path)
    assert read(path, columns=["text", "label"]) == rows
    with pytest.raises(DataError, match=r"has 2 columns .* but --columns names 3"):
        read(path, columns=["text", "label", "more"], delimiter=delimiter)


def test_one_column_without_a_header(tmp_path):
    (tmp_path / "a.csv").write_text("a film that is good\nbad film\n")
    with pytest.raises(DataError, match=r"such as --columns text, or, if it is a header, name the column"):
        load_texts(DataConfig(dataset=str(tmp_path / "a.csv")))
    texts, _ = load_texts(DataConfig(dataset=str(tmp_path / "a.csv"), columns=["text"]))
    assert texts["text"][:] == ["a film that is good", "bad film"]


@pytest.mark.parametrize("rows", [[("great film",), ("bad film",)], [("great film", "pos"), ("bad film", "neg")]])
def test_a_short_first_text_is_no_header_unless_it_is_said_to_be_one(tmp_path, rows):
    path = write_table(tmp_path / "a.csv", ",", None, rows)
    with pytest.raises(DataError, match="has no header: its first line is 'great film"):
        load_texts(DataConfig(dataset=str(path)))
    texts, _ = load_texts(DataConfig(dataset=str(path), columns=["text", "label"][: len(rows[0])]))
    assert texts["text"][:] == ["great film", "bad film"]
    texts, _ = load_texts(DataConfig(dataset=str(path), text_column="great film"))
    assert texts["text"][:] == ["bad film"]


def test_columns_without_a_name_are_left_out(tmp_path):
    (tmp_path / "a.csv").write_text("label,text,,,\nham,Ok lar,,,\nspam,WIN,,x,\n")
    assert read(tmp_path / "a.csv") == [("Ok lar", "ham"), ("WIN", "spam")]


def test_other_quotes_and_none(tmp_path):
    (tmp_path / "a.csv").write_text("text;label\n'a; b';x\n'c \"d\"';y\n")
    assert read(tmp_path / "a.csv", quote="'") == [("a; b", "x"), ('c "d"', "y")]
    (tmp_path / "b.csv").write_text('text,label\n"open,x\n"closed",y\n')
    assert read(tmp_path / "b.csv", quote="none") == [('"open', "x"), ('"closed"', "y")]


def test_in_tsv_quotes_count_only_where_they_close(tmp_path):
    (tmp_path / "a.tsv").write_text(
        'label\ttext\nham\t"Keep your problems\nspam\tWIN "now" 1\nham\t"quoted ""well"""\n'
        'spam\t"two\nlines"\nham\t"with\ttab"\nspam\t""Odd" start\nham\tlast "\n'
    )
    assert [text for text, _ in read(tmp_path / "a.tsv")] == [
        *('"Keep your problems', 'WIN "now" 1', 'quoted "well"', "two\nlines", "with\ttab", '""Odd" start', 'last "'),
    ]


@pytest.mark.parametrize("header", [("text", "label"), ("label", "text")])
def test_a_tsv_of_pandas_with_line_breaks_in_cells_is_read_as_it_was_written(tmp_path, header):
    rows = [("first line\nsecond line", "pos"), ("a\nb\nc", "neg"), ('said "no"\n"yes"', "pos"), ("plain", "neg")]
    pd.DataFrame(rows, columns=["text", "label"])[list(header)].to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    assert read(tmp_path / "a.tsv") == rows


def test_only_line_feeds_end_lines(tmp_path):
    odd = "a\u2028b\x0cc\x85d"
    (tmp_path / "a.tsv").write_text(f'label\ttext\nx\t"open {odd}\ny\t{odd}\n', encoding="utf-8")
    assert read(tmp_path / "a.tsv") == [(f'"open {odd}', "x"), (odd, "y")]
    (tmp_path / "b.txt").write_bytes(f"x {odd}\r\ny {odd}\n".encode())
    assert read(tmp_path / "b.txt", columns=["label", "text"], delimiter=" ") == [(odd, "x"), (odd, "y")]


def test_tables_that_are_quoted_well_stay_as_they_are(tmp_path):
    rows = [('a "b"', "x\ty"), ("two\nlines\tand a tab", "z"), ('"', '""')]
    text = write_table(tmp_path / "a.tsv", "\t", ("text", "label"), rows).read_text().replace("\r\n", "\n")
    assert "".join(with_closed_quotes(iter(text.splitlines(keepends=True)), "\t")) == text


def test_a_stray_quote_that_swallows_rows_is_warned_of_with_its_line(tmp_path, caplog):
    (tmp_path / "a.csv").write_text('text,label\ngood,x\n"bad,y\nfine,x\nlast" one,y\nmore,x\n')
    read(tmp_path / "a.csv")
    assert "1 cells hold whole lines of the table" in caplog.text
    assert "the first from line 3 on" in caplog.text


def test_backslashes_before_quotes_are_warned_of(tmp_path, caplog):
    (tmp_path / "a.csv").write_text('text,label\n"he said \\"hi\\" to me",x\nplain,y\n')
    load_texts(DataConfig(dataset=str(tmp_path / "a.csv")))
    assert '\\" is there 2 times' in caplog.text


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252"])
def test_other_encodings_are_named(tmp_path, encoding):
    rows = [("café", "pos"), ("naïve", "neg")]
    path = write_table(tmp_path / "a.csv", ",", rows=rows, encoding=encoding)
    with pytest.raises(DataError, match="--encoding"):
        read(path)
    assert read(path, encoding=encoding) == rows
    with pytest.raises(ConfigError, match="--encoding is 'klingon'"):
        DataConfig(encoding="klingon")


def test_lines_of_text_and_of_json(tmp_path):
    (tmp_path / "a.txt").write_text("first line, with comma\nsecond\n")
    texts, _ = load_texts(DataConfig(dataset=str(tmp_path / "a.txt")))
    assert texts["text"][:] == ["first line, with comma", "second"]
    (tmp_path / "a.ndjson").write_text('{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n')
    assert read(tmp_path / "a.ndjson") == [("a", "x"), ("b", "y")]
    (tmp_path / "b.txt").write_text("DESC How did it develop ?\nLOC Where is it ?\n")
    assert read(tmp_path / "b.txt", columns=["label", "text"], delimiter=" ") == [
        ("How did it develop ?", "DESC"),
        ("Where is it ?", "LOC"),
    ]


def test_a_sheet(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (("Text", "Label"), ("a", 1), ("b", None), ("c", 0)):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    assert read(tmp_path / "a.xlsx") == [("a", "1"), ("b", None), ("c", "0")]


def test_a_folder_of_documents_has_one_text_a_file(tmp_path):
    for name, text in {"business/1.txt": "Bank loses\n\nmoney.", "sport/1.txt": "Cup\n", "sport/2.txt": "Goal"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert read(tmp_path) == [("Bank loses\n\nmoney.", "business"), ("Cup\n", "sport"), ("Goal", "sport")]


def test_a_folder_of_text_files_without_classes_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match="sub-folder for each class"):
        load_texts(DataConfig(dataset=str(tmp_path)))


def test_texts_and_labels_in_two_files(tmp_path):
    (tmp_path / "train_text.txt").write_text("a\nb\n")
    (tmp_path / "train_labels.txt").write_text("1\n0\n")
    assert read(tmp_path) == [("a", "1"), ("b", "0")]
    (tmp_path / "train_labels.txt").write_text("1\n")
    with pytest.raises(DataError, match=r"has 2 lines and train_labels\.txt 1"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS.*git lfs pull"),
        ("a.zip", b"PK\x03\x04 and more", "zip archive; unpack it"),
        ("a.csv", b"PK\x03\x04 and more", "zip archive; unpack it"),
    ],
)
def test_files_that_hold_no_texts_name_the_next_step(tmp_path, name, content, found):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=found):
        load_texts(DataConfig(dataset=str(tmp_path / name)))


def test_a_file_that_changed_under_the_same_name_size_and_time_is_read_again(tmp_path):
    path = tmp_path / "a.csv"
    found = []
    for label in "xz":
        path.write_text(f"text,label\na,{label}\nb,y\n")
        os.utime(path, (1_700_000_000, 1_700_000_000))
        found.append(read(path)[0])
    assert found == [("a", "x"), ("a", "z")]


@pytest.mark.parametrize("name", ["train.csv", "train.jsonl"])
def test_a_table_in_a_folder_that_changed_under_the_same_name_and_time_is_read_again(tmp_path, name):
    found = []
    for label in ("x", "zz"):
        path = tmp_path / "folder" / name
        path.parent.mkdir(exist_ok=True)
        if name.endswith(".csv"):
            write_table(path, ",", rows=[("a", label), ("b", "y")])
        else:
            write_labels(path, [label, "y"])
        os.utime(path, (1_700_000_000, 1_700_000_000))
        found.append([label for _, label in read(path.parent)])
    assert found == [["x", "y"], ["zz", "y"]]


def test_a_text_file_of_another_encoding_names_the_option(tmp_path):
    (tmp_path / "a.txt").write_bytes("café\nbad\n".encode("latin-1"))
    with pytest.raises(DataError, match="--encoding latin-1"):
        load_texts(DataConfig(dataset=str(tmp_path / "a.txt")))
    texts, _ = load_texts(DataConfig(dataset=str(tmp_path / "a.txt"), encoding="latin-1"))
    assert texts["text"][:] == ["café", "bad"]


# What a label is --------------------------------------------------------------------------------------------------


def write_labels(path, labels):
    """A file of JSON lines whose texts are numbered."""
    path.write_text("".join(json.dumps({"text": f"text {i}", "label": label}) + "\n" for i, label in enumerate(labels)))
    return path


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0.0, 1.0, None], ["0", "1", None]),
        ([float("nan"), 1.0, 0.0], [None, "1", "0"]),
        ([True, False, None], ["True", "False", None]),
        ([10, 9, -1], ["10", "9", None]),
        (["", "nan", "x"], [None, "nan", "x"]),
    ],
)
def test_a_run_and_a_session_name_the_classes_alike(tmp_path, labels, expected):
    table = pa.table({"text": [f"text {i}" for i in range(len(labels))], "label": labels})
    pq.write_table(table, tmp_path / "a.parquet")
    assert [label for _, label in read(tmp_path / "a.parquet")] == expected


def test_minus_one_is_a_class_where_it_is_named(tmp_path, caplog):
    path = write_labels(tmp_path / "a.jsonl", [1, -1, 0])
    config = DataConfig(dataset=str(path))
    assert load_texts(config)[1] == ["1", None, "0"]
    assert "1 of 3 rows are labelled -1" in caplog.text
    assert load_texts(config, ["-1", "0", "1"])[1] == ["1", "-1", "0"]
    pairs = read(path, label_names=["-1=bad", "0=fair", "1=good"])
    assert [label for _, label in pairs] == ["good", "bad", "fair"]


@pytest.mark.parametrize(
    ("names", "error", "found"),
    [
        (["2=x"], DataError, r"names \['2'\], but the labels are \['0', '1'\]"),
        (["0=1"], DataError, "the name of another"),
        (["0"], ConfigError, "it must be NUMBER=NAME"),
        (["0=a", "1=a"], ConfigError, "all different"),
    ],
)
def test_names_of_classes_that_cannot_be(tmp_path, names, error, found):
    path = write_labels(tmp_path / "a.jsonl", [0, 1])
    with pytest.raises(error, match=found):
        load_source(DataConfig(dataset=str(path), label_names=names))


@pytest.mark.parametrize(
    ("labels", "warning"),
    [
        (["Neg", "neg", "pos"], "differ by case or blanks alone: [['Neg', 'neg']]"),
        (["pos", "pos ", "neg"], "differ by case or blanks alone: [['pos', 'pos ']]"),
        (["NA", "x", "none"], "has the classes ['NA', 'none']"),
        (["1", "2", "1,2", "2,7"], "looks like several labels a text"),
    ],
)
def test_classes_that_may_be_mistakes_are_warned_of(tmp_path, caplog, labels, warning):
    read(write_labels(tmp_path / "a.jsonl", labels))
    assert warning in caplog.text


def test_classes_with_commas_of_their_own_are_not_warned_of(tmp_path, caplog):
    read(write_labels(tmp_path / "a.jsonl", ["Paris, France", "Rome, Italy", "Oslo"]))
    assert not caplog.records


# What a label may be taken for by mistake --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["1", "1.0", "2"], "the same number written differently: [['1', '1.0']]"),
        (["a,b", "b,c", "a,c"], "looks like several labels a text, such as 'a,b'"),
        (["a", "b", "a|b", "b|a"], "looks like several labels a text, such as 'a|b'"),
        (["Arts, Music", "Arts, Film", "Sport"], None),
        (["red, green", "blue, white"], None),
        (["1", "2", "10"], None),
    ],
)
def test_classes_that_look_like_a_mistake_are_warned_of(names, told, caplog):
    warn_of_names(names, "label")
    warn_of_combinations(names, "label")
    assert (told in caplog.text) if told else not caplog.records


def test_a_separator_that_is_never_taken_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("id#text#label\n1#fine, really#pos\n2#dull, really#neg\n")
    with pytest.raises(DataError, match="'#' separates it; name what separates the columns, such as --delimiter '#'"):
        load_source(DataConfig(dataset=str(tmp_path / "a.csv")))
    (tmp_path / "b.csv").write_text("text: a comment\nfine\ndull\n")
    assert (
        load_texts(DataConfig(dataset=str(tmp_path / "b.csv"), text_column="text: a comment"))[0]["text"][0] == "fine"
    )


def test_json_without_rows_is_told_what_is_wanted(tmp_path):
    (tmp_path / "a.json").write_text('{"train": [["a", "x"], ["b", "y"]], "test": [["c", "x"]]}')
    with pytest.raises(ColumnError, match=r"no column of texts in \['train', 'test'\]: 'train' holds List.*save it as"):
        load_texts(DataConfig(dataset=str(tmp_path / "a.json")))


def test_labels_minus_one_beside_numbers_are_left_out_with_what_to_do(tmp_path, caplog):
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"t{i},{i % 3 - 1}\n" for i in range(12)))
    with caplog.at_level(logging.INFO):
        assert len(load_source(DataConfig(dataset=str(tmp_path / "a.csv")))["train"]) == 8
    assert "4 of 12 rows have no label" in caplog.text
    assert "if -1 is a class, name it with --label-names" in caplog.text


def test_columns_and_labels_that_were_taken_are_told(tmp_path, caplog):
    (tmp_path / "a.csv").write_text(
        "Title,Body,Label\n" + "".join(f"t{i},b{i},{'x' if i % 3 else ''}\n" for i in range(9))
    )
    config = DataConfig(dataset=str(tmp_path / "a.csv"), text_column="title + body")
    with caplog.at_level(logging.INFO):
        texts, labels = load_texts(config)
    assert "texts from columns 'Title', 'Body'; labels from column 'Label': 6 of 9 texts are labelled" in caplog.text
    assert texts["text"][4] == "t4\nb4"
    assert labels.count("x") == 6


def test_texts_of_several_columns_skip_what_is_empty(tmp_path):
    lines = [{"a": "one", "b": "two"}, {"a": "", "b": "only"}, {"a": None, "b": "mine"}, {"a": None, "b": None}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    texts, _ = load_texts(DataConfig(dataset=str(tmp_path / "a.jsonl"), text_column=["a", "b"]))
    assert texts["text"][:] == ["one\ntwo", "only", "mine", ""]
    with pytest.raises(ColumnError, match="no column 'c' in"):
        load_texts(DataConfig(dataset=str(tmp_path / "a.jsonl"), text_column=["a", "c"]))
    with pytest.raises(ColumnError, match="cannot be text and label both"):
        load_source(DataConfig(dataset=str(tmp_path / "a.jsonl"), text_column=["a", "b"], label_column="b"))


def test_a_header_of_other_names_names_what_separates_them(tmp_path):
    (tmp_path / "a.csv").write_text("title;body\nfine;really\ndull;really\n")
    with pytest.raises(DataError, match=r"is one column for ',', and ';' separates it; .* such as --delimiter ';'"):
        load_texts(DataConfig(dataset=str(tmp_path / "a.csv")))
