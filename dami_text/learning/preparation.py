"""From the options to what a run works on: splits, encoded; the models' start; the learner."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from dami_text.config.metrics import OF_ONE_CLASS, measured_class
from dami_text.config.run import RunConfig
from dami_text.data.readers import is_local
from dami_text.data.sources import load_source
from dami_text.data.splits import (
    Splits,
    labels_of,
    names_of_labels,
    rarefied,
    split_source,
    warn_of_copies,
    warn_of_missing_classes,
)
from dami_text.data.tabular import load_table
from dami_text.data.texts import LabeledTexts, Texts
from dami_text.errors import ConfigError
from dami_text.learning.cold_start import build_first_query
from dami_text.learning.learner import ActiveLearner
from dami_text.models.kinds.automatic import settled
from dami_text.models.source import ModelSource
from dami_text.processes import use_device
from dami_text.strategies import QueryStrategy, build_strategy, require_given, require_multilabel
from dami_text.strategies.function import strategy_name

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """What a run works on, decided by the data and model options and the seed alone.

    Attributes:
        train, validation, test: the splits; `--validation none` leaves no validation split.
        class_names: the classes, in the order of their numbers.
        source: what new models come from.
    """

    train: LabeledTexts
    validation: LabeledTexts | None
    test: LabeledTexts
    class_names: list[str]
    source: ModelSource


def prepare(config: RunConfig, *, any_strategy: bool = False) -> PreparedData:
    """Load the data set, split it, and make on the training split what encodes it and what models start from.

    With `any_strategy`, whether the models give what the strategy needs is left to `learner_of`.
    """
    if config.data.is_multilabel and not any_strategy:
        require_multilabel(build_strategy(config.strategy), config.strategy.strategy)
    splits = _splits(config)
    config, _ = settled(config, splits.train)
    class_names = names_of_labels(splits.train)
    _check_metric(config.training.metric, class_names)
    warn_of_missing_classes(splits, class_names, config.data.splits)
    source: ModelSource = config.model.kind.source(config, splits.train, class_names)
    if not any_strategy:
        require_given(build_strategy(config.strategy), source.gives, config.strategy.strategy)
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    # A frozen encoder reads what --rarefy left out too: then all seeds have their features from the same file.
    beside = [splits.left_out] if splits.left_out is not None and config.model.freeze_encoder else []
    encoded = source.encode([*parts, *beside])
    train, *validation, test = [
        LabeledTexts(texts, np.arange(len(part)), labels_of(part))
        for texts, part in zip(encoded, parts, strict=not beside)
    ]
    source.pretrain(train.texts)
    return PreparedData(
        train=train, validation=validation[0] if validation else None, test=test, class_names=class_names, source=source
    )


def _check_metric(metric: str, class_names: Sequence[str]) -> None:
    """Raise ConfigError if the metric is of a class that is none of these; say which one it is of if it names none."""
    of = measured_class(metric, class_names)
    if of is not None and metric in OF_ONE_CLASS:
        named, other = class_names[of], f"{metric}:{class_names[1 - of]}"
        logger.info("--metric %s is that of the class %r; %s is that of the other", metric, named, other)


def _splits(config: RunConfig) -> Splits:
    """The splits of the texts, or of a table's rows; copies of texts are counted in a warning."""
    data, seed = config.data, config.loop.seed
    is_table = data.task == "tabular"
    together = data.duplicates == "together" or (data.duplicates == "auto" and is_local(data.dataset))
    source = load_table(data, config.tabular) if is_table else load_source(data)
    splits = split_source(source, data.splits, seed, together=together and not is_table)
    if data.rarefy is not None:
        name, _, share = data.rarefy.rpartition("=")
        splits = rarefied(splits, name, float(share), seed)
    if config.training.validation == "none":
        splits = splits.without_validation()
    if not is_table:
        warn_of_copies(splits)
    return splits


def text_learner(dataset: Dataset, class_names: Sequence[str], config: RunConfig) -> ActiveLearner:
    """The learner over the column `text` of a data set, with the model and the strategy that the options name.

    There is no validation split: models train for a fixed number of `steps`.

    Raises:
        ConfigError: options that cannot work.
    """
    return encoded_pool(dataset, class_names, config).learner()


@dataclass(frozen=True)
class EncodedPool:
    """Texts without labels as models read them, and where new models come from: what all rounds have in common.

    Attributes:
        texts: the pool (N).
        class_names: the classes (C).
        config: the options, with the model that is chosen where that was left open.
        source: what new models come from.
    """

    texts: Texts
    class_names: list[str]
    config: RunConfig
    source: ModelSource

    def learner(self, strategy: QueryStrategy | None = None) -> ActiveLearner:
        """A new learner, which knows no label."""
        return learner_of(self.config, self.texts, self.class_names, self.source, strategy=strategy)


def encoded_pool(dataset: Dataset, class_names: Sequence[str], config: RunConfig) -> EncodedPool:
    """The column `text` of a data set, encoded as the options say; errors as of `text_learner`."""
    use_device(config.training.device, small=config.model.kind.is_small)
    if config.data.task == "tabular":
        require_texts(config)
    config, _ = settled(config, dataset)
    source: ModelSource = config.model.kind.source(config, dataset, class_names)
    return _encoded(dataset, class_names, config, source)


def _encoded(dataset: Dataset, class_names: Sequence[str], config: RunConfig, source: ModelSource) -> EncodedPool:
    (encoded,) = source.encode([dataset])
    source.pretrain(encoded)
    return EncodedPool(encoded, list(class_names), config, source)


def require_texts(config: RunConfig) -> None:
    """Raise ConfigError if the options are of tables."""
    if config.data.task == "tabular":
        raise ConfigError(
            "--task is tabular; a learner over texts needs --task text or multilabel (dami-text run reads tables)"
        )


def learner_over(
    dataset: Dataset,
    class_names: Sequence[str],
    config: RunConfig,
    source: ModelSource,
    strategy: QueryStrategy | None = None,
) -> ActiveLearner:
    """The learner over a data set's column `text`, as the models of `source` read it."""
    return _encoded(dataset, class_names, config, source).learner(strategy)


def learner_of(
    config: RunConfig,
    texts: Texts,
    class_names: Sequence[str],
    source: ModelSource,
    *,
    validation: LabeledTexts | None = None,
    strategy: QueryStrategy | None = None,
    labels: NDArray[np.int64] | None = None,
) -> ActiveLearner:
    """The learner that the options describe.

    Args:
        config: the options.
        texts: the pool (N).
        class_names: the classes (C).
        source: where models come from.
        validation: what stops training early, if anything.
        strategy: takes the place of the one that the options name.
        labels: (N,), or (N, C), the texts' true labels where they are known, for the cold start that looks at them.

    Raises:
        ConfigError: the strategy needs what the models do not give, or there are not two classes for `--threshold`.
    """
    name = config.strategy.strategy if strategy is None else strategy_name(strategy)
    strategy = strategy or build_strategy(config.strategy)
    require_given(strategy, source.gives, name)
    if config.data.is_multilabel:
        require_multilabel(strategy, name)
    elif config.training.threshold != "none" and len(class_names) != 2:
        raise ConfigError(
            f"--threshold is for two classes, or for any number of labels with --task multilabel, and the data has "
            f"{len(class_names)} classes; leave it out"
        )
    return ActiveLearner(
        texts,
        source.new_model,
        strategy,
        len(class_names),
        multilabel=config.data.is_multilabel,
        validation=validation,
        training=config.training,
        seed=config.loop.seed,
        pool_subsample=config.strategy.pool_subsample,
        pool_subsample_by=config.strategy.pool_subsample_by,
        first_query=build_first_query(
            config,
            strategy,
            source.new_model,
            class_names,
            labels,
            knows_classes="classes" in source.gives,
            preprocessor=source.preprocessor,
        ),
        preprocessor=source.preprocessor,
    )
