"""The files of a sentence encoder, as sentence-transformers writes them: modules.json and what it names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, normalizers, processors
from transformers import PreTrainedTokenizerFast
from transformers.utils.hub import cached_file

from dami_text.config.fields import listed
from dami_text.data.words import BLANKS
from dami_text.errors import ConfigError, DamiError
from dami_text.models.sentence_encoder import ACTIVATIONS, POOLING

MODULES = "modules.json"

#: The options that older files have in the place of `pooling_mode`, in the order in which what they name is joined.
FORMER_POOLING = {f"pooling_mode_{name}{end}": name for name, end in zip(
    POOLING, ("_token", "_tokens", "_tokens", "", "_tokens", ""), strict=True
)}  # fmt: skip

#: The names of a transformer's own options; older files carry the architecture's.
TRANSFORMER_OPTIONS = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)

#: What follows the pooling; dropout does nothing outside training.
KNOWN = ("Transformer", "Pooling", "Normalize", "Dense", "Dropout")


@dataclass(frozen=True)
class SentenceParts:
    """What the files say of a sentence encoder.

    Attributes:
        folder: the transformer's own, within the encoder's; "" where it is the encoder's.
        pooling, layers: as of `SentenceEncoderConfig`.
        weights: of the layers, by their names in `SentenceEncoder`.
        max_length: tokens that texts are cut to; None where the files name no number.
        lowercase: whether texts are lower-cased before they are tokenized.
        prompt: what comes before every text.
        pools_prompt: whether the prompt's tokens have a part in the pooling.
    """

    folder: str
    pooling: list[str]
    layers: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    max_length: int | None = None
    lowercase: bool = False
    prompt: str = ""
    pools_prompt: bool = True


class _Files:
    """The files of a model, in its folder or on the Hub."""

    def __init__(self, source: Mapping[str, Any], name: str) -> None:
        self._place, self._revision = source["pretrained_model_name_or_path"], source.get("revision")
        self.name = name

    def find(self, path: str) -> Path | None:
        """Where a file is, by its path within the model's folder; None if there is none."""
        found = cached_file(
            self._place,
            path,
            revision=self._revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        return None if found is None else Path(found)

    def json(self, path: str) -> Any:
        """What a file holds; None if there is none.

        Raises:
            ConfigError: it is no JSON.
        """
        if (file := self.find(path)) is None:
            return None
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(f"--model {self.name}: {path} is damaged ({error}); download it again") from error

    def weights(self, folder: str) -> dict[str, torch.Tensor]:
        """The weights of the module in a folder.

        Raises:
            ConfigError: there are none, or they cannot be read.
        """
        whole, older = self.find(f"{folder}/model.safetensors"), self.find(f"{folder}/pytorch_model.bin")
        try:
            if whole is not None:
                return dict(load_file(whole))
            if older is not None:
                return dict(torch.load(older, map_location="cpu", weights_only=True))
        except Exception as error:  # whatever the formats' readers raise
            told = f"--model {self.name}: the weights in {folder} are damaged"
            raise ConfigError(f"{told} ({str(error).splitlines()[0]}); download them again") from error
        raise ConfigError(
            f"--model {self.name} has no weights in {folder} (model.safetensors or pytorch_model.bin), which "
            f"{MODULES} names; download it again"
        )


def read_parts(source: Mapping[str, Any], name: str) -> SentenceParts | None:
    """What modules.json and the files beside it say; None where there is no modules.json.

    Args:
        source: the folder or Hub id and its revision, as the Auto classes take them.
        name: how errors name the model.

    Raises:
        ConfigError: a module is not known or its files cannot be read.
    """
    files = _Files(source, name)
    modules = files.json(MODULES)
    if modules is None:
        return None
    try:
        return _parts(files, modules)
    except DamiError:
        raise
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ConfigError(
            f"--model {name}: {MODULES} and its modules are not as sentence-transformers writes them ({what}); "
            "download it again"
        ) from error


def _parts(files: _Files, modules: Any) -> SentenceParts:
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    paths = [str(module["path"]) for module in modules]
    if unknown := [str(module["type"]) for module, kind in zip(modules, kinds, strict=True) if kind not in KNOWN]:
        raise ConfigError(
            f"--model {files.name}: {MODULES} names {listed(unknown)}, and known are {', '.join(KNOWN)}; choose "
            "another model"
        )
    if kinds[:2] != ["Transformer", "Pooling"] or {"Transformer", "Pooling"} & set(kinds[2:]):
        raise ConfigError(
            f"--model {files.name}: {MODULES} names {', '.join(kinds)}; wanted a Transformer, a Pooling, and then other"
            " modules; choose another model"
        )
    found = (files.json(_in(paths[0], file)) for file in TRANSFORMER_OPTIONS)
    options: dict[str, Any] = next(filter(None, found), {})
    pooling = files.json(_in(paths[1], "config.json")) or {}
    prompts = files.json("config_sentence_transformers.json") or {}
    prompt = (prompts.get("prompts") or {}).get(prompts.get("default_prompt_name")) or ""
    layers: list[dict[str, Any]] = []
    weights: dict[str, torch.Tensor] = {}
    for kind, path in zip(kinds[2:], paths[2:], strict=True):
        if kind == "Normalize":
            layers.append({"kind": "normalize"})
        elif kind == "Dense":
            weights |= {f"{len(layers)}.{key}": weight for key, weight in files.weights(path).items()}
            layers.append(_dense(files, path))
    return SentenceParts(
        folder=paths[0],
        pooling=_pooling(files, pooling),
        layers=layers,
        weights=weights,
        max_length=options.get("max_seq_length"),
        lowercase=bool(options.get("do_lower_case")),
        prompt=str(prompt),
        pools_prompt=bool(pooling.get("include_prompt", True)),
    )


def _in(folder: str, file: str) -> str:
    return f"{folder}/{file}" if folder else file


def _pooling(files: _Files, options: Mapping[str, Any]) -> list[str]:
    """Names of POOLING."""
    given = options.get("pooling_mode")
    if given is None:
        given = [name for option, name in FORMER_POOLING.items() if options.get(option)] or ["mean"]
    names = [given] if isinstance(given, str) else [str(name) for name in given]
    if unknown := [name for name in names if name not in POOLING]:
        raise ConfigError(
            f"--model {files.name} pools by {listed(unknown)}, and known are {', '.join(POOLING)}; choose another model"
        )
    return names


def _dense(files: _Files, path: str) -> dict[str, Any]:
    """The options of a dense layer, as of `SentenceEncoderConfig.layers`."""
    options = files.json(_in(path, "config.json"))
    places = {"module_input_name", "module_output_name"} & options.keys()
    if others := [options[name] for name in places if options[name] not in (None, "sentence_embedding")]:
        raise ConfigError(
            f"--model {files.name}: the dense layer {path} reads or writes {others[0]}; wanted sentence_embedding; "
            "choose another model"
        )
    activation = str(options.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]
    if activation not in ACTIVATIONS:
        raise ConfigError(
            f"--model {files.name}: the dense layer {path} has the activation {activation}, and known are "
            f"{', '.join(ACTIVATIONS)}; choose another model"
        )
    return {
        "kind": "dense",
        "in_features": int(options["in_features"]),
        "out_features": int(options["out_features"]),
        "bias": bool(options.get("bias", True)),
        "activation": activation,
        "residual": bool(options.get("use_residual", False)),
    }


def add_prompt(tokenizer: PreTrainedTokenizerFast, prompt: str, name: str) -> int:
    """Have the tokenizer put the prompt's tokens before every text, as special tokens, which are no words of it.

    A blank at the prompt's end is part of the text's first token in most vocabularies: it goes with the text then.

    Returns:
        The tokens of the prompt and those before it, as sentence-transformers counts them: of the prompt alone.

    Raises:
        ConfigError: the tokens of a text depend on what comes before it.
    """
    backend: Tokenizer = tokenizer.backend_tokenizer
    before, after = _special_ids(backend)

    def ids(text: str) -> list[int]:
        found: list[int] = backend.encode(text, add_special_tokens=False).ids
        return found

    texts, stem = _texts_to_try(backend), prompt.rstrip(" ")
    for own, blank in ((prompt, ""), (stem, ""), (stem, " ")):
        if all(ids(prompt + text) == ids(own) + ids(blank + text) for text in texts):
            break
    else:
        raise ConfigError(
            f"--model {name} has the prompt {prompt!r}, and its tokenizer does not end a token where it ends; choose "
            "another model, or remove the prompt from config_sentence_transformers.json"
        )
    skipped = len(before) + len(ids(prompt))
    groups = {"before": before, "prompt": ids(own), "after": after}
    backend.post_processor = processors.TemplateProcessing(
        single=" ".join([*(f"[{group}]" for group in ("before", "prompt") if groups[group]), "$A"])
        + (" [after]" if after else ""),
        special_tokens=[
            {"id": f"[{group}]", "ids": ids, "tokens": [str(backend.id_to_token(i)) for i in ids]}
            for group, ids in groups.items()
            if ids
        ],
    )
    if blank:
        _normalize_first(backend, normalizers.Prepend(blank))
    return skipped


def _texts_to_try(backend: Tokenizer) -> list[str]:
    """Texts that show whether a token goes over the end of a prompt, among them words with a token of their own."""
    words = sorted(token[1:] for token in backend.get_vocab() if token[0] in BLANKS and token[1:].isascii())
    return ["ab cd", "The 12", *[word for word in words if word.isalpha()][:100]]


def _special_ids(backend: Tokenizer) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer puts before and after a text."""
    encoding = backend.encode("a")
    own = [i for i, special in enumerate(encoding.special_tokens_mask) if not special]
    return encoding.ids[: own[0]], encoding.ids[own[-1] + 1 :]


def lower_cased(tokenizer: PreTrainedTokenizerFast) -> None:
    """Have the tokenizer lower-case texts before all else."""
    _normalize_first(tokenizer.backend_tokenizer, normalizers.Lowercase())


def _normalize_first(backend: Tokenizer, step: normalizers.Normalizer) -> None:
    steps = [] if backend.normalizer is None else [backend.normalizer]
    backend.normalizer = normalizers.Sequence([step, *steps])
