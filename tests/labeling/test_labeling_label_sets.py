"""Several labels a text in other tools' formats: out of a session and back, and what is said about what cannot be."""

import csv
import io
import json
import uuid
import xml.etree.ElementTree as ET
from collections import Counter

import datasets
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from labeling_cases import imported, make_session, table

from dami_text.cli.main import main
from dami_text.config.data_options import DataConfig
from dami_text.config.run import LabelingConfig, RunConfig
from dami_text.data.label_sets import LabelSets
from dami_text.errors import ConfigError, DataError
from dami_text.labeling.exchange.formats import FORMATS, guess_format, read_decisions, write_records
from dami_text.labeling.exchange.label_studio import labeling_interface
from dami_text.labeling.exchange.records import Record
from dami_text.labeling.exchange.scheme import LabelScheme
from dami_text.labeling.rounds import create_session
from dami_text.labeling.session import SessionConfig

NAMES = ["food", 'pr"ice, "big"', "=1+1", "naïve 好 \U0001f600", "two\nlines", "<b>&; '", "7"]
SETS = [[], ["food"], ["=1+1"], ["food", "=1+1"], ["=1+1", "7", "two\nlines"], NAMES]
RECORDS = [
    *(
        Record(id=f"{i:016x}-0", text=f"text {i}", label=names, status="labelled", annotator="ann", guess=["food"])
        for i, names in enumerate(SETS)
    ),
    Record(id="00000000000000aa-0", text="skipped text", status="skipped", annotator="ann"),
    Record(id="00000000000000bb-0", text="open text", guess=[]),
]
DECIDED = [(r.id, r.text, r.label) for r in RECORDS if r.status != "open"]

#: The ways to write labels: the format and its options.
WAYS = [
    *((name, {}) for name in FORMATS),
    ("csv", {"safe_csv": True}),
    ("csv", {"columns": True}),
    ("csv", {"columns": True, "safe_csv": True}),
    ("csv", {"separator": "||"}),
    ("csv", {"separator": "||", "safe_csv": True}),
    ("jsonl", {"columns": True}),
    ("parquet", {"columns": True}),
    ("parquet", {"separator": "||"}),
]


def written(name, records=RECORDS, names=NAMES, *, safe_csv=False, **form):
    return write_records(name, records, LabelScheme(names=names, multilabel=True, **form), safe_csv)


def read(name, content, names=NAMES, **form):
    content = content if isinstance(content, bytes) else content.encode()
    return read_decisions(name, content, LabelScheme(names=names, multilabel=True, **form))


def lines(*values):
    return "".join(json.dumps(value) + "\n" for value in values)


@pytest.mark.parametrize(("name", "form"), WAYS)
def test_sets_of_none_one_and_several_labels_are_read_back(name, form):
    content = written(name, **form)
    separator = {key: value for key, value in form.items() if key == "separator"}
    found = [d for d in read(name, content, **separator) if d.problem is None]
    # doccano has labels alone: no skip, and an open text is like one that somebody has left without labels there.
    wanted = [of for of in DECIDED if name != "doccano" or of[2] is not None]
    assert [(d.id, d.text, d.label and sorted(d.label)) for d in found] == [
        (number, text, label and sorted(label)) for number, text, label in wanted
    ]
    assert {d.annotator for d in found} == {"ann"}


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_of_label_sets_is_known_by_its_looks(name):
    extensions = {"csv": "csv", "parquet": "parquet", "label-studio": "json", "argilla": "json"}
    assert guess_format(f"labels.{extensions.get(name, 'jsonl')}", written(name)) == name


# Tables -----------------------------------------------------------------------------------------------------------


def cells(content):
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_csv_has_lists_as_json_and_an_empty_cell_is_no_answer():
    rows = cells(written("csv"))
    assert [row["label"] and json.loads(row["label"]) for row in rows] == [*SETS, "", ""]
    assert [row["status"] for row in rows] == ["labelled"] * 6 + ["skipped", "open"]
    assert [row["guess"] for row in rows] == ['["food"]'] * 6 + ["", "[]"]


def test_csv_with_a_separator_has_names_and_the_status_tells_none_from_no_answer():
    rows = cells(written("csv", separator=" | "))
    assert [row["label"] for row in rows] == [" | ".join(names) for names in SETS] + ["", ""]
    assert [row["status"] for row in rows[:1] + rows[-1:]] == ["labelled", "open"]


def test_a_safe_csv_has_no_formula_where_a_label_is_one():
    for form in ({"separator": ";;"}, {"columns": True}, {}):
        table = list(csv.reader(io.StringIO(written("csv", safe_csv=True, **form).decode(), newline="")))
        assert not [cell for row in table for cell in row if cell.startswith(("=", "+", "@"))]


def test_columns_of_0_and_1_are_those_that_data_sets_have(tmp_path):
    """Independent readers: pandas, and what simulations read such files with."""
    content = written("csv", columns=True)
    table = pd.read_csv(io.BytesIO(content), dtype={"id": str})
    matrix = table[NAMES].to_numpy()
    assert np.isnan(matrix[-2:]).all()
    assert matrix[:-2].tolist() == [[float(name in names) for name in NAMES] for names in SETS]
    assert "label" not in table.columns
    rows = datasets.Dataset.from_pandas(table)
    sets = LabelSets.of(datasets.DatasetDict(train=rows), NAMES, DataConfig(task="multilabel", label_columns=NAMES))
    assert sets.of_rows(rows) == [*SETS[:3], ["food", "=1+1"], ["=1+1", "two\nlines", "7"], NAMES, None, None]


def test_parquet_has_lists_and_a_list_without_labels_is_not_null():
    table = pq.read_table(io.BytesIO(written("parquet")))
    assert str(table.schema.field("label").type) == "list<element: string>"
    assert table["label"].to_pylist() == [*SETS, None, None]
    columns = pq.read_table(io.BytesIO(written("parquet", columns=True)))
    assert columns["food"].to_pylist() == [0, 1, 0, 1, 0, 1, None, None]
    assert str(columns.schema.field("food").type) == "int64"
    assert columns.num_rows == len(RECORDS)
    empty = pq.read_table(io.BytesIO(written("parquet", [], columns=True)))
    assert set(NAMES) <= set(empty.column_names)


def test_columns_of_the_file_that_are_called_like_a_label_have_another_name():
    own = [Record(id="1-0", text="a", label=["food"], status="labelled", own={"food": "pizza", "place": "Rome"})]
    (row,) = cells(written("csv", own, ["food"], columns=True))
    assert (row["food"], row["own_food"], row["place"]) == ("1", "pizza", "Rome")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_that_people_make_are_read(delimiter):
    def decided(rows, **form):
        content = "".join(delimiter.join(row) + "\n" for row in rows)
        return [(d.text, d.label, d.problem) for d in read("csv", content, ["food", "price"], **form)]

    rows = [["Text", "Label", "status"], ["a", "food| price", ""], ["b", "price", ""], ["c", "", "labelled"]]
    wanted = [("a", ["food", " price"], None), ("b", ["price"], None), ("c", [], None)]
    assert decided(rows, separator="|") == wanted
    rows = [["text", "price", "food"], ["a", "1", "1"], ["b", "0", "0"], ["c", "", ""], ["d", "TRUE", "false"]]
    assert decided(rows) == [("a", ["food", "price"], None), ("b", [], None), ("d", ["price"], None)]


def test_a_plain_name_is_a_set_of_one_in_every_format():
    content = lines({"text": "a", "label": "food"}, {"text": "b", "label": 7}, {"text": "c", "label": None})
    assert [d.label for d in read("jsonl", content)] == [["food"], ["7"]]
    assert [d.label for d in read("doccano", '[{"id": 7, "text": "c", "label": "food"}]')] == [["food"]]
    table = "text,label\na,food\nb,7.0\n"
    assert [d.label for d in read("csv", table)] == [["food"], ["7.0"]]


def test_a_null_is_no_answer_and_an_empty_list_is_one():
    content = lines({"text": "a", "label": None}, {"text": "b", "label": []}, {"text": "c"})
    assert [(d.text, d.label) for d in read("jsonl", content)] == [("b", [])]


def test_an_empty_cell_without_a_status_is_left_out_and_said():
    (first, second) = read("csv", "text,label\na,\nb,food\n")
    assert first.problem == (
        "an empty cell, which may be none of the labels or no answer; say labelled or open in a column status"
    )
    assert second.label == ["food"]
    assert read("csv", "text,label,status\na,,open\nb,food,labelled\n")[0].text == "b"


# Each tool's own form, written by hand from its documentation -------------------------------------------------------


def result(*names):
    choice = {"id": "a1", "from_name": "label", "to_name": "text", "type": "choices"}
    return [choice | {"value": {"choices": [*names]}}]


def test_label_studios_tasks_have_several_choices_and_none_is_an_annotation_without_a_result():
    tasks = json.loads(written("label-studio"))
    annotations = [task["annotations"] for task in tasks]
    assert [a["result"] for (a,) in annotations[:2]] == [[], result("food")]
    assert annotations[5][0]["result"] == result(*NAMES)
    assert [a["was_cancelled"] for (a,) in annotations[:-1]] == [False] * 6 + [True]
    assert annotations[-1] == []
    root = ET.fromstring(labeling_interface(NAMES, multilabel=True))
    assert root[1].get("choice") == "multiple"
    assert [choice.get("value") for choice in root[1]] == NAMES


def test_label_studios_own_tables_are_read():
    """One choice is its name there, several are an object, in a csv as JSON, and skips are left out."""
    short = [
        {"id": 5, "text": "a", "label": {"choices": ["food", "7"]}, "annotation_id": 1, "annotator": 3},
        {"id": 6, "text": "b", "label": "food", "annotation_id": 2, "annotator": 3},
        {"id": 7, "text": "c", "annotation_id": 3, "annotator": 3},
        {"id": 8, "text": "d", "annotation_id": None},
    ]
    table = io.StringIO()
    writer = csv.DictWriter(table, ["id", "text", "label", "annotation_id", "annotator"])
    writer.writeheader()
    writer.writerows(row | ({"label": json.dumps(row["label"])} if row["text"] == "a" else {}) for row in short)
    wanted = [("a", ["food", "7"]), ("b", ["food"]), ("c", [])]
    assert [(d.text, d.label) for d in read("csv", table.getvalue())] == wanted
    assert [(d.text, d.label) for d in read("jsonl", json.dumps(short))] == wanted
    topics = [{"text": "a", "topics": "food", "annotation_id": 1}]  # a project whose control has another name
    with pytest.raises(DataError, match="wanted label"):
        read("jsonl", json.dumps(topics))


def test_annotations_of_other_controls_alone_are_no_answer():
    spans = {"type": "labels", "from_name": "ner", "value": {"labels": ["PER"]}}
    both = [spans, result("food")[0]]
    annotations = [{"result": [spans]}, {"result": both}, {"result": []}]
    content = json.dumps([{"data": {"text": "a"}, "annotations": annotations}])
    first, second, third = read("label-studio", content)
    assert "does not say whether none of the labels holds" in first.problem
    assert (second.label, third.label) == (["food"], [])


def test_prodigys_tasks_take_several_options_and_none_of_them_is_an_empty_accept():
    examples = [json.loads(line) for line in written("prodigy").decode().split("\n")[:-1]]
    assert all(example["config"] == {"choice_style": "multiple"} for example in examples)
    assert [example.get("accept") for example in examples] == [*SETS, [], None]
    assert [example.get("answer") for example in examples] == ["accept"] * 6 + ["ignore", None]


def test_an_answer_about_one_label_of_prodigy_is_no_set():
    content = lines(
        {"text": "a", "label": "food", "answer": "accept"},
        {"text": "b", "label": "food", "answer": "reject"},
        {"text": "c", "label": "food", "answer": "ignore"},
        {"text": "d", "options": [{"id": "food"}], "accept": ["food"], "answer": "reject"},
    )
    found = read("prodigy", content, ["food", "price"])
    assert [d.text for d in found] == ["a", "b", "c"], "that a choice is rejected says nothing"
    assert [d.problem is not None for d in found] == [True, True, False]
    assert "leaves the others open" in found[0].problem


def test_doccanos_lines_have_all_categories_and_say_what_was_labelled():
    examples = [json.loads(line) for line in written("doccano").decode().split("\n")[:-1]]
    assert [example["label"] for example in examples] == [*SETS, [], []]
    assert [example.get("dami_status") for example in examples] == ["labelled"] * 6 + [None] * 2


def test_what_has_no_label_in_doccano_is_an_answer_only_where_it_was_labelled_here():
    kept = {"id": 1, "text": "a", "label": [], "dami_status": "labelled", "Comments": []}
    content = json.dumps([kept, {"id": 2, "text": "b", "label": []}, {"id": 3, "text": "c", "label": ["food", "7"]}])
    first, second, third = read("doccano", content)
    assert (first.label, first.problem) == ([], None)
    assert "doccano does not say whether none holds" in second.problem
    assert third.label == ["food", "7"]
    assert [d.label for d in read("jsonl", content)] == [[], [], ["food", "7"]], "as that problem advises"
    table = "id,text,label,dami_status\n1,a,,labelled\n2,b,food#7,\n"  # doccano's csv
    assert [d.label for d in read("csv", table, separator="#")] == [[], ["food", "7"]]


def test_argillas_questions_have_an_option_for_none_since_it_refuses_empty_answers():
    records = json.loads(written("argilla"))
    values = [answer["value"] for record in records for answer in record["responses"].get("label", [])]
    none = ["(none of the labels)"]
    assert values == [none, *SETS[1:], None]
    assert records[0]["suggestions"] == {"label": {"value": ["food"], "score": None, "agent": "r0"}}
    assert records[-1]["suggestions"] == {"label": {"value": none, "score": None, "agent": "r0"}}
    user = str(uuid.uuid4())
    answers = {"label.responses": [["food", "7"], none], "label.responses.users": [user, None], "text": "a"}
    assert [(d.label, d.annotator) for d in read("argilla", json.dumps([answers]))] == [
        (["food", "7"], user),
        ([], None),
    ]
    with pytest.raises(DataError, match="stands for no label at all in Argilla; rename it"):
        written("argilla", names=["food", *none])


# What cannot be -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "names", "told"),
    [
        ({"separator": ";"}, ["a;b", "c"], "is ';', which would split the label 'a;b'; choose another"),
        ({"separator": "||"}, ["a|", "c"], r"is '\|\|', which would split the label 'a\|'; choose another"),
        ({"separator": ""}, ["a"], "is ''; it must be one character or more"),
        ({"separator": ";", "columns": True}, ["a"], "are two ways to write labels; leave one out"),
        ({"columns": True}, ["Text"], "a column of the label 'Text', and the file has a column 'text' already"),
        ({"columns": True}, ["dami_id"], "the file has a column 'dami_id' already"),
    ],
)
def test_names_that_do_not_fit_are_one_error(form, names, told):
    with pytest.raises((ConfigError, DataError), match=told):
        written("csv", [], names, **form)


def test_a_name_that_begins_like_a_separator_ends_is_no_danger():
    records = [Record(id="1-0", text="a", label=["b", "|a"], status="labelled")]
    content = written("csv", records, ["b", "|a"], separator="||")
    assert [d.label for d in read("csv", content, ["b", "|a"], separator="||")] == [["b", "|a"]]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"label": ["food", "service"]}, "the label 'service' is no class of the session"),
        ({"label": ["food", "food"]}, "the label 'food' is there twice; give each label once"),
        ({"label": ["food", None]}, "a null is among the labels; leave it out"),
        ({"label": ["food", 7]}, "the labels ['food', 7] are of unequal types, or of more than names; wanted names"),
        ({"label": [["food"]]}, "the labels [['food']] are of unequal types"),
        ({"label": {"choices": ["food", {"a": 1}]}}, "are of unequal types"),
        ({"label": "food; price"}, "the label 'food; price' is no class of the session"),
    ],
)
@pytest.mark.parametrize("name", ["jsonl", "csv"])
def test_a_bad_set_is_left_out_with_one_line_and_the_others_are_taken(session, tmp_path, capsys, name, line, told):
    label = json.dumps(line["label"]) if name == "csv" and line["label"] != "food; price" else line["label"]
    rows = [{"text": TEXTS[0], "label": "food"}, {"text": TEXTS[1], "label": label}]
    status, found = imported(session, tmp_path, f"back.{name}", table(rows) if name == "csv" else lines(*rows))
    assert (status, found) == (0, {0: ["food"]})
    out = capsys.readouterr().out
    assert "1 cannot be taken: left out" in out
    assert told in out


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("text,label\na,food;price\n", "--label-separator says what is between labels in one cell"),
        ("text,food\na,1\n", "wanted label, or a column of 0 and 1 for each of 'food', 'price', 'service 7'"),
        ("text,food,price,service 7\ngood soup,1,,0\n", "column 'price' is empty, and others are not"),
        ("text,food,price,service 7\ngood soup,1,2,0\n", "column 'price' holds '2'; wanted 0 or 1"),
    ],
)
def test_a_table_in_which_nothing_can_be_taken_is_an_error(session, tmp_path, capsys, content, told):
    assert imported(session, tmp_path, "back.csv", content) == (1, {})
    said = capsys.readouterr()
    assert told in said.out + said.err


def test_names_between_separators_are_not_empty(session, tmp_path, capsys):
    content = f"text,label\n{TEXTS[0]},food;\n{TEXTS[4]},price; food\n"
    assert imported(session, tmp_path, "back.csv", content, "--label-separator", ";") == (0, {4: ["food", "price"]})
    assert "'food;' has an empty name between its separators; take it out" in capsys.readouterr().out


def test_options_of_label_sets_without_an_effect_are_errors(session, tmp_path, capsys):
    out, file = str(tmp_path / "out"), tmp_path / "in.json"
    file.write_text(json.dumps([{"data": {"text": TEXTS[0]}, "annotations": []}]))
    (tmp_path / "one.csv").write_text("text\na\nb\n")
    single = make_session(tmp_path / "one.csv", tmp_path / "one.dami", ["pos", "neg"])
    several, one = str(session.folder), str(single.folder)
    for command, told in [
        (["export", several, out, "--format", "doccano", "--label-separator", ";"], "for csv, jsonl, parquet"),
        (["export", several, out, "--format", "events", "--label-columns"], "for csv, jsonl, parquet"),
        (["export", one, out, "--label-columns"], "--label-columns is for several labels a text"),
        (["import", several, str(file), "--label-separator", ";"], "for csv, jsonl, parquet"),
        (["import", one, str(file), "--label-separator", ";"], "--label-separator is for several labels a text"),
    ]:
        assert main(command) == 1
        assert told in capsys.readouterr().err


def test_label_sets_for_a_session_of_single_classes_are_one_clear_line(tmp_path, capsys):
    (tmp_path / "one.csv").write_text("text\na\nb\n")
    session = make_session(tmp_path / "one.csv", tmp_path / "one.dami", ["food", "price"])
    ours = {"text": "a", "label": ["food", "price"], "status": "labelled", "flagged": False, "reason": None}
    for name, content, told in [
        ("a.jsonl", lines(ours), "wanted text: the session takes one label a text"),
        ("b.csv", 'text,label\na,"[""food"", ""price""]"\n', "the session's classes are ['food', 'price']"),
        ("c.jsonl", lines({"id": 3, "text": "a", "label": ["food", "price"]}), "['food', 'price'] are several labels"),
        ("d.csv", "text,food,price\na,1,0\n", "wanted label, and text or id"),
    ]:
        (tmp_path / name).write_text(content)
        assert main(["import", str(session.folder), str(tmp_path / name)]) == 1
        said = capsys.readouterr()
        assert told in said.out + said.err
    assert not session.store.labels()


# There and back -----------------------------------------------------------------------------------------------------

TEXTS = ["good soup", "too dear, and\ncold", "NA", "=1+1", "nothing to say", "nice place"]
LABELS = ["food", "price", "service 7"]


@pytest.fixture
def session(tmp_path):
    (tmp_path / "pool.jsonl").write_text(lines(*({"text": text} for text in TEXTS)))
    with several(tmp_path / "pool.jsonl", tmp_path / "pool.dami") as session:
        yield session


def several(file, folder):
    """A session whose texts have any number of labels."""
    run = RunConfig.of(dataset=str(file), task="multilabel", model="linear", strategy="random")
    return create_session(folder, SessionConfig(run, LabelingConfig(labels=LABELS)))


def what_many_did(session, rng):
    """Forty decisions at random, and what stands at their end."""
    decided = {}
    for _ in range(40):
        row, name = int(rng.integers(len(TEXTS))), str(rng.choice(["ann", "bob", "cy"]))
        chosen = tuple(np.flatnonzero(rng.random(len(LABELS)) < 0.4).tolist())
        label = None if rng.random() < 0.15 else chosen
        session.store.add_labels([(row, label, name)])
        if decided.get((row, name), "nothing") != label:
            decided.pop((row, name), None)
            decided[row, name] = label
    return decided


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, ()) for name in (*FORMATS, "events") if name != "doccano"),
        ("csv", ("--label-separator", ";")),
        ("csv", ("--label-columns", "--safe-csv")),
        ("parquet", ("--label-columns",)),
        ("csv", ("--all",)),
    ],
)
def test_whatever_several_people_did_is_the_same_after_export_and_import(session, tmp_path, name, options, seed):
    decided = what_many_did(session, np.random.default_rng(seed))
    votes = {row: Counter() for row in range(len(TEXTS))}
    for (row, _), label in decided.items():
        votes[row].update([label] if label is not None else [])
    first = {row: of.most_common(1)[0][0] for row, of in votes.items() if of}  # of those with as many, the first
    out = tmp_path / ("out.json" if name in ("label-studio", "argilla") else f"out.{name}")
    assert main(["export", str(session.folder), str(out), "--format", name, *options]) == 0
    separator = options if options[:1] == ("--label-separator",) else ()
    with several(tmp_path / "pool.jsonl", tmp_path / "other.dami") as other:
        for _ in range(2):  # the second time brings nothing
            assert main(["import", str(other.folder), str(out), *separator]) == 0
            assert {(row["row"], row["annotator"]): row["label"] for row in other.store.decisions()} == decided
            assert {row["row"]: row["label"] for row in other.store.labels()} == first
        assert len(other.store.events()) == len(decided)


def test_corrections_made_in_each_tool_come_back_under_the_annotators_name(session, tmp_path):
    store = session.store

    def exported(name):
        out = tmp_path / f"{name}.json"
        assert main(["export", str(session.folder), str(out), "--format", name]) == 0
        text = out.read_text()
        return json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]

    def standing():
        return {(row["row"], row["annotator"]): row["label"] for row in store.decisions()}

    def back(records):
        assert imported(session, tmp_path, "back.json", json.dumps(records))[0] == 0
        return standing()

    store.add_labels([(0, (0, 1), "ann"), (0, (), "bob"), (1, (2,), "ann")])
    tasks = exported("label-studio")
    tasks[0]["annotations"][0]["result"] = []
    bobs = next(i for i, who in enumerate(tasks[0]["data"]["dami_annotators"]) if who == "bob")
    anns = tasks[0]["annotations"][1 - bobs]
    anns["result"], tasks[0]["annotations"][bobs]["result"] = result("service 7", "food"), result("price")
    assert back(tasks) == {(0, "ann"): (0, 2), (0, "bob"): (1,), (1, "ann"): (2,)}

    records = exported("argilla")
    for answer in records[0]["responses"]["label"]:
        if answer["value"] == ["price"]:
            answer["value"] = ["(none of the labels)"]
    assert back(records) == {(0, "ann"): (0, 2), (0, "bob"): (), (1, "ann"): (2,)}

    examples = exported("doccano")
    (anns,) = (example for example in examples if example["text"] == TEXTS[1])
    anns["label"] = []  # its last category was taken away there
    assert back(examples) == {(0, "ann"): (0, 2), (0, "bob"): (), (1, "ann"): ()}

    answers = exported("prodigy")
    for answer in answers:
        answer["accept"] = ["price", "food"]
    (tmp_path / "back.jsonl").write_text(lines(*answers))
    assert main(["import", str(session.folder), str(tmp_path / "back.jsonl")]) == 0
    assert standing() == {(0, "ann"): (0, 1), (0, "bob"): (0, 1), (1, "ann"): (0, 1)}


def test_labels_that_were_renamed_are_known_by_their_former_names(session, tmp_path):
    assert main(["rename", str(session.folder), "price", "cost"]) == 0
    rows = lines({"text": TEXTS[0], "label": ["price", "food"]})
    assert imported(session, tmp_path, "back.jsonl", rows) == (0, {0: ["food", "cost"]})


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_selected_can_be_labelled_in_each_tool(session, tmp_path, name):
    out = tmp_path / "next"
    assert main(["select", str(session.folder), str(out), "--n", "2", "--format", name]) == 0
    assert not [d for d in read(name, out.read_bytes(), LABELS) if d.problem is None and d.decided]
