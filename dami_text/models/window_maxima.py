"""The largest value of each filter over the windows of a text.

A maximum depends on one window. So the gradient with respect to a filter is a weighted sum of one window a text, and
that with respect to the embeddings reaches one window a filter. The backward pass of a convolution multiplies all
windows, of which a text has T and all but one get nothing. On a CPU, `window_maxima` looks at the largest ones alone:
what it computes is the same but for rounding, and a training step takes about half as long. Where no gradient is
wanted, `maxima_of_words` takes half the time of `window_maxima`.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional


def window_maxima(
    embedded: torch.Tensor, starts: torch.Tensor, convolutions: Iterable[nn.Module], *, products: bool
) -> torch.Tensor:
    """The filters' maxima (B, H), each filter's over the windows of its size that start where `starts` says.

    Args:
        embedded: (B, T, D); zeros follow behind the T words.
        starts: (B, T), whether a window starts there; the maxima of a text without any are -inf.
        convolutions: `nn.Conv2d` of each size, with weights (M, D, 1, size) and biases.
        products: whether to compute matrix products with the windows of a text, as suits a CPU, or convolutions.
    """
    of_sizes: list[Any] = list(convolutions)
    length, longest = embedded.shape[1], max(convolution.kernel_size[1] for convolution in of_sizes)
    outside = torch.zeros_like(starts, dtype=embedded.dtype).masked_fill(~starts, -torch.inf)
    padded = functional.pad(embedded, (0, 0, 0, longest - 1))  # (B, T + longest - 1, D)
    if products:
        size = longest * embedded.shape[2]
        filters = [convolution.weight.squeeze(2).transpose(1, 2).flatten(1) for convolution in of_sizes]
        alike = torch.cat([functional.pad(each, (0, size - each.shape[1])) for each in filters])
        biases = torch.cat([convolution.bias for convolution in of_sizes])
        maxima: torch.Tensor = _WindowMaxima.apply(padded, alike, outside)  # type: ignore[no-untyped-call]
        return maxima + biases
    channels = padded.transpose(1, 2).unsqueeze(2)  # (B, D, 1, T + longest - 1); a slice for each size would be copied
    maps = [convolution(channels).squeeze(2).transpose(1, 2)[:, :length] for convolution in of_sizes]
    return torch.cat([(each + outside.unsqueeze(-1)).max(dim=1).values for each in maps], dim=1)


def maxima_of_words(
    vectors: torch.Tensor, places: torch.Tensor, is_word: torch.Tensor, convolutions: Iterable[nn.Module]
) -> torch.Tensor:
    """The maxima (B, H) that `window_maxima` gives, without a gradient, of words that are rows of `vectors` (U, D).

    A window's value is a sum of products of its words with parts of the filter, and a word's products are the same
    wherever it stands. So the fewer distinct words there are among many, the less is to be multiplied.

    Args:
        vectors: (U, D) of distinct words.
        places: (B, T), which of these each word is.
        is_word: (B, T), whether there is a word; zeros stand elsewhere, and no window starts there.
        convolutions: as for `window_maxima`.
    """
    (n, length), nothing = places.shape, len(vectors)
    outside = torch.zeros_like(is_word, dtype=vectors.dtype).masked_fill(~is_word, -torch.inf).unsqueeze(-1)
    places = places.masked_fill(~is_word, nothing)
    vectors = functional.pad(vectors, (0, 0, 0, 1))
    of_sizes: list[Any] = list(convolutions)
    found: list[torch.Tensor] = []
    for convolution in of_sizes:
        n_filters, _, _, size = convolution.weight.shape
        products = vectors @ convolution.weight.squeeze(2).permute(2, 1, 0)  # (size, U + 1, M)
        windows = functional.pad(places, (0, size - 1), value=nothing).unfold(1, size, 1)  # (B, T, size)
        windows = (windows + torch.arange(size) * len(vectors)).reshape(-1, size)
        maps = functional.embedding_bag(windows, products.view(-1, n_filters), mode="sum").view(n, length, n_filters)
        found.append(maps.add_(outside).amax(dim=1) + convolution.bias)
    return torch.cat(found, dim=1)


class _WindowMaxima(torch.autograd.Function):
    """Maxima (B, H) of filters (H, S * D) over windows of S words in padded embeddings (B, T + S - 1, D).

    `outside` (B, T) is added to the values of the windows. Of equal windows the first is the largest, as `torch.max`
    has it.
    """

    @staticmethod
    def forward(ctx: Any, padded: torch.Tensor, filters: torch.Tensor, outside: torch.Tensor) -> torch.Tensor:
        (n, length), (n_filters, width) = outside.shape, filters.shape
        padded = padded.contiguous()
        windows = padded.as_strided((n, length, width), (padded.stride(0), padded.shape[2], 1)).reshape(-1, width)
        maps = (windows @ filters.T).view(n, length, n_filters)
        maps += outside.unsqueeze(-1)
        maxima = maps.amax(dim=1)
        if any(ctx.needs_input_grad):
            # Much faster than `max`, which compares and keeps places one after another.
            backwards = torch.arange(length, 0, -1, dtype=torch.int32).unsqueeze(-1)
            first = length - ((maps == maxima.unsqueeze(1)) * backwards).amax(dim=1).clamp(min=1)
            ctx.save_for_backward(windows, filters, first)
            ctx.padded_shape = padded.shape
        return maxima

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        windows, filters, first = ctx.saved_tensors
        (n, n_filters), length = gradient.shape, len(windows) // len(gradient)
        places = first + torch.arange(n).unsqueeze(1) * length  # (B, H), of rows of `windows`
        of_padded = of_filters = None
        if ctx.needs_input_grad[1]:
            of_filters = functional.embedding_bag(
                places.T.contiguous(), windows, mode="sum", per_sample_weights=gradient.T.contiguous()
            )
        if ctx.needs_input_grad[0]:
            # A bag for each window: the filters that are largest there.
            flat = places.flatten()
            order = _by_place(flat)
            counts = torch.bincount(flat, minlength=n * length)
            weights, starts = gradient.flatten()[order], counts.cumsum(0) - counts
            of_windows = functional.embedding_bag(
                order % n_filters, filters, starts, mode="sum", per_sample_weights=weights
            ).view(n, length, -1)
            of_padded, dimensions = gradient.new_zeros(ctx.padded_shape), ctx.padded_shape[2]
            for i, part in enumerate(of_windows.split(dimensions, dim=2)):
                of_padded[:, i : i + length] += part
        return of_padded, of_filters, None


def _by_place(places: torch.Tensor) -> torch.Tensor:
    """The order that sorts places (N,), equal ones as they come."""
    found = places.numpy()
    # NumPy sorts numbers of 16 bits by counting.
    small = found.astype("uint16") if len(found) and found.max() < 2**16 else found
    return torch.from_numpy(small.argsort(kind="stable"))
