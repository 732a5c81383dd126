"""Weights for single tokens beside the head of a frozen encoder; `lexical` finds them."""

import torch
from torch import nn


class Lexicon(nn.Module):
    """Logits by the tokens of a text: sublinear TF-IDF at unit length, times a weight a class.

    Attributes:
        places: (V,) int64, the place of each token of the vocabulary among the K that count; K for all others.
        idf: (K + 1,), the inverse document frequencies, and 0 for the others.
        weight: (K + 1, C), of which the last row is 0.
    """

    places: torch.Tensor
    idf: torch.Tensor

    def __init__(self, vocabulary_size: int, n_tokens: int, n_classes: int) -> None:
        super().__init__()
        self.register_buffer("places", torch.full((vocabulary_size,), n_tokens))
        self.register_buffer("idf", torch.zeros(n_tokens + 1))
        self.weight = nn.Parameter(torch.zeros(n_tokens + 1, n_classes), requires_grad=False)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Logits (B, C) of tokens (B, T) whose mask is (B, T)."""
        places = self.places[input_ids].masked_fill(attention_mask == 0, len(self.idf) - 1)  # (B, T)
        counts = (places.unsqueeze(1) == places.unsqueeze(2)).sum(dim=-1)  # of the token at each place in its text
        values = (1 + counts.log()) * self.idf[places]
        squares = (values.square() / counts).sum(dim=1, keepdim=True)  # each token once
        shares = values / counts / squares.clamp(min=1e-12).sqrt()
        return (shares.unsqueeze(-1) * self.weight[places]).sum(dim=1)
