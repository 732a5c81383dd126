"""Exports read by the other tools' own code, where it is installed; none of it is needed for anything else.

    pip install --no-deps --target DIR argilla doccano==1.8.4 label-studio-sdk ... && PYTHONPATH=DIR pytest THIS

What doccano needs of Django, its tables, is stood in for: what reads a file and makes labels of it, and what writes its
exports, is its own. Label Studio's tables are made by the converter that its server exports with; Argilla's server
(argilla-server) says which answers it takes.
"""

import ast
import importlib
import json
import sys
import warnings
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pandas as pd
import pytest

from dami_text.labeling.exchange.formats import advice, read_decisions, write_records
from dami_text.labeling.exchange.label_studio import labeling_interface
from dami_text.labeling.exchange.records import Record
from dami_text.labeling.exchange.scheme import LabelScheme

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

SETS = [[], ["good"], CLASSES[1:], CLASSES, ["=1+1", "two\nlines"]]
NAMES = [*CLASSES, "=1+1", "two\nlines"]
SCHEME = LabelScheme(names=NAMES, multilabel=True)
SEVERAL = [
    *(
        Record(id=f"{i:016x}-0", text=text, label=names, status="labelled", annotator="ann", guess=names, score=0.7)
        for i, (text, names) in enumerate(zip(TEXTS, SETS, strict=True))
    ),
    Record(id="00000000000000aa-0", text="skipped", status="skipped", annotator="ann"),
    Record(id="00000000000000bb-1", text="open", guess=[CLASSES[1]], score=0.8),
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
    monkeypatch.setitem(sys.modules, "data_export.models", SimpleNamespace(DATA="data"))
    pipeline["formatters"] = imported("data_export.pipeline.formatters")
    pipeline["writers"] = imported("data_export.pipeline.writers")
    yield SimpleNamespace(**pipeline)
    for name in [name for name in sys.modules if name.startswith(("data_import", "data_export"))]:
        del sys.modules[name]


def frame_of(doccano, file, content):
    """What doccano reads of a file of lines."""
    file.write_bytes(content)
    names = [doccano.readers.FileName(str(file), file.name, file.name)]
    parser = doccano.parsers.JSONLParser(encoding="utf_8")
    (frame,) = doccano.readers.Reader(names, parser).batch(100)
    assert parser.errors == []
    return frame


@pytest.mark.filterwarnings("ignore")
def test_doccano_makes_the_texts_and_labels_of_the_lines(doccano, tmp_path):
    frame = frame_of(doccano, tmp_path / "labels.jsonl", write_records("doccano", RECORDS, CLASSES))
    examples = doccano.makers.ExampleMaker(None, doccano.data.TextData, exclude_columns=["label"])
    labels = doccano.makers.LabelMaker("label", doccano.label.CategoryLabel)
    made, given = examples.make(frame), labels.make(frame)
    assert examples.errors == labels.errors == []
    assert [(example.text, example.meta["dami_id"]) for example in made] == [(r.text, r.id) for r in RECORDS]
    by_example = {example.uuid: example.meta["dami_id"] for example in made}
    assert [(by_example[label.example_uuid], label.label) for label in given] == [
        (record.id, record.label) for record in RECORDS if record.label
    ]


# Several labels a text ----------------------------------------------------------------------------------------------


def decided(name, content, **form):
    """What a file of label sets decides, but for what it leaves open."""
    found = read_decisions(name, content, replace(SCHEME, **form))
    return [(d.id, d.text, d.label and sorted(d.label)) for d in found if d.problem is None]


def wanted(*, skips):
    """What must come back of SEVERAL."""
    of = [record for record in SEVERAL if record.status == "labelled" or (skips and record.status == "skipped")]
    return [(r.id, r.text, r.label and sorted(r.label)) for r in of]


@pytest.mark.filterwarnings("ignore")
def test_label_studio_takes_several_choices_and_its_tables_are_read_back(tmp_path):
    config = labeling_interface(NAMES, multilabel=True)
    interface = imported("label_studio_sdk.label_interface").LabelInterface(config)
    interface.validate()
    tasks = json.loads(write_records("label-studio", SEVERAL, SCHEME))
    for task in tasks:
        assert interface.validate_task({"data": task["data"]})
        assert all(interface.validate_annotation(annotation) for annotation in task["annotations"])
        assert all(interface.validate_prediction(prediction) for prediction in task["predictions"])
    assert decided("label-studio", json.dumps(tasks).encode()) == wanted(skips=True)

    numbers = iter(range(100))  # as the server gives them to what it imports
    for task in tasks:
        task["id"] = next(numbers)
        for annotation in task["annotations"]:
            annotation |= {"id": next(numbers), "created_at": "2026-01-01T00:00:00Z"}
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    converter = imported("label_studio_sdk.converter").Converter(config, str(tmp_path))
    converter.convert_to_json_min(str(tmp_path / "tasks.json"), str(tmp_path / "min"), is_dir=False)
    assert decided("jsonl", (tmp_path / "min" / "result.json").read_bytes()) == wanted(skips=False)
    for separator in ",\t":
        out = tmp_path / f"table{ord(separator)}"
        converter.convert_to_csv(str(tmp_path / "tasks.json"), str(out), is_dir=False, sep=separator)
        assert decided("csv", (out / "result.csv").read_bytes()) == wanted(skips=False)


@pytest.mark.filterwarnings("ignore")
def test_argilla_reads_several_labels_and_what_it_writes_is_read_back(tmp_path):
    json_io = imported("argilla.records._io").JsonIO
    (tmp_path / "records.json").write_bytes(write_records("argilla", SEVERAL, SCHEME))
    records = json_io._records_from_json(tmp_path / "records.json")
    question, field = SimpleNamespace(name="label", id=None), SimpleNamespace(type="text")
    dataset = SimpleNamespace(settings=SimpleNamespace(questions={"label": question}, schema={"text": field}))
    for record, of in zip(records, SEVERAL, strict=True):
        record.dataset = dataset
        sent = json.loads(record.api_model().model_dump_json())  # to its server
        values = [answer["values"] for answer in sent["responses"] or []]
        labels = of.label or ["(none of the labels)"]
        given = {"labelled": [{"label": {"value": labels}}], "skipped": [{}], "open": []}
        assert values == given[of.status]
    content = json_io.to_json(records, tmp_path / "again.json").read_bytes()
    assert decided("argilla", content) == wanted(skips=True)


@pytest.mark.filterwarnings("ignore")
def test_argillas_server_takes_the_answers_and_the_suggestions():
    settings_class = imported("argilla_server.api.schemas.v1.questions").MultiLabelSelectionQuestionSettings
    validators = imported("argilla_server.validators.response_values")
    suggestions = imported("argilla_server.validators.suggestions").SuggestionCreateValidator
    given = advice("argilla", SCHEME)
    labels = ast.literal_eval(given.partition("labels=")[2].removesuffix(")"))
    options = [{"value": label, "text": label} for label in labels]
    settings = settings_class(type="multi_label_selection", options=options)
    records = json.loads(write_records("argilla", SEVERAL, SCHEME))
    checked = 0
    for record in records:
        for answer in record["responses"].get("label", []):
            if answer["value"] is not None:
                validators.ResponseValueValidator.validate(answer["value"], settings, None)
                checked += 1
        suggestion = SimpleNamespace(**record["suggestions"]["label"]) if record["suggestions"] else None
        if suggestion:
            suggestions.validate(suggestion, settings, None)
    assert checked == len(SETS)
    with pytest.raises(Exception, match="found empty list"):  # why there is an option for none
        validators.ResponseValueValidator.validate([], settings, None)


@pytest.mark.filterwarnings("ignore")
def test_doccano_makes_several_categories_and_its_exports_are_read_back(doccano, tmp_path):
    frame = frame_of(doccano, tmp_path / "labels.jsonl", write_records("doccano", SEVERAL, SCHEME))
    made = doccano.makers.ExampleMaker(None, doccano.data.TextData, exclude_columns=["label"]).make(frame)
    given = doccano.makers.LabelMaker("label", doccano.label.CategoryLabel).make(frame)
    categories = {example.uuid: [] for example in made}
    for label in given:
        categories[label.example_uuid].append(label.label)
    assert [categories[example.uuid] for example in made] == [record.label or [] for record in SEVERAL]

    def exported(formatter, writer, name):
        """What doccano's own code writes of them: id, text, what it kept in meta, and categories."""
        rows = [
            {
                "id": i,
                "data": example.text,
                **example.meta,
                "categories": [SimpleNamespace(to_string=lambda text=text: text) for text in categories[example.uuid]],
            }
            for i, example in enumerate(made)
        ]
        table = formatter(target_column="categories").format(pd.DataFrame(rows))
        table = doccano.formatters.RenameFormatter(data="text", categories="label").format(table)
        writer.write(tmp_path / name, table)
        return (tmp_path / name).read_bytes()

    lines = exported(doccano.formatters.ListedCategoryFormatter, doccano.writers.JsonlWriter, "out.jsonl")
    assert decided("doccano", lines) == wanted(skips=False)
    array = exported(doccano.formatters.ListedCategoryFormatter, doccano.writers.JsonWriter, "out.json")
    assert decided("doccano", array) == wanted(skips=False)
    table = exported(doccano.formatters.JoinedCategoryFormatter, doccano.writers.CsvWriter, "out.csv")
    assert decided("csv", table, separator="#") == wanted(skips=False)
