"""The interpretation of a text: the gradient of the model's output with respect to each word's embedding.

I_ij = d yhat_i / d x_ij for word j of text i ("Deep Active Learning by Model Interpretability", Liu et al. 2020): the
weights of the linear function that a piecewise linear model is at that text, and so the region that the text lies in.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, XLNetModel

from dami_text.data.batches import Batch, batches_by_length
from dami_text.data.ids import Rows
from dami_text.data.texts import Texts
from dami_text.models.inference import device_of, evaluation_mode
from dami_text.models.precision import asked_precision
from dami_text.models.tasks import task_of
from dami_text.models.unseen import seen_logits
from dami_text.models.windows import windows_of
from dami_text.processes import where_float64_is

Target = Literal["probability", "logit"]
TargetClass = Literal["auto", "predicted", "all"]

#: Texts whose words are weighed in one pass.
WEIGHED_TEXTS = 16


@contextmanager
def embedding_hook(model: PreTrainedModel) -> Iterator[list[torch.Tensor]]:
    """Capture the embeddings (B, T, D) of the words in each forward pass, as tensors to differentiate by.

    Some architectures have them in another shape (see `by_token`). The hook sits on `model.get_input_embeddings()` and
    is removed at the end, whatever happens. The embedding's own weights need no gradient.
    """
    captured: list[torch.Tensor] = []

    def capture(module: torch.nn.Module, inputs: object, output: Any) -> Any:
        scaled = isinstance(output, tuple)  # of I-BERT, by a factor that comes with it
        captured.append((output[0] if scaled else output).detach().requires_grad_())
        embedded = captured[-1].clone()  # which the model may change in place
        return (embedded, *output[1:]) if scaled else embedded

    handle = model.get_input_embeddings().register_forward_hook(capture)
    try:
        yield captured
    finally:
        handle.remove()


def by_token(model: PreTrainedModel, values: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Values (B, T, D) of the batch's tokens, of values in the shape of what `embedding_hook` captures.

    XLNet's have the tokens first, some architectures have padded the texts to a multiple of their own, and long texts
    may be read in windows.
    """
    if any(isinstance(module, XLNetModel) for module in model.modules()):
        values = values.transpose(0, 1)
    windows = windows_of(model, batch.attention_mask)
    return values[:, : batch.input_ids.shape[1]] if windows is None else windows.by_token(values)


@contextmanager
def interpretation_mode(model: PreTrainedModel) -> Iterator[None]:
    """No dropout, and gradients on; for an RNN cuDNN off, which refuses to go backward through it out of training mode.

    (Convolutions without cuDNN would be computed text by text.)
    """
    recurrent = any(isinstance(module, torch.nn.RNNBase) for module in model.modules())
    cudnn = torch.backends.cudnn.flags(enabled=False) if recurrent else nullcontext()
    with evaluation_mode(model), torch.enable_grad(), cudnn:
        yield


def interpret(
    model: PreTrainedModel, batch: Batch, target: Target = "probability", target_class: TargetClass = "auto"
) -> torch.Tensor:
    """The interpretations (B, W, D) of a batch's words, zero where there is none; (B, W, C * D) for all classes joined.

    The places of `batch.is_word` are words; a word's interpretation is the sum of its pieces' gradients, and special
    tokens, which are no words, have none.

    `target` is what is differentiated: the class's probability p, or its log-odds log p - log(1 - p). `target_class` is
    whose: `auto` takes the positive class of two (the sign of the predicted class's gradient flips between the classes,
    which would merge regions) and the predicted class of more. Where a text has any number of labels, `auto` takes the
    most uncertain one, whose probability is closest to one half, and `predicted` the most probable one. Classes that
    the model never predicts, for lack of a label, do not count: C is without them.
    """
    with interpretation_mode(model), embedding_hook(model) as captured:
        with asked_precision(model, for_gradients=True):
            logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits.float()
        logits = seen_logits(model, logits)
        gradients: list[torch.Tensor] = []
        log_odds_of = _label_log_odds if task_of(model).multilabel else _log_odds
        for log_odds in log_odds_of(logits, target_class):
            # dp = p (1 - p) dlog-odds; through the softmax, 1 - p would drown where p is close to 1.
            p, rest = torch.sigmoid(log_odds.detach()), torch.sigmoid(-log_odds.detach())
            scale = p * rest if target == "probability" else torch.ones_like(p)
            gradients += torch.autograd.grad(log_odds, captured[0], scale, retain_graph=True)
    return batch.by_word(by_token(model, torch.cat(gradients, dim=-1), batch))


def weights_by_word(
    weigh: Callable[[Batch], torch.Tensor], model: PreTrainedModel, texts: Texts, rows: Rows
) -> list[NDArray[np.float64]]:
    """The weights (W,) of the words of each text at `rows` (n,): what `weigh` makes of a batch's words, (B, W)."""
    found: list[NDArray[np.float64]] = [np.zeros(0)] * len(rows)
    for positions in batches_by_length(texts.lengths[rows], WEIGHED_TEXTS):
        batch = texts.collate(rows[positions]).to(device_of(model))
        (weights,) = where_float64_is(weigh(batch))
        is_word = batch.is_word.cpu().numpy()
        n_words = (is_word * np.arange(1, is_word.shape[1] + 1)).max(axis=1)  # a word may be without pieces
        for position, of_text, n in zip(positions.tolist(), weights.double().cpu().numpy(), n_words, strict=True):
            found[position] = of_text[:n]
    return found


def word_influence(model: PreTrainedModel, texts: Texts, rows: Rows) -> list[NDArray[np.float64]]:
    """How much the predicted class depends on each word (W,) of the texts at `rows` (n,).

    It is the length of the gradient of the class's log-odds.
    """

    def lengths(batch: Batch) -> torch.Tensor:
        gradients = where_float64_is(interpret(model, batch, "logit", "predicted"))[0]
        found: torch.Tensor = torch.linalg.vector_norm(gradients.double(), dim=-1)
        return found

    return weights_by_word(lengths, model, texts, rows)


def _log_odds(logits: torch.Tensor, target_class: TargetClass) -> Iterator[torch.Tensor]:
    """The log-odds (B,) to differentiate, log p - log(1 - p), one after another, from logits (B, C)."""
    n_texts, n_classes = logits.shape
    if target_class == "auto" and n_classes == 2:
        yield (logits - logits.flip(1))[:, 1]  # what is against a class is the other one
    elif target_class == "all":
        for c in range(n_classes):
            yield _against_the_rest(logits, torch.full((n_texts, 1), c, device=logits.device))
    else:
        yield _against_the_rest(logits, logits.argmax(dim=1, keepdim=True))


def _label_log_odds(logits: torch.Tensor, target_class: TargetClass) -> Iterator[torch.Tensor]:
    """The same of logits (B, C) of any number of labels, which are the log-odds of each."""
    if target_class == "all":
        yield from logits.T
    else:
        chosen = (-logits.abs() if target_class == "auto" else logits).argmax(dim=1, keepdim=True)
        yield logits.gather(1, chosen).squeeze(1)


def _against_the_rest(logits: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """The log-odds (B,) of each text's chosen class (B, 1)."""
    rest = logits.scatter(1, chosen, -torch.inf)
    return (logits.gather(1, chosen) - rest.logsumexp(dim=1, keepdim=True)).squeeze(1)
