"""Lengths of the gradients that single texts would cause, in closed form, a batch at a time.

With loss(x, c) = - log p(c|x), the gradient by the logits is p - onehot(c) for label c. What comes before the logits
takes a backward pass a class; of two classes the gradients are collinear, so that one pass serves both. Of any number
of labels each is a problem of two classes, whose logit is the log-odds, and takes a pass: see `egl`.

A layer's weight gradient for one text is a sum over places t of outer products of g_t, the gradient by what comes out
of the layer, and a_t, what goes in. Its squared length needs no such matrix:

    || sum_t g_t outer a_t ||^2  =  sum_{s,t} (g_s . g_t) (a_s . a_t)
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional
from transformers import PreTrainedModel

from dami_text.data.batches import Batch
from dami_text.interpretation.word_gradients import by_token, embedding_hook, interpretation_mode
from dami_text.models.precision import asked_precision
from dami_text.models.tasks import Task, task_of
from dami_text.models.unseen import seen_logits


def expected_word_gradients(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """sum_c p(c|x) ||d loss(x, c) / d E_w||_2 (B, T) of the word w at each place, its occurrences summed."""
    with interpretation_mode(model), embedding_hook(model) as embedded:
        with asked_precision(model, for_gradients=True):
            logits = _logits(model, batch)
        same = _same_word(batch).to(embedded[0])
        lengths: torch.Tensor = torch.zeros_like(same[:, 0])
        for weights, (gradient,) in _loss_gradients(task_of(model), logits, embedded):
            of_words = same @ by_token(model, gradient, batch)
            lengths += weights.unsqueeze(1) * torch.linalg.vector_norm(of_words, dim=-1)
    return lengths


def expected_gradient_lengths(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """sum_c p(c|x) ||d loss(x, c) / d theta||_2 (B,), theta being all the model's weights, frozen ones too."""
    modules = [module for module in model.modules() if next(module.parameters(recurse=False), None) is not None]
    if _in_closed_form(model, modules):
        # With the embeddings to differentiate by, there is a way back to every layer, whatever weights are frozen.
        with interpretation_mode(model), embedding_hook(model), _captured(modules) as layers:
            logits = _logits(model, batch)
            if len(layers) == len(modules) and not any(layer.changed() for layer in layers):
                return _in_one(task_of(model), logits, layers)
    return _one_by_one(model, batch)


def _logits(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """The logits (B, C) of the classes that the model can predict: the others have no part in an expectation."""
    logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits.float()
    return seen_logits(model, logits)


@dataclass(frozen=True)
class _Layer:
    """A layer in a forward pass: what went in, and what came out."""

    module: Any  # each function below knows which kind it gets
    given: torch.Tensor
    output: torch.Tensor
    versions: tuple[int, int]

    @classmethod
    def of(cls, module: nn.Module, given: torch.Tensor, output: torch.Tensor) -> "_Layer":
        """The layer as it is now."""
        return cls(module, given, output, (given._version, output._version))

    def changed(self) -> bool:
        """Whether an operation in place, such as nn.ReLU(inplace=True), has changed what went in or came out."""
        return self.versions != (self.given._version, self.output._version)


def _in_one(task: Task, logits: torch.Tensor, layers: list[_Layer]) -> torch.Tensor:
    """The expected gradient lengths (B,) of a batch by its layers' inputs and outputs."""
    lengths: torch.Tensor = logits.new_zeros(len(logits))
    for weights, gradients in _loss_gradients(task, logits, [layer.output for layer in layers]):
        squares = logits.new_zeros(len(logits))
        for layer, gradient in zip(layers, gradients, strict=True):
            squares += SQUARED_LENGTHS[type(layer.module)](layer, gradient)
        lengths += weights * squares.clamp(min=0).sqrt()
    return lengths


@contextmanager
def _captured(modules: list[nn.Module]) -> Iterator[list[_Layer]]:
    """The layers' inputs and outputs in the forward pass inside the block; the embedding's output is a leaf."""
    layers: list[_Layer] = []

    def capture(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: object) -> object:
        tensor = output[0] if isinstance(output, tuple) else output
        assert isinstance(tensor, torch.Tensor)
        if isinstance(module, nn.Embedding):
            output = tensor = tensor.detach().requires_grad_()
        layers.append(_Layer.of(module, inputs[0], tensor))
        return output

    with ExitStack() as hooks:
        for module in modules:
            hooks.callback(module.register_forward_hook(capture).remove)
        yield layers


def _loss_gradients(
    task: Task, logits: torch.Tensor, outputs: list[torch.Tensor]
) -> Iterator[tuple[torch.Tensor, list[torch.Tensor]]]:
    """Weights (B,) and gradients by layers' outputs, whose weighted lengths add up to the expected length."""
    probabilities = task.probabilities(logits).detach()
    if task.multilabel:
        # The loss gradients with and without a label are p - 1 and p times the gradient of its logit.
        weights = 2 * probabilities * torch.sigmoid(-logits.detach()) / logits.shape[1]
        for weight, logit in zip(weights.T, logits.T, strict=True):
            yield weight, list(torch.autograd.grad(logit.sum(), outputs, retain_graph=True))
        return
    if logits.shape[1] == 2:
        # The loss gradients of the two labels are p_1 and -p_0 times the gradient of z_1 - z_0.
        difference = torch.tensor([-1.0, 1.0], device=logits.device).expand_as(logits)
        weights = 2 * probabilities[:, 0] * probabilities[:, 1]
        yield weights, list(torch.autograd.grad(logits, outputs, difference))
        return
    for label in range(logits.shape[1]):
        errors = probabilities.clone()
        errors[:, label] -= 1
        yield probabilities[:, label], list(torch.autograd.grad(logits, outputs, errors, retain_graph=True))


def _same_word(batch: Batch) -> torch.Tensor:
    """Whether two places of a text hold the same word (B, T, T)."""
    return batch.input_ids.unsqueeze(1) == batch.input_ids.unsqueeze(2)


def _outer_squares(gradients: torch.Tensor, inputs: torch.Tensor, n_biases: int) -> torch.Tensor:
    """|| sum_t g_t outer a_t ||^2 + n_biases || sum_t g_t ||^2 (B,), of g (B, T, O) and a (B, T, I)."""
    products = gradients @ gradients.transpose(1, 2)
    return (products * (inputs @ inputs.transpose(1, 2) + n_biases)).sum(dim=(1, 2))


def _embedding(layer: _Layer, gradient: torch.Tensor) -> torch.Tensor:
    ids = layer.given
    same = ids.unsqueeze(1) == ids.unsqueeze(2)
    if layer.module.padding_idx is not None:
        same &= (ids != layer.module.padding_idx).unsqueeze(1)  # padding has no gradient
    return (same * (gradient @ gradient.transpose(1, 2))).sum(dim=(1, 2))


def _linear(layer: _Layer, gradient: torch.Tensor) -> torch.Tensor:
    n, biases = len(gradient), int(layer.module.bias is not None)
    given = layer.given.detach()
    return _outer_squares(gradient.reshape(n, -1, gradient.shape[-1]), given.reshape(n, -1, given.shape[-1]), biases)


def _convolution(layer: _Layer, gradient: torch.Tensor) -> torch.Tensor:
    module = layer.module
    windows = functional.unfold(
        layer.given.detach(), module.kernel_size, module.dilation, module.padding, module.stride
    )  # (B, channels * kernel, T)
    return _outer_squares(gradient.flatten(2).transpose(1, 2), windows.transpose(1, 2), int(module.bias is not None))


def _lstm(layer: _Layer, gradient: torch.Tensor) -> torch.Tensor:
    """Of one direction and one layer, by backpropagation through time; the states (B, T, H) are known already."""
    module, words, states = layer.module, layer.given.detach(), layer.output.detach()
    before = functional.pad(states, (0, 0, 1, 0))[:, :-1]  # (B, T, H): the state that each step starts from
    bias = module.bias_ih_l0 + module.bias_hh_l0
    gates = words @ module.weight_ih_l0.T + before @ module.weight_hh_l0.T + bias
    i, f, g, o = (a.transpose(0, 1) for a in gates.detach().chunk(4, dim=-1))  # (T, B, H) each
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    cells = [torch.zeros_like(i[0])]
    for t in range(len(i)):
        cells.append(f[t] * cells[-1] + i[t] * g[t])
    cell = torch.stack(cells)  # (T + 1, B, H)
    squashed = cell[1:].tanh()
    # How each gate's input moves the cell, and the output gate's the state; o * tanh' carries from state to cell.
    to_cell = torch.stack([g * i * (1 - i), cell[:-1] * f * (1 - f), i * (1 - g * g)])
    to_state, state_to_cell = squashed * o * (1 - o), o * (1 - squashed * squashed)
    by_state, by_cell = torch.zeros_like(i[0]), torch.zeros_like(i[0])
    steps: list[torch.Tensor] = []
    for t in range(len(i) - 1, -1, -1):
        by_state = by_state + gradient[:, t]
        by_cell = by_cell + by_state * state_to_cell[t]
        ig, fg, gg = to_cell[:, t] * by_cell
        steps.append(torch.cat([ig, fg, gg, by_state * to_state[t]], dim=1))  # (B, 4 H)
        by_state = steps[-1] @ module.weight_hh_l0.detach()
        by_cell = by_cell * f[t]
    by_gates = torch.stack(steps[::-1], dim=1)  # (B, T, 4 H)
    return _outer_squares(by_gates, torch.cat([words, before], dim=-1), 2)


SQUARED_LENGTHS = {nn.Embedding: _embedding, nn.Linear: _linear, nn.Conv2d: _convolution, nn.LSTM: _lstm}


def _in_closed_form(model: PreTrainedModel, modules: list[nn.Module]) -> bool:
    """Whether the functions above cover the modules, no two of which may share a weight."""

    def covered(module: Any) -> bool:
        if type(module) is nn.Conv2d:
            return module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
        if type(module) is nn.LSTM:
            plain = module.num_layers == 1 and not module.bidirectional and not module.proj_size
            return plain and module.batch_first and module.bias
        return type(module) in SQUARED_LENGTHS

    own = sum(len(list(module.parameters(recurse=False))) for module in modules)
    return own == len(list(model.parameters())) and all(covered(module) for module in modules)


def _one_by_one(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """The same for a model with layers of other kinds: text by text, class by class."""
    parameters = {name: weight.detach().requires_grad_() for name, weight in model.named_parameters()}
    lengths = []
    with interpretation_mode(model):
        for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True):
            inputs = {"input_ids": ids[None], "attention_mask": mask[None]}
            logits = seen_logits(model, functional_call(model, parameters, kwargs=inputs).logits.float())[0]
            p = task_of(model).probabilities(logits).detach()
            if task_of(model).multilabel:
                differentiated, weights = logits, 2 * p * torch.sigmoid(-logits.detach()) / len(p)
            else:
                differentiated, weights = torch.log_softmax(logits, dim=0), p
            expected = p.new_zeros(())
            for value, weight in zip(differentiated, weights, strict=True):
                gradients = torch.autograd.grad(value, list(parameters.values()), retain_graph=True, allow_unused=True)
                squares = sum(gradient.square().sum() for gradient in gradients if gradient is not None)
                expected += weight * squares**0.5
            lengths.append(expected)
    return torch.stack(lengths)
