"""The page in Chromium: what a person at the keys sees and what is on disk after it."""

import getpass
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from label_cases import NAMES
from labeling_cases import label_some, make_label_session, make_session, texts_with_labels, texts_without_labels
from reverse_proxy import reverse_proxy

import dami_text
from dami_text.cli.main import main
from dami_text.labeling.page.view import visible
from dami_text.labeling.session import Session
from dami_text.labeling.store.doubts import Doubt
from dami_text.labeling.store.queues import QueueItem, RoundRecord

CHROMIUM = os.environ.get("DAMI_TEXT_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
MISSING = [name for name in ("gradio", "playwright") if importlib.util.find_spec(name) is None]
if CHROMIUM is None:
    MISSING.append("chromium on the PATH nor as DAMI_TEXT_CHROMIUM")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(MISSING), reason=f"no {', no '.join(MISSING)}"),
]

PATIENCE = 90_000  # milliseconds
HAS_TEXT = "#state [data-token]:not([data-token='-'])"


#: Notes in `painted` how many milliseconds after each key the next screen was painted: a frame has ended then.
STOPWATCH = """
    window.painted = [];
    const shown = () => document.querySelector('#state [data-token]')?.dataset.n;
    let key = null;
    addEventListener('keydown', () => { key = {at: performance.now(), shown: shown()}; }, true);
    new MutationObserver(() => {
        if (!key || shown() === key.shown) return;
        const {at} = key;
        key = null;
        requestAnimationFrame(() => setTimeout(() => window.painted.push(performance.now() - at)));
    }).observe(document, {subtree: true, childList: true, attributes: true, attributeFilter: ['data-n']});
"""


class Server:
    """The command dami-text label in a process of its own."""

    def __init__(self, folder, *options):
        self.log = folder.with_suffix(".log")
        self.command = [sys.executable, "-m", "dami_text.cli.main", "label", str(folder), "--no-browser", *options]
        self.start()

    def start(self):
        paths = [str(Path(dami_text.__file__).parents[1]), *filter(None, os.environ.get("PYTHONPATH", "").split(":"))]
        environment = os.environ | {"PYTHONPATH": ":".join(paths)}
        with self.log.open("wb") as log:
            # A shell has what runs in the background ignore ctrl-c, and so all that it starts.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=environment)
        deadline = time.monotonic() + PATIENCE / 1000
        while (found := re.search(r"page +(http://\S+)", self.log.read_text())) is None:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)
        self.url = found[1].rstrip("/") + "/"

    def stop(self, how=signal.SIGINT):
        self.process.send_signal(how)
        return self.process.wait(30)


@contextmanager
def served(folder, *options):
    server = Server(folder, "--port", str(20_000 + os.getpid() % 20_000), *options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE / 1000
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def truth(tmp_path, reviews):
    return texts_without_labels(reviews, tmp_path)[1]


@pytest.fixture
def session(tmp_path, truth):
    return make_session(tmp_path / "texts.csv", tmp_path / "reviews.dami", initial_size=20, query_size=20)


def open_page(browser, url, requests=None, **options):
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(PATIENCE)
    page.add_init_script(STOPWATCH)
    if requests is not None:
        page.on("request", lambda request: requests.append(request.url))
    page.goto(url)
    page.wait_for_selector(HAS_TEXT, state="attached")
    settle(page)
    return page


def log_in(browser, url, name, password):
    """The page of an annotator, in a browser context of their own."""
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(url)
    page.get_by_label("username").fill(name)
    page.get_by_label("password").fill(password)
    page.get_by_role("button", name="Login").click()
    page.wait_for_selector(HAS_TEXT, state="attached")
    settle(page)
    return page


def state(page, name="token"):
    return page.evaluate(f"document.querySelector('#state [data-token]').dataset.{name}")


def settle(page):
    """Wait until what has come is painted, and with it the gate open."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def row_of(page):
    return int(state(page).partition(".")[0])


def press(page, key):
    """Press a key and wait for what comes next."""
    before = state(page, "n")
    page.keyboard.press(key)
    page.wait_for_function("n => document.querySelector('#state [data-token]').dataset.n !== n", arg=before)
    settle(page)


def text_of(page):
    return "".join(page.locator("#text .text").all_text_contents())


def labels_of(session):
    return {row["row"]: row["label"] for row in session.store.labels()}


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE / 1000
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_person_labels_sixty_texts_through_two_rounds(session, truth, chromium, capsys):
    requests, milliseconds, expected = [], [], {}
    with served(session.folder) as server:
        page = open_page(chromium, server.url, requests)
        for i in range(60):
            if i in (20, 40):
                wait_until(lambda n=i // 20: len(session.store.rounds()) >= n)
            row = row_of(page)
            assert row not in expected
            assert text_of(page) == session.text(row)
            if i == 30:  # a reload in the middle
                milliseconds += page.evaluate("painted")
                page.reload()
                page.wait_for_selector(HAS_TEXT, state="attached")
                settle(page)
                assert row_of(page) == row
            press(page, "12"[truth[row]])
            expected[row] = truth[row]
            assert labels_of(session) == expected  # on disk before the next text shows
        milliseconds += page.evaluate("painted")
        assert len(milliseconds) == 60
        wait_until(lambda: len(session.store.rounds()) == 3)
        page.wait_for_function("document.querySelector('#side').innerText.includes('60 of 300')")
        asked = next(item for item in session.store.queue(2) if item.kind == "asked" and item.row in expected)
        assert asked.reason["cluster_size"] >= 1

        # Undo, skip, flag, and a change of mind.
        row = row_of(page)
        press(page, "2")
        press(page, "Backspace")
        assert (row_of(page), labels_of(session)) == (row, expected)
        press(page, "f")
        assert page.get_attribute("#flag", "aria-pressed") == "true"
        press(page, "Space")
        assert (session.store.skipped(), list(session.store.flags())) == ([row], [row])
        page.keyboard.press("t")
        first = page.locator("#table-rows tbody tr").first
        first.locator("mark:has-text('flagged')").wait_for()
        assert first.locator("select").input_value() == ""  # skipped
        before = state(page, "n")
        first.locator(".open").click()
        page.wait_for_function("n => document.querySelector('#state [data-token]').dataset.n !== n", arg=before)
        settle(page)
        assert (row_of(page), state(page, "again")) == (row, "true")
        press(page, "1")
        assert labels_of(session) == expected | {row: 0}
        page.keyboard.press("m")
        page.wait_for_function("/guess/.test(document.querySelector('#guess').innerText)")
        assert server.stop() == 130

    assert {re.match(r"https?://[^/]+/", url)[0] for url in requests if url.startswith("http")} == {server.url}
    with capsys.disabled():
        tenth = statistics.quantiles(milliseconds, n=10)[-1]
        print(
            f"\nkey to next text painted: median {statistics.median(milliseconds):.0f} ms, a tenth over {tenth:.0f} ms"
        )


def test_keys_that_come_too_early_are_refused_and_never_reach_another_text(session, chromium):
    with served(session.folder) as server:
        page = open_page(chromium, server.url)
        shown, refused = page.evaluate(
            """async () => {
                const shown = [];
                let refused = 0;
                for (let i = 0; i < 10; i++) {
                    const state = document.querySelector('#state [data-token]').dataset.token;
                    shown.push(Number(state.split('.')[0]));
                    document.querySelector('#notice').textContent = '';
                    document.dispatchEvent(new KeyboardEvent('keydown', {key: '2', bubbles: true}));
                    refused += document.querySelector('#notice').textContent.startsWith('Ignored: ');
                    await new Promise(done => setTimeout(done, 20));
                }
                return [shown, refused];
            }"""
        )
        assert refused > 0, "faster than any server"
        wait_until(lambda: len(labels_of(session)) == 10 - refused)
        wait_until(lambda: row_of(page) not in labels_of(session))
        settle(page)
        labels = labels_of(session)
        assert set(labels) <= set(shown)
        page.locator("#label-1").dblclick()
        wait_until(lambda: len(labels_of(session)) > len(labels))
        page.wait_for_timeout(1000)
        assert len(labels_of(session)) == len(labels) + 1  # the second click of a double click is none


def test_two_annotators_log_in_and_get_no_text_twice(session, chromium, tmp_path):
    (tmp_path / "passwords").write_text("ann:one\nbob:two\n")
    options = ("--annotators", "ann", "bob", "--passwords", str(tmp_path / "passwords"))
    with served(session.folder, *options) as server:
        request = urllib.request.Request(
            f"{server.url}gradio_api/run/next", b'{"data": []}', {"Content-Type": "application/json"}
        )
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(request)
        pages = [log_in(chromium, server.url, *who) for who in (("ann", "one"), ("bob", "two"))]
        for i in range(16):
            assert row_of(pages[0]) != row_of(pages[1])
            press(pages[i % 2], "1")
    events = session.store.events()
    assert len({event["row"] for event in events}) == len(events) == 16
    assert {event["annotator"] for event in events} == {"ann", "bob"}


@pytest.mark.parametrize("strips", [True, False])
def test_the_page_works_below_a_folder_of_a_reverse_proxy(session, chromium, tmp_path, strips):
    (tmp_path / "passwords").write_text("ann:first secret\nbob:second secret\n")
    names = ("--annotators", "ann", "bob", "--passwords", str(tmp_path / "passwords"))
    port = 20_000 + (os.getpid() + 7) % 20_000
    with (
        reverse_proxy(port, strips) as address,
        served(session.folder, *names, "--port", str(port), "--public-url", address) as server,
    ):
        assert server.url == f"{address}/"
        requests = []
        page = log_in(chromium, f"{address}/", "ann", "first secret")
        page.on("request", lambda request: requests.append(request.url))
        rows = []
        for _ in range(5):
            rows.append(row_of(page))
            press(page, "1")
        page.reload()
        page.wait_for_selector(HAS_TEXT, state="attached")
        assert row_of(page) not in rows
        assert all(url.startswith((f"{address}/", "data:", "blob:")) for url in requests), requests
        assert {row["row"] for row in session.store.decisions("ann")} == set(rows)


def test_labels_that_are_there_are_trained_on_though_nobody_opens_the_page(session, truth):
    session.store.add_labels((row, truth[row], "ann") for row in range(30))
    with served(session.folder):
        wait_for(lambda: len(session.store.rounds()) == 1)
        session.store.add_labels((row, truth[row], "ann") for row in range(30, 55))  # as an import does
        wait_for(lambda: len(session.store.rounds()) == 2)
    assert [record.n_labeled for record in session.store.rounds()] == [30, 55]


def test_other_machines_get_the_page_by_number_and_by_name_after_a_login(session, chromium, tmp_path):
    (tmp_path / "passwords").write_text("ann:first secret\n")
    names = ("--annotators", "ann", "--passwords", str(tmp_path / "passwords"))
    with served(session.folder, *names, "--host", "0.0.0.0") as server:
        port = int(server.url.rpartition(":")[2].strip("/"))
        assert server.url == f"http://{socket.gethostname().lower()}:{port}/"
        assert "not encrypted" in server.log.read_text()
        page = log_in(chromium, f"http://127.0.0.2:{port}/", "ann", "first secret")
        row = row_of(page)
        press(page, "2")
        assert {row["row"] for row in session.store.decisions("ann")} == {row}
        for host, status in (("evil.example", 400), (f"{socket.gethostname()}:{port}", 200), ("10.1.2.3:99", 200)):
            request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Host": host})
            try:
                found = urllib.request.urlopen(request, timeout=30).status
            except urllib.error.HTTPError as error:
                found = error.code
            assert found == status, host


def test_some_texts_go_to_two_annotators_and_status_tells_how_they_agree(tmp_path, reviews, chromium, capsys):
    file, truth = texts_without_labels(reviews, tmp_path, n=24)
    options = {"overlap": 2, "overlap_share": 0.5, "validation_share": 0.0, "initial_size": 24}
    session = make_session(file, tmp_path / "reviews.dami", **options)
    wanted = session.wanted.tolist()
    assert 4 <= wanted.count(2) <= 20
    (tmp_path / "passwords").write_text("ann:one\nbob:two\n")
    login = ("--annotators", "ann", "bob", "--passwords", str(tmp_path / "passwords"))
    with served(session.folder, *login) as server:
        pages = {name: log_in(chromium, server.url, name, word) for name, word in (("ann", "one"), ("bob", "two"))}
        mistaken = {row for row in range(24) if row % 3 == 0}  # bob's labels of these are wrong
        turns = 0
        while len(session.store.decisions()) < sum(wanted):
            turns += 1
            name = ("ann", "bob")[turns % 2]
            page = pages[name]
            if state(page) == "-":
                page.wait_for_timeout(500)  # the other one has the last text; or it comes by itself
                continue
            row = row_of(page)
            press(page, "12"[truth[row] ^ (name == "bob" and row in mistaken)])
        for page in pages.values():
            page.wait_for_function("document.querySelector('#state [data-token]').dataset.token === '-'")
            page.wait_for_function("document.querySelector('#text').innerText.includes('Thank you')")

    given = {}
    for event in session.store.events():
        assert event["action"] == "label"
        assert event["annotator"] not in given.setdefault(event["row"], {}), "nobody labels a text twice"
        given[event["row"]][event["annotator"]] = event["label"]
    assert {row: len(labels) for row, labels in given.items()} == dict(enumerate(wanted))

    pairs = [(labels["ann"], labels["bob"]) for labels in given.values() if len(labels) == 2]
    n = len(pairs)
    observed = sum(a == b for a, b in pairs) / n
    ann, bob = (sum(labels) / n for labels in zip(*pairs, strict=True))  # shares of the second class
    chance = ann * bob + (1 - ann) * (1 - bob)
    assert 0 < observed < 1
    capsys.readouterr()
    assert main(["status", str(session.folder)]) == 0
    told = capsys.readouterr().out.splitlines()
    kappa = (observed - chance) / (1 - chance)
    assert f"agreement  ann and bob: Cohen's kappa {kappa:.2f}, {observed:.0%} equal, {n} texts" in told
    assert "labelled   24 of 24 texts; 0 skipped, 0 flagged" in told
    counts = [sum(name in labels for labels in given.values()) for name in ("ann", "bob")]
    assert f"annotators ann {counts[0]}, bob {counts[1]}" in told


def test_a_note_is_kept_found_in_the_history_and_no_key_of_it_labels(session, chromium):
    with served(session.folder) as server:
        page = open_page(chromium, server.url)
        row = row_of(page)
        page.keyboard.press("n")
        page.keyboard.type("1 is it irony?")
        page.keyboard.press("Escape")
        wait_until(lambda: session.store.notes().get(row) is not None)
        (note,) = session.store.notes()[row].values()
        assert (note, labels_of(session)) == ("1 is it irony?", {})
        for key in "1212":
            press(page, key)
        page.keyboard.press("t")
        page.keyboard.type("IRONY")  # the search has the focus
        page.wait_for_function("document.querySelector('#table-place').innerText === '1 to 1 of 1'")
        found = page.locator("#table-rows tr:has-text('irony')")
        found.locator(".open").click()
        wait_until(lambda: row_of(page) == row)
        assert page.input_value("#note input, #note textarea") == "1 is it irony?"


def test_key_a_accepts_a_guess_only_while_guesses_are_shown(session, chromium):
    row = session.store.next(getpass.getuser(), 60)[0].row
    session.store.finish_round(
        RoundRecord(number=0, through=0, n_labeled=0, time="now", details={}, predictions=b""),
        [QueueItem(row, "asked", {"guess": 1, "probability": 0.87})],
    )
    with served(session.folder) as server:
        page = open_page(chromium, server.url)
        assert row_of(page) == row
        page.keyboard.press("a")
        page.wait_for_timeout(500)
        assert labels_of(session) == {}
        page.click("#accept-toggle")
        page.wait_for_function("document.querySelector('#guess').innerText.includes('87%')")
        page.keyboard.press("a")
        wait_until(lambda: labels_of(session) == {row: 1})


def test_key_r_opens_the_second_look_where_y_confirms_and_a_label_corrects(session, truth, chromium):
    given = label_some(session, truth, 20)
    doubts = [Doubt(row=row, label=truth[row], quality=i / 20, guess=0, probability=1) for i, row in enumerate(given)]
    session.store.set_doubts(doubts, session.store.last_event())
    with served(session.folder) as server:
        page = open_page(chromium, server.url)
        queue = row_of(page)
        assert not page.locator("#confirm").is_visible()
        page.keyboard.press("y")  # nothing to confirm: no answer comes
        press(page, "r")
        order = [doubt.row for doubt in session.store.doubts()]  # a first model may have come meanwhile
        first = row_of(page)
        assert first in order
        assert page.locator("#confirm").is_visible()
        assert page.locator("#review").get_attribute("aria-pressed") == "true"
        assert page.locator(f"#label-{truth[first] + 1}").get_attribute("aria-pressed") == "true"
        assert "A second look at the label" in page.locator("#why").inner_text()
        press(page, "y")
        second = row_of(page)
        assert second not in (first, queue)
        press(page, "21"[truth[second]])
        changed = {row: truth[row] for row in given} | {second: 1 - truth[second]}
        assert labels_of(session) == changed
        assert "Changed to" in page.locator("#notice").inner_text()
        press(page, "Backspace")
        assert row_of(page) == second
        press(page, "Escape")
        assert row_of(page) == queue
        assert not page.locator("#confirm").is_visible()
        assert session.store.n_reviewed() == 1


def test_key_s_shows_the_suggestion_and_the_page_tells_of_copies(tmp_path, chromium):
    texts = [text for i in range(20) for text in (f"film number {i}", f"Film number {i}!")]
    file = tmp_path / "a.csv"
    file.write_text("text,llm\n" + "".join(f"{text},{['neg', 'pos'][i // 2 % 2]}\n" for i, text in enumerate(texts)))
    session = make_session(file, tmp_path / "a.dami", suggestion_column="llm")
    with served(session.folder) as server:
        page = open_page(chromium, server.url)
        assert "Your label is for this text and 1 copy of it." in page.inner_text("#why-box")
        assert page.inner_text("#guess").strip() == ""
        page.keyboard.press("s")
        page.wait_for_function("/suggestion/.test(document.querySelector('#guess').innerText)")
        suggested = ["neg", "pos"][row_of(page) // 2 % 2]
        assert page.inner_text("#guess").strip() == f"The suggestion: {suggested}"
        row = row_of(page)
        press(page, "2")
        assert labels_of(session) == {row: 1}
        assert page.inner_text("#guess").strip() == "", "it is hidden again"


def test_a_killed_server_loses_nothing_and_goes_on_where_it_was(session, chromium):
    with served(session.folder) as server:
        page = open_page(chromium, server.url)
        for _ in range(5):
            press(page, "1")
        row = row_of(page)
        page.keyboard.press("2")
        server.stop(signal.SIGKILL)
        after = labels_of(session)
        assert len(after) in (5, 6)
        page.keyboard.press("2")
        page.wait_for_function("/No answer from dami-text/.test(document.querySelector('#notice').innerText)")
        server.start()
        page.goto(server.url)
        page.wait_for_selector(HAS_TEXT, state="attached")
        settle(page)
        assert labels_of(session) == after
        assert (row_of(page) == row) == (row not in after)
        press(page, "1")
        assert len(labels_of(session)) == len(after) + 1
        assert len(session.store.events()) == len(after) + 1


HOSTILE = [
    "<script>window.hit = 1</script><b>bold</b>",
    "<img src=x onerror='window.hit = 1'> and <svg onload='window.hit = 1'>",
    "[click](javascript:window.hit=1) ![x](http://evil.example/x.png) <a href='javascript:window.hit=1'>a</a>",
    "\u202eevil\u202c \u2066isolated \x1b[31m bell\x07 null-free",
    "{{constructor.constructor('window.hit=1')()}} ${window.hit=1} {window.hit=1}",
    '=HYPERLINK("http://evil.example")',
    "long " * 200_000,
    "x" * 1_000_000,
]


def test_hostile_texts_are_shown_as_the_text_that_they_are(tmp_path, chromium):
    file = tmp_path / "hostile.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in HOSTILE))
    session = make_session(file, tmp_path / "hostile.dami", initial_size=8, validation_share=0.0)
    requests, seen = [], {}
    with served(session.folder) as server:
        page = open_page(chromium, server.url, requests)
        for _ in HOSTILE:
            row = row_of(page)
            seen[row] = text_of(page)
            assert page.locator("#text script, #text img, #text a, #text b, #text svg").count() == 0
            press(page, "1")
        page.keyboard.press("t")
        page.wait_for_function("document.querySelectorAll('#table-rows tbody tr').length === 8")
        assert page.locator("#table :is(script, img, b, a, svg)").count() == 0
        shown = page.locator("#table-rows .shown").all_text_contents()
        assert any(
            "{{constructor.constructor('window.hit=1')()}} ${window.hit=1} {window.hit=1}" in text for text in shown
        )
        assert page.evaluate("window.hit") is None
    assert seen == {row: visible(session.text(row)) for row in range(len(HOSTILE))}
    assert not [url for url in requests if "evil" in url]


def test_the_page_works_in_a_narrow_window_and_names_its_parts(session, chromium):
    with served(session.folder, "--guidelines", __file__) as server:
        page = open_page(chromium, server.url, viewport={"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.locator("#label-2").bounding_box()["y"] < 844
        for name in ("The text to label",):
            assert page.get_by_role("region", name=name).count() == 1
        for name, key in (("neg", "1"), ("pos", "2"), ("Skip", "Space"), ("Undo", "Backspace"), ("Help", "?")):
            button = page.get_by_role("button", name=re.compile(name))
            assert button.first.get_attribute("aria-keyshortcuts") == key
        for key, drawer in (("g", "#guidelines"), ("?", "#help"), ("t", "#table"), ("c", "#classes")):
            page.keyboard.press(key)
            assert page.is_visible(drawer)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            if drawer == "#table":  # one leaves the search first
                page.keyboard.press("Escape")
            page.keyboard.press("Escape")
            assert not page.is_visible(drawer)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement !== document.body")


def choose_by_typing(page, wanted):
    """Type a label's name and Enter at once, and wait for the next text."""
    before = state(page)
    page.keyboard.type(wanted)
    page.keyboard.press("Enter")
    page.wait_for_function("t => document.querySelector('#state [data-token]').dataset.token !== t", arg=before)
    settle(page)


def test_of_more_than_nine_labels_enter_gives_the_one_that_was_typed_however_fast(tmp_path, truth, chromium):
    names = [f"class {letter}" for letter in "abcdefghijkl"] + ["<b>class</b> {{m}} ${n}", "ab", "a"]
    session = make_session(tmp_path / "texts.csv", tmp_path / "many.dami", labels=names, initial_size=60)
    with served(session.folder) as server:
        page = open_page(chromium, server.url)
        assert page.locator("#class-list li").all_text_contents() == names
        for typed, wanted in (
            *((f"{letter}", f"class {letter}") for letter in "klbkdj"),
            *(("CLASS K", "class k"), ("k  cl", "class k"), ("{{m", names[12]), ("a", "a"), ("ab", "ab")),
        ):
            row = row_of(page)
            choose_by_typing(page, typed)
            assert labels_of(session)[row] == names.index(wanted)
        row, n = row_of(page), len(labels_of(session))
        page.keyboard.press("Enter")  # nothing is typed, or nothing fits: no label
        page.keyboard.type("no such label")
        page.keyboard.press("Enter")
        page.fill("#class-words", "")
        page.wait_for_timeout(300)
        assert (row_of(page), len(labels_of(session))) == (row, n)
        for key in ("ArrowDown", "ArrowDown", "ArrowUp"):
            page.keyboard.press(key)
        active = page.get_attribute("#class-words", "aria-activedescendant")
        assert page.get_attribute(f"#{active}", "aria-selected") == "true"
        press(page, "Enter")
        assert labels_of(session)[row] == 0
        row = row_of(page)
        page.click("#class-list li:nth-child(3)")
        wait_until(lambda: labels_of(session).get(row) == 2)


def test_the_likeliest_labels_are_on_keys_only_where_the_person_turns_that_on(tmp_path, truth, chromium):
    names = [f"class {letter}" for letter in "abcdefghijkl"]
    session = make_session(tmp_path / "texts.csv", tmp_path / "many.dami", labels=names)
    session.store.finish_round(
        RoundRecord(number=0, through=0, n_labeled=0, time="now", details={}, predictions=b""),
        [QueueItem(row, "asked", {"guess": 7, "probability": 0.4, "likeliest": [7, 2, 11, 0, 5]}) for row in (5, 6, 7)],
    )
    with served(session.folder) as server:
        page = open_page(chromium, server.url)
        assert not page.is_visible("#likeliest-2")
        page.keyboard.press("2")  # is typed
        page.keyboard.press("Escape")
        page.keyboard.press("2")
        page.wait_for_timeout(300)
        assert labels_of(session) == {}
        page.click("#likeliest-toggle")
        assert page.locator(".likeliest").all_inner_texts() == [names[i] for i in (7, 2, 11, 0, 5)]
        press(page, "2")
        assert labels_of(session) == {5: 2}
        assert page.evaluate("document.activeElement.id") == "class-words"
        press(page, "3")  # nothing is typed yet, so this is a key
        assert labels_of(session) == {5: 2, 6: 11}
        page.reload()
        page.wait_for_selector("#likeliest-1")  # this browser keeps the choice


# Any number of labels -------------------------------------------------------------------------------------------


@pytest.fixture
def of_labels(tmp_path):
    """A session whose texts have any number of the labels NAMES."""
    file, _ = texts_with_labels(tmp_path)
    return make_label_session(file, tmp_path / "labels.dami", NAMES, initial_size=40)


def pressed(page):
    """The labels whose buttons are pressed."""
    return [NAMES[i] for i in range(4) if page.get_attribute(f"#label-{i + 1}", "aria-pressed") == "true"]


def test_keys_choose_any_number_of_labels_and_enter_says_done(of_labels, chromium):
    with served(of_labels.folder) as server:
        page = open_page(chromium, server.url)
        first = row_of(page)
        for key in "1431":  # the first is taken back
            page.keyboard.press(key)
        assert pressed(page) == ["sound", "story"]
        assert page.inner_text("#done") == "Done"
        assert labels_of(of_labels) == {}  # nothing is decided yet
        press(page, "Enter")
        assert labels_of(of_labels) == {first: (2, 3)}
        assert (pressed(page), page.inner_text("#done")) == ([], "None of these")
        second = row_of(page)
        press(page, "Enter")
        assert labels_of(of_labels)[second] == ()  # an answer
        third = row_of(page)
        page.keyboard.press("2")
        press(page, "f")  # what is chosen stays
        assert (row_of(page), pressed(page)) == (third, ["people"])
        press(page, "Space")
        assert (of_labels.store.skipped(), pressed(page)) == ([third], [])

        press(page, "Backspace")  # the skip
        press(page, "Backspace")  # the flag
        press(page, "Backspace")  # that none holds
        press(page, "Backspace")
        assert (row_of(page), labels_of(of_labels), pressed(page)) == (first, {}, ["sound", "story"])
        page.click("#label-4")
        page.click("#label-2")
        press(page, "Enter")  # although a label's button has the focus
        assert labels_of(of_labels) == {first: (1, 2)}
        row = row_of(page)
        page.click("#label-1")
        before = state(page, "n")
        page.click("#done")
        page.wait_for_function("n => document.querySelector('#state [data-token]').dataset.n !== n", arg=before)
        settle(page)
        assert labels_of(of_labels) == {first: (1, 2), row: (0,)}


def test_labels_can_be_chosen_without_a_mouse_and_are_told_to_screen_readers(of_labels, chromium):
    with served(of_labels.folder) as server:
        page = open_page(chromium, server.url)
        row = row_of(page)
        assert page.get_by_role("group", name="Labels", exact=True).get_by_role("button").count() == 4
        page.focus("#label-1")
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        assert page.get_by_role("button", name="people", pressed=True).count() == 1
        page.keyboard.press("Tab")
        press(page, "Enter")  # is done, and chooses nothing more
        assert labels_of(of_labels) == {row: (1,)}
        assert page.get_attribute("#done", "aria-keyshortcuts") == "Enter"


def test_keys_before_the_next_text_is_on_the_screen_choose_nothing_for_it(of_labels, chromium):
    with served(of_labels.folder) as server:
        page = open_page(chromium, server.url)
        first = row_of(page)
        page.keyboard.press("1")
        before = state(page, "n")
        page.evaluate(
            """() => { for (const key of ["Enter", "2", "3", "Enter"])
                document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true})); }"""
        )
        page.wait_for_function("n => document.querySelector('#state [data-token]').dataset.n !== n", arg=before)
        settle(page)
        assert labels_of(of_labels) == {first: (0,)}
        assert (pressed(page), row_of(page) != first) == ([], True)
        assert "3 keys were too early for this text and are ignored." in page.inner_text("#notice")


def test_the_table_corrects_any_number_of_labels(of_labels, chromium):
    with served(of_labels.folder) as server:
        page = open_page(chromium, server.url)
        first = row_of(page)
        page.keyboard.press("1")
        press(page, "Enter")
        page.keyboard.press("t")
        line = page.locator(f"#table-rows tr[data-row='{first}']")
        line.locator("summary").last.click()
        assert not line.locator(".save").is_visible()
        line.get_by_label("story", exact=True).check()
        line.locator(".save").click()
        wait_until(lambda: labels_of(of_labels) == {first: (0, 3)})
        page.wait_for_function("document.querySelector('#table-notice').textContent === 'Changed to looks, story.'")
        assert line.locator("summary").last.inner_text() == "looks, story"
        page.select_option("#table-kind", "none")
        page.wait_for_function("document.querySelector('#table-place').textContent === 'No text to show.'")


def test_of_more_than_nine_labels_enter_chooses_what_was_typed_and_enter_again_is_done(tmp_path, chromium):
    names = [*NAMES, *(f"class {letter}" for letter in "abcdefghijklmnopqrstuvwx")]
    file, _ = texts_with_labels(tmp_path)
    session = make_label_session(file, tmp_path / "many.dami", names, initial_size=40)
    with served(session.folder) as server:
        page = open_page(chromium, server.url)
        row = row_of(page)
        for typed in ("class c", "pe", "class x", "class c"):
            page.keyboard.type(typed)
            page.keyboard.press("Enter")
        assert page.locator("#chosen button").all_text_contents() == ["people", "class x"]
        selected = "#class-list li[aria-selected=true]"
        assert page.locator(selected).all_text_contents() == ["people", "class x"]
        page.click("#chosen button:first-child")
        page.click("#class-list li:first-child")
        assert page.locator(selected).all_text_contents() == ["looks", "class x"]
        page.focus("#class-words")
        press(page, "Enter")
        assert labels_of(session) == {row: (0, 27)}
        assert page.locator(selected).count() == 0
        row = row_of(page)
        assert page.evaluate("document.activeElement.id") == "class-words"
        press(page, "Enter")
        assert labels_of(session)[row] == ()


def test_more_like_this_and_texts_of_a_class_come_next_until_esc(session, truth, chromium):
    with served(session.folder) as server:
        page = open_page(chromium, server.url)
        first = row_of(page)
        press(page, "l")
        assert (row_of(page), state(page, "notice")) == (first, "20 similar texts come next.")
        press(page, "1")
        batch = [item.row for item in session.store.batch(getpass.getuser())]
        assert (row_of(page), state(page, "batch"), len(batch)) == (batch[0], "similar", 20)
        assert "19 more come after it." in page.inner_text("#why")
        press(page, "Escape")
        assert (state(page, "batch"), session.store.batch(getpass.getuser())) == ("", [])
        for _ in range(19):
            press(page, "12"[truth[row_of(page)]])
        wait_until((session.folder / "scores.npz").exists)
        page.keyboard.press("c")
        before = state(page, "n")
        page.locator("#classes button", has_text="pos").click()
        page.wait_for_function("n => document.querySelector('#state [data-token]').dataset.n !== n", arg=before)
        settle(page)
        assert (state(page, "batch"), page.is_visible("#classes")) == ("likely", False)
        assert "may be pos" in page.inner_text("#why")


def test_labels_are_corrected_in_the_table_and_its_keys_label_nothing(session, chromium):
    session.store.add_labels([(200, 0, "file"), (201, 1, "file")])
    with served(session.folder) as server:
        page = open_page(chromium, server.url)
        page.keyboard.press("t")
        page.wait_for_selector("#table-rows tr[data-row='201']")
        page.keyboard.press("Escape")  # leaves the search, and now keys could be keys
        page.keyboard.press("1")
        page.keyboard.press("Space")
        page.select_option("#table-kind", "0")
        page.wait_for_function("document.querySelector('#table-place').innerText === '1 to 1 of 1'")
        select = page.get_by_role("combobox", name=re.compile("^Label of: "))
        assert not page.locator("#table .save").is_visible()
        select.select_option("1")
        page.locator("#table .save").click()
        page.wait_for_function("document.querySelector('#table-notice').innerText === 'Changed to pos.'")
        assert labels_of(session) == {200: 1, 201: 1}
        page.wait_for_function("document.querySelector('#table-place').innerText === 'No text to show.'")
        page.select_option("#table-kind", "1")
        page.wait_for_function("document.querySelector('#table-place').innerText === '1 to 2 of 2'")
        assert "file: neg" in page.inner_text("#table-rows tr[data-row='200']")
        page.keyboard.press("Escape")
        assert not page.is_visible("#table")
        press(page, "Backspace")
        assert (labels_of(session), state(page, "notice")) == ({200: 0, 201: 1}, "Undone.")


def answer(url, host=None, path="", headers=None, data=None):
    request = urllib.request.Request(url + path, data, {"Host": host} if host else {})
    for name, value in (headers or {}).items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_server_is_closed_to_forged_hosts_other_origins_files_and_uploads(session):
    with served(session.folder) as server:
        url = server.url
        assert answer(url) == 200
        assert answer(url, host="evil.example") == 400
        assert answer(url, headers={"Origin": "http://evil.example"}) == 403
        secret = str(session.folder / "config.yaml")
        for path in (f"gradio_api/file={secret}", f"file={secret}", "gradio_api/file=/etc/passwd", "gradio_api/upload"):
            assert answer(url, path=path) == 404
        assert answer(url, path="gradio_api/upload", data=b"x") == 404
        for path in (
            "static/../../../../../../../etc/passwd",
            "assets/..%2f..%2f..%2fconfig.yaml",
            "assets//etc/passwd",
        ):
            assert answer(url, path=path) in (403, 404, 500)
        port = url.rstrip("/").rpartition(":")[2]
        listening = Path("/proc/net/tcp").read_text() if Path("/proc/net/tcp").exists() else ""
        assert f"00000000:{int(port):04X}" not in listening
    assert Session(session.folder).store.events() == []
