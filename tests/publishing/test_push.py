"""The Hub: what is loaded from it and pushed to it, and each way in which that fails, against a local stand-in.

The libraries read the Hub's address at import, so everything that asks it runs in processes of its own.
"""

import json
import os
import re
import subprocess
import sys

import datasets
import numpy as np
import pytest
import torch
from conftest import small_model
from encoder_cases import save_encoder
from hub_stub import HubStub
from huggingface_hub import ModelCard
from labeling_cases import label_some, make_session, texts_without_labels
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from dami_text.config.data_options import TokenizationConfig
from dami_text.config.options import ModelConfig
from dami_text.data.tokenization import build_tokenizer
from dami_text.models.encoder import load_encoder
from dami_text.publishing.push import export_code, labeled_dataset

WORKER = """
import contextlib, io, json, sys, time
sleep = time.sleep
time.sleep = lambda seconds: sleep(min(seconds, 0.02))  # the libraries try again without their pauses
from dami_text.cli.main import main
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(json.loads(line))
    print(json.dumps([status, out.getvalue(), err.getvalue()]), flush=True)
"""
TOKEN = "hf_a_secret_token"
FAST = [
    *("--initial-size", "10", "--query-size", "5", "--budget", "15", "--epochs", "1", "--epoch-steps", "1"),
    *("--word-vectors", "random", "--word-vector-dim", "4"),
]


class Worker:
    """A process that runs the command line, one command after another."""

    def __init__(self, hub, home, token=TOKEN, offline=False):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment |= {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
        environment |= {"HF_TOKEN": token} if token else {}
        environment |= {"HF_HUB_OFFLINE": "1"} if offline else {}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", WORKER], env=environment, **pipes)

    def run(self, *arguments):
        """(status, standard output, the last line of standard error) of a run."""
        return self.command("run", *arguments)

    def command(self, *arguments):
        """The same of any command."""
        print(json.dumps([str(argument) for argument in arguments]), file=self.process.stdin, flush=True)
        status, out, err = json.loads(self.process.stdout.readline())
        assert TOKEN not in out + err
        return status, out, (err.strip().splitlines() or [""])[-1]

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def hub(tmp_path_factory, reviews):
    """A Hub with a data set and a model of two commits each, of which the first is `first`."""
    root = tmp_path_factory.mktemp("hub")
    data, model = root / "datasets" / "acme" / "reviews", root / "models" / "acme" / "tiny"
    data.mkdir(parents=True)
    lines = reviews.read_text().splitlines()
    with HubStub(root, token=TOKEN) as stub:
        (data / "train.csv").write_text("\n".join(lines[:101]))
        save_encoder(model, seed=1)
        stub.first = stub.head("datasets", "acme/reviews")[0], stub.head("models", "acme/tiny")[0]
        (data / "train.csv").write_text("\n".join(lines[:201]))
        save_encoder(model, seed=2)
        yield stub


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def online(hub, home):
    worker = Worker(hub, home)
    yield worker
    worker.close()


def rounds(folder):
    return [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]


def files_on(hub, repo="acme/run", kind="models"):
    found = hub.head(kind, repo)
    return found and found[1]


HERE = ["--dataset", "acme/reviews", "--model", "acme/tiny"]


def test_data_and_model_by_id_and_by_revision(hub, online, tmp_path):
    newest, first = tmp_path / "newest", tmp_path / "first"
    assert online.run(*HERE, *FAST, "--output-dir", newest)[0] == 0
    data, model = hub.first
    revisions = ["--revision", data, "--model-revision", model]
    assert online.run(*HERE, *revisions, *FAST, "--output-dir", first)[0] == 0
    sizes = [round(15 / rounds(folder)[-1]["labeled_fraction"]) for folder in (newest, first)]
    assert sizes == [140, 70]  # 70% of 200 and of 100 rows
    card = ModelCard.load(first / "model" / "README.md")
    assert card.data.base_model == "acme/tiny"
    assert card.data.datasets == ["acme/reviews"]
    assert card.data.eval_results[0].dataset_revision == data
    assert model in card.text


METRIC = """
import datasets
import evaluate


class Tenths(evaluate.Metric):
    def _info(self):
        features = {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
        return evaluate.MetricInfo(description="", citation="", features=datasets.Features(features))

    def _compute(self, predictions, references):
        return {"tenths": 10 * sum(p == r for p, r in zip(predictions, references)) / len(references)}
"""


def test_a_metric_by_id(hub, online, tmp_path):
    folder = hub.root / "spaces" / "acme" / "tenths"
    folder.mkdir(parents=True)
    (folder / "tenths.py").write_text(METRIC)
    assert online.run(*HERE, *FAST, "--metric", "acme/tenths", "--output-dir", tmp_path / "run")[0] == 0
    for line in rounds(tmp_path / "run"):
        assert line["metrics"]["acme/tenths"] == pytest.approx(10 * line["metrics"]["accuracy"])
        assert 0 <= line["validation"]["acme/tenths"] <= 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metric", "acme/none"], "--metric acme/none cannot be loaded: "),
        (["--model", "acme/none"], "--model 'acme/none' is no folder here, and the Hub has no such model"),
        (["--dataset", "acme/none"], "'acme/none' is no file or folder here, and the Hub has no such data set"),
        (["--model-revision", "v9"], "--model 'acme/tiny' has no revision 'v9' on the Hub; check the spelling"),
        (["--revision", "v9"], "'acme/reviews' has no revision 'v9' on the Hub; check the spelling of --revision"),
        (["--push-to-hub", "nonsense"], "--push-to-hub is 'nonsense'; it must be a Hub id such as ORG/NAME"),
    ],
)
def test_what_the_hub_does_not_have(online, tmp_path, options, message):
    status, out, error = online.run(*HERE, *FAST, "--output-dir", tmp_path / "run", *options)
    assert (status, out) == (1, "")
    assert error.startswith(f"error: {message}")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("repo", "message"),
    [("acme/tiny", "--model 'acme/tiny' is gated on the Hub"), ("acme/reviews", "'acme/reviews' is gated on the Hub")],
)
def test_gated(hub, tmp_path, repo, message):
    hub.gated.add(repo)
    worker = Worker(hub, tmp_path / "home")
    status, out, error = worker.run(*HERE, *FAST, "--output-dir", tmp_path / "run")
    worker.close()
    hub.gated.clear()
    assert (status, out) == (1, "")
    assert error.startswith(f"error: {message}; ask for access on its page and log in with `hf auth login`")


def test_pushed_again_broken_off_and_private(hub, online, tmp_path):
    folder, push = tmp_path / "run", ["--push-to-hub", "acme/run", "--push-dataset", "acme/labels", "--private"]
    command = [*HERE[:2], *FAST, "--output-dir", folder, "--export-code"]
    status, out, _ = online.run(*command, *push)
    assert status == 0
    first = files_on(hub)
    assert [line.split()[0] for line in out.splitlines()[-2:]] == ["pushed", "pushed"]
    model = {str(file.relative_to(folder / "model")) for file in (folder / "model").rglob("*") if file.is_file()}
    records = {f"run/{name}" for name in ("config.yaml", "rounds.jsonl", "queries.jsonl", "learning_curve.png")}
    assert first.keys() == model | records | {".gitattributes"}
    assert first["model.safetensors"] == (folder / "model" / "model.safetensors").read_bytes()
    assert hub.private == {"acme/run", "acme/labels"}
    assert TOKEN.encode() not in b"".join(first.values())

    assert online.run(*command, *push)[0] == 0
    assert files_on(hub) == first, "pushed again, the same"

    (folder / "config.yaml").write_text((folder / "config.yaml").read_text() + "# changed\n")
    for broken in ("/commit/", "/lfs/", "/api/repos/create"):
        hub.drop = broken
        (folder / "model" / "extra.bin").write_bytes(broken.encode())
        status, _, error = online.run(*command[:-1], *push)
        hub.drop = None
        assert status == 1
        assert error.startswith("error: --push-to-hub acme/run: the Hub cannot be reached: ")
        assert error.endswith(f"the run is complete in {folder}, and the same command pushes again")
        assert files_on(hub) == first, "nothing came half"
    assert online.run(*command[:-1], *push)[0] == 0
    assert files_on(hub)["run/config.yaml"].endswith(b"# changed\n")


def test_the_labelled_texts_as_a_data_set(hub, online, tmp_path):
    status = online.run(*HERE[:2], *FAST, "--output-dir", tmp_path / "run", "--push-dataset", "acme/texts")[0]
    assert status == 0
    (parquet,) = [name for name in files_on(hub, "acme/texts", "datasets") if name.endswith(".parquet")]
    found = datasets.Dataset.from_parquet(str(hub.root / "datasets" / "acme" / "texts" / parquet))
    assert found.column_names == ["text", "label", "id", "round", "reason"]
    assert found.features["label"].names == ["neg", "pos"]
    queries = [json.loads(line) for line in (tmp_path / "run" / "queries.jsonl").read_text().splitlines()]
    assert found["round"][:] == [0] * 10 + [1] * 5
    assert found["text"][:] == [query["text"] for query in queries]
    assert [found.features["label"].int2str(label) for label in found["label"]] == [q["label"] for q in queries]
    assert json.loads(found["reason"][10])["word"] == queries[10]["word"]
    assert json.loads(found["reason"][0]) == {}


def test_private_is_not_pushed_to_what_is_public(hub, online, tmp_path):
    (hub.root / "models" / "acme" / "public").mkdir(parents=True)
    command = [*HERE[:2], *FAST, "--output-dir", tmp_path / "run", "--push-to-hub", "acme/public", "--private"]
    status, _, error = online.run(*command)
    assert status == 1
    assert error.startswith("error: --push-to-hub acme/public is public, and --private does not change that")
    assert not (tmp_path / "run").exists()


def test_a_model_that_people_labelled_for(hub, online, tmp_path, reviews):
    file, truth = texts_without_labels(reviews, tmp_path)
    session = make_session(file, tmp_path / "reviews.dami")
    label_some(session, truth, 12, "ann")
    session.store.close()
    folder = tmp_path / "model"
    train = ("train", session.folder, "--output-dir", folder)
    push = (*train, "--push-to-hub", "acme/labelled", "--private")

    for broken in ("/api/repos/create", "/lfs/", "/commit/"):  # the first of these trains, the others find the model
        hub.drop = broken
        status, _, error = online.command(*push)
        hub.drop = None
        assert status == 1
        assert error.startswith("error: --push-to-hub acme/labelled: the Hub cannot be reached: ")
        assert error.endswith(f"the model is complete in {folder}, and the same command pushes again")
        assert (files_on(hub, "acme/labelled") or {}).keys() <= {".gitattributes"}, "nothing came half"
    made = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    status, out, _ = online.command(*push)
    assert status == 0
    assert out.splitlines()[-1].startswith(f"pushed   {hub.url}/acme/labelled/commit/")
    first = files_on(hub, "acme/labelled")
    assert {name: data for name, data in first.items() if name != ".gitattributes"} == made
    assert {"README.md", "model.safetensors", "config.json", "tokenizer.json", "labeling.json"} <= made.keys()
    assert "acme/labelled" in hub.private
    assert online.command(*push)[0] == 0
    assert files_on(hub, "acme/labelled") == first, "pushed again, the same"

    card = ModelCard.load(folder / "README.md")
    accuracy = json.loads(made["labeling.json"])["accuracy"]
    assert [result.metric_value for result in card.data.eval_results or []] == [accuracy["value"]] * bool(accuracy)
    assert "12 of 300 texts" in card.text
    everything = b"".join(made.values()).decode(errors="replace")
    assert str(tmp_path) not in everything
    assert "ann" not in re.findall(r"\w+", made["README.md"].decode() + made["labeling.json"].decode())
    assert not [row for row in range(len(session)) if session.text(row) in everything]


@pytest.mark.parametrize(("token", "message"), [(None, "nobody is logged in"), ("hf_other", "the Hub refuses (401)")])
def test_nothing_is_trained_for_a_push_that_cannot_work(hub, tmp_path, reviews, token, message):
    file, truth = texts_without_labels(reviews, tmp_path)
    session = make_session(file, tmp_path / "reviews.dami")
    label_some(session, truth, 12)
    worker = Worker(hub, tmp_path / "home", token)
    train = ("train", session.folder, "--output-dir", tmp_path / "model", "--push-to-hub")
    status, out, error = worker.command(*train, "acme/refused")
    assert (status, out) == (1, "")
    assert error.startswith(f"error: --push-to-hub acme/refused: {message}")
    assert worker.command(*train, "nonsense")[2].startswith("error: --push-to-hub is 'nonsense'; it must be a Hub id")
    worker.close()
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(("token", "message"), [(None, "nobody is logged in"), ("hf_other", "the Hub refuses (401)")])
def test_pushing_without_a_token_that_may_is_refused_before_anything_runs(hub, tmp_path, token, message):
    worker = Worker(hub, tmp_path / "home", token)
    status, out, error = worker.run("--push-to-hub", "acme/run", "--output-dir", tmp_path / "run")
    worker.close()
    assert (status, out) == (1, "")
    assert error.startswith(f"error: --push-to-hub acme/run: {message}")
    assert "hf auth login" in error
    assert not (tmp_path / "run").exists()


def test_offline_with_a_warm_cache_and_with_a_cold_one(hub, online, home, tmp_path):
    command = [*HERE, *FAST, "--output-dir"]
    assert online.run(*command, tmp_path / "online")[0] == 0
    warm, cold = Worker(hub, home, offline=True), Worker(hub, tmp_path / "cold", offline=True)
    status, _, error = warm.run(*command, tmp_path / "warm")
    assert status == 0, error
    assert rounds(tmp_path / "warm")[-1]["metrics"] == rounds(tmp_path / "online")[-1]["metrics"]
    for options, message in [
        ([], "'acme/reviews' is no file or folder here, and the Hub is switched off by HF_HUB_OFFLINE"),
        (["--dataset", "demo"], "--model 'acme/tiny' is no folder here, and the Hub is switched off by HF_HUB_OFFLINE"),
        (["--push-to-hub", "acme/x"], "--push-to-hub acme/x: the Hub is switched off by HF_HUB_OFFLINE"),
    ]:
        status, out, error = cold.run(*command, tmp_path / "cold-run", *options)
        assert (status, out) == (1, "")
        assert error.startswith(f"error: {message}")
    warm.close()
    cold.close()


# Without the Hub --------------------------------------------------------------------------------------------------

ELSEWHERE = """
import sys
sys.modules["dami_text"] = None  # any import of it fails
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder = sys.argv[1]
try:
    AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=False)
except Exception:
    pass
else:
    raise SystemExit("loaded without its code")
model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True).eval()
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
inputs = tokenizer(["good film", "bad plot there"], padding=True, return_tensors="pt")
print(model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits.tolist())
"""


@pytest.mark.parametrize("kind", ["cnn", "bilstm", "sentence encoder"])
def test_an_exported_model_loads_where_dami_text_is_not(kind, tmp_path):
    texts = datasets.Dataset.from_dict({"text": ["good film", "bad plot there"]})
    if kind == "sentence encoder":
        config = ModelConfig(model=str(save_encoder(tmp_path / "encoder")), freeze_encoder=True)
        encoder = load_encoder(config, ["a", "b"], 512, 0, regions=True)
        model, tokenizer = encoder.pretrained, encoder.tokenizer
    else:
        tokenizer = build_tokenizer(texts, TokenizationConfig())
        model = small_model(kind, len(tokenizer))
    model.save_pretrained(tmp_path / "plain")
    tokenizer.save_pretrained(tmp_path / "plain")
    assert export_code(tmp_path / "plain", tmp_path / "exported")
    assert not list((tmp_path / "plain").glob("*.py"))
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "PYTHONPATH": ""}
    ended = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path / "exported")],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    inputs = tokenizer(texts["text"][:], padding=True, return_tensors="pt")
    expected = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    np.testing.assert_allclose(json.loads(ended.stdout), expected.tolist(), atol=1e-6)
    model.save_pretrained(tmp_path / "again")
    assert not list((tmp_path / "again").glob("*.py")), "exporting once changes nothing for what is saved later"


def test_an_encoder_has_no_code_to_export(tmp_path):
    save_encoder(tmp_path / "encoder")
    assert not export_code(tmp_path / "encoder", tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def test_a_labeled_dataset_of_hostile_texts():
    texts = ["=1+1", "<b>", "\x1b[2J", 'a\n"b"']
    found = labeled_dataset(texts, [1, 0, 1, 0], ["<i>", "|"], round=[0, 0, 1, 1], reason=[{}, {}, {"word": "<b>"}, {}])
    assert found["text"][:] == texts
    assert found.features["label"].names == ["<i>", "|"]
    assert json.loads(found["reason"][2]) == {"word": "<b>"}


@pytest.mark.parametrize("kind", ["cnn", "bilstm"])
def test_a_pipeline_takes_a_models_folder(kind, tmp_path):
    tokenizer = build_tokenizer(datasets.Dataset.from_dict({"text": ["good film", "bad plot"]}), TokenizationConfig())
    small_model(kind, len(tokenizer), id2label={0: "neg", 1: "pos"}, label2id={"neg": 0, "pos": 1}).save_pretrained(
        tmp_path
    )
    tokenizer.save_pretrained(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    ids = AutoTokenizer.from_pretrained(tmp_path)("good film", return_tensors="pt")["input_ids"]
    probabilities = torch.softmax(model(input_ids=ids).logits[0], dim=0).tolist()
    (found,) = pipeline("text-classification", model=str(tmp_path))("good film")
    assert found["label"] == ["neg", "pos"][int(np.argmax(probabilities))]
    assert found["score"] == pytest.approx(max(probabilities), abs=1e-6)
