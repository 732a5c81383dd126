"""The pictures of the labelling page in the docs: a session of the embedded data set, labelled without errors.

python scripts/page_pictures.py docs/images     (needs the extra ui, playwright, and Chromium: --chromium FILE)
"""

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from playwright.sync_api import sync_playwright

from dami_text.data.demo import demo_dataset
from dami_text.labeling.session import Session

CLASSES = ["negative", "positive"]
N_LABELS = 149
PATIENCE = 600  # seconds

#: Name, width and height in pixels.
PICTURES = [("labeling-page", 1280, 640), ("labeling-page-390", 390, 844)]


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser's program")
    parser.add_argument("--port", type=int, default=7861)
    options = parser.parse_args()
    with TemporaryDirectory() as place, served(Path(place), options.port) as folder:
        label(folder, N_LABELS)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
            for name, width, height in PICTURES:
                page = browser.new_page(viewport={"width": width, "height": height})
                page.goto(f"http://127.0.0.1:{options.port}")
                page.wait_for_selector("#text .text")
                page.wait_for_timeout(2000)  # until the panel has come
                page.screenshot(path=options.folder / f"{name}.png")
            browser.close()


@contextmanager
def served(place: Path, port: int) -> Iterator[Path]:
    """The folder of a session over the demo's texts, while its page is served."""
    texts = place / "film-reviews.csv"
    pd.DataFrame({"text": demo_dataset()["text"]}).to_csv(texts, index=False)
    command = [sys.executable, "-m", "dami_text.cli.main", "label", texts, "--labels", *CLASSES, "--no-browser"]
    command += ["--model", "cnn"]  # whose framed word decided that a text was asked
    server = subprocess.Popen([*command, "--port", str(port)])
    try:
        yield place / "film-reviews.dami"
    finally:
        server.terminate()
        server.wait(30)


def label(folder: Path, n: int) -> None:
    """Label the next n texts rightly, waiting for each model that is due."""
    truth = demo_dataset()["label"]
    wait_for(lambda: (folder / "labels.sqlite").is_file() and (folder / "config.yaml").is_file())
    with Session(folder) as session:
        for i in range(n):
            wait_for(lambda done=i // 20: len(session.store.rounds()) >= done)
            shown, item = wait_for(lambda: session.store.next("ann", 60))
            session.store.decide(shown, "ann", "label", truth[item.row])


def wait_for(look: Callable[[], Any]) -> Any:
    """What `look` gives, once it is true."""
    end = time.monotonic() + PATIENCE
    while not (found := look()):
        if time.monotonic() > end:
            raise TimeoutError("the session does not go on; look at the server's output")
        time.sleep(0.2)
    return found


if __name__ == "__main__":
    main()
