"""The card of a model that was labelled for, and its way to the Hub."""

from pathlib import Path

from huggingface_hub import HfApi, ModelCard, ModelCardData
from huggingface_hub.errors import HfHubHTTPError

from dami_text.active_learning import ActiveLearner
from dami_text.errors import DamiError
from dami_text.labeling.progress import Proportion, agreements, progress_of
from dami_text.labeling.session import Session


def write_card(
    session: Session, folder: Path, learner: ActiveLearner, accuracy: Proportion | None
) -> dict[str, object]:
    """Write the model's README.md and return its facts by name."""
    done, config = progress_of(session), session.config.run
    facts: dict[str, object] = {
        "labelled texts": f"{done.n_labeled} of {done.n_texts}",
        "trained on": f"{len(learner.pool.labeled)} of them",
        "classes": ", ".join(f"{name} ({count})" for name, count in done.by_class.items()),
        "asked for by": config.strategy.strategy,
        "accuracy on held-out texts": "not measured" if accuracy is None else percentages(accuracy),
        "annotators": str(len(done.by_annotator)),
    }
    for pair in agreements(session):
        kappa = "undefined" if pair.kappa is None else f"{pair.kappa:.2f}"
        facts[f"agreement of {pair.first} and {pair.second}"] = f"Cohen's kappa {kappa} on {pair.n} texts"
    data = ModelCardData(library_name="transformers", pipeline_tag="text-classification", tags=["active-learning"])
    table = "\n".join(f"| {_cell(name)} | {_cell(str(value))} |" for name, value in facts.items())
    content = (
        f"---\n{data.to_yaml()}\n---\n\n# Text classifier, {config.model.model}\n\n"
        "Trained with dami_text on texts that its own queries chose and people labelled.\n\n"
        f"| | |\n|---|---|\n{table}\n\n"
        "Held-out texts were drawn at random from all texts before the first label and are in no training. The "
        "accuracy holds for texts like these, with labels by the same people, and for no others.\n\n"
        "    import dami_text  # registers the model's class\n"
        "    from transformers import pipeline\n"
        '    classify = pipeline("text-classification", model="PATH")\n'
    )
    ModelCard(content).save(folder / "README.md")
    return facts


def percentages(share: Proportion) -> str:
    """A share with its interval, in words."""
    return f"{share.value:.1%} (95% interval {share.low:.1%} to {share.high:.1%}, {share.n} texts)"


def _cell(text: str) -> str:
    """Text from outside as a cell of a Markdown table."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    for special in "\\`*_{}[]()<>#!|&":
        plain = plain.replace(special, f"\\{special}" if special not in "<>&" else f"&#{ord(special)};")
    return plain


def push_to_hub(folder: Path, repository: str) -> str:
    """Upload the folder as a model and return its address.

    Raises:
        DamiError: the Hub cannot be reached, or refuses.
    """
    try:
        api = HfApi()
        url = api.create_repo(repository, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder)
        return str(url)
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise DamiError(
            f"cannot push to {repository}: {error}; log in with `hf auth login`, or upload {folder} later"
        ) from error
