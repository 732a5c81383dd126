"""The recurrence of a stack of LSTMs (Hochreiter and Schmidhuber 1997) with its derivative by hand.

Automatic differentiation would add a gradient of all recurrent weights to the sum of the others for each word; here
they are one product at the end.
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable


def lstm_states(inputs: torch.Tensor, recurrent: torch.Tensor) -> torch.Tensor:
    """The states (M, T, B, H) of M LSTMs, from products of their inputs (M, T, B, 4 H) and weights (M, H, 4 H).

    The gates are in torch's order: input, forget, candidate, output.
    """
    states: torch.Tensor = _States.apply(inputs, recurrent)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return states


class _States(torch.autograd.Function):
    """`lstm_states`, forward and backward."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, recurrent: torch.Tensor) -> torch.Tensor:
        """Take a word of all texts at a time."""
        n_models, length, n_texts, width = inputs.shape
        by_word = (length, n_models, n_texts, width // 4)  # a word's products are contiguous then
        gates, squashed = inputs.new_empty(*by_word[:3], width), inputs.new_empty(by_word)  # the latter: tanh of cells
        states, cells = inputs.new_zeros(2, length + 1, *by_word[1:])  # each begins with that before the first word
        for t in range(length):
            torch.baddbmm(inputs[:, t], states[t], recurrent, out=gates[t])
            into, forget, candidate, out = gates[t].chunk(4, dim=2)
            gates[t, :, :, : width // 2].sigmoid_()
            candidate.tanh_()
            out.sigmoid_()
            torch.mul(forget, cells[t], out=cells[t + 1]).addcmul_(into, candidate)
            torch.tanh(cells[t + 1], out=squashed[t])
            torch.mul(out, squashed[t], out=states[t + 1])
        ctx.save_for_backward(recurrent, gates, states, cells, squashed)
        found: torch.Tensor = states[1:].transpose(0, 1)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Go back from the last word."""
        recurrent, gates, states, cells, squashed = ctx.saved_tensors
        of_gates, weights = torch.empty_like(gates), recurrent.transpose(1, 2)
        of_state, of_cell = of_states[:, -1], torch.zeros_like(cells[0])
        for t in reversed(range(len(gates))):
            into, forget, candidate, out = gates[t].chunk(4, dim=2)
            of_into, of_forget, of_candidate, of_out = of_gates[t].chunk(4, dim=2)
            torch.ops.aten.sigmoid_backward(of_state * squashed[t], out, grad_input=of_out)
            of_cell = of_cell + torch.ops.aten.tanh_backward(of_state * out, squashed[t])
            torch.ops.aten.sigmoid_backward(of_cell * candidate, into, grad_input=of_into)
            torch.ops.aten.sigmoid_backward(of_cell * cells[t], forget, grad_input=of_forget)
            torch.ops.aten.tanh_backward(of_cell * into, candidate, grad_input=of_candidate)
            if t:
                of_state = torch.baddbmm(of_states[:, t - 1], of_gates[t], weights)
                of_cell = of_cell * forget
        of_inputs = of_gates.transpose(0, 1).contiguous()  # (M, T, B, 4 H)
        before = states[:-1].permute(1, 3, 0, 2).flatten(2)  # (M, H, T B)
        return of_inputs, before @ of_inputs.flatten(1, 2)
