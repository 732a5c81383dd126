"""What the Hub holds: found, pinned to a commit, and one clear error where it refuses or cannot be reached."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import datasets
import huggingface_hub
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from dami_text.errors import ConfigError, DamiError, HubError
from dami_text.escaping import short_message

logger = logging.getLogger(__name__)

HUB_TIMEOUT = 5.0  # seconds for the Hub's first answer


@dataclass(frozen=True, kw_only=True)
class Sought:
    """A repository of the Hub that a user has named, and how errors speak of it.

    Attributes:
        kind, name, revision: what is sought; no revision is the main branch.
        shown: how an error begins, such as --model 'acme/x'.
        missing: what it is not on this machine, such as "no folder here".
        spelling, spelling_of_revision: what the user may have misspelt.
        instead: what else the user can give.
        error: what is raised where the Hub's answer is no.
        refused: what is raised where the Hub refuses access.
    """

    kind: Literal["model", "dataset"]
    name: str
    revision: str | None
    shown: str
    missing: str = "no folder here"
    spelling: str = "the spelling"
    spelling_of_revision: str = "the spelling"
    instead: str | None = None
    error: type[DamiError] = ConfigError
    refused: type[DamiError] = HubError

    def gated(self) -> DamiError:
        """The error for a repository that the Hub shows to those alone who have asked for access."""
        told = f"{self.shown} is gated on the Hub; ask for access on its page and log in with `hf auth login`"
        return self.refused(told + (f", or {self.instead}" if self.instead else ""))


class Unreachable(Exception):  # noqa: N818 - no failure yet: the cache may have a copy
    """The Hub is out of reach; the cause says why."""


def commit_of(sought: Sought) -> str:
    """The commit of a repository of the Hub.

    Raises:
        Unreachable: the Hub is out of reach.
        DamiError: as `sought` says, for a name that is no Hub id, and where the Hub has no such repository or
            revision, or refuses access.
    """
    found = f"{sought.shown} is {sought.missing}, and"
    try:
        # One request without retries: the libraries alone need 23 seconds to find the Hub out of reach.
        api = huggingface_hub.HfApi()
        info = api.repo_info(sought.name, repo_type=sought.kind, revision=sought.revision, timeout=HUB_TIMEOUT)
        return str(info.sha)
    except HFValidationError as error:
        raise sought.error(f"{found} no Hub id; check {sought.spelling}") from error
    except GatedRepoError as error:
        raise sought.gated() from error
    except RevisionNotFoundError as error:
        raise sought.error(
            f"{sought.shown} has no revision {sought.revision!r} on the Hub; check {sought.spelling_of_revision}"
        ) from error
    except RepositoryNotFoundError as error:
        kind = "data set" if sought.kind == "dataset" else sought.kind
        what = [f"check {sought.spelling}", "log in with `hf auth login`", *filter(None, [sought.instead])]
        raise sought.error(
            f"{found} the Hub has no such {kind}, or a private one; {', '.join(what[:-1])}, or {what[-1]}"
        ) from error
    except Exception as error:  # of the Hub's transport, whichever library that is
        raise Unreachable from error


def model_commit(name: str, revision: str | None, option: str) -> str:
    """The commit of the Hub's model `name` at `revision`; from the cache where the Hub cannot be reached.

    Raises:
        ConfigError: `name` is no Hub id, or the Hub has no such model or revision.
        HubError: the Hub refuses it, or is out of reach and the cache has no copy.
    """
    sought = Sought(kind="model", name=name, revision=revision, shown=f"{option} {name!r}")
    try:
        return commit_of(sought)
    except Unreachable as error:
        cached = huggingface_hub.try_to_load_from_cache(name, "config.json", revision=revision, repo_type="model")
        if isinstance(cached, str):
            logger.warning("the Hub cannot be reached: using the copy of %s that is in the cache", name)
            return Path(cached).parent.name
        why = unreachable(error.__cause__ or error)
        raise HubError(
            f"{sought.shown} is {sought.missing}, and {why}, and the cache has no copy; give a local folder"
        ) from error.__cause__


def unreachable(error: BaseException) -> str:
    """That the Hub is out of reach, and why."""
    if isinstance(error, OfflineModeIsEnabled):
        return "the Hub is switched off by HF_HUB_OFFLINE (unset it to connect)"
    return f"the Hub cannot be reached: {short_message(error)}"


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn whatever goes wrong when a model is loaded into one line that begins with `what`."""
    try:
        yield
    except DamiError:
        raise
    except Exception as error:  # transformers lets through whatever its parsers and transports raise
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, GatedRepoError):
                raise HubError(
                    f"{what} is gated on the Hub; ask for access on its page and log in with `hf auth login`"
                ) from error
            cause = cause.__cause__ or cause.__context__
        raise ConfigError(f"{what} cannot be loaded: {short_message(error)}") from error


def no_progress_bars() -> None:
    """Keep datasets and transformers from drawing progress bars, to the end of this process."""
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()


@contextmanager
def progress_bars_hidden() -> Iterator[None]:
    """Keep datasets and transformers from drawing progress bars inside the block."""
    import transformers

    of_transformers = transformers.utils.logging
    hidden, loading = datasets.are_progress_bars_disabled(), of_transformers.is_progress_bar_enabled()
    no_progress_bars()
    try:
        yield
    finally:
        if not hidden:
            datasets.enable_progress_bars()
        if loading:
            of_transformers.enable_progress_bar()


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Keep the libraries from logging failures that are raised as well, missing cards, and heads that are to be new."""
    import transformers

    libraries = (datasets.logging, huggingface_hub.logging, transformers.utils.logging)
    verbosities = [library.get_verbosity() for library in libraries]
    try:
        for library in libraries:
            library.set_verbosity(logging.CRITICAL)
        yield
    finally:
        for library, verbosity in zip(libraries, verbosities, strict=True):
            library.set_verbosity(verbosity)
