"""To the Hub: models with their cards, a run's records, labelled texts as a data set, models that carry their code."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import datasets
import numpy as np
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, RepositoryNotFoundError
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dami_text.data.hub import HUB_TIMEOUT, quiet_hub, unreachable
from dami_text.errors import ConfigError, DamiError, HubError, RecordError
from dami_text.escaping import short_message
from dami_text.models.auto import is_own


def check_push(repository: str, kind: str, private: bool) -> None:
    """See that a push can work before hours are spent on what is to be pushed.

    `kind` is "model" or "dataset".

    Raises:
        ConfigError: `repository` is no Hub id, or `private` of a repository that is public.
        HubError: nobody is logged in, or the Hub is out of reach.
    """
    option = _option(kind)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ConfigError(f"{option} is {repository!r}; it must be a Hub id such as ORG/NAME")
    with _explained(f"{option} {repository}"):
        HfApi().whoami()
        try:
            info = HfApi().repo_info(repository, repo_type=kind, timeout=HUB_TIMEOUT)
        except RepositoryNotFoundError:
            return
        if private and not info.private:
            raise ConfigError(
                f"{option} {repository} is public, and --private does not change that; make it private on its page, or "
                "choose another"
            )


def push_run(folder: Path, model: str, records: Sequence[str], repository: str, private: bool) -> str:
    """Push a finished run's model with its card, and its records in the folder `run`, in one commit; return its URL.

    Args:
        folder: the run's folder.
        model, records: the names in it of the model's folder and of the files of records, as far as they are there.
        repository: the Hub id.
        private: make a new repository private.

    Raises:
        HubError: the Hub refuses, cannot be reached or breaks off; it holds what it held before then.
    """
    beside = {f"run/{name}": folder / name for name in records if (folder / name).exists()}
    return _push(_files(folder / model) | beside, repository, private, f"the run is complete in {folder}")


def push_model(folder: Path, repository: str, private: bool) -> str:
    """Push a model's folder, its card among the files, in one commit; return its URL.

    Raises:
        HubError: as `push_run`.
    """
    return _push(_files(folder), repository, private, f"the model is complete in {folder}")


def push_labels(labeled: datasets.Dataset, repository: str, private: bool, folder: Path) -> str:
    """Push a run's labelled texts (see `labeled_dataset`) and return the commit's URL.

    Raises:
        HubError: the Hub refuses, cannot be reached or breaks off.
    """
    with _explained(f"--push-dataset {repository}", f"the run is complete in {folder}"):
        commit = labeled.push_to_hub(repository, private=private)
    return str(commit.commit_url)


def labeled_dataset(
    texts: list[str], labels: NDArray[np.int64] | list[int], class_names: list[str], **columns: list[Any]
) -> datasets.Dataset:
    """Labelled texts as a data set: text, label, or a list of them, and other columns; dictionaries become JSON."""
    label: Any = datasets.ClassLabel(names=class_names)
    labels = np.asarray(labels)
    several = labels.ndim == 2
    features = datasets.Features(text=datasets.Value("string"), label=datasets.Sequence(label) if several else label)
    numbers = [np.flatnonzero(row).tolist() for row in labels] if several else labels.tolist()
    data: dict[str, list[Any]] = {"text": texts, "label": numbers}
    for name, values in columns.items():
        as_json = any(isinstance(value, dict) for value in values)
        data[name] = [json.dumps(value, ensure_ascii=False) for value in values] if as_json else values
        features[name] = datasets.Value("string" if as_json or isinstance(values[0], str) else "int64")
    return datasets.Dataset.from_dict(data, features=features)


def export_code(folder: Path, target: Path) -> bool:
    """Save the model in `folder` to `target`, with the code that `trust_remote_code=True` loads where dami_text is not.

    Returns:
        False for a model of transformers' own, which needs no code; nothing is written then.
    """
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    if not is_own(model):
        return False
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with (
        _carrying_code(type(model), "AutoModelForSequenceClassification"),
        _carrying_code(type(model.config), "AutoConfig"),
    ):
        model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    if (folder / "README.md").exists():
        (target / "README.md").write_bytes((folder / "README.md").read_bytes())
    return True


def add_code(folder: Path) -> bool:
    """Put the code of the model in `folder` beside it, as `export_code`; what else is in the folder stays.

    Raises:
        RecordError: the folder cannot be written.
    """
    try:
        with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.absolute().parent) as made:
            if not export_code(folder, Path(made)):
                return False
            for file in sorted(Path(made).iterdir()):
                file.replace(folder / file.name)
    except OSError as error:
        raise RecordError(f"cannot write {folder}: {error}; make it writable") from error
    return True


@contextmanager
def _carrying_code(kind: Any, auto_class: str) -> Iterator[None]:
    """Have `save_pretrained` copy the module of `kind`, and those that it imports from beside it."""
    before = kind._auto_class
    kind.register_for_auto_class(auto_class)
    try:
        yield
    finally:
        kind._auto_class = before


def _files(folder: Path) -> dict[str, Path]:
    """The files in a folder by their names in it."""
    return {str(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if file.is_file()}


def _push(files: Mapping[str, Path], repository: str, private: bool, done: str) -> str:
    """Push files by their names in a model's repository, in one commit; `done` says what is not lost if that fails."""
    with _explained(f"--push-to-hub {repository}", done):
        api = HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.create_commit(
            repository,
            [CommitOperationAdd(name, str(file)) for name, file in files.items()],
            commit_message="A model of dami_text",
        )
    return str(commit.commit_url)


def _option(kind: str) -> str:
    return "--push-to-hub" if kind == "model" else "--push-dataset"


@contextmanager
def _explained(what: str, done: str = "") -> Iterator[None]:
    """Turn whatever the Hub's client raises into one line that begins with `what`; a token is never in it.

    `done` says what is complete already and can be pushed again.
    """
    again = f"; {done}, and the same command pushes again" if done else ""
    try:
        with quiet_hub():
            yield
    except DamiError:
        raise
    except LocalTokenNotFoundError as error:
        raise HubError(f"{what}: nobody is logged in to the Hub; log in with `hf auth login`{again}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status in (401, 403):
            raise HubError(
                f"{what}: the Hub refuses ({status}); log in with `hf auth login` and a token that may write{again}"
            ) from error
        raise HubError(f"{what}: the Hub answers {short_message(error)}{again}") from error
    except Exception as error:  # of the Hub's transport, whichever library that is
        raise HubError(f"{what}: {unreachable(error)}{again}") from error
