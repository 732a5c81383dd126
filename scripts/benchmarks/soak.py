"""Label through the page's own HTTP interface, as a tireless annotator would, and compare with the simulated run.

    python scripts/benchmarks/soak.py --dataset PATH_OF_SUBJ --labels 2000 --checkpoints 500 1000 2000 --seeds 0 1 2

For each seed the training split's texts become a session of `dami-text label`, which is served in a process of its own.
The annotator asks for a text, gives the right label, and waits for each new queue. After each of the checkpoints the
session's model is evaluated on the test split, beside the model of a simulated run after as many labels. What a folder
holds already is not done again.

    python scripts/benchmarks/soak.py --kills 100 --labels 300

labels the embedded data set while page and trainer are killed at random moments. It sees that no label is lost, doubled
or on another text, and that the trainer comes back.
"""

import argparse
import json
import random
import re
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import dami_text.models.auto  # noqa: F401 - for the session's saved model
from dami_text.config.run import LabelingConfig, RunConfig
from dami_text.data.demo import demo_dataset
from dami_text.data.texts import EncodedTexts, LabeledTexts
from dami_text.data.tokenization import encode
from dami_text.labeling.rounds import create_session
from dami_text.labeling.session import MODEL, Session, SessionConfig, is_session
from dami_text.learning.preparation import PreparedData, prepare
from dami_text.models.evaluation import evaluate_model
from dami_text.simulation.run import Run


def start_page(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """The process that serves a session's page."""
    command = [sys.executable, "-m", "dami_text.cli.main", "label", str(folder), "--no-browser", "--port", str(port)]
    with folder.with_suffix(".log").open("wb") as stream:
        return subprocess.Popen(command, stdout=stream, stderr=stream)


@contextmanager
def served(folder: Path, port: int) -> Iterator[str]:
    """The address of the session's page while it is served."""
    log = folder.with_suffix(".log")
    server = start_page(folder, port)
    try:
        while (found := re.search(r"page +(http://\S+/)", log.read_text())) is None:
            if server.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.2)
        yield found[1]
    finally:
        server.terminate()
        server.wait(60)


def call(url: str, name: str, *values: Any) -> list[Any]:
    """What one of the page's events answers."""
    body = json.dumps({"data": values}).encode()
    request = urllib.request.Request(f"{url}gradio_api/run/{name}", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        return list(json.load(response)["data"])


def annotate(session: Session, url: str, truth: list[int], n: int) -> list[float]:
    """Label until n texts are labelled and the model knows them; the seconds that each label took."""
    seconds: list[float] = []
    while True:
        rounds = session.store.rounds()
        known, done = rounds[-1].n_labeled if rounds else 0, len(session.store.labels())
        wanted = min(n, known + (session.query_size() if rounds else session.initial_size()))
        state = call(url, "next")[0]
        for _ in range(wanted - done):
            row = int(re.search(r'data-token="(\d+)', state)[1])  # type: ignore[index]  # every screen has a token
            start = time.perf_counter()
            state = call(url, f"label_{truth[row] + 1}", state)[0]
            seconds.append(time.perf_counter() - start)
        if known >= n:
            return seconds
        while len(session.store.rounds()) == len(rounds):
            call(url, "progress", "", "all", 0)  # which starts a training that is due
            time.sleep(0.5)


def session_accuracy(session: Session, data: PreparedData, test: Dataset) -> float:
    """The accuracy of the session's model on the test split."""
    tokenizer = AutoTokenizer.from_pretrained(session.folder / MODEL)
    model = AutoModelForSequenceClassification.from_pretrained(session.folder / MODEL)
    encoded = EncodedTexts(encode(test, tokenizer), tokenizer)
    return evaluate_model(model, LabeledTexts(encoded, data.test.rows, data.test.labels))["accuracy"]


def soak(options: argparse.Namespace, seed: int) -> dict[int, tuple[float, float]]:
    """For each checkpoint the accuracy of the session and of the simulated run."""
    sizes = {"initial_size": options.query_size, "query_size": options.query_size}
    config = RunConfig.of(dataset=options.dataset, seed=seed, budget=options.labels, **sizes)
    run = Run(config, options.output_dir / f"simulated-seed{seed}")
    lines = {line["n_labeled"]: line for line in [*run.folder.rounds, *run.rounds()]}
    data = prepare(config)
    folder = options.output_dir / f"seed{seed}.dami"
    if not is_session(folder):
        texts = options.output_dir / f"texts-seed{seed}.jsonl"
        rows = (json.dumps({"text": data.train.texts.text(row)}) for row in data.train.rows.tolist())
        texts.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
        own = RunConfig.of(dataset=str(texts), seed=seed, **sizes)
        create_session(folder, SessionConfig(own, LabelingConfig(labels=data.class_names)))
    session, truth = Session(folder), data.train.labels.tolist()
    test = Dataset.from_dict({"text": [data.test.texts.text(row) for row in data.test.rows.tolist()]})
    found, seconds = {}, []
    done = folder.with_suffix(".json")
    if done.exists():
        found = {int(n): accuracy for n, accuracy in json.loads(done.read_text()).items()}
    with served(folder, 7960 + seed) as url:
        for n in options.checkpoints:
            if n not in found:
                seconds += annotate(session, url, truth, n)
                found[n] = session_accuracy(session, data, test)
                done.write_text(json.dumps(found))
    events = session.store.events()
    if len({event["row"] for event in events}) != len(events):
        raise RuntimeError("a text was labelled twice")
    wrong = [row["row"] for row in session.store.labels() if row["label"] != truth[row["row"]]]
    if wrong:
        raise RuntimeError(f"rows {wrong[:5]} have another label than was given")
    if seconds:
        print(f"seed {seed}: {len(events)} labels, {1000 * statistics.median(seconds):.0f} ms a label at the median")
    return {n: (found[n], lines[n]["metrics"]["accuracy"]) for n in options.checkpoints}


#: Seconds from a label to the kill at most: by then a trainer has started, or has trained.
LONGEST = 8.0


class Killer:
    """Serves a session's page, and kills it or its trainer before the time of a call, drawn at random, is over."""

    def __init__(self, folder: Path, port: int, rng: random.Random) -> None:
        self.folder, self.port, self.rng = folder, port, rng
        self.killed: Counter[str] = Counter()
        self.server = start_page(folder, port)

    def kill(self) -> None:
        """Kill one of the two; the page is started again, the trainer is left to the page."""
        trainers = psutil.Process(self.server.pid).children() if self.server.poll() is None else []
        if trainers and self.rng.random() < 0.5:
            trainers[0].kill()
            self.killed["trainer"] += 1
            return
        self.server.kill()
        self.server.wait(60)
        self.killed["page"] += 1
        self.server = start_page(self.folder, self.port)

    def call(self, name: str, *values: Any) -> list[Any] | None:
        """What the page answers; None where it was killed meanwhile."""
        try:
            return call(f"http://127.0.0.1:{self.port}/", name, *values)
        except OSError:  # no connection, or one that broke
            return None


def kill_and_label(folder: Path, n_labels: int, n_kills: int, port: int, seed: int = 0) -> Counter[str]:
    """Label n texts of the demo's session while page and trainer are killed; how often each was.

    Raises:
        RuntimeError: a label was lost or doubled or is on another text, or page or trainer do not come back.
    """
    killer = Killer(folder, port, random.Random(seed))
    try:
        with Session(folder) as session:
            answered = label_while_killed(session, killer, n_labels, n_kills)
            deadline = time.monotonic() + 1800
            while not (rounds := session.store.rounds()) or rounds[-1].n_labeled <= n_labels - session.query_size():
                if time.monotonic() > deadline:
                    raise RuntimeError(f"the trainer did not come back: {rounds[-1:]}")
                time.sleep(0.5)
            labels, truth = check_labels(session, answered), demo_dataset()["label"]
            if wrong := [row for row, label in labels.items() if label != truth[row]]:
                raise RuntimeError(f"rows {wrong} have another label than was given")
    finally:
        killer.server.terminate()
        killer.server.wait(60)
    told = ", ".join(f"{name} {n} times" for name, n in sorted(killer.killed.items()))
    unanswered = len(labels) - len(answered)
    print(f"{len(labels)} labels, {len(rounds)} rounds; killed: {told}; {unanswered} labels without an answer")
    return killer.killed


def label_while_killed(session: Session, killer: Killer, n_labels: int, n_kills: int) -> set[int]:
    """Label until n texts are; the rows whose labels the page has answered."""
    truth, answered = demo_dataset()["label"], set()
    kills = sorted(killer.rng.randrange(n_labels) for _ in range(n_kills))
    while (done := len(session.store.labels())) < n_labels:
        timer = None
        if kills and kills[0] <= done:
            kills.pop(0)
            timer = threading.Timer(killer.rng.random() * LONGEST, killer.kill)
            timer.start()
        answer = killer.call("next")
        token = re.search(r'data-token="(\d+)', answer[0]) if answer else None
        if answer and token:
            row = int(token[1])
            if killer.call(f"label_{truth[row] + 1}", answer[0]) is not None:
                answered.add(row)
        elif timer is None and killer.server.poll() is not None:
            raise RuntimeError(f"the page has ended: {session.folder.with_suffix('.log').read_text()}")
        else:
            time.sleep(0.2)  # until the page is there again, or has a text
        if timer is not None:
            timer.join()
    return answered


def check_labels(session: Session, answered: set[int]) -> dict[int, int]:
    """The labels by row; RuntimeError if one was given twice, or one that the page has answered is not there."""
    events, labels = session.store.events(), {row["row"]: row["label"] for row in session.store.labels()}
    if len({event["row"] for event in events}) != len(events):
        raise RuntimeError("a text was labelled twice")
    if lost := answered - set(labels):
        raise RuntimeError(f"labels of the rows {sorted(lost)} were lost")
    return labels


def main() -> int:
    """Soak each seed and print the table; the status is 1 where the mean difference exceeds two points."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="subj", help="subj, or a copy of it")
    parser.add_argument("--labels", type=int, default=2000)
    parser.add_argument("--checkpoints", type=int, nargs="+", default=[500, 1000, 2000], help="up to --labels")
    parser.add_argument("--query-size", type=int, default=20)
    parser.add_argument("--kills", type=int, default=0, help="how often page or trainer are killed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output-dir", type=Path, default=Path("runs/soak"))
    options = parser.parse_args()
    options.output_dir.mkdir(parents=True, exist_ok=True)
    if options.kills:
        texts = options.output_dir / "demo.jsonl"
        lines = (json.dumps({"text": text}) for text in demo_dataset()["text"])
        texts.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        own = RunConfig.of(dataset=str(texts), model="linear", strategy="margin", initial_size=10, query_size=10)
        folder = options.output_dir / "killed.dami"
        create_session(folder, SessionConfig(own, LabelingConfig(labels=["negative", "positive"]))).close()
        kill_and_label(folder, options.labels, options.kills, 7959)
        return 0
    results = [soak(options, seed) for seed in options.seeds]
    print("labelled  by hand  simulated  difference   (mean of seeds, per cent)")
    worst = 0.0
    for n in options.checkpoints:
        by_hand, simulated = (100 * np.mean([result[n][i] for result in results]) for i in (0, 1))
        worst = max(worst, abs(by_hand - simulated))
        print(f"{n:8}  {by_hand:7.2f}  {simulated:9.2f}  {by_hand - simulated:+10.2f}")
    return int(worst > 2)


if __name__ == "__main__":
    sys.exit(main())
