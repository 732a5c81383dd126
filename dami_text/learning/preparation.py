"""From the options to what a run works on: splits, encoded; the models' start; the learner."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from datasets import Dataset, Value
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from dami_text.config.run import RunConfig
from dami_text.data.readers import is_local
from dami_text.data.sources import load_source
from dami_text.data.splits import split_source, warn_of_copies, warn_of_missing_classes
from dami_text.data.tabular import EncodedTable, TableEncoder, load_table
from dami_text.data.texts import EncodedTexts, LabeledTexts
from dami_text.data.tokenization import build_tokenizer, encode, warn_of_cut_texts
from dami_text.data.word_vectors import Vectors, build_word_vectors
from dami_text.errors import ConfigError, DataError
from dami_text.learning.cold_start import build_first_query
from dami_text.learning.learner import ActiveLearner
from dami_text.models import build_mlp, build_model
from dami_text.models.encoder import Encoder, head_alone, load_encoder
from dami_text.models.frozen_features import frozen_features
from dami_text.processes import on_own_device, use_device
from dami_text.strategies import QueryStrategy, build_strategy
from dami_text.strategies.bald import check_dropout


@dataclass(frozen=True)
class PreparedData:
    """What a run works on, decided by the data and model options and the seed alone.

    Attributes:
        train, validation, test: the splits.
        class_names: the classes, in the order of their numbers.
        preprocessor: what makes a model's input of texts or of a table's rows; it is saved beside the model.
        start: what new models start from: word vectors, a pretrained encoder, or nothing (the MLP).
    """

    train: LabeledTexts
    validation: LabeledTexts | None
    test: LabeledTexts
    class_names: list[str]
    preprocessor: PreTrainedTokenizerFast | TableEncoder
    start: Vectors | Encoder | None


def prepare(config: RunConfig) -> PreparedData:
    """Load the data set, split it, and make on the training split what encodes it and what models start from."""
    return _prepare_table(config) if config.data.task == "tabular" else _prepare_texts(config)


def _prepare_table(config: RunConfig) -> PreparedData:
    splits = split_source(load_table(config.data, config.tabular), config.data.splits, config.loop.seed)
    class_names = splits.train.features["label"].names
    warn_of_missing_classes(splits, class_names, config.data.splits)
    encoder = TableEncoder.fit(splits.train, config.tabular)

    def labeled_rows(dataset: Dataset) -> LabeledTexts:
        labels = dataset.with_format("numpy")["label"][:].astype(np.int64)
        return LabeledTexts(EncodedTable(dataset, encoder.features(dataset)), np.arange(len(labels)), labels)

    return PreparedData(
        labeled_rows(splits.train),
        labeled_rows(splits.validation) if splits.validation else None,
        labeled_rows(splits.test),
        class_names,
        encoder,
        None,
    )


def _prepare_texts(config: RunConfig) -> PreparedData:
    seed = config.loop.seed
    data = config.data
    together = data.duplicates == "together" or (data.duplicates == "auto" and is_local(data.dataset))
    splits = split_source(load_source(data), data.splits, seed, together)
    class_names = splits.train.features["label"].names
    warn_of_copies(splits)
    warn_of_missing_classes(splits, class_names, data.splits)
    encoder = _encoder(config, class_names)
    tokenizer = encoder.tokenizer if encoder else build_tokenizer(splits.train, config.tokenization)

    def labeled_texts(encoded: Dataset) -> LabeledTexts:
        labels = encoded.data.column("label").to_numpy().astype(np.int64)
        return LabeledTexts(_with_features(EncodedTexts(encoded, tokenizer), encoder), np.arange(len(labels)), labels)

    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    encoded = [encode(part, tokenizer, warn=False) for part in parts]
    warn_of_cut_texts(encoded, tokenizer)
    train, *validation, test = map(labeled_texts, encoded)
    return PreparedData(
        train,
        validation[0] if validation else None,
        test,
        class_names,
        tokenizer,
        encoder or build_word_vectors(train.texts, config.word_vectors, seed),
    )


def _encoder(config: RunConfig, class_names: Sequence[str]) -> Encoder | None:
    """The pretrained encoder that the options name, if it is one."""
    if not config.model.is_encoder:
        return None
    encoder = load_encoder(config.model, class_names, config.tokenization.max_length, config.loop.seed)
    if config.strategy.strategy == "bald":
        check_dropout(head_alone(encoder.pretrained) if encoder.frozen else encoder.pretrained)
    return encoder


def _with_features(texts: EncodedTexts, encoder: Encoder | None) -> EncodedTexts:
    if encoder and encoder.frozen:
        texts.frozen_features = frozen_features(on_own_device(encoder.pretrained), texts)
    return texts


def make_learner(
    texts: Sequence[str] | Dataset,
    class_names: Sequence[str],
    config: RunConfig | None = None,
    strategy: QueryStrategy | None = None,
) -> ActiveLearner:
    """A learner over texts without labels, with the tokenizer, word vectors, model and strategy that the options name.

    Texts are strings or the column `text` of a Dataset; a `strategy` takes the place of the named one. Labels told to
    it are places in `class_names`; rows are places in `texts`. There is no validation split: models train for a fixed
    number of steps.

    Raises:
        DataError: there is no text, or one is no string.
        ConfigError: class names that are not two or more, or options that cannot work.
    """
    config = config or RunConfig()
    use_device(config.training.device, small=not config.model.is_encoder)
    if config.data.task != "text":
        raise ConfigError(f"--task is {config.data.task}; make_learner takes texts, and so --task text")
    if isinstance(class_names, str) or len(class_names) < 2 or len(set(class_names)) < len(class_names):
        raise ConfigError(f"class_names is {class_names!r}; it must be a list of two names or more, all different")
    dataset = _text_column(texts)
    encoder = _encoder(config, class_names)
    tokenizer = encoder.tokenizer if encoder else build_tokenizer(dataset, config.tokenization)
    encoded = _with_features(EncodedTexts(encode(dataset, tokenizer), tokenizer), encoder)
    start = encoder or build_word_vectors(encoded, config.word_vectors, config.loop.seed)
    return learner_of(config, encoded, None, class_names, start, strategy)


def _text_column(texts: Sequence[str] | Dataset) -> Dataset:
    """The texts as the column `text` of a Dataset; DataError where there is none or one is no string."""
    if isinstance(texts, str):
        raise DataError(f"texts is one string, {texts[:40]!r}; it must be a list of strings, one for each text")
    if not isinstance(texts, Dataset):
        texts = list(texts)
        if strangers := [text for text in texts if not isinstance(text, str)]:
            raise DataError(f"texts holds {strangers[0]!r}; every text must be a string")
        texts = Dataset.from_dict({"text": texts})
    elif texts.features.get("text") not in (Value("string"), Value("large_string")):
        raise DataError(f"texts has the columns {texts.features}; it must have a column text of strings")
    if not len(texts):
        raise DataError("texts is empty; give one text or more")
    return texts


def learner_of(
    config: RunConfig,
    texts: EncodedTexts,
    validation: LabeledTexts | None,
    class_names: Sequence[str],
    start: Vectors | Encoder | None,
    strategy: QueryStrategy | None = None,
    labels: NDArray[np.int64] | None = None,
) -> ActiveLearner:
    """The learner that the options describe.

    A `strategy` takes the place of the named one; `labels` (N,) are the texts' true ones where they are known, for the
    cold start that looks at them.
    """
    new_model: Callable[[], PreTrainedModel]
    if isinstance(texts, EncodedTable):
        new_model = partial(build_mlp, class_names, texts.matrix.shape[1], config.model.dropout)
    else:
        assert start is not None
        new_model = partial(build_model, config.model, class_names, texts.tokenizer, start)
    strategy = strategy or build_strategy(config.strategy)
    return ActiveLearner(
        texts,
        new_model,
        strategy,
        len(class_names),
        validation,
        config.training,
        config.loop.seed,
        pool_subsample=config.strategy.pool_subsample,
        first_query=build_first_query(config, strategy, new_model, class_names, labels),
    )
