"""All options of a run, and those of a labelling session."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from dami_text.config.conflicts import check_together
from dami_text.config.data_options import DataConfig, TabularConfig, TokenizationConfig, WordVectorConfig
from dami_text.config.defaults import DEMO_BUDGET, PAPER, implied_options
from dami_text.config.fields import Options, Size, option
from dami_text.config.options import LoopConfig, ModelConfig, StrategyConfig, TrainingConfig
from dami_text.errors import ConfigError, arguments_named


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """All options that decide a run's result, by topic. `RunConfig.of` makes one of options by name.

    Examples:
        >>> config = RunConfig.of(dataset="mr", budget=500)
        >>> config.loop.budget.value, config.changed(seed=7).loop.seed
        (500, 7)

    Raises:
        ConfigError: options that do not go together.
    """

    data: DataConfig = DataConfig()
    tabular: TabularConfig = TabularConfig()
    tokenization: TokenizationConfig = TokenizationConfig()
    word_vectors: WordVectorConfig = WordVectorConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    strategy: StrategyConfig = StrategyConfig()
    loop: LoopConfig = LoopConfig()

    def __post_init__(self) -> None:
        topics = [getattr(self, topic.name) for topic in dataclasses.fields(self)]
        fields = [(topic, f) for topic in topics for f in dataclasses.fields(topic)]
        check_together(self.options(), [f.name for topic, f in fields if getattr(topic, f.name) != f.default])

    @property
    def sizes(self) -> dict[str, Size]:
        """The initial size, the query size and the budget, the paper's where they were left open."""
        paper = PAPER | ({"budget": DEMO_BUDGET} if self.data.dataset == "demo" else {})
        return {name: getattr(self.loop, name) or Size(default) for name, default in paper.items()}

    @property
    def cold_start(self) -> str:
        """The cold start; where that is auto, what suits a model that is chosen."""
        loop = self.loop
        if loop.cold_start != "auto":
            return loop.cold_start
        by_features = self.model.freeze_encoder and loop.init_model is None
        return "described" if loop.describe else "typical" if by_features else "random"

    @classmethod
    def of(cls, **options: Any) -> Self:
        """A config from options by name; the rest is implied by them or at its default.

        Examples:
            >>> RunConfig.of(dataset="subj", model="bilstm", seed=3).model.model
            'bilstm'

        Raises:
            ConfigError: for a name that no topic knows, or a value that cannot work.
        """
        with arguments_named():
            return cls.of_options(options)

    @classmethod
    def of_options(cls, options: Mapping[str, Any]) -> Self:
        """The same, with errors that speak of flags."""
        topics = {}
        options = implied_options(options) | dict(options)
        for topic in dataclasses.fields(cls):
            kind: Any = type(topic.default)
            names = {f.name for f in dataclasses.fields(kind)}
            topics[topic.name] = kind(**{name: options.pop(name) for name in names & options.keys()})
        if options:
            raise ConfigError(f"unknown options {sorted(options)}; the options are listed by --help")
        return cls(**topics)

    def sizes_of(self, n: int) -> dict[str, Size]:
        """The sizes for n texts; those that were left open are one text at least."""
        return {
            name: Size(1) if getattr(self.loop, name) is None and size.value * n < 1 else size
            for name, size in self.sizes.items()
        }

    def changed(self, **options: Any) -> Self:
        """The config with other values of some options."""
        topics = {topic.name: getattr(self, topic.name) for topic in dataclasses.fields(self)}
        for name, topic in topics.items():
            own = {f.name for f in dataclasses.fields(topic)} & options.keys()
            topics[name] = dataclasses.replace(topic, **{option: options[option] for option in own})
        return dataclasses.replace(self, **topics)

    def options(self) -> dict[str, Any]:
        """All options by name, as plain values (what config.yaml holds)."""
        flat = {}
        for topic in dataclasses.fields(self):
            for f in dataclasses.fields(getattr(self, topic.name)):
                flat[f.name] = getattr(getattr(self, topic.name), f.name)
        return flat | {name: size.value for name, size in self.sizes.items()}


@dataclass(frozen=True, kw_only=True)
class LabelingConfig(Options):
    """How people label a file of texts: what a session keeps from its first day to its last."""

    _argument_group_name: ClassVar[str] = "labelling"

    labels: list[str] | None = option(None, "the classes, in the order of their keys; at least two")
    ignore_labels: bool = option(False, "leave out the labels that the file has, which are about something else")
    validation_share: float = option(
        0.1, "share of the labelled texts, drawn at random from all, that is kept out of training to measure accuracy"
    )
    overlap: int = option(1, "how many annotators label each shared text (see --overlap-share)")
    overlap_share: float = option(0.1, "share of the texts that --overlap annotators label")
    suggestion_column: str | None = option(
        None, "a column of labels by a rule, a model or an LLM: shown on demand, never counted as labels"
    )
    suggestion_score_column: str | None = option(None, "a column of how sure these are, from 0 to 1")
    ask: Literal["strategy", "disagreement"] = option(
        "strategy",
        "what is asked once there is a model: what the strategy chooses, or first the texts for which the model is "
        "surest of another class than --suggestion-column",
    )
    near_duplicates: float = option(
        0.95,
        "texts whose features, of a frozen encoder or TF-IDF, have this cosine similarity or more never come in one "
        "query; 1 lets them",
    )
    lease_minutes: float = option(10.0, "after this many minutes without an answer a text goes to another annotator")

    def _check(self) -> None:
        names = self.labels
        if names is not None:
            fit = len(names) >= 2 and len(set(names)) == len(names) and all(name.strip() for name in names)
            self.require(fit, "labels", "two names or more, all different and none of them empty")
        self.require(0 <= self.validation_share <= 0.5, "validation_share", "from 0 to 0.5")
        self.require(self.overlap >= 1, "overlap", "at least 1")
        self.require(0 <= self.overlap_share <= 1, "overlap_share", "from 0 to 1")
        given = self.suggestion_column is not None
        self.require(
            given or self.suggestion_score_column is None,
            "suggestion_score_column",
            "left out without --suggestion-column",
        )
        self.require(given or self.ask == "strategy", "ask", "strategy, or given with --suggestion-column")
        self.require(0 < self.near_duplicates <= 1, "near_duplicates", "greater than 0 and at most 1")
        self.require(0 < self.lease_minutes < math.inf, "lease_minutes", "greater than 0 and finite")
