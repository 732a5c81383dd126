"""Fitted estimators of scikit-learn as files that run nothing when they are read: skops instead of pickle."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dami_text.errors import ConfigError

#: What makes features of a table's rows, and of texts, beside the model that reads them.
TABLE_ENCODER, TEXT_ENCODER = "table_encoder.skops", "text_encoder.skops"


def write_estimator(estimator: Any, file: Path) -> None:
    """Write a fitted estimator; the file's name ends in .skops."""
    import skops.io

    skops.io.dump(estimator, file)


def read_estimator(file: Path, kind: type, trusted: Sequence[str] = ()) -> Any:
    """Read an estimator of a `kind`, whose parts are scikit-learn's, NumPy's, or `trusted` by name.

    Raises:
        ConfigError: the file is damaged, or holds something else.
    """
    import skops.io

    try:
        trusted = ["numpy.dtype", *trusted]
        unknown = sorted({*skops.io.get_untrusted_types(file=file)} - {*trusted})
        found = None if unknown else skops.io.load(file, trusted=trusted)
    except Exception as error:  # whatever zip, JSON, NumPy and imports raise
        raise ConfigError(f"{file} cannot be read ({error}); train the model again") from error
    if unknown or not isinstance(found, kind):
        held = ", ".join(unknown[:3]) or type(found).__name__
        raise ConfigError(f"{file} holds {held}, which does not belong there; wanted a {kind.__name__}")
    return found
