"""Page and trainer are killed at random moments while somebody labels: scripts/benchmarks/soak.py on a small scale."""

import importlib.util
import json
import os
from pathlib import Path

import pytest
from labeling_cases import CLASSES, make_session

import dami_text
from dami_text.data.demo import demo_dataset

SOAK = Path(__file__).parents[2] / "scripts" / "benchmarks" / "soak.py"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="no gradio"),
]


def test_kills_of_page_and_trainer_lose_and_double_no_label(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("soak", SOAK)
    soak = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(soak)
    monkeypatch.setattr(soak, "LONGEST", 2.0)
    paths = [str(Path(dami_text.__file__).parents[1]), *filter(None, os.environ.get("PYTHONPATH", "").split(":"))]
    monkeypatch.setenv("PYTHONPATH", ":".join(paths))
    file = tmp_path / "demo.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in demo_dataset()["text"]))
    make_session(file, tmp_path / "demo.dami", labels=CLASSES).close()
    killed = soak.kill_and_label(tmp_path / "demo.dami", 30, 6, 21_000 + os.getpid() % 20_000)
    assert sum(killed.values()) == 6
