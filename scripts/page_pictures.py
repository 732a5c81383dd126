"""The pictures of the labelling page in the docs and the animation in the README, of sessions of the embedded data set.

python scripts/page_pictures.py docs/images     (needs the extra ui, playwright, and Chromium: --chromium FILE)
"""

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from dami_text.data.demo import demo_dataset
from dami_text.labeling.labels import Label
from dami_text.labeling.pool_scores import FILE
from dami_text.labeling.session import Session

ME = "ann"
PATIENCE = 600  # seconds
COLORS = 128  # of a picture: enough for a page, and half the bytes
WIDE, NARROW = (1280, 720), (390, 844)

CNN = ("--model", "cnn")  # whose framed word decided that a text was asked
LINEAR = ("--model", "linear", "--strategy", "margin")
CLASSES = ["negative", "positive"]
N_LABELS = 149

ASPECTS = ("acting", "cast", "dialogue", "direction", "editing", "ending", "finale", "humour", "lighting", "music")
ASPECTS += ("narration", "opening", "pacing", "plot", "script", "soundtrack", "staging", "story")
MANY_CLASSES = [f"{aspect}: {how}" for aspect in ASPECTS for how in ("complaint", "praise")] + ["other"]

#: What a text may say, any number of it.
LABELS = ["complaint", "acting", "ending", "music"]

#: The animation: its size in pixels, and for how many milliseconds a text is read, a key is seen, and an answer.
FILM, READ, KEY, ANSWER = (1040, 640), 1100, 350, 900
FILM_LABELS = 11  # half of which come after "more like this"

#: Shows a key on the page as it is pressed; an empty name takes it away.
SHOW_KEY = """name => {
    document.getElementById("pressed")?.remove();
    if (!name) return;
    const cap = document.createElement("div");
    cap.id = "pressed";
    cap.textContent = name;
    cap.style.cssText = "position:fixed;left:34px;bottom:22px;padding:10px 22px;border-radius:12px;background:#1d2433;"
        + "color:#fff;font:600 30px ui-monospace,'DejaVu Sans Mono',monospace;box-shadow:0 3px 0 #000;z-index:9";
    document.body.append(cap);
}"""


@dataclass(frozen=True)
class Picture:
    """A picture: its name, the size of the window, what to do before it is taken, and the part of the page it shows."""

    name: str
    size: tuple[int, int]
    prepare: Sequence[Callable[[Page], object]] = field(default_factory=tuple)


def key(name: str) -> Callable[[Page], object]:
    """What presses a key."""
    return lambda page: page.keyboard.press(name)


PICTURES = [
    Picture("labeling-page", WIDE),
    Picture("labeling-page-390", NARROW),
    Picture("labeling-table", WIDE, [key("t"), lambda page: page.keyboard.type("music")]),
    Picture("labeling-table-390", NARROW, [key("t")]),
]
PICTURES_OF_MANY = [Picture("labeling-many", WIDE, [lambda page: page.click("#likeliest-toggle")])]
PICTURES_OF_LABELS = [Picture("labeling-labels", WIDE, [key("1"), key("4")])]


def main() -> None:
    """Make the pictures and the animation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser's program")
    parser.add_argument("--port", type=int, default=7861)
    options = parser.parse_args()
    truth = demo_dataset()["label"]
    with TemporaryDirectory() as place, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        address = f"http://127.0.0.1:{options.port}"
        with served(Path(place), "film-reviews", options.port, CLASSES, *CNN) as folder:
            label(folder, N_LABELS, truth, 20)
            take(browser, address, PICTURES, options.folder)
            film(browser, address, folder, truth, options.folder / "labeling.webp")
        aspects = [aspect_of(*pair) for pair in zip(demo_dataset()["text"], truth, strict=True)]
        with served(Path(place), "aspects", options.port, MANY_CLASSES, *LINEAR) as folder:
            label(folder, 40, aspects, 20)
            take(browser, address, PICTURES_OF_MANY, options.folder)
        said = [labels_of(*pair) for pair in zip(demo_dataset()["text"], truth, strict=True)]
        with served(Path(place), "labels", options.port, LABELS, *LINEAR, "--task", "multilabel") as folder:
            label(folder, 40, said, 20)
            take(browser, address, PICTURES_OF_LABELS, options.folder)
        browser.close()


def aspect_of(text: str, sentiment: int) -> int:
    """The place in MANY_CLASSES of what a text is about, and how."""
    about = [aspect for aspect in ASPECTS if re.search(rf"\b{aspect}\b", text)]
    return MANY_CLASSES.index(f"{about[0]}: {('complaint', 'praise')[sentiment]}") if about else len(MANY_CLASSES) - 1


def labels_of(text: str, sentiment: int) -> tuple[int, ...]:
    """The places in LABELS of what a text says."""
    about = [i for i, name in enumerate(LABELS) if re.search(rf"\b{name}\b", text)]
    return (*[0] * (not sentiment), *about)


@contextmanager
def served(place: Path, name: str, port: int, classes: Sequence[str], *options: str) -> Iterator[Path]:
    """The folder of a session over the demo's texts, while its page is served to ME."""
    texts = place / f"{name}.csv"
    pd.DataFrame({"text": demo_dataset()["text"]}).to_csv(texts, index=False)
    command = [sys.executable, "-m", "dami_text.cli.main", "label", texts, "--labels", *classes, *options]
    command += ["--no-browser", "--port", str(port)]
    server = subprocess.Popen(command, env=os.environ | {"LOGNAME": ME})
    try:
        yield place / f"{name}.dami"
    finally:
        server.terminate()
        server.wait(30)


def label(folder: Path, n: int, truth: Sequence[Label], query_size: int) -> None:
    """Label the next n texts rightly, waiting for each model that is due, and for the last one's scores."""
    wait_for(lambda: (folder / "labels.sqlite").is_file() and (folder / "config.yaml").is_file())
    with Session(folder) as session:
        for i in range(n):
            wait_for(lambda done=i // query_size: len(session.store.rounds()) >= done)
            shown, item = wait_for(lambda: session.store.next(ME, 60))
            session.store.decide(shown, ME, "label", truth[item.row])
        wait_for(lambda: len(session.store.rounds()) >= n // query_size and (folder / FILE).is_file())


def wait_for(look: Callable[[], Any]) -> Any:
    """What `look` gives, once it is true."""
    end = time.monotonic() + PATIENCE
    while not (found := look()):
        if time.monotonic() > end:
            raise TimeoutError("the session does not go on; look at the server's output")
        time.sleep(0.2)
    return found


def opened(browser: Browser, address: str, size: tuple[int, int]) -> Page:
    """The page in a new window of this size."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.goto(address)
    page.wait_for_selector("#text .text")
    page.wait_for_timeout(2500)  # until the panel has come
    return page


def take(browser: Browser, address: str, pictures: Sequence[Picture], folder: Path) -> None:
    """Take pictures of the page."""
    for picture in pictures:
        page = opened(browser, address, picture.size)
        for step in picture.prepare:
            step(page)
            page.wait_for_timeout(1500)
        image_of(page).quantize(COLORS, dither=Image.Dither.NONE).save(folder / f"{picture.name}.png", optimize=True)
        page.close()


def image_of(page: Page) -> Image.Image:
    """What the window shows."""
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def film(browser: Browser, address: str, folder: Path, truth: Sequence[int], file: Path) -> None:
    """A person labels: every text is read, a key is pressed, and the next text is there."""
    page = opened(browser, address, FILM)
    frames: list[Image.Image] = []
    milliseconds: list[int] = []

    def shoot(duration: int) -> None:
        frames.append(image_of(page))
        milliseconds.append(duration)

    def press(name: str, shown: str) -> None:
        page.evaluate(SHOW_KEY, shown)
        shoot(KEY)
        page.keyboard.press(name)
        page.wait_for_timeout(400)
        page.evaluate(SHOW_KEY, "")

    for i in range(FILM_LABELS):
        shoot(READ)
        if i == 2:
            press("m", "m")
            shoot(ANSWER)
        if i == 5:
            press("l", "l")
            shoot(ANSWER)
        row = int(page.get_attribute("#state [data-token]", "data-token").partition(".")[0])
        answer = str(truth[row] + 1)
        press(answer, answer)
    shoot(2 * READ)
    page.close()
    how: dict[str, Any] = {"quality": 70, "method": 6, "minimize_size": True}
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=milliseconds, loop=0, **how)


if __name__ == "__main__":
    main()
