"""Passes over texts: batches of like length, dealt out whole to the processes, rows travelling with their results."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from dami_text.config.defaults import BATCH_SIZE
from dami_text.data.batches import TOKENS_A_TEXT, Batch, FeatureBatch, batches_by_length
from dami_text.data.ids import Rows
from dami_text.data.texts import FeatureTexts, Texts
from dami_text.models.heads import head_alone
from dami_text.models.last_layer import head_of, read_by_head
from dami_text.models.precision import asked_precision
from dami_text.models.resident import resident
from dami_text.models.room import ENOUGH, CardMemory, Room, tell_of_halving
from dami_text.models.tasks import task_of
from dami_text.models.windows import windows_of
from dami_text.processes import Processes, is_card

#: How many times larger batches are on a CUDA card where they are not measured: it would wait between small ones.
ON_CARD = 16

T = TypeVar("T")


@runtime_checkable
class FindsFeatures(Protocol):
    """A model that says itself what the features of texts are, because it has no last layer that reads them."""

    def features_of(self, **inputs: Any) -> torch.Tensor:
        """The features (B, H) of a batch's texts."""


@contextmanager
def _modes_restored(model: PreTrainedModel) -> Iterator[None]:
    """Every module's own mode, training or not, is restored after the block."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def evaluation_mode(model: PreTrainedModel) -> Iterator[None]:
    """Switch dropout and the like off inside the block; every module's own mode is restored after it."""
    with _modes_restored(model):
        model.eval()
        yield


@contextmanager
def dropout_mode(model: PreTrainedModel) -> Iterator[None]:
    """Switch dropout on inside the block, and nothing else that training switches on; modes are restored after it."""
    with _modes_restored(model):
        for module in model.modules():
            module.training = not isinstance(module, nn.modules.batchnorm._BatchNorm)  # whose statistics would move
        yield


def has_dropout(model: PreTrainedModel) -> bool:
    """Whether the model has dropout, so that its passes in training mode are samples."""
    rates = [module.p for module in model.modules() if isinstance(module, nn.modules.dropout._DropoutNd)]
    options = model.config.to_dict().items()  # attention's dropout is often a function, whose rate is an option
    rates += [value for name, value in options if "drop" in name and isinstance(value, float)]
    return any(rate > 0 for rate in rates)


def device_of(model: PreTrainedModel) -> torch.device:
    """The device that the model's weights are on."""
    return next(model.parameters()).device


def from_features(model: PreTrainedModel, texts: Texts) -> tuple[PreTrainedModel, Texts | FeatureTexts]:
    """The model's head and the features that it reads, where `texts` have a frozen encoder's; else both as given."""
    return (model, texts) if texts.frozen_features is None else (head_alone(model), texts.frozen_features)


def over_batches(
    function: Callable[[Any], torch.Tensor],
    texts: Texts | FeatureTexts,
    rows: Rows,
    device: torch.device,
    batch_size: int = BATCH_SIZE,
    *,
    processes: Processes | None = None,
    is_measured: bool = True,
) -> NDArray[Any]:
    """The results (n, ...) of `function`, a row of it a text, in the order of `rows` (n,) of `texts`.

    Without `processes`, all those of the launch share the work, and every one of them gets the whole result. The
    batches do not depend on their number. On a card they are up to `ON_CARD` times as large. Under a single process, if
    this `is_measured`, they are as large as is useful and as memory has room for (see `room`), whatever `batch_size`
    is. One that there is no room for is halved.
    """
    processes = Processes.all() if processes is None else processes
    collating, lengths = resident(texts, device), texts.lengths[rows]
    room = Room(CardMemory(device)) if is_measured and is_card(device) and processes.count == 1 else None
    if room is None:
        batches = processes.share(batches_by_length(lengths, *batch_limits(device, batch_size, texts.least_batch)))

    def compute(positions: Rows) -> torch.Tensor:
        return function(collating.collate(rows[positions]).to(device))

    def results() -> Iterator[tuple[Rows, NDArray[Any]]]:
        before: tuple[Rows, torch.Tensor] | None = None  # a card computes while the next batch is made
        for positions in batches if room is None else room.batches(lengths):
            parts = in_halves(compute, positions)
            if room is not None and len(parts) > 1:
                room.ran_out(len(positions) * int(lengths[positions].max(initial=1)))
            if before is not None:
                yield before[0], before[1].cpu().numpy()
            before = positions, torch.cat(parts) if len(parts) > 1 else parts[0]
        if before is not None:
            yield before[0], before[1].cpu().numpy()

    assembled: NDArray[Any] = np.zeros(0)
    for positions, values in processes.gather(results()):
        if not len(assembled):
            assembled = np.zeros((len(rows), *values.shape[1:]), values.dtype)
        assembled[positions] = values
    return assembled


def batch_limits(device: torch.device, batch_size: int, least: int) -> tuple[int, float]:
    """How many texts a pass on the device takes at once, and how many tokens for each, where it is not measured.

    `batch_size` texts were asked for, and at least `least`.
    """
    size = max(batch_size, least)
    return (size * ON_CARD, ENOUGH / (size * ON_CARD)) if is_card(device) else (size, TOKENS_A_TEXT)


def in_halves(function: Callable[[Rows], T], positions: Rows) -> list[T]:
    """What `function` makes of positions (B,), in halves where the device has no memory for all of them at once.

    Raises:
        torch.OutOfMemoryError: there is no room for one.
    """
    try:
        return [function(positions)]
    except torch.OutOfMemoryError:
        if len(positions) == 1:
            raise
    tell_of_halving("passes", len(positions))
    return [found for half in np.array_split(positions, 2) for found in in_halves(function, half)]


def predict_probabilities(
    model: PreTrainedModel,
    texts: Texts,
    rows: Rows,
    batch_size: int = BATCH_SIZE,
    processes: Processes | None = None,
) -> NDArray[np.float32]:
    """Class probabilities (n, C) of `rows` (n,) of `texts`, without dropout; see `over_batches`.

    Where texts have any number of labels, each label's own.

    Examples:
        >>> from dami_text import make_learner
        >>> def least_sure(model, pool, n, rng):
        ...     surest = predict_probabilities(model, pool.texts, pool.unlabeled).max(axis=1)
        ...     return pool.unlabeled[surest.argsort()[:n]]
        >>> texts = ["good", "bad", "so good", "so bad", "good and bad"]
        >>> learner = make_learner(texts, ["neg", "pos"], model="linear", strategy=least_sure)
        >>> learner.tell([0, 1], ["pos", "neg"])
        >>> learner.ask(1).texts
        ['good and bad']

    Args:
        model: it is left as it was.
        texts: `pool.texts`.
        rows: places in them, such as `pool.unlabeled`.
        batch_size: texts in a batch.
        processes: those that share the work; by default all of the launch.
    """
    of_logits = task_of(model).probabilities
    return _predict(of_logits, model, texts, rows=rows, batch_size=batch_size, processes=processes)


def predict_logits(
    model: PreTrainedModel,
    texts: Texts,
    rows: Rows,
    batch_size: int = BATCH_SIZE,
    processes: Processes | None = None,
) -> NDArray[np.float32]:
    """Logits (n, C) of `rows` (n,) of `texts`, without dropout: they tell more than probabilities that round to 1."""
    return _predict(lambda logits: logits, model, texts, rows=rows, batch_size=batch_size, processes=processes)


def _predict(
    function: Callable[[torch.Tensor], torch.Tensor],
    model: PreTrainedModel,
    texts: Texts,
    rows: Rows,
    batch_size: int,
    *,
    processes: Processes | None,
) -> NDArray[np.float32]:
    """The results (n, C) of `function` of the logits."""
    reader, source = from_features(model, texts)

    def of_batch(batch: Batch | FeatureBatch) -> torch.Tensor:
        return function(reader(**batch.inputs).logits.float())

    with evaluation_mode(reader), torch.no_grad(), asked_precision(reader, source):
        return over_batches(
            of_batch, source, rows, device=device_of(reader), batch_size=batch_size, processes=processes
        )


def predict_features(
    model: PreTrainedModel,
    texts: Texts,
    rows: Rows,
    batch_size: int = BATCH_SIZE,
    processes: Processes | None = None,
    *,
    layer: nn.Module | None = None,
) -> NDArray[np.float32]:
    """The features (n, H) of `rows` (n,) of `texts`: what the last layer, or `layer`, reads, without dropout.

    Where the texts are `projected`, their projection. See `over_batches`.

    Examples:
        >>> from dami_text import make_learner
        >>> texts = ["good", "bad", "so good", "so bad"]
        >>> learner = make_learner(texts, ["neg", "pos"], model="cnn", word_vectors="random", steps=5)
        >>> learner.tell([0, 1], ["pos", "neg"])
        >>> predict_features(learner.trained_model(), learner.pool.texts, learner.pool.unlabeled).shape
        (2, 300)

    Args:
        model: it is left as it was.
        texts: `pool.texts`.
        rows: places in them, such as `pool.unlabeled`.
        batch_size: texts in a batch.
        processes: those that share the work; by default all of the launch.
        layer: by default the last one.

    Raises:
        ValueError: the model has no last layer.
    """
    if texts.projected is not None:
        return texts.projected[rows]
    if isinstance(model, FindsFeatures):
        own = model.features_of
        return over_batches(
            lambda batch: own(**batch.inputs), texts, rows, device_of(model), batch_size, processes=processes
        )
    captured: list[torch.Tensor] = []
    reader, source = from_features(model, texts)

    def capture(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        captured.append(inputs[0])

    def features(batch: Batch | FeatureBatch) -> torch.Tensor:
        reader(**batch.inputs)
        found, inputs = captured.pop(), batch.inputs
        windows = windows_of(model, inputs["attention_mask"])
        if windows is not None and len(found) == len(windows.text):  # and not averaged before
            inputs = windows.split(inputs["input_ids"], model.config.get_text_config().pad_token_id)
        else:
            windows = None
        if found.dim() == 3:
            found = read_by_head(found, **inputs, config=model.config)
        return (found if windows is None else windows.means(found)).float()

    hook = (layer or head_of(model)).register_forward_pre_hook(capture)
    try:
        with evaluation_mode(reader), torch.no_grad(), asked_precision(reader, source):
            return over_batches(
                features, source, rows, device=device_of(reader), batch_size=batch_size, processes=processes
            )
    finally:
        hook.remove()


def predict_both(
    model: PreTrainedModel, texts: Texts, rows: Rows, batch_size: int = BATCH_SIZE
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features (n, H) and class probabilities (n, C) of `rows` (n,); one pass where the head reads these features."""
    features = predict_features(model, texts, rows, batch_size)
    if not _head_reads_features(model, texts):
        return features, predict_probabilities(model, texts, rows, batch_size)
    return features, head_probabilities(model, features)


def _head_reads_features(model: PreTrainedModel, texts: Texts) -> bool:
    """Whether the last layer reads `predict_features`, and nothing beside them."""
    has_own = isinstance(model, FindsFeatures) or getattr(model, "lexicon", None) is not None
    return texts.projected is None and not has_own


def head_logits(model: PreTrainedModel, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the last layer makes (n, C) of features (n, H)."""
    head = head_of(model)
    with torch.no_grad():
        logits: NDArray[np.float32] = head(torch.from_numpy(features).to(head.weight)).float().cpu().numpy()
    return logits


def head_probabilities(model: PreTrainedModel, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Class probabilities (n, C) of features (n, H)."""
    logits = torch.from_numpy(head_logits(model, features))
    probabilities: NDArray[np.float32] = task_of(model).probabilities(logits).numpy()
    return probabilities
