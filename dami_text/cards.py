"""Model cards: what a run was, in the Hub's layout, made from the template by huggingface_hub's own ModelCard.

Names of classes, data sets and options come from outside: in the text they are shown, never read as Markdown or HTML.
No text of the pool stands in a card.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from dami_text.config import RunConfig
from dami_text.data.readers import ALIASES
from dami_text.options import flag

TEMPLATE = Path(__file__).with_name("model_card_template.md")

#: The names that the Hub and its readers know the metrics by, and those for people.
METRIC_NAMES = {
    "accuracy": ("accuracy", "Accuracy"),
    "macro_f1": ("f1", "Macro F1"),
    "micro_f1": ("f1", "Micro F1"),
    "roc_auc": ("roc_auc", "ROC AUC"),
}
LIBRARIES = ("dami_text", "transformers", "torch", "datasets", "accelerate", "scikit-learn", "numpy")
PATHS = ("dataset", "word_vectors", "model", "init_model", "metric")  # options that may be local paths


@dataclass(frozen=True)
class RunSummary:
    """What a card tells of a run.

    Attributes:
        config: its options.
        rounds: its round lines, at least one.
        class_names: (C,)
        sizes: the numbers of texts by split: train, validation (0 where there is none) and test.
        commit: the commit of the Hub's model that training started from, if any.
    """

    config: RunConfig
    rounds: Sequence[Mapping[str, Any]]
    class_names: Sequence[str]
    sizes: Mapping[str, int]
    commit: str | None = None


def shown(value: object) -> str:
    """Text from outside as Markdown shows it: on one line, what could be markup or a link as character references."""
    line = " ".join(str(value).split())
    visible = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    markup = r"[^\w .,-]|_|(?<=www)\."
    return re.sub(markup, lambda match: f"&#{ord(match[0])};", visible, flags=re.IGNORECASE)


def model_card(run: RunSummary) -> ModelCard:
    """The card of a run's last model. It holds no time or date: the same run gives the same card."""
    config, last = run.config, run.rounds[-1]
    metric = config.training.metric
    model, dataset = public_name(config.model.model), public_name(config.data.dataset)
    start = {"random": "at random", "kmeans-features": "nearest to the means of features", "balanced": "by class"}
    template = {
        "title": shown(f"{Path(model).name} on {Path(dataset).name}, {config.strategy.strategy}"),
        "model": shown(model) + (f", commit {shown(run.commit)}" if run.commit else ""),
        "strategy": shown(config.strategy.strategy),
        "dataset": shown(dataset),
        "class_names": ", ".join(map(shown, run.class_names)),
        "class_counts": ", ".join(f"{shown(name)} {n}" for name, n in last["class_counts"].items()),
        "n_labeled": last["n_labeled"],
        "share": f"{last['labeled_fraction']:.1%}",
        "n_first": run.rounds[0]["n_labeled"],
        "n_queries": len(run.rounds) - 1,
        "start": "by a model trained before" if config.loop.init_model else start[config.loop.cold_start],
        "needs_dami_text": not config.model.is_encoder,
        "metric": shown(metric_name(metric)),
        "results": [(shown(metric_name(name)), f"{value:.4f}") for name, value in last["metrics"].items()],
        "curve": [
            (line["n_labeled"], f"{line['labeled_fraction']:.1%}", f"{line['metrics'][metric]:.4f}")
            for line in run.rounds
        ],
        "options": [
            (flag(name), shown(public_name(value) if name in PATHS else value))
            for name, value in config.options().items()
            if value is not None
        ],
        "versions": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        **{f"n_{split}": n for split, n in run.sizes.items()},
    }
    card: ModelCard = ModelCard.from_template(metadata(run), template_path=str(TEMPLATE), **template)
    return card


def metadata(run: RunSummary) -> ModelCardData:
    """The card's header, its results as a model-index."""
    config, metrics = run.config, run.rounds[-1]["metrics"]
    model, dataset, strategy = config.model.model, config.data.dataset, config.strategy.strategy
    on_hub = hub_id(dataset)
    results = [
        EvalResult(
            task_type="text-classification",
            task_name="Text classification",
            dataset_type=on_hub or plain(public_name(dataset)),
            dataset_name=plain(Path(public_name(dataset)).name),
            dataset_config=config.data.dataset_config,
            dataset_split="test",
            dataset_revision=config.data.revision,
            metric_type=METRIC_NAMES.get(name, (plain(public_name(name)),))[0],
            metric_name=plain(metric_name(name)),
            metric_value=value,
        )
        for name, value in metrics.items()
    ]
    parts = (Path(public_name(dataset)).name, Path(public_name(model)).name, strategy)
    return ModelCardData(
        model_name=plain("-".join(parts)),
        base_model=hub_id(model) if config.model.is_encoder else None,
        datasets=[on_hub] if on_hub else None,
        eval_results=results,
        library_name="transformers",
        metrics=sorted({result.metric_type for result in results}),
        pipeline_tag="text-classification",
        tags=["active-learning", "dami_text", plain(strategy)],
    )


def plain(text: str) -> str:
    """A name from outside on one line of printable characters, for the header."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def metric_name(metric: str) -> str:
    """A metric's name for people."""
    return METRIC_NAMES[metric][1] if metric in METRIC_NAMES else Path(public_name(metric)).name


def public_name(name: object) -> str:
    """A Hub id or an option's value as it is; of a local path its last part only: folders are nobody's business."""
    text = str(name)
    path = Path(text).expanduser()
    if path.is_absolute() or text.startswith((".", "~")) or path.exists():
        return path.name or path.resolve().name  # a link's own name where it is one
    return text


def hub_id(name: str) -> str | None:
    """The Hub id that `name` is or stands for; None for the demo and for local paths."""
    name = ALIASES.get(name, name)
    return name if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not Path(name).exists() else None
