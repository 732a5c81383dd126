"""dami-text predict: what it writes against the same model in transformers' own pipeline."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from encoder_cases import save_encoder, tiny_model, tiny_tokenizer
from labeling_cases import label_some, make_session, texts_without_labels
from transformers import AutoTokenizer, pipeline

import dami_text
from dami_text.cli.main import main
from dami_text.labeling.prediction import Classifier
from dami_text.labeling.rounds import train_round
from dami_text.labeling.session import Session


@pytest.fixture
def session(tmp_path, monkeypatch, reviews):
    """The current folder with a session of 60 reviews, 12 of them labelled."""
    monkeypatch.chdir(tmp_path)
    file, truth = texts_without_labels(reviews, tmp_path, 60)
    made = make_session(file, tmp_path / "texts.dami")
    label_some(made, truth, 12)
    return made


def rows_of(file, delimiter=","):
    with Path(file).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter=delimiter))


def write(name, rows, delimiter=","):
    with Path(name).open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, delimiter=delimiter).writerows(rows)


def run(*arguments):
    assert main([*map(str, arguments)]) == 0


def pipelines_answers(folder, texts):
    """The probabilities of the classes by name that transformers' pipeline finds for each text, cut to the model."""
    classify = pipeline("text-classification", model=str(folder), device="cpu", top_k=None)
    return [{found["label"]: found["score"] for found in classify([text], truncation=True)[0]} for text in texts]


def require_equal(rows, expected):
    for row, scores in zip(rows, expected, strict=True):
        for name, score in scores.items():
            assert float(row[f"probability_{name}"]) == pytest.approx(score, abs=2e-6)
        assert row["predicted_label"] == max(scores, key=scores.get)
        assert float(row["probability"]) == pytest.approx(max(scores.values()), abs=2e-6)


def test_another_file_by_a_trained_model_as_the_pipeline_has_it(session, capsys):
    run("train", "texts.dami", "--output-dir", "model")
    texts = [session.text(row) for row in (3, 40, 3, 17)]
    write("new.csv", [["n", "review"], *([i, text] for i, text in enumerate(texts)), [4, ""]])
    capsys.readouterr()
    run("predict", "model", "new.csv", "out.csv", "--text-column", "review")
    told = capsys.readouterr().out
    rows = rows_of("out.csv")
    assert list(rows[0]) == ["n", "review", "predicted_label", "probability", "probability_neg", "probability_pos"]
    assert [(row["n"], row["review"]) for row in rows] == [(str(i), text) for i, text in enumerate([*texts, ""])]
    require_equal(rows[:4], pipelines_answers("model", texts))
    assert set(list(rows[4].values())[2:]) == {""}
    assert told.splitlines()[0] == "5 texts in out.csv"
    assert "1 texts are empty" in told


def test_what_computes_can_be_named(session, capsys):
    write("new.csv", [["text"], ["a dull film"]])
    run("train", "texts.dami", "--output-dir", "model", "--device", "cpu")
    for command in (
        ["predict", "model", "new.csv", "out.csv"],
        ["predict", "texts.dami", "out.csv", "--rest"],
        ["select", "texts.dami", "next.csv", "--n", "2"],
    ):
        run(*command, "--device", "cpu")
        capsys.readouterr()
        if not torch.accelerator.is_available():
            assert main([*command, "--device", "cuda"]) == 1
            wanted = "error: --device is cuda, and this machine has cpu; give auto or cpu\n"
            assert capsys.readouterr().err == wanted
    with Session(Path("texts.dami")) as again:
        assert again.config.run.training.device == "auto", "it is of the command alone"


def test_an_encoder_with_odd_class_names_and_copies_as_the_pipeline_has_it(session, tmp_path, capsys):
    names = ["=1+1", 'a, "b"', "a, \nc"]
    model = tiny_model(n_classes=3)
    model.config.id2label, model.config.label2id = dict(enumerate(names)), {name: i for i, name in enumerate(names)}
    model.save_pretrained("encoder")
    tiny_tokenizer().save_pretrained("encoder")
    texts = ["the film is good", "w17 bad plot", "the film is good", "music " * 100]
    write("new.tsv", [["text", "probability_=1+1"], *([text, ""] for text in texts)], "\t")
    run("predict", "encoder", "new.tsv", "out.csv")
    told = capsys.readouterr().out
    rows = rows_of("out.csv")
    assert list(rows[0])[2:] == ["predicted_label", "probability", *(f"probability_{n}" for n in ["=1+1_", *names[1:]])]
    renamed = [{**row, "probability_=1+1": row["probability_=1+1_"]} for row in rows]
    require_equal(renamed, pipelines_answers("encoder", texts))
    assert list(rows[0].values()) == list(rows[2].values())
    assert told.splitlines()[-1].startswith("1 texts are longer than the 32 tokens that the model takes")


@pytest.mark.parametrize("place", ["run", "run/model"])
def test_texts_are_cut_as_the_model_was_trained_and_not_to_the_default(session, tmp_path, reviews, capsys, place):
    options = ["--model=bilstm", "--word-vectors=random", "--epochs=1", "--budget=20", "--initial-size=20"]
    run("run", "--dataset", reviews, "--output-dir", "run", "--max-length=1000", *options)
    long = [" ".join([session.text(0)] * 200), " ".join(session.text(row) for row in range(60))]
    write("new.csv", [["text"], *([text] for text in long)])
    capsys.readouterr()
    run("predict", place, "new.csv", "out.csv")
    tokenizer = AutoTokenizer.from_pretrained("run/model")
    lengths = [len(ids) for ids in tokenizer(long)["input_ids"]]
    assert min(lengths) > 512
    require_equal(rows_of("out.csv"), pipelines_answers("run/model", long))
    told = capsys.readouterr().out
    assert sum(length > 1000 for length in lengths) == 1
    assert "1 texts are longer than the 1000 tokens that the model takes" in told


def test_a_tokenizer_without_a_limit_takes_what_the_model_takes(tmp_path):
    save_encoder(tmp_path / "encoder")
    tiny_tokenizer(int(1e30)).save_pretrained(tmp_path / "encoder")
    classifier = Classifier.load(tmp_path / "encoder")
    assert classifier.preprocessor.model_max_length == 32
    assert classifier.classify(["the film " * 5, "the film " * 50])[1] == 1


def test_the_rest_of_a_session_with_its_own_columns(session, tmp_path):
    texts = [session.text(row) for row in range(40)]
    write("own.csv", [["id", "text", "year"], *([f"T{i}", text, 1990 + i] for i, text in enumerate(texts))])
    own = make_session(tmp_path / "own.csv", tmp_path / "own.dami")
    own.store.add_labels([(row, row % 2, "ann") for row in range(0, 20)])
    run("predict", "own.dami", "--rest", "rest.jsonl")
    lines = [json.loads(line) for line in Path("rest.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in lines] == [f"T{i}" for i in range(20, 40)]
    assert [line["dami_id"] for line in lines] == [own.id(row) for row in range(20, 40)]
    assert [line["text"] for line in lines] == texts[20:]
    assert lines[0]["year"] == "2010"
    for line in lines:
        assert line["probability_neg"] + line["probability_pos"] == pytest.approx(1, abs=1e-5)
        assert line["predicted_label"] == ("neg" if line["probability_neg"] > line["probability_pos"] else "pos")


def test_a_sessions_model_knows_all_its_labels_and_the_rounds_model_is_taken_where_it_does(session, monkeypatch):
    train_round(session)
    before = Classifier.of_session(session)
    assert before.model.config.id2label == {0: "neg", 1: "pos"}
    calls = []
    original = dami_text.ActiveLearner.train
    monkeypatch.setattr(
        dami_text.ActiveLearner, "train", lambda self: calls.append(len(self.pool.labeled)) or original(self)
    )
    Classifier.of_session(session)
    assert calls == []
    row = next(
        row
        for row in range(60)
        if row not in session.held_out and row not in {r["row"] for r in session.store.labels()}
    )
    session.store.add_labels([(row, 1, "ann")])
    Classifier.of_session(session)
    n = len([r for r in session.store.labels() if r["row"] not in session.held_out])
    assert calls == [n]


def test_a_renamed_class_is_written_by_its_new_name(session):
    train_round(session)
    run("rename", "texts.dami", "pos", "praise")
    run("predict", "texts.dami", "--rest", "rest.csv")
    rows = rows_of("rest.csv")
    assert {row["predicted_label"] for row in rows} <= {"neg", "praise"}
    assert "probability_praise" in rows[0]
    assert len(rows) == 48


def test_a_class_that_is_new_since_the_last_training_has_its_column(session):
    train_round(session)
    session.change(labels=["neg", "pos", "mixed"])
    run("predict", "texts.dami", "--rest", "rest.csv")
    run("predict", "texts.dami", "--rest", "rest.jsonl")
    for rows in (rows_of("rest.csv"), [*map(json.loads, Path("rest.jsonl").read_text(encoding="utf-8").splitlines())]):
        assert len(rows) == 48
        for row in rows:
            by_name = [float(row[f"probability_{name}"]) for name in ("neg", "pos", "mixed")]
            assert sum(by_name) == pytest.approx(1, abs=1e-5)
            assert float(row["probability"]) == max(by_name)


def test_a_session_without_a_rest_has_a_header(session, capsys):
    session.store.add_labels([(row, row % 2, "ann") for row in range(60)])
    run("predict", "texts.dami", "--rest", "rest.csv")
    assert rows_of("rest.csv") == []
    assert capsys.readouterr().out == "0 texts in rest.csv\nclasses  neg 0, pos 0\n"


def test_a_link_stays_one_and_a_file_that_is_there_is_written_anew(session):
    Path("old.csv").write_text("old", encoding="utf-8")
    Path("link.csv").symlink_to("old.csv")
    run("predict", "texts.dami", "--rest", "link.csv")
    assert Path("link.csv").is_symlink()
    assert len(rows_of("old.csv")) == 48


def test_a_prediction_that_breaks_off_leaves_the_old_file(session, tmp_path, monkeypatch):
    class Stopped(BaseException):
        pass

    def stop(self, texts):
        raise Stopped

    Path("rest.csv").write_text("old", encoding="utf-8")
    before = sorted(file.name for file in tmp_path.iterdir())
    monkeypatch.setattr(Classifier, "classify", stop)
    with pytest.raises(Stopped):
        main(["predict", "texts.dami", "--rest", "rest.csv"])
    assert Path("rest.csv").read_text(encoding="utf-8") == "old"
    assert sorted(file.name for file in tmp_path.iterdir()) == before


def test_where_nothing_can_be_written_nothing_is_trained(session, capsys, monkeypatch):
    monkeypatch.setattr(Classifier, "of_session", lambda *_: pytest.fail("a model was looked for"))
    assert main(["predict", "texts.dami", "--rest", "no/such/out.csv"]) == 1
    told = "error: cannot write no/such/out.csv: there is no folder no/such; make it, or choose another file\n"
    assert capsys.readouterr().err.endswith(told)


def test_cells_and_names_of_the_file_are_kept_apart_from_ours(session):
    write(
        "a.csv", [["text", "probability", "predicted_label"], ["=1+1 good film", "x", "+y"], ['say "no"\nnow', "", ""]]
    )
    run("predict", "texts.dami", "a.csv", "out.tsv", "--safe-csv")
    rows = rows_of("out.tsv", "\t")
    assert [(row["text"], row["probability"], row["predicted_label"]) for row in rows] == [
        ("'=1+1 good film", "x", "'+y"),
        ('say "no"\nnow', "", ""),
    ]
    assert {row["predicted_label_"] for row in rows} <= {"neg", "pos"}
    assert all(0.5 <= float(row["probability_"]) <= 1 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["texts.dami", "new.csv"], "wanted: dami-text predict texts.dami FILE OUT"),
        (["texts.dami", "new.csv", "out.csv", "--rest"], "wanted: dami-text predict texts.dami --rest OUT"),
        (["texts.dami", "new.csv", "out.xls"], "out.xls ends in '.xls'; it must end in one of .csv, .tsv, .jsonl"),
        (["texts.dami", "new.csv", "new.csv"], "new.csv is the file of the texts; choose another to write to"),
        (["texts.dami", "new.csv", "texts.csv"], "texts.csv is the file that the texts came from"),
        (["texts.dami", "--rest", "texts.dami/out.csv"], "is in the session texts.dami"),
        (["nothing", "new.csv", "out.csv"], "the folder nothing holds no model (no config.json)"),
        (["nothing", "--rest", "out.csv"], "--rest is of a session, and nothing is none"),
        (["texts.dami", "new.csv", "out.jsonl", "--safe-csv"], "--safe-csv is about tables"),
        (
            ["texts.dami", "--rest", "out.csv", "--encoding", "latin-1"],
            "--encoding is about a file, and --rest",
        ),
        (["texts.dami", "none.csv", "out.csv"], "'none.csv' is no file or folder here"),
        (["texts.dami", "new.csv", "out.csv", "--text-column", "body"], "no column 'body' in ['text']"),
        (["table", "new.csv", "out.csv"], "table holds a model of a table's rows; wanted one of texts"),
        (["table", "new.csv", "table/out.csv"], "table/out.csv is in table, which is the model's"),
        (["nothing", "files", "files/out.csv"], "files/out.csv is in the folder of the texts"),
        (["nothing", "new.csv", "files.csv"], "cannot write files.csv: it is a folder; choose another file"),
        (["texts.dami", "new.csv", "no/such/folder/out.csv"], "cannot write no/such/folder/out.csv"),
    ],
)
def test_what_cannot_be_predicted_is_one_line_and_leaves_nothing(
    session, tmp_path, capsys, monkeypatch, arguments, told
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    write("new.csv", [["text"], ["a good film"]])
    for name in ("table", "files", "files.csv"):
        (tmp_path / name).mkdir()
    (tmp_path / "table" / "table_encoder.skops").touch()
    before = sorted(file.name for file in tmp_path.iterdir())
    assert main(["predict", *arguments]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert told in error
    assert sorted(file.name for file in tmp_path.iterdir()) == before


def test_a_session_without_labels_says_so(session, tmp_path, capsys):
    make_session(tmp_path / "texts.csv", tmp_path / "empty.dami")
    assert main(["predict", "empty.dami", "--rest", "out.csv"]) == 1
    assert "there is no labelled text to train on; label one at least" in capsys.readouterr().err


ELSEWHERE = """
import json, sys
sys.modules["dami_text"] = None  # any import of it fails
from transformers import pipeline
classify = pipeline("text-classification", model="model", trust_remote_code=True, device="cpu", top_k=None)
print(json.dumps([{found["label"]: found["score"] for found in classify([text])[0]} for text in sys.argv[1:]]))
"""


@pytest.mark.parametrize("kind", ["cnn", "bilstm"])
def test_a_final_model_with_its_code_predicts_the_same_where_dami_text_is_not(session, tmp_path, reviews, kind):
    file, truth = texts_without_labels(reviews, tmp_path, 60)
    made = make_session(file, tmp_path / "mine.dami", model=kind)
    label_some(made, truth, 20)
    run("train", "mine.dami", "--output-dir", "model", "--export-code")
    texts = [made.text(row) for row in (5, 30)]
    write("new.csv", [["text"], *([text] for text in texts)])
    run("predict", "model", "new.csv", "out.csv")
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "PYTHONPATH": ""}
    ended = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *texts],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    require_equal(rows_of("out.csv"), json.loads(ended.stdout.splitlines()[-1]))


def test_an_encoders_final_model_has_no_code_and_says_so(session, tmp_path, capsys):
    save_encoder(tmp_path / "encoder")
    options = {"model": str(tmp_path / "encoder"), "word_vectors": "word2vec", "word_vector_dim": 100}
    made = make_session(tmp_path / "texts.csv", tmp_path / "mine.dami", **options)
    made.store.add_labels([(row, row % 2, "ann") for row in range(20)])
    run("train", "mine.dami", "--output-dir", "model", "--export-code")
    assert "transformers has this model's code, there is none to export" in capsys.readouterr().out
    assert not [*(tmp_path / "model").glob("*.py")]
    run("predict", "model", "texts.csv", "out.csv")
    texts = [made.text(row) for row in range(60)]
    require_equal(rows_of("out.csv"), pipelines_answers("model", texts))


def test_a_final_model_carries_its_code_where_that_is_asked_for(session, tmp_path, capsys):
    run("train", "texts.dami", "--output-dir", "model", "--export-code")
    names = {file.name for file in (tmp_path / "model").iterdir()}
    assert {"word_level.py", "text_cnn.py", "README.md", "labeling.json", "model.safetensors"} <= names
    auto = json.loads((tmp_path / "model" / "config.json").read_text())["auto_map"]
    assert auto["AutoModelForSequenceClassification"].startswith("text_cnn.")
    assert sorted(file.name for file in tmp_path.iterdir() if file.name.startswith(".model")) == []
    first = Classifier.load(tmp_path / "model").probabilities(["a good film"])
    run("train", "texts.dami", "--output-dir", "plain")
    assert Classifier.load(tmp_path / "plain").probabilities(["a good film"]) == pytest.approx(first)
    assert Session(tmp_path / "texts.dami").class_names == ["neg", "pos"]
