"""A small session to label in tests: easy reviews without labels, and what their labels would be."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from label_cases import labeled_texts

from dami_text.cli.main import main
from dami_text.config.run import LabelingConfig, RunConfig
from dami_text.labeling.labels import Label, Names
from dami_text.labeling.rounds import create_session
from dami_text.labeling.session import Session, SessionConfig

CLASSES = ["neg", "pos"]
FAST = {"word_vectors": "random", "word_vector_dim": 4, "steps": 10, "train_batch_size": 10}


def texts_without_labels(reviews: Path, folder: Path, n: int = 300) -> tuple[Path, list[int]]:
    """A CSV file of n of the reviews' texts alone, and their labels as places in CLASSES."""
    lines = reviews.read_text(encoding="utf-8").splitlines()[1 : n + 1]
    pairs = [line.rpartition(",") for line in lines]
    file = folder / "texts.csv"
    file.write_text("text\n" + "".join(f"{text}\n" for text, _, _ in pairs), encoding="utf-8")
    return file, [CLASSES.index(label) for _, _, label in pairs]


def make_session(file: Path, folder: Path, labels: list[str] | None = None, **options: object) -> Session:
    """A session in `folder` over the file's texts, with little to train."""
    own = {name: options.pop(name) for name in [*options] if name in LabelingConfig.__dataclass_fields__}
    run = RunConfig.of(dataset=str(file), **{**FAST, "initial_size": 10, "query_size": 5, **options})
    return create_session(folder, SessionConfig(run, LabelingConfig(labels=labels or CLASSES, **own)))


def make_linear_session(file: Path, folder: Path) -> Session:
    """A session of a linear model in `folder` over the file's texts."""
    run = RunConfig.of(dataset=str(file), model="linear", strategy="margin", initial_size=10, query_size=5)
    return create_session(folder, SessionConfig(run, LabelingConfig(labels=CLASSES)))


def label_some(session: Session, truth: Sequence[Label], n: int, annotator: str = "ann") -> list[int]:
    """Label the next n texts with the right labels; returns their rows."""
    rows = []
    for _ in range(n):
        found = session.store.next(annotator, 60)
        assert found is not None
        session.store.decide(found[0], annotator, "label", truth[found[0].row])
        rows.append(found[0].row)
    return rows


def texts_with_labels(folder: Path, n: int = 300) -> tuple[Path, list[tuple[int, ...]]]:
    """A file of texts with any number of the labels NAMES, written nowhere in it, and their labels."""
    texts, labels = labeled_texts(n)
    file = folder / "labels.jsonl"
    file.write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")
    return file, [tuple(row.nonzero()[0].tolist()) for row in labels]


def make_label_session(file: Path, folder: Path, labels: list[str] | None = None, **options: object) -> Session:
    """A session of a linear model in `folder` over the file's texts, which have any number of labels."""
    own = {name: options.pop(name) for name in [*options] if name in LabelingConfig.__dataclass_fields__}
    given = {"model": "linear", "initial_size": 10, "query_size": 5, **options}
    run = RunConfig.of(dataset=str(file), task="multilabel", **given)
    return create_session(folder, SessionConfig(run, LabelingConfig(labels=labels, **own)))


def table(rows: Sequence[dict[str, Any]], delimiter: str = ",") -> str:
    """Rows as a table of delimited values."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def imported(
    session: Session, folder: Path, name: str, content: str | bytes, *options: str
) -> tuple[int, dict[int, Names]]:
    """The exit status of the import of a file, and the labels of each text by name then."""
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    status = main(["import", str(session.folder), str(folder / name), *options])
    with Session(session.folder) as after:
        return status, {row["row"]: after.named(row["label"]) for row in after.store.labels()}
