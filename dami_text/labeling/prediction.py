"""The class of every text of a file, or of the texts that nobody has labelled, with its probability, in a file."""

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from dami_text.config.fields import Device
from dami_text.data.columns import OWN, own_columns
from dami_text.data.estimators import TABLE_ENCODER
from dami_text.data.labels import named
from dami_text.data.long_texts import most_tokens
from dami_text.data.texts import EncodedTexts
from dami_text.data.tfidf import TfidfEncoder, TfidfTexts
from dami_text.data.tokenization import encode
from dami_text.errors import ConfigError, DataError
from dami_text.escaping import no_formula, to_json
from dami_text.files import whole_file
from dami_text.labeling.exchange.records import as_json
from dami_text.labeling.exchange.tables import as_cell
from dami_text.labeling.rounds import learner_with_labels
from dami_text.labeling.session import MODEL, Session
from dami_text.labeling.snapshot import LabelSnapshot
from dami_text.models.inference import predict_probabilities
from dami_text.models.linear import LinearForSequenceClassification
from dami_text.models.loading import load_classifier
from dami_text.models.tasks import Task, task_of
from dami_text.models.word_level import WordLevelForSequenceClassification, class_names_of
from dami_text.processes import on_own_device, use_device

BLOCK = 10_000  # texts that are in memory at once

#: What OUT may end in.
ENDINGS = (".csv", ".tsv", ".jsonl")


@dataclass(frozen=True)
class Classifier:
    """A trained model, what makes its input of texts, and the names of its classes."""

    model: PreTrainedModel
    preprocessor: PreTrainedTokenizerFast | TfidfEncoder
    class_names: list[str]

    @property
    def task(self) -> Task:
        """Whether a text has one class or any number of labels."""
        return task_of(self.model)

    @property
    def longest(self) -> int | None:
        """The tokens of the longest text that is read whole; None where all are."""
        return None if isinstance(self.preprocessor, TfidfEncoder) else most_tokens(self.preprocessor)

    @classmethod
    def load(cls, folder: Path, device: Device = "auto") -> "Classifier":
        """The model in a folder, or in that of the run that made it.

        Raises:
            ConfigError: there is none, it reads no texts, or this machine has no such device.
        """
        if any((place / TABLE_ENCODER).exists() for place in (folder, folder / MODEL)):
            raise ConfigError(f"{folder} holds a model of a table's rows; wanted one of texts")
        model, preprocessor = load_classifier(folder, None, "the folder")
        small = isinstance(model, WordLevelForSequenceClassification | LinearForSequenceClassification)
        use_device(device, small=small)
        return cls(on_own_device(model), preprocessor, class_names_of(model.config))

    @classmethod
    def of_session(cls, session: Session) -> "Classifier":
        """A session's model of all labels but the held-out ones; it is trained now if there are new labels or classes.

        Raises:
            TrainingError: there is no label to train on.
        """
        now, rounds = LabelSnapshot.of(session), session.store.rounds()
        if rounds and rounds[-1].through == now.through and (session.folder / MODEL).is_dir():
            loaded = cls.load(session.folder / MODEL, session.config.run.training.device)
            if len(loaded.class_names) == len(session.class_names):
                return cls(loaded.model, loaded.preprocessor, session.class_names)
        learner = learner_with_labels(session, now)
        preprocessor = learner.preprocessor
        assert isinstance(preprocessor, PreTrainedTokenizerFast | TfidfEncoder)  # a session's models read texts
        return cls(learner.trained_model(), preprocessor, session.class_names)

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The probabilities (N, C) of the classes of texts."""
        return self.classify(texts)[0]

    def classify(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], int]:
        """The probabilities (N, C) of the classes of texts, and how many texts were cut to what the model takes."""
        if not texts:
            return np.zeros((0, len(self.class_names)), np.float32), 0
        dataset, rows = Dataset.from_dict({"text": list(texts)}), np.arange(len(texts))
        if isinstance(self.preprocessor, TfidfEncoder):
            return predict_probabilities(self.model, TfidfTexts(dataset, self.preprocessor), rows), 0
        encoded = encode(dataset, self.preprocessor, warn=False)
        n_cut = int((encoded.data.column("length").to_numpy() > self.longest).sum())
        return predict_probabilities(self.model, EncodedTexts(encoded, self.preprocessor), rows), n_cut


@dataclass
class Predicted:
    """What was predicted: texts by class, those that are empty, and those that were cut to what the model takes."""

    counts: Counter[str] = field(default_factory=Counter)
    n_empty: int = 0
    n_cut: int = 0


def rest_of(session: Session) -> Dataset:
    """The texts that nobody has labelled: their ids as `dami_id`, `text`, and the file's own columns, all after OWN.

    Own columns of these two names have `own_` before them.
    """
    labeled = set(session.copies.with_all(row["row"] for row in session.store.labels()))
    rows = [row for row in range(len(session)) if row not in labeled]
    table = session.pool().select(rows).with_format("arrow")[:]
    ids = pa.array([session.id(row) for row in rows], pa.string())
    columns = {"text": table["text"], f"{OWN}dami_id": ids, f"{OWN}text": table["text"]}
    for name in own_columns(table.column_names):
        plain = name.removeprefix(OWN)
        columns[f"{OWN}own_{plain}" if plain in ("dami_id", "text") else name] = table[name]
    return Dataset(pa.table(columns))


def write_predictions(
    classifier: Classifier,
    texts: Dataset,
    file: Path,
    safe_csv: bool = False,
    tell: Callable[[int], object] | None = None,
) -> Predicted:
    """Write a row for each text: its own columns, the class that is most probable, and the probability of every class.

    The columns `predicted_label`, `probability` and `probability_CLASS` come last; where a text has one of that name,
    another `_` stands after it. Of a classifier that gives a text any number of labels, these are `predicted_labels`, a
    list, and the probability of every label. An empty text has none. The file is there whole, or not at all.

    Args:
        texts: the column `text`, and the own columns, whose names begin with OWN.
        file: ends in one of ENDINGS.
        safe_csv: keep spreadsheets from calculating cells.
        tell: called with the number of texts of each block that is done.

    Raises:
        ConfigError, DataError: as `require_writable`.
    """
    require_writable(file)
    own = own_columns(texts.column_names)
    taken = {name.removeprefix(OWN) for name in own}
    of_text = ("predicted_labels",) if classifier.task.multilabel else ("predicted_label", "probability")
    names = [_free(name, taken) for name in of_text]
    names += [_free(f"probability_{name}", taken) for name in classifier.class_names]
    done = Predicted()
    place = file.absolute().resolve()
    try:
        with whole_file(place) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as stream:
            write = _writer(stream, file.suffix.lower(), [*(name.removeprefix(OWN) for name in own), *names], safe_csv)
            for rows in _blocks(texts):
                filled = [row for row, text in enumerate(rows["text"]) if text.strip()]
                found: list[list[Any]] = [[None] * len(names) for _ in rows["text"]]
                probabilities, n_cut = classifier.classify([rows["text"][row] for row in filled])
                for row, p in zip(filled, probabilities, strict=True):
                    labels = named(classifier.task.predicted(p[None])[0], classifier.class_names)
                    done.counts.update([labels] if isinstance(labels, str) else labels)
                    values = p if classifier.task.multilabel else (p.max(), *p)
                    found[row] = [labels, *(round(float(value), 6) for value in values)]
                done.n_empty += len(found) - len(filled)
                done.n_cut += n_cut
                for row, predicted in enumerate(found):
                    write([*(as_json(rows[name][row]) for name in own), *predicted])
                if tell:
                    tell(len(found))
    except OSError as error:
        raise DataError(f"cannot write {file}: {error.strerror or error}; choose another file") from error
    return done


def require_writable(file: Path) -> None:
    """See that predictions can be written to a file, before anything is trained for them.

    Raises:
        ConfigError: the file ends otherwise than ENDINGS.
        DataError: it is a folder, or its folder is missing or not writable.
    """
    if file.suffix.lower() not in ENDINGS:
        raise ConfigError(f"{file} ends in {file.suffix!r}; it must end in one of {', '.join(ENDINGS)}")
    place = file.absolute().resolve()
    if place.is_dir():
        raise DataError(f"cannot write {file}: it is a folder; choose another file")
    if not place.parent.is_dir():
        raise DataError(f"cannot write {file}: there is no folder {file.parent}; make it, or choose another file")
    if not os.access(place.parent, os.W_OK):
        raise DataError(f"cannot write {file}: the folder {file.parent} is not writable; choose another file")


def _blocks(texts: Dataset) -> Iterator[dict[str, list[Any]]]:
    """The rows in blocks: a list for each column."""
    for start in range(0, len(texts), BLOCK):
        yield texts.with_format("arrow")[start : start + BLOCK].to_pydict()


def _writer(stream: TextIO, ending: str, names: Sequence[str], safe: bool) -> Callable[[Sequence[Any]], object]:
    """What writes a row of values; the header of a table is written already."""
    if ending == ".jsonl":
        return lambda row: stream.write(to_json(dict(zip(names, row, strict=True))) + "\n")
    writer = csv.writer(stream, delimiter="\t" if ending == ".tsv" else ",", lineterminator="\r\n")

    def write(row: Sequence[Any]) -> None:
        cells = map(as_cell, row)
        writer.writerow(map(no_formula, cells) if safe else cells)

    write(names)
    return write


def _free(name: str, taken: set[str]) -> str:
    """The name, with as many `_` as make it one that is not taken; it is taken then."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name
