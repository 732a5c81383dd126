"""How long a person waits: a session of `dami-text label` in Chromium, from the command to its last round.

    python scripts/benchmarks/labeling.py --chromium /usr/bin/chromium

It needs the extras ui and weights, and playwright. 10,000 texts of 20 words are made of the sentences of the embedded
data set, and labelled without errors. Printed are the seconds from the command, which makes the session, to the first
text; from there to the first model; and from the last label of a round to the queue of its model; and the milliseconds
from a key to the next text on the screen, while the trainer encodes, while it trains, and while it waits.
"""

import argparse
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import psutil
from playwright.sync_api import Page, sync_playwright

from dami_text.data.demo import demo_dataset
from dami_text.labeling.encoding import Encoding
from dami_text.labeling.lock import is_locked
from dami_text.labeling.session import Session

CLASSES = ["negative", "positive"]
PATIENCE = 1200.0  # seconds

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
HAS_TEXT = "#state [data-token]:not([data-token='-'])"


def make_texts(file: Path, n: int, words: int) -> dict[str, int]:
    """Write n different texts of so many words, each of sentences of one class, and return the class of each."""
    demo, rng = demo_dataset(), random.Random(0)
    sentences: list[list[list[str]]] = [[] for _ in CLASSES]
    for text, label in zip(demo["text"], demo["label"], strict=True):
        sentences[label].append(text.split())
    texts: dict[str, int] = {}
    while len(texts) < n:
        label, found = rng.randrange(len(CLASSES)), list[str]()
        while len(found) < words:
            found += rng.choice(sentences[label])
        texts.setdefault(" ".join(found[:words]), label)
    pd.DataFrame({"text": list(texts)}).to_csv(file, index=False)
    return texts


class Person:
    """Who labels at the keys of a page, and notes how long each text took to come, by what the trainer did."""

    def __init__(self, page: Page, session: Session, truth: dict[str, int], pause: float) -> None:
        self.page, self.session, self.truth, self.pause = page, session, truth, pause
        self.milliseconds: dict[str, list[float]] = {"encoding": [], "training": [], "waiting": []}

    def label(self) -> None:
        """Label the text on the screen, and wait for the next one and then a moment, as for reading it."""
        state = self.page.locator(HAS_TEXT)
        state.wait_for(state="attached")
        row, number = int(str(state.get_attribute("data-token")).partition(".")[0]), state.get_attribute("data-n")
        begun = self._trainer()
        self.page.keyboard.press(str(self.truth[self.session.text(row)] + 1))
        self.page.wait_for_function("n => document.querySelector('#state [data-token]').dataset.n !== n", arg=number)
        self.page.wait_for_timeout(1000 * self.pause)
        self.milliseconds[begun] += self.page.evaluate("painted.splice(0)")

    def _trainer(self) -> str:
        if Encoding.of(self.session) is not None:
            return "encoding"
        return "training" if is_locked(self.session) else "waiting"


def wait_for(look: Any) -> float:
    """Wait until `look()` is true, and return when."""
    end = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > end:
            raise TimeoutError("the session does not go on; look at the server's output")
        time.sleep(0.01)
    return time.monotonic()


def rounds_of(person: Person, n: int) -> list[float]:
    """Label for n rounds once the texts are encoded; the seconds from the last label of each to the new queue."""
    seconds, store = [], person.session.store
    for _ in range(n):
        done = len(store.rounds())
        known = store.rounds()[-1].n_labeled if done else 0
        wanted = known + (person.session.query_size() if done else person.session.initial_size())
        while len(store.labels()) < wanted:
            person.label()
        begun = time.monotonic() - person.pause  # the label was on disk before the next text showed
        seconds.append(wait_for(lambda done=done: len(store.rounds()) > done) - begun)
        for _ in range(3):  # what comes while the reserve of the queue is chosen
            person.label()
        wait_for(lambda: not is_locked(person.session))
    return seconds


def measure(folder: Path, options: argparse.Namespace) -> None:
    """Make the texts, serve the page, label, and print what it took."""
    truth = make_texts(folder / "texts.csv", options.texts, options.words)
    command = [sys.executable, "-m", "dami_text.cli.main", "label", str(folder / "texts.csv"), "--no-browser"]
    command += ["--labels", *CLASSES, "--port", str(options.port)]
    log = folder / "page.log"
    with sync_playwright() as playwright, log.open("wb") as stream:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.add_init_script(STOPWATCH)
        begun = time.monotonic()
        server = subprocess.Popen(command, stdout=stream, stderr=stream)
        process = psutil.Process(server.pid)
        try:
            served = wait_for(lambda: "page  " in log.read_text() or server.poll() is not None)
            cpu = sum(process.cpu_times()[:2])
            page.goto(f"http://127.0.0.1:{options.port}")
            page.wait_for_selector(HAS_TEXT, state="attached")
            first = time.monotonic()
            told(f"command to page   {served - begun:6.1f} s   ({cpu:.1f} CPU s)")
            told(f"command to text   {first - begun:6.1f} s")
            with Session(folder / "texts.dami") as session:
                person = Person(page, session, truth, options.pause)
                while not session.store.rounds():
                    person.label()
                told(
                    f"text to first model {time.monotonic() - first:4.1f} s, {len(session.store.labels())} labels given"
                )
                wait_for(lambda: not is_locked(session))
                seconds = rounds_of(person, options.rounds)
            told(f"label to new queue  {summary(seconds)} s")
            for what, found in person.milliseconds.items():
                told(f"key to next text, trainer {what:8}: {summary(found, 0)} ms")
            for child in process.children():
                told(f"trainer: {sum(child.cpu_times()[:2]):.0f} CPU s, {child.memory_info().rss / 1e6:,.0f} MB")
            told(f"page:    {sum(process.cpu_times()[:2]):.0f} CPU s, {process.memory_info().rss / 1e6:,.0f} MB")
        finally:
            server.terminate()
            server.wait(60)
            browser.close()


def summary(values: Sequence[float], digits: int = 1) -> str:
    """The median and the highest of the values, and how many there are."""
    if not values:
        return "none"
    return f"{statistics.median(values):.{digits}f} at the median, {max(values):.{digits}f} at most, n={len(values)}"


def told(line: str) -> None:
    """Print a line now."""
    print(line, flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--words", type=int, default=20, help="in each text")
    parser.add_argument("--rounds", type=int, default=10, help="after the first model")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds from a text to its label")
    parser.add_argument("--port", type=int, default=7862)
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser's program")
    options = parser.parse_args()
    with TemporaryDirectory() as place:
        measure(Path(place), options)


if __name__ == "__main__":
    main()
