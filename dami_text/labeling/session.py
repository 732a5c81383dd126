"""A session: a folder with everything that labelling a file of texts needs, to be moved or copied whole.

pool/             the texts, in the order of the file, as an Arrow data set that never changes
config.yaml       the options
labels.sqlite     what annotators did, and what is asked for (see `store`)
model/            the last round's model and tokenizer
trainer.log       what the process that trains had to say
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import yaml
from datasets import Dataset, load_from_disk
from numpy.typing import NDArray

from dami_text.config.defaults import QUERY_SIZE
from dami_text.config.fields import Device, Size
from dami_text.config.kinds import kind_of
from dami_text.config.run import LabelingConfig, RunConfig
from dami_text.data.columns import OWN, find_column, own_columns
from dami_text.data.ids import Rows, content_hashes, stable_id, text_hash
from dami_text.errors import ConfigError, DamiError, RecordError
from dami_text.files import write_whole
from dami_text.labeling.class_numbers import ClassNumbers
from dami_text.labeling.copies import Copies
from dami_text.labeling.labels import Label, Names, label_array, named
from dami_text.labeling.store.events import Store
from dami_text.labeling.store.queues import Kind, QueueItem
from dami_text.labeling.suggestions import Suggestions, read_suggestions
from dami_text.randomness import numpy_stream

POOL, CONFIG, LABELS, MODEL, LOG = "pool", "config.yaml", "labels.sqlite", "model", "trainer.log"

#: Held-out texts beyond these would not make the accuracy much more certain, only cost predictions in every round.
MOST_HELD_OUT = 2000

#: Options that sessions of earlier versions keep, and that nothing reads.
GONE = ("bald_dropout",)

#: What sessions did before these options were there, where that is not the default now.
FORMER = {"near_duplicates": 1.0}

#: Annotator name of labels that are already in the input file.
FILE_ANNOTATOR = "file"


def _without_effectless(options: dict[str, Any]) -> dict[str, Any]:
    """A session's options but for those that nothing reads, such as how a frozen encoder's head was once trained.

    What a session was made without is as it was then.
    """
    options = FORMER | options
    unread = {*GONE, *kind_of(options.get("model")).ignored(options)}
    return {name: value for name, value in options.items() if name not in unread}


@dataclass(frozen=True)
class SessionConfig:
    """The options that a session keeps: those of a run, whose data, sizes and seed it shares, and of the labelling."""

    run: RunConfig
    labeling: LabelingConfig

    def options(self) -> dict[str, Any]:
        """All options by name, as plain values (what config.yaml holds)."""
        topics = [getattr(self.run, topic.name) for topic in fields(self.run)] + [self.labeling]
        flat = {name: value for topic in topics for name, value in vars(topic).items()}
        return {name: value.value if isinstance(value, Size) else value for name, value in flat.items()}

    @classmethod
    def of(cls, options: dict[str, Any]) -> "SessionConfig":
        """The config whose `options` these are."""
        own = {f.name for f in fields(LabelingConfig)}
        return cls(
            RunConfig.of_options({name: value for name, value in options.items() if name not in own}),
            LabelingConfig(**{name: value for name, value in options.items() if name in own}),
        )


class Session:
    """An open session.

    Args:
        folder: where it is.
        device: what it computes on while it is open; None is what its options name.

    Attributes:
        folder: where it is.
        config: its options.
        texts: the pool's texts, the column `text`.
        class_names: the classes; labels are places in it.
        store: what annotators did.

    Raises:
        RecordError: the folder holds no session, or one that is damaged.
    """

    def __init__(self, folder: Path, device: Device | None = None) -> None:
        self.folder = folder
        try:
            options = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
            self.config = SessionConfig.of(_without_effectless(dict(options)))
        except DamiError:
            raise
        except (OSError, TypeError, ValueError, yaml.YAMLError) as error:
            raise self._no_session(error) from error
        if device is not None:
            self.config = SessionConfig(self.config.run.changed(device=device), self.config.labeling)
        self.store = Store(folder / LABELS)
        try:
            self._check_task()
            self._load()
            self.class_names: list[str] = list(self.config.labeling.labels or [])
            self._check_texts()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError | TypeError | ValueError) and not isinstance(error, DamiError):
                raise self._no_session(error) from error
            raise

    def _no_session(self, error: Exception) -> RecordError:
        return RecordError(f"{self.folder} holds no session ({error}); `dami-text label FILE` makes one")

    def _check_task(self) -> None:
        if self.store.multilabel != self.multilabel:
            raise RecordError(
                f"{self.folder / CONFIG} has --task {self.config.run.data.task}, and the labels in {LABELS} are of "
                "another; restore it from a backup"
            )

    def _check_texts(self) -> None:
        recorded = self.store.meta("fingerprint")
        if recorded != self.fingerprint:
            raise RecordError(
                f"the texts in {self.folder / self.pool_name} changed after labelling began ({self.fingerprint}, not "
                f"{recorded}); restore them from a backup"
            )

    def close(self) -> None:
        """Close the file of labels; nothing can be read from it or written after that."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _load(self) -> None:
        self.pool_name = str(self.store.meta("pool") or POOL)
        self.texts: Dataset = self.pool().select_columns("text")

    def pool(self) -> Dataset:
        """The pool with all its columns: `text`, and those of the source, whose names begin with `sources.OWN`."""
        folder = self.folder / self.pool_name
        # What is made of the texts is kept beside them, or where that cannot be, nowhere.
        return load_from_disk(str(folder), keep_in_memory=not os.access(folder, os.W_OK))

    def refresh(self) -> None:
        """Take notice of texts that another process has added."""
        if str(self.store.meta("pool") or POOL) != self.pool_name:
            self._load()
            for name in ("_content", "rows_by_id", "rows_by_hash", "held_out", "wanted", "copies", "suggestions"):
                self.__dict__.pop(name, None)

    def __len__(self) -> int:
        return len(self.texts)

    def change(self, **options: Any) -> None:
        """Give options other values, in the folder too."""
        config = SessionConfig.of(self.config.options() | options)
        if config != self.config:
            try:
                write_config(self.folder, config)
            except OSError as error:
                raise RecordError(f"cannot write {self.folder / CONFIG}: {error}; make it writable") from error
            self.config = config
            self.class_names = list(config.labeling.labels or [])

    def text(self, row: int) -> str:
        """The text of a row, as it came."""
        return str(self.texts[int(row)]["text"])

    def own_columns(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """The columns that the file has beside its texts and labels, by name, of each of these rows."""
        pool = self.pool()
        data, labeling = self.config.run.data, self.config.labeling
        names = {name: name.removeprefix(OWN) for name in own_columns(pool.column_names)}
        labels = [] if labeling.ignore_labels else data.columns_of_labels
        used = {find_column(names.values(), name) for name in labels}
        names = {name: own for name, own in names.items() if own not in used}
        if not names:
            return [{} for _ in rows]
        table = pool.select_columns(list(names)).select(rows).with_format("arrow")[:]
        return [{names[name]: value for name, value in row.items()} for row in table.to_pylist()]

    @property
    def renamed(self) -> dict[str, str]:
        """The names that classes had once, and those they have now."""
        return dict(self.store.meta("renamed") or {})

    def rename_class(self, old: str, new: str) -> None:
        """Give a class another name; its labels stay what they are.

        Raises:
            ConfigError: there is no class `old`, or `new` is one already or no name.
            RecordError: the session cannot be written.
        """
        if old not in self.class_names:
            raise ConfigError(f"{old!r} is no class of {self.folder}; its classes are {self.class_names}")
        if new in self.class_names:
            raise ConfigError(f"{new!r} is a class of {self.folder} already; classes cannot be joined")
        renamed = {name: new if now == old else now for name, now in self.renamed.items()} | {old: new}
        renamed.pop(new, None)
        self.change(labels=[new if name == old else name for name in self.class_names])
        self.store.set_meta(renamed=renamed)

    @property
    def multilabel(self) -> bool:
        """Whether a text has any number of labels."""
        return self.config.run.data.is_multilabel

    @property
    def class_numbers(self) -> ClassNumbers:
        """Which class, or which labels, a label of another hand names."""
        return ClassNumbers(self.class_names, self.renamed, multilabel=self.multilabel)

    def named(self, label: Label) -> Names:
        """A label by name: that of its class, or a list of those of its labels."""
        return named(label, self.class_names)

    def label_array(self, labels: Iterable[Label]) -> NDArray[np.int64]:
        """Labels as models have them: (n,), or (n, C) of 0 and 1."""
        return label_array(labels, len(self.class_names), multilabel=self.multilabel)

    @cached_property
    def suggestions(self) -> Suggestions | None:
        """The labels that the texts came with from elsewhere, which are never counted; None without their column."""
        config = self.config
        return read_suggestions(self.pool(), config.labeling, self.class_numbers, config.run.data.label_column)

    # Ids --------------------------------------------------------------------------------------------------------

    @cached_property
    def _content(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        return content_hashes(self.texts)

    @property
    def sources(self) -> list[str]:
        """The fingerprints of the files that the texts came from, without their empty texts."""
        return list(self.store.meta("sources") or [self.fingerprint])

    @property
    def fingerprint(self) -> str:
        """A hash of all texts in their order."""
        return fingerprint_of(self._content[0])

    def id(self, row: int) -> str:
        """The id of a row, which depends on the text and its place among its duplicates alone."""
        hashes, places = self._content
        return stable_id(hashes[row], places[row])

    @cached_property
    def rows_by_id(self) -> dict[str, int]:
        """The row of each id."""
        return {self.id(row): row for row in range(len(self))}

    @cached_property
    def rows_by_hash(self) -> dict[int, list[int]]:
        """The rows of each text, by its hash."""
        rows: dict[int, list[int]] = {}
        for row, content in enumerate(self._content[0].tolist()):
            rows.setdefault(content, []).append(row)
        return rows

    @cached_property
    def copies(self) -> Copies:
        """Which texts are the same and are asked once; none in sessions that ask for each."""
        return Copies.of(self.store.copies(), len(self))

    # What is drawn once -----------------------------------------------------------------------------------------

    @property
    def model_told(self) -> str:
        """The model and, where `--model auto` chose it, why."""
        model = self.config.run.model
        told: str | None = self.store.meta("model_choice")
        return told or (f"{model.model}, frozen" if model.freeze_encoder else model.model)

    @property
    def seed(self) -> int:
        """The seed of everything that is random."""
        return self.config.run.loop.seed

    @cached_property
    def held_out(self) -> Rows:
        """Rows that no training sees, in the order in which they are labelled to measure the accuracy.

        They are drawn from all texts beforehand, not from those that are asked for, so that the accuracy on them is
        that on all texts; of copies that are asked once the first is here. Sessions of versions that did not record the
        draw repeat it.
        """
        recorded = self.store.meta("held_out")
        if recorded is not None:
            return np.array(recorded, np.int64)
        n = min(round(self.config.labeling.validation_share * len(self)), MOST_HELD_OUT)
        return numpy_stream(self.seed, 0, "held out").permutation(len(self))[:n]

    @cached_property
    def wanted(self) -> NDArray[np.int64]:
        """How many annotators each row (N,) goes to."""
        labeling = self.config.labeling
        shared = numpy_stream(self.seed, 0, "overlap").random(len(self)) < labeling.overlap_share
        return np.where(shared, labeling.overlap, 1)

    # Queues -----------------------------------------------------------------------------------------------------

    def initial_size(self) -> int:
        """Labels before the first training."""
        return max(1, (self.config.run.loop.initial_size or Size(QUERY_SIZE)).of(self.copies.n_different))

    def query_size(self) -> int:
        """Labels between trainings."""
        return max(1, (self.config.run.loop.query_size or Size(QUERY_SIZE)).of(self.copies.n_different))

    def to_hold_out(self, n: int) -> list[int]:
        """The next held-out rows, as many as n more labels need for their share of all labels."""
        done = {row["row"] for row in self.store.labels()} | set(self.store.skipped())
        labeled = sum(1 for row in self.held_out if int(row) in done)
        share = self.config.labeling.validation_share
        missing = min(round(share * (len(done) + n)) - labeled, n - 1)
        return [int(row) for row in self.held_out if int(row) not in done][: max(0, missing)]

    def items(
        self, rows: Sequence[int], kind: Kind, reasons: Sequence[dict[str, Any]] | None = None
    ) -> list[QueueItem]:
        """Queue items of these rows."""
        reasons = reasons or [{}] * len(rows)
        return [
            QueueItem(int(row), kind, dict(reason), int(self.wanted[row]))
            for row, reason in zip(rows, reasons, strict=True)
        ]

    def random_items(self, n: int, purpose: str, kind: Kind = "reserve") -> list[QueueItem]:
        """At most n rows, drawn at random, that are not labelled, skipped or in the queue.

        Held-out rows come where there are no others.
        """
        queue = [item.row for item in self.store.queue(len(self.store.rounds()))]
        open_ = np.ones(len(self), bool)
        open_[[row["row"] for row in self.store.labels()] + self.store.skipped() + queue] = False
        open_[self.copies.others] = False
        held_out = self.held_out[open_[self.held_out]]
        open_[self.held_out] = False
        free = np.flatnonzero(open_)
        if not len(free):
            return self.items(held_out[:n].tolist(), "held-out")
        rng = numpy_stream(self.seed, len(queue), purpose)
        return self.items(rng.choice(free, min(n, len(free)), replace=False).tolist(), kind)


def fingerprint_of(hashes: NDArray[np.uint64]) -> str:
    """A hash of texts in their order, from the hash of each."""
    return text_hash(hashes.tobytes().hex()).hex()


def interleaved(items: Sequence[QueueItem], others: Sequence[QueueItem]) -> list[QueueItem]:
    """All items in their order, with the others spread evenly among them."""
    places = [(i + 0.5) / max(1, len(items)) for i in range(len(items))]
    other_places = [(i + 0.5) / max(1, len(others)) for i in range(len(others))]
    together = [*zip(places, items, strict=True), *zip(other_places, others, strict=True)]
    return [item for _, item in sorted(together, key=lambda pair: pair[0])]


def require_texts(task: str) -> None:
    """Raise ConfigError for a task that is not `text`."""
    if task == "tabular":
        raise ConfigError(
            f"--task is {task}, and people label texts, not rows of a table; leave --task out, and name the column to "
            "read with --text-column"
        )


def write_config(folder: Path, config: SessionConfig) -> None:
    """Write the options, all of them or none."""
    write_whole(folder / CONFIG, yaml.safe_dump(config.options(), sort_keys=False, allow_unicode=True).encode())


def is_session(folder: Path) -> bool:
    """Whether the folder looks like a session's."""
    return (folder / LABELS).is_file()
