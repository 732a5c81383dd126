"""Exports read by the other tools' own code, where it is installed; none of it is needed for anything else.

    pip install --no-deps --target DIR argilla doccano==1.8.4 label-studio-sdk ... && PYTHONPATH=DIR pytest THIS

What doccano needs of Django, its tables, is stood in for: what reads a file and makes labels of it is its own.
"""

import importlib
import json
import sys
import warnings
from types import ModuleType, SimpleNamespace

import pytest

from dami_text.labeling.exchange.formats import read_decisions, write_records
from dami_text.labeling.exchange.label_studio import labeling_interface
from dami_text.labeling.exchange.records import Record

CLASSES = ["good", 'b"ad & <worse>', "naïve 好"]
TEXTS = ["plain", 'two\nlines "quoted", =1+1', "<b>好 \U0001f600</b>", "\u202e\x1b[31m", " spaces "]
RECORDS = [
    *(
        Record(
            id=f"{i:016x}-0", text=text, label=CLASSES[i % 3], status="labelled", annotator="ann", seconds=1.5, round=2
        )
        for i, text in enumerate(TEXTS)
    ),
    Record(
        id="00000000000000aa-0",
        text="skipped",
        label=None,
        status="skipped",
        annotator="ann",
        guess="good",
        score=0.5,
        round=1,
    ),
    Record(id="00000000000000bb-1", text="open", guess=CLASSES[1], score=0.83, round=3, reason={"word": "open"}),
]


def imported(name):
    """The module, or a skip; the tools warn of what is theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError as error:
            pytest.skip(f"{name} is not installed here ({error})")


@pytest.mark.filterwarnings("ignore")
def test_label_studio_finds_every_task_annotation_and_prediction_valid():
    interface = imported("label_studio_sdk.label_interface").LabelInterface(labeling_interface(CLASSES))
    interface.validate()
    tasks = json.loads(write_records("label-studio", RECORDS, CLASSES))
    for task in tasks:
        assert interface.validate_task({"data": task["data"]})
        assert all(interface.validate_annotation(annotation) for annotation in task["annotations"])
        assert all(interface.validate_prediction(prediction) for prediction in task["predictions"])
    assert sum(len(task["annotations"]) for task in tasks) == 6
    assert sum(len(task["predictions"]) for task in tasks) == 2
    tasks[0]["annotations"][0]["result"][0]["value"]["choices"] = ["no class"]
    assert not interface.validate_annotation(tasks[0]["annotations"][0]), "the validator does look"


@pytest.mark.filterwarnings("ignore")
def test_argilla_reads_the_records_and_what_it_writes_is_read_back(tmp_path):
    json_io = imported("argilla.records._io").JsonIO
    question, field = SimpleNamespace(name="label", id=None), SimpleNamespace(type="text")
    dataset = SimpleNamespace(settings=SimpleNamespace(questions={"label": question}, schema={"text": field}))
    (tmp_path / "records.json").write_bytes(write_records("argilla", RECORDS, CLASSES))
    records = json_io._records_from_json(tmp_path / "records.json")
    assert [(record.id, record.fields["text"]) for record in records] == [(r.id, r.text) for r in RECORDS]
    for record, wanted in zip(records, RECORDS, strict=True):
        answers = [(answer.value, answer.status.value) for answer in record.responses["label"]]
        status = "submitted" if wanted.label else "discarded"
        assert answers == ([] if wanted.status == "open" else [(wanted.label, status)])
        assert [(s.value, s.score) for s in record.suggestions] == [(wanted.guess, wanted.score)] * bool(wanted.guess)
        record.dataset = dataset
        sent = json.loads(record.api_model().model_dump_json())  # to its server
        assert (sent["external_id"], sent["fields"]) == (wanted.id, {"text": wanted.text})
        values = [answer["values"] for answer in sent["responses"] or []]
        given = (
            [{"label": {"value": wanted.label}}] if wanted.label else [{}]
        )  # a skip has no value: it would be refused
        assert values == ([] if wanted.status == "open" else given)

    content = json_io.to_json(records, tmp_path / "again.json").read_bytes()
    decided = [(r.id, r.text, r.label) for r in RECORDS if r.status != "open"]
    assert [(d.id, d.text, d.label) for d in read_decisions("argilla", content, CLASSES)] == decided


@pytest.fixture
def doccano(monkeypatch):
    """The modules of doccano's import, with stand-ins for its tables and for what it reads other formats with."""
    names = {
        "examples.models": ["Example"],
        "projects.models": ["Project", "ProjectType"],
        "labels.models": ["Category", "Label", "Relation", "Span", "TextLabel"],
        "label_types.models": ["CategoryType", "LabelType", "RelationType", "SpanType"],
        "pyexcel": [],
        "pyexcel.exceptions": [],
        "seqeval.scheme": ["BILOU", "IOB2", "IOBES", "IOE2", "Tokens"],
    }
    for name, classes in names.items():
        for part in (name.split(".")[0], name):
            if part not in sys.modules or part == name:
                monkeypatch.setitem(sys.modules, part, ModuleType(part))
        for of in classes:
            setattr(sys.modules[name], of, type(of, (SimpleNamespace,), {}))
    backend = imported("backend")
    monkeypatch.syspath_prepend(next(iter(backend.__path__)))
    pipeline = {
        part: imported(f"data_import.pipeline.{part}") for part in ("readers", "parsers", "makers", "label", "data")
    }
    yield SimpleNamespace(**pipeline)
    for name in [name for name in sys.modules if name.startswith("data_import")]:
        del sys.modules[name]


@pytest.mark.filterwarnings("ignore")
def test_doccano_makes_the_texts_and_labels_of_the_lines(doccano, tmp_path):
    file = tmp_path / "labels.jsonl"
    file.write_bytes(write_records("doccano", RECORDS, CLASSES))
    parser = doccano.parsers.JSONLParser(encoding="utf_8")
    names = [doccano.readers.FileName(str(file), "labels.jsonl", "labels.jsonl")]
    (frame,) = doccano.readers.Reader(names, parser).batch(100)
    examples = doccano.makers.ExampleMaker(None, doccano.data.TextData, exclude_columns=["label"])
    labels = doccano.makers.LabelMaker("label", doccano.label.CategoryLabel)
    made, given = examples.make(frame), labels.make(frame)
    assert parser.errors == examples.errors == labels.errors == []
    assert [(example.text, example.meta["dami_id"]) for example in made] == [(r.text, r.id) for r in RECORDS]
    by_example = {example.uuid: example.meta["dami_id"] for example in made}
    assert [(by_example[label.example_uuid], label.label) for label in given] == [
        (record.id, record.label) for record in RECORDS if record.label
    ]
