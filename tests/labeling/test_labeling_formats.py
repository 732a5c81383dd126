import csv
import io
import json
import uuid
import xml.etree.ElementTree as ET

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dami_text.errors import DataError
from dami_text.labeling.exchange.formats import FORMATS, guess_format, read_decisions, write_records
from dami_text.labeling.exchange.label_studio import labeling_interface
from dami_text.labeling.exchange.records import Decision, Record

CLASSES = ["good", 'b"ad & <worse>']
HOSTILE = [
    "<script>alert(1)</script>",
    '"quoted", with commas;\nand\r\nlines',
    '=HYPERLINK("http://evil")',
    "\u202eright to left\u2069 \x1b[31m \x00 end",
    "naïve 好 \U0001f600",
    "",
    " leading and trailing ",
]
RECORDS = [
    *(
        Record(
            id=f"{i:016x}-0",
            text=text,
            label=CLASSES[i % 2],
            status="labelled",
            annotator="ann@example.org",
            time="2026-01-01T00:00:00+00:00",
            seconds=1.5,
            round=2,
        )
        for i, text in enumerate(HOSTILE)
    ),
    Record(id="00000000000000aa-0", text="skipped text", label=None, status="skipped", annotator="ann@example.org"),
    Record(id="00000000000000bb-1", text="open text", flagged=True, guess="good", score=0.83, reason={"word": "text"}),
]
EXTENSIONS = {"csv": "csv", "parquet": "parquet", "label-studio": "json", "argilla": "json"}


def wanted(name):
    """What must come back: every label, and every skip where the format has them."""
    decided = [record for record in RECORDS if record.status != "open"]
    return [(r.id, r.text, r.label) for r in decided if name != "doccano" or r.label is not None]


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_is_read_back(name):
    content = write_records(name, RECORDS, CLASSES)
    found = [decision for decision in read_decisions(name, content, CLASSES) if decision.decided]
    assert [(d.id, d.text, d.label) for d in found] == wanted(name)
    assert {d.annotator for d in found} == {"ann@example.org"}


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_is_known_by_its_looks(name):
    content = write_records(name, RECORDS, CLASSES)
    assert guess_format(f"labels.{EXTENSIONS.get(name, 'jsonl')}", content) == name


@pytest.mark.parametrize(
    ("first", "name"),
    [
        ({"id": "1-0", "text": "a", "label": "good", "annotator": "bob"}, "jsonl"),
        ({"text": "a", "label": "good"}, "jsonl"),
        ({"text": "a", "label": 1}, "jsonl"),
        ({"id": 7, "text": "a", "label": ["good"], "Comments": []}, "doccano"),
        ({"id": 7, "text": "a", "labels": ["good"]}, "doccano"),
        ({"text": "a", "label": "good", "dami_id": "1-0"}, "doccano"),
    ],
)
def test_lines_are_doccanos_only_where_they_look_like_it(first, name):
    assert guess_format("labels.jsonl", json.dumps(first).encode()) == name


def test_classes_that_are_numbers_are_read_from_lines_and_tables():
    lines = b'{"text": "a", "label": 1}\n{"text": "b", "label": 0}\n{"text": "c", "label": null}\n'
    table = pa.table({"text": ["a", "b", "c"], "label": pa.array([1, 0, None])})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    for name, content in (("jsonl", lines), ("parquet", sink.getvalue())):
        assert guess_format(f"in.{name}", content) == name
        assert read_decisions(name, content, ["0", "1"]) == [
            Decision(id=None, text="a", label="1"),
            Decision(id=None, text="b", label="0"),
        ]
    for value, label in ((b"true", "True"), (b"1.5", "1.5"), (b"1.0", "1")):
        line = b'{"id": 7, "text": "a", "label": %b}' % value
        assert read_decisions("jsonl", line, ["0", "1"]) == [Decision(id="7", text="a", label=label)]


def test_a_table_may_have_tabs():
    content = b'text\tlabel\na, b\tgood\n"tab\there"\tgood\n'
    assert guess_format("labels.tsv", content) == "csv"
    assert read_decisions("csv", content, CLASSES) == [
        Decision(id=None, text="a, b", label="good"),
        Decision(id=None, text="tab\there", label="good"),
    ]


def test_csv_is_what_pythons_own_reader_reads():
    rows = list(csv.DictReader(io.StringIO(write_records("csv", RECORDS, CLASSES).decode(), newline="")))
    assert [row["text"] for row in rows] == [record.text for record in RECORDS]
    assert rows[0]["label"] == "good"
    assert (rows[-1]["status"], rows[-1]["flagged"], json.loads(rows[-1]["reason"])) == (
        "open",
        "True",
        {"word": "text"},
    )


def test_a_safe_csv_has_no_formula():
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "plain", "a=b"]
    records = [Record(id=str(i), text=text, label="good", status="labelled") for i, text in enumerate(texts)]
    rows = list(csv.DictReader(io.StringIO(write_records("csv", records, CLASSES, safe_csv=True).decode(), newline="")))
    assert [row["text"] for row in rows] == ["'=1+1", "+1", "-1", "'@SUM(A1)", "'\t=1", "plain", "a=b"]


def test_classes_and_annotators_come_back_from_a_safe_csv():
    names = ["+", "-", "'quoted'", "'"]
    records = [
        Record(id=str(i), text="a", label=name, status="labelled", annotator="@ann") for i, name in enumerate(names)
    ]
    content = write_records("csv", records, names, safe_csv=True)
    assert [(d.label, d.annotator) for d in read_decisions("csv", content, names)] == [(n, "@ann") for n in names]


def test_parquet_has_types():
    table = pq.read_table(io.BytesIO(write_records("parquet", RECORDS, CLASSES)))
    assert [str(table.schema.field(name).type) for name in ("text", "seconds", "round", "flagged")] == [
        "string",
        "double",
        "int64",
        "bool",
    ]
    assert table["text"].to_pylist() == [record.text for record in RECORDS]


# The records below are written by hand from each tool's documentation ---------------------------------------------


def test_label_studios_tasks_are_as_it_documents_them():
    labelled = Record(
        id="1-0",
        text="a text",
        label="good",
        status="labelled",
        annotator="ann",
        seconds=4.2,
        round=3,
        guess="good",
        score=0.83,
    )
    tasks = json.loads(write_records("label-studio", [labelled, RECORDS[-2]], CLASSES))
    choice = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["good"]}}
    assert tasks[0] == {
        "data": {"text": "a text", "dami_id": "1-0", "dami_annotator": "ann"},
        "predictions": [{"model_version": "r3", "score": 0.83, "result": [{"id": "p1", **choice}]}],
        "annotations": [
            {"completed_by": 1, "was_cancelled": False, "lead_time": 4.2, "result": [{"id": "a1", **choice}]}
        ],
    }
    assert (tasks[1]["annotations"][0]["was_cancelled"], tasks[1]["annotations"][0]["result"]) == (True, [])


def test_label_studios_annotators_are_told_apart():
    choice = {"from_name": "label", "to_name": "text", "type": "choices"}
    annotations = [
        {"completed_by": who, "result": [{**choice, "value": {"choices": [label]}}]}
        for who, label in ((1, "good"), (2, CLASSES[1]), ({"id": 3, "email": "c@example.org"}, "good"))
    ]
    content = json.dumps([{"data": {"text": "a"}, "annotations": annotations}]).encode()
    found = [(d.annotator, d.label) for d in read_decisions("label-studio", content, CLASSES)]
    assert found == [("1", "good"), ("2", CLASSES[1]), ("c@example.org", "good")]
    # The first of them may be the one that went out with the task.
    content = json.dumps([{"data": {"text": "a", "dami_annotator": "ann"}, "annotations": annotations}]).encode()
    assert [d.annotator for d in read_decisions("label-studio", content, CLASSES)] == ["ann", "2", "c@example.org"]


def test_label_studios_interface_has_every_class():
    root = ET.fromstring(labeling_interface(CLASSES))
    assert root.tag == "View"
    assert (root[0].tag, root[0].get("name"), root[0].get("value")) == ("Text", "text", "$text")
    assert (root[1].get("toName"), root[1].get("choice")) == ("text", "single")
    assert [choice.get("value") for choice in root[1]] == CLASSES


def test_prodigys_answers_are_understood():
    lines = [
        {"text": "a", "label": "good", "answer": "accept"},
        {"text": "b", "label": "good", "answer": "reject"},
        {"text": "c", "label": "good", "answer": "ignore"},
        {"text": "d", "options": [{"id": "good", "text": "good"}], "accept": ["good"], "answer": "accept"},
        {"text": "e", "options": [{"id": "good", "text": "good"}], "accept": [], "answer": "accept"},
        {"text": "f", "meta": {"dami_id": "6-0"}, "label": "good", "answer": "accept", "_annotator_id": "bob"},
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    assert read_decisions("prodigy", content, CLASSES) == [
        Decision(id=None, text="a", label="good"),
        Decision(id=None, text="b", label=CLASSES[1]),
        Decision(id=None, text="c", label=None),
        Decision(id=None, text="d", label="good"),
        Decision(id="6-0", text="f", label="good", annotator="bob"),
    ]
    # Among three classes, "not this one" is no label.
    assert [d.text for d in read_decisions("prodigy", content, [*CLASSES, "other"])] == ["a", "c", "d", "f"]


def test_doccanos_labels_are_understood_and_two_labels_are_a_problem_of_their_text_alone():
    content = b'{"text": "a", "label": ["good"]}\n{"text": "b", "label": []}\n{"id": 7, "text": "c", "label": "good"}\n'
    assert [(d.id, d.text, d.label) for d in read_decisions("doccano", content, CLASSES)] == [
        (None, "a", "good"),
        (None, "c", "good"),
    ]
    content = b'{"id": 7, "text": "a", "label": ["good"], "meta": {"dami_id": "1-0", "dami_annotator": "ann"}}'
    assert read_decisions("doccano", content, CLASSES) == [Decision(id="1-0", text="a", label="good", annotator="ann")]
    content = b'[{"text": "a", "label": ["good", "bad"]}, {"text": "b", "label": ["good"]}]'
    assert [(d.text, d.problem) for d in read_decisions("doccano", content, CLASSES)] == [
        ("a", "['good', 'bad'] are several labels"),
        ("b", None),
    ]


def test_prodigys_tasks_are_as_it_documents_them():
    """Prodigy's "Annotation interfaces: choice" and "Loaders and input data" (prodi.gy/docs).

    A line is a task: text, options of id and text, and meta, which the interface shows; an answered one has accept, a
    list of options' ids, answer, one of accept, reject and ignore, and _view_id. Prodigy itself is not free.
    """
    lines = [json.loads(line) for line in write_records("prodigy", RECORDS, CLASSES).decode().split("\n")[:-1]]
    options = [{"id": "good", "text": "good"}, {"id": CLASSES[1], "text": CLASSES[1]}]
    shared = {"text": "naïve 好 \U0001f600", "options": options, "meta": {"dami_id": f"{4:016x}-0"}}
    who = {"_view_id": "choice", "_annotator_id": "ann@example.org"}
    assert lines[4] == {**shared, "accept": ["good"], "answer": "accept", **who}
    skipped = {"text": "skipped text", "options": options, "meta": {"dami_id": "00000000000000aa-0"}}
    assert lines[-2] == {**skipped, "accept": [], "answer": "ignore", **who}
    meta = {"dami_id": "00000000000000bb-1", "word": "text"}
    assert lines[-1] == {"text": "open text", "options": options, "meta": meta, "flagged": True}
    assert [line["text"] for line in lines] == [record.text for record in RECORDS]


def test_doccanos_lines_are_as_it_documents_them():
    """Doccano's tutorial "Import dataset", text classification, JSONL: text, label as a list of names, other keys."""
    lines = [json.loads(line) for line in write_records("doccano", RECORDS, CLASSES).decode().split("\n")[:-1]]
    given = {"label": [CLASSES[1]], "dami_id": f"{1:016x}-0", "dami_annotator": "ann@example.org"}
    assert lines[1] == {"text": HOSTILE[1], **given}
    assert lines[-1] == {"text": "open text", "label": [], "dami_id": "00000000000000bb-1"}
    assert all({type(value) for value in line["label"]} <= {str} for line in lines)


def test_argillas_records_are_as_it_documents_them():
    """Argilla's how-to "Import and export", `dataset.records.to_json` and `from_json`, of Argilla 2.

    A list of records: id, fields, metadata and vectors by name; suggestions by question, each a value with score and
    agent; responses by question, a list of value, user_id, a UUID, and status, submitted or discarded.
    """
    records = json.loads(write_records("argilla", RECORDS, CLASSES))
    user = str(uuid.uuid5(uuid.NAMESPACE_URL, "ann@example.org"))
    empty = {"metadata": {}, "vectors": {}}
    assert records[0] == {
        "id": f"{0:016x}-0",
        "fields": {"text": HOSTILE[0]},
        "suggestions": {},
        "responses": {"label": [{"value": "good", "user_id": user, "status": "submitted"}]},
        "status": "completed",
        "annotators": {user: "ann@example.org"},
        **empty,
    }
    assert records[-2]["responses"] == {"label": [{"value": None, "user_id": user, "status": "discarded"}]}
    assert records[-1] == {
        "id": "00000000000000bb-1",
        "fields": {"text": "open text"},
        "suggestions": {"label": {"value": "good", "score": 0.83, "agent": "r0"}},
        "responses": {},
        "status": "pending",
        **empty,
    }


def test_what_argilla_writes_itself_is_understood():
    nested = {
        "id": "1-0",
        "fields": {"text": "a"},
        "metadata": {},
        "suggestions": {},
        "responses": {"label": [{"value": "good", "user_id": "u1"}, {"value": None, "user_id": "u2"}]},
        "vectors": {},
        "status": "completed",
        "_server_id": "x",
    }
    assert read_decisions("argilla", json.dumps([nested]).encode(), CLASSES) == [
        Decision(id="1-0", text="a", label="good", annotator="u1"),
        Decision(id="1-0", text="a", label=None, annotator="u2"),
    ]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("jsonl", {"id": [7], "text": "a", "label": "good"}),
        ("jsonl", {"text": ["a"], "label": "good"}),
        ("jsonl", {"text": "a", "label": ["good"]}),
        ("doccano", {"text": "a", "label": [[3]]}),
        ("prodigy", {"text": "a", "options": [], "accept": [{"id": "good"}], "answer": "accept"}),
        ("prodigy", {"text": "a", "label": "good", "answer": "accept", "_annotator_id": {}}),
    ],
)
def test_what_is_no_text_where_text_is_wanted_is_one_error(name, line):
    with pytest.raises(DataError, match=r"for (id|text|label|annotator); wanted text"):
        read_decisions(name, json.dumps(line).encode(), CLASSES)


def test_an_annotators_name_that_cannot_be_shown_is_refused():
    for name in ("\x1b[31m", "\ud800", "a\nb", "\u202e"):
        content = json.dumps({"text": "a", "label": "good", "annotator": name}).encode()
        with pytest.raises(DataError, match="has characters that cannot be shown"):
            read_decisions("jsonl", content, CLASSES)


def test_a_file_that_is_nested_without_end_is_one_error():
    for content in (b"[" * 100_000, b'{"a":' * 100_000):
        with pytest.raises(DataError):
            guess_format("a.json", content)
        with pytest.raises(DataError):
            read_decisions("doccano", content, CLASSES)


def test_argillas_responses_are_understood():
    record = {
        "id": "1-0",
        "status": "completed",
        "text": "a",
        "label.responses": ["good", "good", "bad"],
        "label.responses.users": ["u1", "u2", "u3"],
        "label.responses.status": ["submitted", "draft", "discarded"],
        "label.suggestion": "good",
        "label.suggestion.score": 0.5,
    }
    assert read_decisions("argilla", json.dumps([record]).encode(), CLASSES) == [
        Decision(id="1-0", text="a", label="good", annotator="u1"),
        Decision(id="1-0", text="a", label=None, annotator="u3"),
    ]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[1, 2]", b'{"a": [', b"a,b\n1,2\n"])
def test_what_is_in_no_format_is_one_error(name, content):
    with pytest.raises(DataError):
        list(read_decisions(name, content, CLASSES))


@pytest.mark.parametrize("content", [b"", b"just words", b"\x00\x01"])
def test_a_file_of_no_known_format_is_an_error(content):
    with pytest.raises(DataError, match="no known format"):
        guess_format("labels.txt", content)
