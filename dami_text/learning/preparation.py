"""From the options to what a run works on: splits, encoded; the models' start; the learner."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset, Value
from numpy.typing import NDArray

from dami_text.config.metrics import OF_ONE_CLASS, measured_class
from dami_text.config.run import RunConfig
from dami_text.data.readers import is_local
from dami_text.data.sources import load_source
from dami_text.data.splits import Splits, rarefied, split_source, warn_of_copies, warn_of_missing_classes
from dami_text.data.tabular import load_table
from dami_text.data.texts import LabeledTexts, Texts
from dami_text.errors import ConfigError, DataError, arguments_named
from dami_text.learning.cold_start import build_first_query
from dami_text.learning.learner import ActiveLearner
from dami_text.models.kinds.automatic import settled
from dami_text.models.source import ModelSource
from dami_text.processes import use_device
from dami_text.strategies import QueryStrategy, build_strategy, require_given

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


def prepare(config: RunConfig) -> PreparedData:
    """Load the data set, split it, and make on the training split what encodes it and what models start from."""
    splits = _splits(config)
    config, _ = settled(config, splits.train)
    class_names = splits.train.features["label"].names
    _check_metric(config.training.metric, class_names)
    warn_of_missing_classes(splits, class_names, config.data.splits)
    source: ModelSource = config.model.kind.source(config, splits.train, class_names)
    require_given(build_strategy(config.strategy), source.gives, config.strategy.strategy)
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    train, *validation, test = [
        LabeledTexts(texts, np.arange(len(part)), part.with_format("numpy")["label"][:].astype(np.int64))
        for texts, part in zip(source.encode(parts), parts, strict=True)
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


def make_learner(
    texts: Sequence[str] | Dataset,
    class_names: Sequence[str],
    config: RunConfig | None = None,
    strategy: QueryStrategy | None = None,
) -> ActiveLearner:
    """A learner over texts without labels, with the tokenizer, word vectors, model and strategy that the options name.

    There is no validation split: models train for a fixed number of `steps`, and `validation`, `epochs`, `epoch_steps`
    and `patience` have no effect.

    Examples:
        >>> texts = ["a good film", "a bad film", "good music", "bad music", "so good", "so bad"]
        >>> learner = make_learner(texts, ["negative", "positive"], RunConfig.of(word_vectors="random", steps=5))
        >>> learner.tell([0, 1], [1, 0])
        >>> len(learner.ask(2).rows)
        2

    Args:
        texts: strings, or the column `text` of a Dataset (N). Rows are places in it.
        class_names: the classes (C). Labels are places in it.
        config: the options; by default those of `RunConfig()`.
        strategy: takes the place of the one that the options name.

    Raises:
        DataError: there is no text, or one is no string.
        ConfigError: class names that are not two or more, or options that cannot work.
    """
    with arguments_named():
        return text_learner(texts, class_names, config or RunConfig(), strategy)


def text_learner(
    texts: Sequence[str] | Dataset,
    class_names: Sequence[str],
    config: RunConfig,
    strategy: QueryStrategy | None = None,
) -> ActiveLearner:
    """As `make_learner`, with errors that speak of flags."""
    return encoded_pool(texts, class_names, config).learner(strategy)


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


def encoded_pool(texts: Sequence[str] | Dataset, class_names: Sequence[str], config: RunConfig) -> EncodedPool:
    """Texts encoded as the options say; errors are those of `make_learner`, and speak of flags."""
    use_device(config.training.device, small=config.model.kind.is_small)
    if config.data.task != "text":
        raise ConfigError(f"--task is {config.data.task}; a learner over texts needs --task text")
    if isinstance(class_names, str) or len(class_names) < 2 or len(set(class_names)) < len(class_names):
        raise ConfigError(f"class_names is {class_names!r}; it must be a list of two names or more, all different")
    dataset = _text_column(texts)
    config, _ = settled(config, dataset)
    source: ModelSource = config.model.kind.source(config, dataset, class_names)
    (encoded,) = source.encode([dataset])
    source.pretrain(encoded)
    return EncodedPool(encoded, list(class_names), config, source)


def _text_column(texts: Sequence[str] | Dataset) -> Dataset:
    """The texts as the column `text` of a Dataset; DataError where there is none or one is no string."""
    if isinstance(texts, str):
        raise DataError(f"texts is one string, {texts[:40]!r}; it must be a list of strings, one for each text")
    if not isinstance(texts, Dataset):
        texts = list(texts)
        if others := [text for text in texts if not isinstance(text, str)]:
            raise DataError(f"texts holds {others[0]!r}; every text must be a string")
        texts = Dataset.from_dict({"text": texts})
    elif texts.features.get("text") not in (Value("string"), Value("large_string")):
        raise DataError(f"texts has the columns {texts.features}; it must have a column text of strings")
    if not len(texts):
        raise DataError("texts is empty; give one text or more")
    return texts


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
        labels: (N,) the texts' true labels where they are known, for the cold start that looks at them.

    Raises:
        ConfigError: the strategy needs what the models do not give.
    """
    strategy = strategy or build_strategy(config.strategy)
    require_given(strategy, source.gives, config.strategy.strategy)
    return ActiveLearner(
        texts,
        source.new_model,
        strategy,
        len(class_names),
        validation=validation,
        training=config.training,
        seed=config.loop.seed,
        pool_subsample=config.strategy.pool_subsample,
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
