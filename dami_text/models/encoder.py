"""Pretrained encoders (Devlin et al. 2019 and later) and decoders, with their fast tokenizers, by folder or Hub id.

One that sentence-transformers wrote is pooled as its files say. A frozen one without such files is pooled by the mean
over its tokens: what a pooler or a first token has learned for another task says less about a text. So is an encoder
that has a decoder, which is left out.
"""

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from dami_text.config.options import ModelConfig
from dami_text.data.hub import explained, model_commit, quiet_hub
from dami_text.errors import ConfigError
from dami_text.models.adapters import adapter_config, add_adapter, require_peft
from dami_text.models.architectures import check_kind, check_works, padding_side, set_padding
from dami_text.models.heads import draw, head_modules
from dami_text.models.installed import installed_folder
from dami_text.models.kept_heads import (
    HeadRows,
    draw_rows,
    give_classes,
    is_trained,
    rows_of_trained,
    without_unseen,
)
from dami_text.models.last_layer import add_bias
from dami_text.models.padding import needed_multiple, pad_to_multiple
from dami_text.models.sentence_encoder import (
    SentenceEncoderConfig,
    SentenceEncoderForSequenceClassification,
    auto_class,
    encoder_alone,
    has_decoder,
    without_pooler,
)
from dami_text.models.sentence_files import SentenceParts, add_prompt, lower_cased, read_parts
from dami_text.models.shared_weights import shared_weights
from dami_text.models.word_level import MULTILABEL, class_names_of, label_names
from dami_text.randomness import torch_stream

logger = logging.getLogger(__name__)

#: How decoders name the embeddings of places, which bound the length of a text.
POSITIONS = ("wpe", "embed_positions", "positions_embed")


@dataclass(frozen=True)
class Encoder:
    """A pretrained encoder, loaded once a run, and its tokenizer: every round's model starts from it.

    Attributes:
        pretrained: the classifier.
        tokenizer: cuts texts to what the model takes.
        commit: the commit of the Hub's repository that it was loaded from; None for a folder.
        frozen: whether models train their heads only.
        adapter: peft's configuration of the adapter that each model gets; None where there is none.
        known: the classes whose rows of the last layer the checkpoint had; the others are drawn anew in every model,
            and all of the head where there are none.
    """

    pretrained: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    commit: str | None = None
    frozen: bool = False
    known: tuple[int, ...] = ()
    adapter: Any = None

    @property
    def knows_classes(self) -> bool:
        """Whether the checkpoint's head has all classes, so that new models predict them before they are trained."""
        return len(self.known) == len(class_names_of(self.pretrained.config))

    def new_model(self) -> PreTrainedModel:
        """The pretrained classifier with a new adapter, if any, and what it does not know of its head drawn anew.

        Both are drawn from torch's generator. All models share the weights that are not trained; the others are copied.
        """
        shared: list[nn.Module | nn.Parameter] = [*shared_weights(self.pretrained)]
        if self.frozen:
            shared.append(self.pretrained.base_model)
        model = copy.deepcopy(self.pretrained, {id(part): part for part in shared})
        if not self.known:
            for module in head_modules(model):
                draw(model, module)
        elif new := [i for i in range(len(class_names_of(model.config))) if i not in self.known]:
            draw_rows(model, new)
        if self.adapter is not None:
            add_adapter(model, self.adapter)
        return model


def load_encoder(
    config: ModelConfig,
    class_names: Sequence[str],
    max_length: int,
    seed: int,
    *,
    regions: bool = False,
    multilabel: bool = False,
) -> Encoder:
    """The encoder that `config.model` names, for classes `class_names` and texts of up to `max_length` tokens.

    Weights that the checkpoint lacks are drawn by `seed`. Where the encoder is fine-tuned whole, the rows of the
    checkpoint's head are kept whose classes are among `class_names`, unless `config.new_head` says otherwise. With
    `regions`, a frozen encoder's head has a network for the linear regions beside it. With `multilabel`, a text has any
    number of the classes.

    Raises:
        ConfigError: it is not found, cannot be loaded, cannot classify texts, or has no fast tokenizer.
        HubError: the Hub refuses it, or is out of reach and the cache has no copy.
    """
    if config.lora is not None:
        require_peft()
    name = config.model
    installed = installed_folder(name) if config.model_revision is None else None
    path = installed or Path(name).expanduser()
    commit = None if path.is_dir() else model_commit(name, config.model_revision, "--model")
    if path.is_dir() and config.model_revision is not None:
        raise ConfigError(f"--model {name} is a folder and has no revisions; leave out --model-revision")
    source: dict[str, Any] = {"pretrained_model_name_or_path": str(path) if path.is_dir() else name, "revision": commit}
    known: tuple[int, ...] = ()
    problem = MULTILABEL if multilabel else "single_label_classification"
    with quiet_hub(), explained(f"--model {name!r}"):
        parts = read_parts(source, name)
        source["subfolder"] = parts.folder if parts else ""
        # By the revision's own name, which the cache then knows when the Hub is out of reach; the rest by the commit.
        model_config = AutoConfig.from_pretrained(**source | {"revision": config.model_revision})
        check_kind(model_config, name)
        tokenizer = _fast_tokenizer(source, name)
        is_pooled = parts is not None or config.freeze_encoder or config.contrastive or has_decoder(model_config)
        set_padding(tokenizer, model_config, name, "right" if is_pooled else padding_side(model_config))
        if not is_pooled:
            rows = rows_of_trained(model_config, class_names, new_head=config.new_head)
            model_config.problem_type = problem
            model, loading, known = _whole_classifier(source, model_config, class_names, rows, seed)
            if not config.new_head:
                _tell_of_head(model_config, name, class_names, known)
        else:
            parts = parts or SentenceParts(folder="", pooling=["mean"])
            regions = regions and config.freeze_encoder
            how = {"regions": regions, "contrastive": config.contrastive, "problem_type": problem}
            model, loading = _sentence_classifier(
                source, model_config, tokenizer, parts, class_names, how=how, seed=seed, name=name
            )
    if model.base_model is model or not head_modules(model):
        raise ConfigError(f"--model {name} has no encoder apart from its head; choose another encoder")
    if not is_pooled:
        pad_to_multiple(model.base_model, model_config)
    check_works(model, tokenizer, name)
    add_bias(model)
    if drawn := sorted(loading):
        logger.warning("%s lacks %d weights, such as %s: drawn at random", name, len(drawn), drawn[0])
    longest = max_length if parts is None or parts.max_length is None else min(max_length, parts.max_length)
    tokenizer.model_max_length = longest_text(model, tokenizer, longest)
    base = str(path.resolve()) if path.is_dir() and installed is None else name
    adapter = _freeze(model, config, loading, base, commit)
    encoder = Encoder(model.eval(), tokenizer, commit, config.freeze_encoder, known, adapter)
    if adapter is not None:
        with explained(f"--lora {config.lora} on --model {name!r}"), torch_stream(seed, 0, "encoder"):
            check_works(encoder.new_model(), tokenizer, name)
    return encoder


def _freeze(model: PreTrainedModel, config: ModelConfig, lacking: Sequence[str], base: str, commit: str | None) -> Any:
    """Freeze the encoder as the options say; peft's configuration of the adapter that they name, if any.

    Beside an adapter, what the checkpoint is `lacking` is trained.
    """
    model.base_model.requires_grad_(not config.freeze_encoder and config.lora is None)
    if config.lora is None:
        return None
    for name, weight in model.base_model.named_parameters():
        if any(f".{model.base_model_prefix}.{name}".endswith(f".{lacked}") for lacked in lacking):
            weight.requires_grad_(True)
    return adapter_config(model, config.lora, base, commit)


def _whole_classifier(
    source: dict[str, Any], config: PretrainedConfig, class_names: Sequence[str], rows: HeadRows, seed: int
) -> tuple[PreTrainedModel, list[str], tuple[int, ...]]:
    """The architecture's own classifier, the encoder's weights that the checkpoint lacks, and the classes it knows.

    `rows` (C,) are those of the checkpoint's head that are kept.
    """
    config, keeps = copy.deepcopy(config), any(row is not None for row in rows)
    if not keeps:
        config.num_labels = len(class_names)
        for option, value in label_names(class_names).items():
            setattr(config, option, value)
    with torch_stream(seed, 0, "encoder"):
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            **source,
            config=config,
            dtype=torch.float32,  # a checkpoint's own may be one that a CPU does not train in
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    encoder = f"{model.base_model_prefix}."
    lacking = [key for key in loading["missing_keys"] if key.startswith(encoder)]
    if keeps:
        missing = {*loading["missing_keys"], *(key for key, *_ in loading["mismatched_keys"])}
        whole = all(key.startswith(encoder) for key in missing)
        rows = without_unseen(model, rows) if whole else [None] * len(rows)
        give_classes(model, rows, class_names)
    return model, lacking, tuple(i for i, row in enumerate(rows) if row is not None)


def _sentence_classifier(
    source: dict[str, Any],
    config: PretrainedConfig,
    tokenizer: PreTrainedTokenizerFast,
    parts: SentenceParts,
    class_names: Sequence[str],
    *,
    how: Mapping[str, Any],
    seed: int,
    name: str,
) -> tuple[PreTrainedModel, list[str]]:
    """The encoder with the pooling of its parts and one linear layer, and its weights that the checkpoint lacks.

    The tokenizer lower-cases texts and puts the prompt before them as the parts say. `how` are options of the
    configuration: what is beside the head, how the encoder is trained, and how many classes a text has.
    """
    if parts.lowercase:
        lower_cased(tokenizer)
    before = add_prompt(tokenizer, parts.prompt, name) if parts.prompt else 0
    whole = SentenceEncoderConfig(
        encoder=config,
        pooling=parts.pooling,
        layers=parts.layers,
        skipped=0 if parts.pools_prompt else before,
        **how,
        pad_token_id=tokenizer.pad_token_id,
        **label_names(class_names),
    )
    with torch_stream(seed, 0, "encoder"):
        transformer, loading = auto_class(config).from_pretrained(
            **source, config=config, dtype=torch.float32, output_loading_info=True, **without_pooler(config)
        )
        model = SentenceEncoderForSequenceClassification(whole, encoder_alone(transformer))
    model.encoder.layers.load_state_dict(parts.weights)
    return model, sorted(loading["missing_keys"])


def _fast_tokenizer(source: dict[str, Any], name: str) -> PreTrainedTokenizerFast:
    tokenizer = AutoTokenizer.from_pretrained(**source)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ConfigError(
            f"--model {name} has a {type(tokenizer).__name__}, no fast tokenizer, which alone tells the pieces of a "
            "word (word_ids); choose a model with a tokenizer.json"
        )
    return tokenizer


def _tell_of_head(config: PretrainedConfig, name: str, class_names: Sequence[str], known: Sequence[int]) -> None:
    """Say what is kept of the head of a checkpoint that was trained to classify."""
    found, n = class_names_of(config), len(class_names)
    if len(known) == n:
        logger.info("%s classifies into the data's classes: its head is kept, and trained further", name)
    elif known:
        kept = [class_names[i] for i in known[:10]]
        told = "%s: its head is kept for %d of %d classes, %s; that of the others is new"
        logger.info(told, name, len(known), n, kept)
    elif is_trained(config):
        logger.warning(
            "%s classifies into %d classes %s, the data set has %d: its head is replaced by a new one",
            *(name, len(found), found[:10], n),
        )


def longest_text(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, max_length: int) -> int:
    """The tokens that a text is cut to: as many as asked for, or what the tokenizer or the model takes if less."""
    config = getattr(model.config, "encoder", model.config)
    limits = [max_length, tokenizer.model_max_length]
    for path, module in model.named_modules():
        if path.rpartition(".")[2] in POSITIONS:  # where a decoder has an embedding of each place
            limits.append(config.max_position_embeddings)
        if path.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            # Where there is a padding position, the first word's comes after it (RoBERTa).
            limits.append(module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1))
    if config.model_type == "nystromformer" and needed_multiple(config) > 1:
        limits.append(needed_multiple(config))
    special = tokenizer.num_special_tokens_to_add()
    if min(limits) <= special:
        raise ConfigError(
            f"--max-length is {max_length}, and a text has {special} special tokens; it must be at least {special + 1}"
        )
    return min(limits)
