"""A small session to label in tests: easy reviews without labels, and what their labels would be."""

from pathlib import Path

from dami_text.config.run import LabelingConfig, RunConfig
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


def label_some(session: Session, truth: list[int], n: int, annotator: str = "ann") -> list[int]:
    """Label the next n texts with the right labels; returns their rows."""
    rows = []
    for _ in range(n):
        found = session.store.next(annotator, 60)
        assert found is not None
        session.store.decide(found[0], annotator, "label", truth[found[0].row])
        rows.append(found[0].row)
    return rows
