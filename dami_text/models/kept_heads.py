"""Heads of classifiers that were trained before, for the data's classes: the rows of the last layer, by their names."""

import copy
import re
from collections import Counter
from collections.abc import Sequence

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from dami_text.models.heads import draw
from dami_text.models.last_layer import UNSEEN, head_of
from dami_text.models.lexicon import Lexicon
from dami_text.models.regions import regions_of
from dami_text.models.word_level import class_names_of, label_names

#: The names that transformers gives to classes without any.
NAMELESS = re.compile(r"LABEL_\d+")

#: For each class (C,) of the data, its row in the last layer of another classifier; None where it has none.
HeadRows = list[int | None]


def rows_by_name(found: Sequence[str], class_names: Sequence[str]) -> HeadRows:
    """The places of `class_names` (C,) among the classes `found`; where no other is meant, case and blanks are alike.

    The names LABEL_0, LABEL_1 and so on, which transformers gives, say nothing: none is found.

    Examples:
        >>> rows_by_name(["Positive", "Negative", "LABEL_2"], ["negative", "neutral", "positive"])
        [1, None, 0]
        >>> rows_by_name(["LABEL_0", "LABEL_1"], ["LABEL_0", "LABEL_1"])
        [None, None]
    """
    if all(map(NAMELESS.fullmatch, found)):
        return [None] * len(class_names)
    alike = Counter(map(_plain, class_names)) + Counter(map(_plain, found))
    close = {_plain(name): i for i, name in enumerate(found) if alike[_plain(name)] == 2}  # one here, and one there
    same = {name: i for i, name in enumerate(found)}
    return [same.get(name, close.get(_plain(name))) for name in class_names]


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())


def rows_of_trained(config: PretrainedConfig, class_names: Sequence[str], *, new_head: bool) -> HeadRows:
    """The rows that a checkpoint with this configuration has for `class_names` (C,).

    There are none if it is no classifier, or if a new head is asked for.
    """
    if new_head or not is_trained(config):
        return [None] * len(class_names)
    return rows_by_name(class_names_of(config), class_names)


def is_trained(config: PretrainedConfig) -> bool:
    """Whether a checkpoint with this configuration was trained to classify texts."""
    return any(str(each).endswith("ForSequenceClassification") for each in config.architectures or ())


def give_classes(model: PreTrainedModel, rows: HeadRows, class_names: Sequence[str]) -> None:
    """Make a trained classifier one of `class_names` (C,), in place: class i has the row `rows[i]` of its last layer.

    A class without a row has zeros. What is beside a head is changed alike: the network for linear regions, and the
    weights of single tokens.

    Raises:
        ValueError: the last layer is not linear.
    """
    layer, known = head_of(model), [i for i, row in enumerate(rows) if row is not None]
    taken = [row for row in rows if row is not None]
    for name, old in list(layer.named_parameters(recurse=False)):
        new = torch.zeros(len(rows), *old.shape[1:], dtype=old.dtype, device=old.device)
        new[known] = old.detach()[taken]
        setattr(layer, name, nn.Parameter(new))
    if (bias := layer._buffers.get("bias")) is not None:  # of a decoder, see `last_layer.add_bias`
        added = torch.zeros(len(rows), dtype=bias.dtype, device=bias.device)
        added[known] = bias[taken]
        layer._buffers["bias"] = added
    layer.out_features = len(rows)
    for option, value in label_names(class_names).items():
        setattr(model.config, option, value)
    if hasattr(model, "num_labels"):
        model.num_labels = len(rows)  # type: ignore[assignment]  # what nn.Module has by __getattr__
    lexicon = getattr(model, "lexicon", None)
    if isinstance(lexicon, Lexicon):
        weights = lexicon.weight.new_zeros(len(lexicon.weight), len(rows))
        weights[:, known] = lexicon.weight.detach()[:, taken]
        lexicon.weight = nn.Parameter(weights, requires_grad=False)
    network = regions_of(model)
    if network is not None:
        give_classes(network, rows, class_names)


def without_unseen(model: PreTrainedModel, rows: HeadRows) -> HeadRows:
    """The rows but those of classes that the classifier never predicts, because no label had them (see `unseen`)."""
    bias = head_of(model).bias
    return [None if row is None or (bias is not None and bias[row] <= UNSEEN / 2) else row for row in rows]


def draw_rows(model: PreTrainedModel, rows: Sequence[int]) -> None:
    """Draw `rows` of the model's last layer anew, from torch's generator."""
    layer = head_of(model)
    new = copy.deepcopy(layer)
    draw(model, new)
    with torch.no_grad():
        for old, drawn in zip(layer.parameters(), new.parameters(), strict=True):
            old[list(rows)] = drawn[list(rows)]
