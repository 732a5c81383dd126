"""A learner in a folder: its texts, its options and what happened, in files that run nothing when they are read.

learner.json    the format's number, the classes, the options, and the events in their order
texts.parquet   the pool's texts, a row each

The model is not saved: it depends on these alone, and is trained again when it is asked for.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from dami_text.errors import RecordError
from dami_text.escaping import to_json
from dami_text.files import whole_folder

FORMAT, LEARNER, TEXTS = 1, "learner.json", "texts.parquet"


def write_learner(folder: Path, texts: Dataset, state: Mapping[str, Any]) -> None:
    """Write a learner; the folder is new, empty, or has a learner already, which is replaced.

    Raises:
        RecordError: the folder holds something else, or cannot be written.
    """
    has_learner = (folder / LEARNER).is_file()
    try:
        if folder.exists() and not has_learner and (not folder.is_dir() or any(folder.iterdir())):
            raise RecordError(f"{folder} is there already and holds no learner; choose another folder")
        with whole_folder(folder, overwrite=has_learner) as unfinished:
            pq.write_table(pa.table({"text": texts.with_format("arrow")[:]["text"]}), unfinished / TEXTS)
            (unfinished / LEARNER).write_text(to_json({"format": FORMAT, **state}) + "\n", encoding="utf-8")
    except OSError as error:
        raise RecordError(f"cannot write {folder}: {error}; choose another folder") from error


def read_learner(folder: Path) -> tuple[Dataset, dict[str, Any]]:
    """The texts and the state that `write_learner` wrote.

    Raises:
        RecordError: there is no learner, it is damaged, or it is of a later version.
    """
    try:
        state = json.loads((folder / LEARNER).read_text(encoding="utf-8"))
        texts = Dataset(pa.table({"text": pq.read_table(folder / TEXTS)["text"].cast(pa.string())}))
        number = state.pop("format")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise RecordError(f"{folder} holds no learner that can be read ({error}); give a folder of save()") from error
    if number != FORMAT:
        raise RecordError(f"{folder} is of format {number}, and this version reads {FORMAT}; install a later version")
    return texts, state
