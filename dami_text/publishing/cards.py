"""Model cards: what a model was trained on and how, in the Hub's layout, by huggingface_hub's own ModelCard.

Names of classes, data sets and options come from outside: in the text they are shown, never read as Markdown or HTML.
No text of the pool stands in a card.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from dami_text.config.fields import flag
from dami_text.config.metrics import is_known, measured_class, split_metric
from dami_text.config.paths import PATHS
from dami_text.config.run import RunConfig
from dami_text.data.readers import ALIASES
from dami_text.environment import environment
from dami_text.escaping import markdown
from dami_text.models.scores import ClassReport

TEMPLATE = Path(__file__).with_name("model_card_template.md")

#: The names that the Hub and its readers know the metrics by, and those for people.
METRIC_NAMES = {
    "accuracy": ("accuracy", "Accuracy"),
    "macro_f1": ("f1", "Macro F1"),
    "micro_f1": ("f1", "Micro F1"),
    "roc_auc": ("roc_auc", "ROC AUC"),
    "balanced_accuracy": ("balanced_accuracy", "Balanced accuracy"),
    "matthews_correlation": ("matthews_correlation", "Matthews' correlation"),
    "average_precision": ("average_precision", "Average precision"),
    "samples_f1": ("f1", "Samples F1"),
    "subset_accuracy": ("accuracy", "Subset accuracy"),
    "micro_average_precision": ("average_precision", "Micro average precision"),
    "f1": ("f1", "F1"),
    "precision": ("precision", "Precision"),
    "recall": ("recall", "Recall"),
}

#: How the texts of the start were chosen.
START = {
    "random": "at random",
    "typical": "typical of clusters of features",
    "described": "by their likeness to descriptions of the classes",
    "kmeans-features": "nearest to the means of features",
    "strategy": "by the strategy, with the head that the encoder had",
    "balanced": "by class",
}

#: What numbers of labels count where training used no others.
IN_ALL = "labels in all"


def labels_counted(validation: Collection[int | None]) -> str:
    """What the numbers of labels of runs count, given how many labels for validation stopped each run's trainings.

    None is a number that was not recorded.

    Examples:
        >>> labels_counted([0]), labels_counted([900]), labels_counted([None])
        ('labels in all', 'labels beside 900 validation labels', 'labels beside those of a validation split')
    """
    found = sorted({-1 if n is None else n for n in validation})
    if found[-1] == 0:
        return IN_ALL
    if found[0] < 0:
        return "labels beside those of a validation split"
    return f"labels beside {' to '.join(f'{n:,}' for n in dict.fromkeys((found[0], found[-1])))} validation labels"


@dataclass(frozen=True)
class SimulatedLabels:
    """Labels that a data set had.

    Attributes:
        n_validation, n_test: its texts for validation (0 where there are none) and for test.
        counted: what the numbers of labels count, as `labels_counted` says it.
    """

    n_validation: int
    n_test: int
    counted: str

    @property
    def in_all(self) -> bool:
        """Whether training used no label beyond those that are counted."""
        return self.counted == IN_ALL


@dataclass(frozen=True, kw_only=True)
class AnnotatorLabels:
    """Labels that people gave, and on what the model was measured.

    Attributes:
        n_before: labels that the texts had before anybody was asked.
        n_trained_on, n_held_out: how many of all labels trained the model, and how many measured it.
        by_annotator: how many texts each annotator labelled; nobody's name stands in a card.
        agreements: of two annotators each, in words.
        accuracy: the model's on the held-out texts with its interval, in words, or its micro F1 where a text has any
            number of labels; None where it was not measured.
    """

    n_before: int
    n_trained_on: int
    n_held_out: int
    by_annotator: Sequence[int]
    agreements: Sequence[str]
    accuracy: str | None


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card tells of a model.

    Attributes:
        config: the options of data, model and strategy.
        options: all options by name.
        n_texts: texts there were to choose from.
        n_labeled: how many of them are labelled.
        class_counts: the labels of each class.
        rounds: the number of labels and the metrics of each round's model, by name; none where it was not measured.
        metrics: the model's own.
        curve_metric: the metric whose learning curve is told.
        commit: the commit of the Hub's model that training started from, if any.
        labels: where the labels are from.
        report: what the accuracy does not show; None where it was not measured.
        needs_dami_text: whether transformers can load the model only with dami_text's classes.
        long_texts: a sentence on the texts that are longer than the model takes, if there are any.
        thresholds: from which probability on classes are predicted that have another threshold than one half.
        merged: whether a model's adapter is merged into its base.
        n_without_label: how many of the labelled texts have none of the labels, where a text has any number of them.
    """

    config: RunConfig
    options: Mapping[str, Any]
    n_texts: int
    n_labeled: int
    class_counts: Mapping[str, int]
    rounds: Sequence[tuple[int, Mapping[str, float]]]
    metrics: Mapping[str, float]
    curve_metric: str
    commit: str | None
    labels: SimulatedLabels | AnnotatorLabels
    report: ClassReport | None = None
    needs_dami_text: bool = False
    long_texts: str | None = None
    thresholds: Mapping[str, float] | None = None
    merged: bool = False
    n_without_label: int | None = None

    @property
    def is_adapter(self) -> bool:
        """Whether the model is an adapter, which is loaded with its base."""
        return self.config.model.lora is not None and not self.merged


def run_facts(
    config: RunConfig,
    rounds: Sequence[Mapping[str, Any]],
    sizes: Mapping[str, int],
    commit: str | None,
    *,
    needs_dami_text: bool = False,
    long_texts: str | None = None,
    thresholds: Mapping[str, float] | None = None,
    merged: bool = False,
) -> CardFacts:
    """The facts of a run with these round lines, one at least, and numbers of texts by split; see `CardFacts`."""
    last, n_validation = rounds[-1], sizes["validation"]
    validates = config.model.kind.validates(config.options())
    return CardFacts(
        config=config,
        options=config.options(),
        n_texts=sizes["train"],
        n_labeled=last["n_labeled"],
        class_counts=last["class_counts"],
        rounds=[(line["n_labeled"], line["metrics"]) for line in rounds],
        metrics=last["metrics"],
        curve_metric=config.training.metric,
        commit=commit,
        labels=SimulatedLabels(n_validation, sizes["test"], labels_counted([n_validation if validates else 0])),
        report=ClassReport.of_round(last),
        needs_dami_text=needs_dami_text,
        long_texts=long_texts,
        thresholds=thresholds,
        merged=merged,
        n_without_label=last.get("n_without_label"),
    )


def model_card(facts: CardFacts) -> ModelCard:
    """The card of a model. It holds no time or date: on one machine the same facts give the same card."""
    config = facts.config
    model, dataset = public_name(config.model.model), public_name(config.data.dataset)
    first = facts.rounds[0][0] if facts.rounds else facts.n_labeled
    template: dict[str, Any] = {
        "title": markdown(f"{Path(model).name} on {Path(dataset).name}, {config.strategy.strategy}"),
        "model": markdown(model) + (f", commit {markdown(facts.commit)}" if facts.commit else ""),
        "strategy": markdown(config.strategy.strategy),
        "dataset": markdown(dataset),
        "class_names": ", ".join(map(markdown, facts.class_counts)),
        "class_counts": ", ".join(f"{markdown(name)} {n}" for name, n in facts.class_counts.items()),
        "simulated": isinstance(facts.labels, SimulatedLabels),
        "labels": facts.labels,
        "n_texts": facts.n_texts,
        "n_labeled": facts.n_labeled,
        "share": f"{facts.n_labeled / facts.n_texts:.1%}",
        "n_first": first,
        "n_rounds": len(facts.rounds),
        "start": "by a model trained before" if config.loop.init_model else START[config.cold_start],
        "multilabel": config.data.is_multilabel,
        "n_without_label": facts.n_without_label,
        "is_table": config.data.task == "tabular",
        "own_splits": config.data.splits == "keep",
        "seed": config.loop.seed,
        "in_pipeline": config.model.kind.in_pipeline,
        "needs_dami_text": facts.needs_dami_text,
        "long_texts": facts.long_texts,
        "thresholds": ", ".join(f"{markdown(name)} {value:.2g}" for name, value in (facts.thresholds or {}).items()),
        "truncates": config.tokenization.long_texts == "truncate",
        "rank": config.model.lora,
        "is_adapter": facts.is_adapter,
        "metric": markdown(metric_name(facts.curve_metric, [*facts.class_counts])),
        "results": [
            (markdown(metric_name(name, [*facts.class_counts])), f"{value:.4f}")
            for name, value in facts.metrics.items()
        ],
        "warnings": _warnings(facts.report),
        "curve": [
            (n, f"{n / facts.n_texts:.1%}", f"{metrics[facts.curve_metric]:.4f}")
            for n, metrics in facts.rounds
            if facts.curve_metric in metrics
        ],
        "options": [
            (flag(name), markdown(public_name(value) if name in PATHS else value))
            for name, value in facts.options.items()
            if value is not None and not (name == "dropout" and name not in config.model.kind.takes)
        ],
        "environment": _environment(),
    }
    card: ModelCard = ModelCard.from_template(metadata(facts), template_path=str(TEMPLATE), **template)
    return card


def _environment() -> str:
    """Where the model was trained, in a sentence."""
    found = environment()
    threads, device = found.pop("threads"), found.pop("device")
    on = f"{found.pop('cpu')}, {threads} thread{'s' * (threads != 1)}" + (f", {device}" if device != "cpu" else "")
    return f"{markdown(on)}; {', '.join(f'{name} {markdown(value)}' for name, value in found.items())}"


def _warnings(report: ClassReport | None) -> list[str]:
    """Sentences on what the accuracy does not show, to be shown as Markdown."""
    if report is None:
        return []
    largest = markdown(report.largest)
    share = f"the largest class, {largest}, has {report.largest_share:.1%} of these texts"
    told = [f"Macro F1 is {report.macro_f1:.4f}; {share}."]
    if report.never_predicted:
        told.append(f"The model never predicts {', '.join(map(markdown, report.never_predicted))}.")
    if report.knows_nothing:
        told.append(f"Its accuracy is no better than that of always saying {largest}.")
    return told


def metadata(facts: CardFacts) -> ModelCardData:
    """The card's header, its results, if there are any, as a model-index."""
    config = facts.config
    model, dataset, strategy = config.model.model, config.data.dataset, config.strategy.strategy
    on_hub = hub_id(dataset)
    task = "tabular-classification" if config.data.task == "tabular" else "text-classification"
    split: str | None = "held-out"
    if isinstance(facts.labels, SimulatedLabels):  # a split of one's own is not the data set's
        split = "test" if config.data.splits == "keep" else None
    results = [
        EvalResult(
            task_type=task,
            task_name=task.replace("-", " ").capitalize(),
            dataset_type=on_hub or plain(public_name(dataset)),
            dataset_name=plain(Path(public_name(dataset)).name),
            dataset_config=config.data.dataset_config,
            dataset_split=split,
            dataset_revision=config.data.revision,
            metric_type=METRIC_NAMES.get(split_metric(name)[0], (plain(public_name(name)),))[0],
            metric_name=plain(metric_name(name, [*facts.class_counts])),
            metric_value=value,
        )
        for name, value in facts.metrics.items()
    ]
    parts = (Path(public_name(dataset)).name, Path(public_name(model)).name, strategy)
    return ModelCardData(
        model_name=plain("-".join(parts)) if results else None,  # which is part of the model-index
        base_model=hub_id(model) if config.model.kind.is_pretrained else None,
        datasets=[on_hub] if on_hub else None,
        eval_results=results or None,
        library_name=_library(facts),
        metrics=sorted({result.metric_type for result in results}) or None,
        pipeline_tag=task,
        tags=[
            *("active-learning", "dami_text", plain(strategy)),
            *(["lora"] if facts.is_adapter else []),
            *(["multi-label-classification"] if config.data.is_multilabel else []),
        ],
    )


def _library(facts: CardFacts) -> str:
    """The library that loads the model."""
    if not facts.config.model.kind.in_pipeline:
        return "dami_text"
    return "peft" if facts.is_adapter else "transformers"


def plain(text: str) -> str:
    """A name from outside on one line of printable characters, for the header."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def metric_name(metric: str, class_names: Sequence[str]) -> str:
    """A metric's name for people, with the one of the classes (C,) that it is of, if it is of one."""
    if not is_known(metric):
        return Path(public_name(metric)).name
    of = measured_class(metric, class_names)
    name = METRIC_NAMES[split_metric(metric)[0]][1]
    return name if of is None else f"{name} of {class_names[of]}"


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
