"""Trained classifiers, from the folders that they were saved in, and texts as they read them."""

from pathlib import Path

import torch
from datasets import Dataset
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from dami_text.config.data_options import TokenizationConfig
from dami_text.config.options import ModelConfig
from dami_text.data.estimators import TEXT_ENCODER
from dami_text.data.hub import explained, quiet_hub
from dami_text.data.texts import EncodedTexts, Texts
from dami_text.data.tfidf import TfidfEncoder, TfidfTexts
from dami_text.data.tokenization import encode
from dami_text.errors import ConfigError, DamiError
from dami_text.models.adapters import ADAPTER, CLASSIFIER, load_adapter, read_adapter, require_peft
from dami_text.models.encoder import load_encoder, longest_text
from dami_text.models.last_layer import add_bias, set_unseen
from dami_text.models.padding import pad_to_multiple
from dami_text.models.windows import read_long_texts
from dami_text.models.word_level import class_names_of

#: Tokens that no text has: tokenizers that know no limit name a larger number.
UNLIMITED = 1_000_000_000


def texts_for(preprocessor: PreTrainedTokenizerFast | TfidfEncoder, dataset: Dataset) -> Texts:
    """The column `text` of a data set, as a model with this preprocessor reads it."""
    if isinstance(preprocessor, TfidfEncoder):
        return TfidfTexts(dataset, preprocessor)
    return EncodedTexts(encode(dataset, preprocessor), preprocessor)


def load_classifier(
    folder: Path, max_length: int | None, name: str = "--init-model"
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast | TfidfEncoder]:
    """A trained classifier of texts, and what makes its input; from its folder or from a run's.

    A tokenizer cuts texts to `max_length` tokens, or to what it or the model takes if that is less. With None it cuts
    as the model was trained, or to the default of --max-length where nothing limits it. What is read of longer texts is
    as it was in training. Errors call the folder by `name`.

    Raises:
        ConfigError: there is none, or it has no fast tokenizer.
    """
    folder = next((place for place in (folder / "model", folder) if _holds_model(place)), folder)
    if not _holds_model(folder):
        raise ConfigError(f"{name} {folder} holds no model (no config.json); give a run's folder model/")
    with quiet_hub(), explained(f"{name} {str(folder)!r}"):
        model = _merged(folder) if holds_adapter(folder) else _whole(folder)
        if (folder / TEXT_ENCODER).is_file():
            return model.eval(), TfidfEncoder.load(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ConfigError(f"{name} {folder} has no fast tokenizer; choose another model")
    longest = longest_text(model, tokenizer, tokenizer.model_max_length if max_length is None else max_length)
    tokenizer.model_max_length = longest if longest < UNLIMITED else TokenizationConfig.max_length
    read_long_texts(model, tokenizer)
    return model.eval(), tokenizer


def holds_adapter(folder: Path) -> bool:
    """Whether the model in the folder is an adapter that dami_text saved."""
    return (folder / ADAPTER).is_file() and (folder / CLASSIFIER / "config.json").is_file()


def _holds_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() or holds_adapter(folder)


def _whole(folder: Path) -> PreTrainedModel:
    """The model in the folder."""
    from dami_text.models.auto import is_own  # and transformers knows dami_text's own classes

    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    add_bias(model)
    if not is_own(model):
        pad_to_multiple(model.base_model, model.config)
    return model


def _merged(folder: Path) -> PreTrainedModel:
    """The base of the adapter in the folder, with the adapter merged."""
    import dami_text.models.auto  # noqa: F401 - transformers knows dami_text's own classes

    require_peft()
    said, config = read_adapter(folder), AutoConfig.from_pretrained(folder / CLASSIFIER)
    base = ModelConfig(model=said["base_model_name_or_path"], model_revision=said["revision"], new_head=True)
    try:
        model = load_encoder(base, class_names_of(config), UNLIMITED, seed=0).pretrained
    except DamiError as error:
        raise type(error)(f"{folder} holds an adapter, whose base cannot be loaded: {error}") from error
    load_adapter(model, folder)
    set_unseen(model, getattr(config, "unseen_classes", ()))
    return model
