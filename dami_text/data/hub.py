"""What the Hub holds: found, pinned to a commit, and one clear error where it refuses or cannot be reached."""

import logging
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import datasets
import huggingface_hub
import transformers
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from dami_text.errors import ConfigError, DamiError, HubError

logger = logging.getLogger(__name__)

HUB_TIMEOUT = 5.0  # seconds for the Hub's first answer


def resolve(kind: Literal["model", "dataset"], name: str, revision: str | None, option: str) -> str:
    """The commit of the Hub's repository `name` at `revision`; from the cache where the Hub cannot be reached.

    Raises:
        ConfigError: `name` is no Hub id, or the Hub has no such repository or revision.
        HubError: the Hub refuses it, or is out of reach and the cache has no copy.
    """
    found = f"{option} {name!r} is no folder here, and"
    try:
        # One request without retries: the libraries alone need 23 seconds to find the Hub out of reach.
        info = huggingface_hub.HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=HUB_TIMEOUT)
        return str(info.sha)
    except HFValidationError as error:
        raise ConfigError(f"{found} no Hub id; check the spelling") from error
    except GatedRepoError as error:
        raise _gated(f"{option} {name!r}") from error
    except RevisionNotFoundError as error:
        raise ConfigError(f"{option} {name!r} has no revision {revision!r} on the Hub; check the spelling") from error
    except RepositoryNotFoundError as error:
        raise ConfigError(
            f"{found} the Hub has no such {kind}, or a private one; check the spelling, or log in with `hf auth login`"
        ) from error
    except Exception as error:  # of the Hub's transport, whichever library that is
        cached = huggingface_hub.try_to_load_from_cache(name, "config.json", revision=revision, repo_type=kind)
        if isinstance(cached, str):
            logger.warning("the Hub cannot be reached: using the copy of %s that is in the cache", name)
            return Path(cached).parent.name
        raise HubError(f"{found} {unreachable(error)}, and the cache has no copy; give a local folder") from error


def unreachable(error: BaseException) -> str:
    """That the Hub is out of reach, and why."""
    if isinstance(error, OfflineModeIsEnabled):
        return "the Hub is switched off by HF_HUB_OFFLINE (unset it to connect)"
    return f"the Hub cannot be reached: {one_line(error)}"


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
                raise _gated(what) from error
            cause = cause.__cause__ or cause.__context__
        raise ConfigError(f"{what} cannot be loaded: {one_line(error)}") from error


def _gated(what: str) -> HubError:
    return HubError(f"{what} is gated on the Hub; ask for access on its page and log in with `hf auth login`")


def one_line(error: BaseException) -> str:
    """An error's message, or its name; messages may quote a whole file."""
    message = "".join(c if c.isprintable() else " " for c in str(error)[:1000])
    return textwrap.shorten(message, 300) or type(error).__name__


def no_progress_bars() -> None:
    """Keep datasets and transformers from drawing progress bars, to the end of this process."""
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Keep the libraries from logging failures that are raised as well, missing cards, and heads that are to be new."""
    libraries = (datasets.logging, huggingface_hub.logging, transformers.utils.logging)
    verbosities = [library.get_verbosity() for library in libraries]
    try:
        for library in libraries:
            library.set_verbosity(logging.CRITICAL)
        yield
    finally:
        for library, verbosity in zip(libraries, verbosities, strict=True):
            library.set_verbosity(verbosity)
