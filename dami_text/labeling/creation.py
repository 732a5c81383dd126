"""Making a session of a file, and adding another file's texts to it."""

import logging
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, concatenate_datasets

from dami_text.config.data_options import DataConfig
from dami_text.config.fields import flag, listed
from dami_text.config.paths import from_anywhere
from dami_text.config.run import LabelingConfig, RunConfig
from dami_text.data.classes import in_class_order
from dami_text.data.columns import OWN, find_column, own_columns
from dami_text.data.copies import copy_hashes, deal, warn_of_frequent_texts
from dami_text.data.ids import Rows, content_hashes, stable_id
from dami_text.data.sources import Given, load_texts
from dami_text.errors import ConfigError, DataError, RecordError
from dami_text.files import whole_folder
from dami_text.labeling.class_numbers import ClassNumbers
from dami_text.labeling.copies import Copies, found_copies, labels_of_groups
from dami_text.labeling.labels import Label
from dami_text.labeling.session import (
    FILE_ANNOTATOR,
    LABELS,
    MOST_HELD_OUT,
    POOL,
    Session,
    SessionConfig,
    fingerprint_of,
    require_texts,
    write_config,
)
from dami_text.labeling.store.events import Store
from dami_text.labeling.suggestions import read_suggestions
from dami_text.models.kinds.automatic import settled
from dami_text.randomness import numpy_stream

logger = logging.getLogger(__name__)


def new_session(folder: Path, config: SessionConfig, begin: Callable[[Session], None]) -> Session:
    """Make a session of the texts that `config.run.data` names; the folder is there whole, or not at all.

    `begin` gives it the queue of its start.

    Labels that the source has already count as given by FILE_ANNOTATOR.

    Raises:
        ConfigError: rows of a table are named, or suggestions for any number of labels.
        DataError: the texts cannot be read, there are too few, or labels and classes do not fit each other.
        RecordError: the folder cannot be written.
    """
    require_texts(config.run.data.task)
    if config.run.data.is_multilabel and config.labeling.suggestion_column is not None:
        raise ConfigError("--suggestion-column is for one class a text, and --task is multilabel; leave it out")
    run = from_anywhere(config.run)
    texts, given = _texts_and_labels(SessionConfig(run, config.labeling))
    if len(texts) < 2:
        raise DataError(f"{config.run.data.dataset!r} has {len(texts)} texts; wanted two or more")
    class_names = config.labeling.labels or _class_names(run.data, texts, given)
    if len(class_names) < 2:
        raise DataError(f"the classes are not known; name two or more with {flag('labels')} NAME NAME ...")
    if unknown := sorted(_names_in(given) - set(class_names)):
        columns = run.data.label_columns or [run.data.label_column]
        raise DataError(
            f"column {listed(columns)} holds the labels {unknown[:10]}, but {flag('labels')} names "
            f"{class_names}; name all of them, another column with --label-column, or leave the file's labels out with "
            "--ignore-labels"
        )
    suggestions = read_suggestions(texts, config.labeling, ClassNumbers(class_names, {}), run.data.label_column)
    if suggestions is not None:
        suggestions.warn(str(config.labeling.suggestion_column))
    from dami_text.processes import use_device  # torch, which nothing else here needs

    use_device(run.training.device, small=run.model.kind.is_small)
    run, why = settled(run, texts)
    run = run.changed(cold_start=run.cold_start)
    warn_of_frequent_texts(texts, copy_hashes(texts))
    labeling = LabelingConfig(**asdict(config.labeling) | {"labels": class_names})
    try:
        with whole_folder(folder) as unfinished:
            texts.save_to_disk(str(unfinished / POOL))
            write_config(unfinished, SessionConfig(run, labeling))
            with closing(Store(unfinished / LABELS, create=True, multilabel=run.data.is_multilabel)) as store:
                fingerprint = fingerprint_of(content_hashes(texts)[0])
                found = {} if run.data.duplicates == "anywhere" else found_copies(texts)
                copies = Copies.of(found, len(texts))
                held_out = _drawn(copies, run, labeling)
                store.set_meta(fingerprint=fingerprint, sources=[fingerprint], held_out=held_out.tolist())
                store.set_meta(model_choice=why, asks_copies_once=run.data.duplicates != "anywhere")
                store.add_copies(found)
                store.add_labels(_labels(given, ClassNumbers(class_names, {}, multilabel=store.multilabel), copies))
            with Session(unfinished) as session:
                begin(session)
    except OSError as error:
        raise RecordError(f"cannot make the session {folder}: {error}; choose another with --session") from error
    return Session(folder)


def _texts_and_labels(config: SessionConfig) -> tuple[Dataset, Given]:
    """The texts that the options name but for empty ones, which are counted in a warning, and the labels they have."""
    labeling = config.labeling
    texts, given = load_texts(config.run.data, labeling.labels or (), ignore_labels=labeling.ignore_labels)
    blank = pc.equal(pc.utf8_trim_whitespace(texts.select_columns("text").with_format("arrow")[:]["text"]), "")
    kept = np.flatnonzero(~blank.to_numpy())
    if len(kept) == len(texts):
        return texts, given
    logger.warning("%d of %d texts are empty: left out", len(texts) - len(kept), len(texts))
    return texts.select(kept), [given[row] for row in kept.tolist()]


def _names_in(given: Given) -> set[str]:
    """All names that labels have."""
    labels = [label if isinstance(label, list) else [label] for label in given if label is not None]
    return {name for label in labels for name in label}


def _class_names(config: DataConfig, texts: Dataset, given: Given) -> list[str]:
    """The classes of texts that came with these labels: a column's for each label, or all names."""
    if config.label_columns is None:
        return in_class_order(_names_in(given))
    columns = [name.removeprefix(OWN) for name in own_columns(texts.column_names)]
    return [find_column(columns, name) or name for name in config.label_columns]


def _labels(given: Given, classes: ClassNumbers, copies: Copies, first: int = 0) -> list[tuple[int, Label, str]]:
    """Row, label and annotator of the labels that texts came with; the first text is row `first`.

    Copies that are asked once have the label that most of them came with, and none where two are as frequent.
    """
    labels = [(row, classes.label(label)) for row, label in enumerate(given, first) if label is not None]
    agreed, undecided = labels_of_groups(labels, copies.first)
    if undecided:
        logger.warning("%d texts have copies with other labels, as many of each: they are asked", undecided)
    return [(row, label, FILE_ANNOTATOR) for row, label in agreed]


def _drawn(copies: Copies, run: RunConfig, labeling: LabelingConfig) -> Rows:
    """The rows to hold out (see `Session.held_out`), of texts that are asked."""
    order = numpy_stream(run.loop.seed, 0, "held out").permutation(len(copies.first))
    order = order[~np.isin(order, copies.others)]
    return order[: min(round(labeling.validation_share * len(order)), MOST_HELD_OUT)]


def require_source(session: Session, source: str) -> None:
    """Raise ConfigError if `source` is another than the session was made of, or has other texts by now."""
    data = session.config.run.data
    local = Path(source).exists()
    if (Path(source).name != Path(data.dataset).name) if local else (source != data.dataset):
        found = f"{session.folder} was made of {data.dataset}, not of {source}"
    elif local and not _is_source(session, load_texts(replace(data, dataset=source))[0]):
        found = f"{source} has other texts than {session.folder} was made of"
    else:
        return
    raise ConfigError(
        f"{found}; make another session with --session NAME, or name {session.folder} itself to go on with its texts"
    )


def _is_source(session: Session, texts: Dataset) -> bool:
    """Whether a session was made of these texts, with or without the empty ones."""
    hashes = content_hashes(texts)[0]
    filled = [bool(text.strip()) for batch in texts.select_columns("text").iter(10_000) for text in batch["text"]]
    return not {fingerprint_of(hashes), fingerprint_of(hashes[filled])}.isdisjoint(session.sources)


def add_texts(session: Session, source: str) -> tuple[int, int]:
    """Add the texts of another file, or those that the session's own file has got since, to the pool.

    The file is read with the session's options. A text that the session has as often is not added again. Labels that
    the new texts have count as given by FILE_ANNOTATOR. What is held out stays so, and the same share of the new texts
    is held out beside it; copies of texts that the session has go where these are.

    Returns:
        How many texts were added, and how many the session had.

    Raises:
        DataError: the file cannot be read, or has labels that are no classes of the session.
        RecordError: the session cannot be written.
    """
    config = session.config
    data = replace(config.run.data, dataset=source)
    labeling = config.labeling
    texts, given = _texts_and_labels(SessionConfig(replace(config.run, data=data), labeling))
    if unknown := sorted(_names_in(given) - {*session.class_names, *session.renamed}):
        raise DataError(
            f"{source} holds the labels {unknown[:10]}, but the classes are {session.class_names}; add them first with "
            f"`dami-text label {session.folder} --labels ...`, all classes named, the new ones last"
        )
    hashes, places = content_hashes(texts)
    known = session.rows_by_id
    new = np.array([row for row in range(len(texts)) if stable_id(hashes[row], places[row]) not in known], np.int64)
    if not len(new):
        return 0, len(texts)
    pool, n = session.pool(), len(session)
    whole_pool = concatenate_datasets([pool, _with_columns(texts.select(new), pool, source)])
    read_suggestions(whole_pool, labeling, session.class_numbers, data.label_column)  # what cannot be read is told now
    found = _copies_among_new(session, whole_pool)
    copies = Copies.of(session.store.copies() | found, len(whole_pool))
    held_out = np.concatenate([session.held_out, _drawn_beside(session, whole_pool, copies)])
    name = f"{POOL}-{int(session.pool_name.partition('-')[2] or 1) + 1}"
    try:
        shutil.rmtree(session.folder / name, ignore_errors=True)  # of a call that was killed
        with whole_folder(session.folder / name) as unfinished:
            whole_pool.save_to_disk(str(unfinished))
        with session.store.transaction():
            fingerprint = fingerprint_of(content_hashes(whole_pool)[0])
            sources = [*session.sources, fingerprint_of(hashes), fingerprint]
            session.store.set_meta(
                pool=name, fingerprint=fingerprint, sources=sources, held_out=held_out.astype(int).tolist()
            )
            session.store.add_copies(found)
            known_labels = session.store.decided()
            labels = _labels([given[row] for row in new], session.class_numbers, copies, n)
            session.store.add_labels(label for label in labels if label[0] >= n or label[0] not in known_labels)
    except OSError as error:
        raise RecordError(f"cannot write to {session.folder}: {error}; make room or make it writable") from error
    old = session.pool_name
    session.refresh()
    shutil.rmtree(session.folder / old, ignore_errors=True)
    return len(new), len(texts) - len(new)


def _with_columns(texts: Dataset, pool: Dataset, source: str) -> Dataset:
    """The texts with the columns of the pool, of its types; null where they have none of that name.

    Raises:
        DataError: a column cannot be of the pool's type.
    """
    table = texts.with_format("arrow")[:]
    columns = {}
    for field in pool.features.arrow_schema:
        found = table[field.name] if field.name in table.column_names else pa.nulls(len(table), field.type)
        try:
            columns[field.name] = found.cast(field.type)
        except pa.ArrowException as error:
            name = field.name.removeprefix(OWN)
            raise DataError(
                f"column {name!r} of {source} holds {found.type}, and that of the session {field.type}; convert it"
            ) from error
    return Dataset(pa.table(columns)).cast(pool.features)


def _copies_among_new(session: Session, whole_pool: Dataset) -> dict[int, int]:
    """Which row stands for each new row that is a copy; empty for a session that asks for each."""
    if not session.store.meta("asks_copies_once"):
        return {}
    n, first = len(session), session.copies.first
    found = {row: stands for row, stands in found_copies(whole_pool).items() if row >= n}
    return {row: int(first[stands]) if stands < n else stands for row, stands in found.items()}


def _drawn_beside(session: Session, whole_pool: Dataset, copies: Copies) -> Rows:
    """Which of the new rows to hold out: the share of those that are no copies, and the copies of held-out texts.

    Copies that are asked once go where the text is without being held out themselves.
    """
    config, n_old = session.config, len(session)
    new = np.arange(n_old, len(whole_pool))
    order = n_old + numpy_stream(session.seed, n_old, "held out").permutation(len(new))
    most = max(0, MOST_HELD_OUT - len(session.held_out))
    if session.store.meta("asks_copies_once"):
        order = order[~np.isin(order, copies.others)]
        return order[: min(round(config.labeling.validation_share * len(order)), most)]
    room = min(round(config.labeling.validation_share * len(new)), most)
    if config.run.data.duplicates == "anywhere":
        return order[:room]
    hashes = copy_hashes(whole_pool)
    fresh = order[~np.isin(hashes[order], hashes[:n_old])]
    beside = new[np.isin(hashes[new], hashes[session.held_out])]
    return np.concatenate([deal(fresh, hashes[fresh], [room])[0], beside])
