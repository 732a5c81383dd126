"""Low-rank adapters (LoRA, Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"), by peft.

The base's weights W stay as they are. Beside each linear layer of the base two small matrices learn: A (R, in), which
is drawn at random, and B (out, R), which starts at zero. The layer then computes W x + (ALPHA / R) B A x. The head
learns as always, and so do weights that the checkpoint lacks.

An adapter's folder is in peft's own format:

    adapter_config.json            the base, its commit, the rank, and which layers are adapted
    adapter_model.safetensors      A and B of each layer, and the weights that were trained whole
    classifier/config.json         the model's configuration, with its classes: beside adapter_config.json, transformers
                                   would look for a whole model
"""

import copy
import json
import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from dami_text.errors import ConfigError
from dami_text.models.shared_weights import own_weights

#: How much of what an adapter learns is added, whatever its rank, and the dropout of what its matrices read.
ALPHA, DROPOUT = 32, 0.1

ADAPTER, WEIGHTS, CLASSIFIER = "adapter_config.json", "adapter_model.safetensors", "classifier"

#: Names of layers that peft takes for parts of the experts where a model has any, which are no layers of their own.
OF_EXPERTS = ("gate_proj", "up_proj", "down_proj", "w1", "w2", "w3")

#: What the names of weights begin with in peft's files.
PREFIX = "base_model.model."


def require_peft() -> None:
    """Raise ConfigError unless peft is installed."""
    if find_spec("peft") is None:
        raise ConfigError("an adapter needs peft, which is not installed: pip install 'dami_text[peft]'")


def adapter_config(model: PreTrainedModel, rank: int, base: str, commit: str | None) -> Any:
    """peft's configuration of an adapter of all linear layers of the model's base that are not trained.

    `base` and `commit` are the name and the commit that the base is loaded by.

    Raises:
        ConfigError: the base has no linear layer.
    """
    from peft import LoraConfig

    modules = dict(model.base_model.named_modules())
    left_out = OF_EXPERTS if any(name.endswith(".experts") for name in modules) else ()
    uses = Counter(id(weight) for module in modules.values() for weight in module.parameters(recurse=False))
    found = {
        f"{model.base_model_prefix}.{name}": type(module) is Conv1D  # whose matrix is transposed
        for name, module in modules.items()
        if type(module) in (nn.Linear, Conv1D)  # others, such as routers, give more than a layer's output
        and not module.weight.requires_grad
        and uses[id(module.weight)] == 1  # two adapters of one weight could not be merged into it
        and name.rpartition(".")[2] not in left_out
    }
    if not found:
        raise ConfigError(
            f"--lora adapts torch's linear layers, and the {model.config.model_type} of --model {base} has none; leave "
            "it out"
        )
    return LoraConfig(
        task_type="SEQ_CLS",
        base_model_name_or_path=base,
        revision=commit,
        r=rank,
        lora_alpha=ALPHA,
        lora_dropout=DROPOUT,
        target_modules=sorted(found),
        fan_in_fan_out=all(found.values()),
    )


def add_adapter(model: PreTrainedModel, config: Any) -> None:
    """Put a new adapter into a model, in place; A is drawn from torch's generator. What was trained before still is."""
    from peft import inject_adapter_in_model

    trained = [weight for weight in model.parameters() if weight.requires_grad]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of layers of both orders, which peft tells apart by itself
        inject_adapter_in_model(copy.deepcopy(config), model)
    for weight in trained:
        weight.requires_grad_(True)


def has_adapter(model: PreTrainedModel) -> bool:
    """Whether there is an adapter in the model."""
    return hasattr(model, "peft_config")


def save_adapter(model: PreTrainedModel, folder: Path) -> None:
    """Write the model's adapter, with all that was trained, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    unsaved: Collection[str] = model._keys_to_ignore_on_save or ()
    weights = {name: weight for name, weight in own_weights(model).items() if name not in unsaved}
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad and not _is_adapters(name)]
    heads = [name for name, _ in model.named_children() if name != model.base_model_prefix]
    whole = {next((head for head in heads if name.startswith(f"{head}.")), name.rpartition(".")[0]) for name in trained}
    config: Any = copy.deepcopy(model.peft_config["default"])
    config.target_modules, config.modules_to_save = sorted(config.target_modules), sorted(whole)
    config.inference_mode = True
    config.save_pretrained(str(folder))
    named = {PREFIX + _without_adapters_name(name): weight.cpu().contiguous() for name, weight in weights.items()}
    save_file(named, folder / WEIGHTS, metadata={"format": "pt"})
    classifier = copy.deepcopy(model.config)
    classifier.architectures = [type(model).__name__]
    classifier.save_pretrained(folder / CLASSIFIER)


def read_adapter(folder: Path) -> Mapping[str, Any]:
    """What `adapter_config.json` in the folder says."""
    found: Mapping[str, Any] = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))
    return found


def load_adapter(model: PreTrainedModel, folder: Path) -> None:
    """Give a model of an adapter's base the adapter in the folder, merged (see `merge`); the head is the adapter's.

    Raises:
        KeyError: the adapter is of another base, or its files are damaged.
    """
    from peft import PeftConfig

    config = PeftConfig.from_pretrained(str(folder))
    config.modules_to_save, config.inference_mode = None, False
    with torch.random.fork_rng():
        add_adapter(model, config)
    found = load_file(folder / WEIGHTS)
    names = {PREFIX + _without_adapters_name(name): name for name in model.state_dict()}
    model.load_state_dict({names[name]: weight for name, weight in found.items()}, strict=False)
    merge(model)


def merge(model: PreTrainedModel) -> None:
    """Add what the adapter says to the base's weights, in place, and take the adapter out.

    The weights must be the model's own (see `shared_weights`).
    """
    from peft.tuners.lora import LoraLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            model.set_submodule(name, module.get_base_layer())
    del model.peft_config


def merge_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of the model, with its adapter merged."""
    whole = copy.deepcopy(model)
    merge(whole)
    return whole


def _is_adapters(name: str) -> bool:
    return ".lora_" in name


def _without_adapters_name(name: str) -> str:
    """The name of a weight in a file; in a model, an adapter's weights have the adapter's name too."""
    return name.replace(".default.", ".") if _is_adapters(name) else name.replace(".base_layer.", ".")
