"""The page in a cell: a notebook is run by a kernel, and somebody labels between two cells."""

import asyncio
import gc
import importlib.util
import json
import re
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from test_labeling_page import CHROMIUM, HAS_TEXT, PATIENCE
from test_labeling_page import MISSING as MISSING_IN_BROWSER

import dami_text
from dami_text.errors import ConfigError, DataError, RecordError

MISSING = [name for name in ("gradio", "nbclient", "ipykernel") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"no {', no '.join(MISSING)}"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),  # of gradio and of nbclient
]

TEXTS = [f"a {word} film, number {i}" for i in range(20) for word in ("lively", "dull")]
CLASSES = ["negative", "positive"]
OPTIONS = {"model": "linear", "strategy": "margin", "initial_size": 4, "query_size": 4}

MAKE = f"""
import dami_text
texts = [f"a {{word}} film, number {{i}}" for i in range(20) for word in ("lively", "dull")]
session = dami_text.label(texts, {CLASSES}, session="films.dami", **{OPTIONS})
"""

TRAINERS = """
import psutil
print([child.pid for child in psutil.Process().children() if "dami_text.labeling.worker" in child.cmdline()])
"""


@pytest.fixture(autouse=True)
def loops_forgotten():
    """The event loops that gradio and nbclient leave open are collected where their warnings are ignored."""
    yield
    asyncio.set_event_loop(None)
    gc.collect()


def post(address, name, data):
    """What the page's server answers to an event of the page."""
    request = urllib.request.Request(
        f"{address}gradio_api/run/{name}", json.dumps({"data": data}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"]


def label_next(address, wanted):
    """Give the text that the page shows the label that `wanted` says; returns row and label."""
    state = post(address, "next", [])[0]
    row = int(re.search(r'data-token="(\d+)\.', state)[1])
    post(address, f"label_{wanted(row) + 1}", [state])
    return row, wanted(row)


def status_of(url, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


def positive(row):
    return int(row % 2 == 0)


def ended(pid):
    import psutil

    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_label_given_in_a_cell_is_in_the_next_cell(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    cells = [MAKE, "print(session.labels.to_dict('records'))", "print(session.status())", TRAINERS]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})

    def run(number):
        return client.execute_cell(notebook.cells[number], number)["outputs"]

    def said(number):
        return "".join(output["text"] for output in run(number) if output["output_type"] == "stream")

    with client.setup_kernel():
        (shown,) = (output["data"]["text/html"] for output in run(0) if output["output_type"] == "display_data")
        address = re.search(r'<iframe src="(http://127\.0\.0\.1:\d+/[\w-]{20,}/)"', shown)[1]
        status, headers = status_of(address)
        assert status == 200
        assert "x-frame-options" not in headers
        assert "frame-ancestors" not in headers["content-security-policy"]

        row, label = label_next(address, positive)
        (found,) = eval(said(1))
        assert (found["row"], found["text"], found["label"]) == (row, TEXTS[row], CLASSES[label])
        assert said(2).startswith("labelled   1 of 40 texts")
        trainers = json.loads(said(3))
        assert len(trainers) == 1
        assert not ended(trainers[0])
    deadline = time.monotonic() + 60
    while not ended(trainers[0]):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opened = dami_text.label(TEXTS, CLASSES, session="films.dami", **OPTIONS)
    yield opened
    opened.close()


def test_only_who_knows_the_address_can_use_the_page(session):
    open_to_all, _, secret = session.address.rstrip("/").rpartition("/")
    assert status_of(f"{session.address}config")[0] == 200
    for path in ("", "/", "/config", f"/{secret[:-1]}/", f"/{secret}x/config", "/login", "/gradio_api/run/next"):
        assert status_of(f"{open_to_all}{path}")[0] == 404, path
    # A proxy, such as Colab's or Jupyter's, has another name; scripts of other pages are told apart by the browser.
    assert status_of(f"{session.address}config", Host="proxy.example", Origin="https://proxy.example")[0] == 200
    assert status_of(f"{session.address}config", **{"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert status_of(session.address, **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})[0] == 200


@pytest.mark.parametrize("prefix", ["", "/user/me/proxy/7860"], ids=["stripped", "left"])
def test_a_proxy_shows_the_page_at_its_own_address(tmp_path, monkeypatch, prefix):
    monkeypatch.chdir(tmp_path)
    public = "https://hub.example/user/me/proxy/7860"
    opened = dami_text.label(TEXTS, CLASSES, public_url=public, **OPTIONS)
    try:
        assert opened.address.startswith(f"{public}/")
        secret = opened.address.removeprefix(f"{public}/")
        request = f"http://127.0.0.1:{opened._page.port}{prefix}/{secret}config"
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.load(answer)["root"] == opened.address.rstrip("/")
        assert status_of(request.replace(secret, ""))[0] == 404
    finally:
        opened.close()


@contextmanager
def page_elsewhere(content):
    """The address of a page with this content: on this machine, as a notebook's is, but of another site."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.browser
@pytest.mark.skipif(bool(MISSING_IN_BROWSER), reason=f"no {', no '.join(MISSING_IN_BROWSER)}")
def test_keys_label_in_a_frame_of_another_page(session):
    from playwright.sync_api import sync_playwright

    notebook = f'<iframe id="cell" src="{session.address}" width="1200" height="720"></iframe>'
    with page_elsewhere(notebook) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        frame = page.frame_locator("#cell")
        frame.locator(HAS_TEXT).wait_for(state="attached")
        shown = "".join(frame.locator("#text .text").all_text_contents())
        frame.locator("#why-box").click()
        page.keyboard.press("2")
        deadline = time.monotonic() + PATIENCE / 1000
        while session.labels.empty:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        browser.close()
    assert session.labels[["text", "label"]].to_numpy().tolist() == [[shown, "positive"]]


def test_labels_lead_to_a_model_and_a_file(session, tmp_path):
    expected = dict(label_next(session.address, positive) for _ in range(8))
    frame = session.labels
    assert dict(zip(frame["row"], frame["label"], strict=True)) == {
        row: CLASSES[label] for row, label in expected.items()
    }
    assert session.export(tmp_path / "labels.jsonl", format="jsonl") == 8
    lines = (tmp_path / "labels.jsonl").read_text(encoding="utf-8").splitlines()
    assert sorted(json.loads(line)["text"] for line in lines) == sorted(TEXTS[row] for row in expected)
    assert session.export(tmp_path / "all.csv", all=True) == 40
    for _ in range(2):  # a newer model takes the place of the one before
        told = session.train()
        assert repr(told) == str(told)
        assert told.splitlines()[0].startswith(f"labelled {len(session.labels)} of 40 texts")
        assert (tmp_path / "films.dami" / "final" / "README.md").exists()
        label_next(session.address, positive)
    with pytest.raises(RecordError, match="choose another with output_dir"):
        session.train(tmp_path / "films.dami" / "final")
    with pytest.raises(ConfigError, match="format is 'xls'; it must be one of csv, jsonl"):
        session.export("labels.xls", format="xls")


def test_the_same_cell_again_goes_on(session, capsys):
    row, _ = label_next(session.address, positive)
    again = dami_text.label(TEXTS, CLASSES, session="films.dami", **OPTIONS)
    try:
        assert f"page     {again.address}" in capsys.readouterr().out
        assert again.labels["row"].tolist() == [row]
        assert repr(session) == f"LabelingSession({str(session.folder)!r}, closed)"
        with pytest.raises(RecordError, match=r"is closed; label\("):
            session.labels  # noqa: B018 - it raises
        with pytest.raises(ConfigError, match="seed 0 there, 3 now"):
            dami_text.label(TEXTS, session="films.dami", seed=3)
        with pytest.raises(ConfigError, match="make another session with session NAME"):
            dami_text.label(TEXTS[:30], session="films.dami")
        assert again.labels["row"].tolist() == [row], "what is refused leaves the page as it was"
    finally:
        again.close()


def test_texts_and_labels_of_a_frame_and_of_a_file(tmp_path, monkeypatch):
    import pandas as pd

    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({"review": TEXTS, "label": ["positive", "negative", *[None] * 38]})
    frame.to_csv("reviews.csv", index=False)
    for texts, folder in ((frame, r"texts-[0-9a-f]{12}\.dami"), ("reviews.csv", r"reviews\.dami")):
        opened = dami_text.label(texts, CLASSES, text_column="review", **OPTIONS)
        try:
            assert re.fullmatch(folder, opened.folder.name)
            assert opened.labels["label"].tolist() == ["positive", "negative"]
        finally:
            opened.close()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".dami", ".dami"]


def test_any_number_of_labels(tmp_path, monkeypatch):
    import pandas as pd

    monkeypatch.chdir(tmp_path)
    labels = [["length", "mood"], [], *[None] * 38]
    frame = pd.DataFrame({"text": TEXTS, "label": labels})
    opened = dami_text.label(frame, ["length", "mood"], task="multilabel", **OPTIONS)
    try:
        state = post(opened.address, "next", [])[0]
        post(opened.address, "choose", [state, "[1]"])
        assert sorted(opened.labels["label"].tolist()) == [[], ["length", "mood"], ["mood"]]
        assert "micro F1   not measured yet" in opened.status()
    finally:
        opened.close()


@pytest.mark.parametrize(
    ("texts", "options", "kind", "message"),
    [
        (TEXTS, {"labels": CLASSES}, ConfigError, "labels is called class_names here"),
        (TEXTS, {"model_name": "cnn"}, ConfigError, r"unknown options \['model_name'\]"),
        (TEXTS, {"epochs": 3}, ConfigError, r"unknown options \['epochs'\]"),
        (TEXTS, {"host": "0.0.0.0"}, ConfigError, "host is '0.0.0.0'; it must be given with annotators"),
        (TEXTS, {"query_size": "many"}, ConfigError, "query_size"),
        (TEXTS, {"guidelines": "none.md"}, ConfigError, "cannot read guidelines none.md"),
        ([], {}, DataError, "texts is empty"),
        (["good", None], {}, DataError, "text 1 is None"),
        ("none.csv", {}, DataError, "none.csv"),
    ],
)
def test_bad_input_makes_no_session(tmp_path, monkeypatch, texts, options, kind, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=message):
        dami_text.label(texts, CLASSES, **{"model": "linear", "strategy": "margin"} | options)
    assert list(tmp_path.iterdir()) == []


def test_who_logs_in_gets_a_link(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "passwords.txt").write_text("ann:secret\n", encoding="utf-8")
    opened = dami_text.label(TEXTS, CLASSES, annotators=["ann"], passwords="passwords.txt", **OPTIONS)
    try:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", opened.address)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            post(opened.address, "next", [])
    finally:
        opened.close()
