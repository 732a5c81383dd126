"""A bidirectional LSTM (Hochreiter and Schmidhuber 1997; Graves and Schmidhuber 2005) for sentences."""

from typing import Any

import torch
from torch import nn

# Relative, so that transformers finds the file and copies it along (publishing.push.export_code).
from .word_level import WordLevelConfig, WordLevelForSequenceClassification


class BiLSTMConfig(WordLevelConfig):
    """`hidden_size` is the number of units of each direction.

    `pooling` says which of a direction's states are read: each unit's largest value over the words ("max"), or the
    state after the last word ("last"), as in models of earlier versions, whose configurations do not say it.
    """

    model_type = "dami_text_bilstm"

    def __init__(self, hidden_size: int = 100, pooling: str = "last", **kwargs: Any) -> None:
        self.hidden_size, self.pooling = hidden_size, pooling
        super().__init__(**kwargs)

    @property
    def feature_dim(self) -> int:
        """H, the number of features that the classifier's last layer reads."""
        return 2 * self.hidden_size


class BiLSTMForSequenceClassification(WordLevelForSequenceClassification):
    """One LSTM reads the text, another reads it backwards; their pooled states, dropout, a linear layer.

    Each direction runs over the padded batch as it stands: a state never depends on what comes after it, so reading
    out the states of a text's words needs no packing, which costs two to three times as much on a CPU.
    """

    config_class = BiLSTMConfig

    def __init__(self, config: BiLSTMConfig) -> None:
        super().__init__(config)
        self.forward_lstm = nn.LSTM(config.embedding_dim, config.hidden_size, batch_first=True)
        self.backward_lstm = nn.LSTM(config.embedding_dim, config.hidden_size, batch_first=True)
        self.post_init()  # type: ignore[no-untyped-call]  # transformers leaves it untyped

    def features(self, embedded: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Both directions' pooled states (B, H), from embeddings (B, T, D) and the mask of words (B, T).

        A text without words counts as one of a single zero vector.
        """
        n, length, _ = embedded.shape
        embedded = embedded * attention_mask.unsqueeze(-1)
        last = attention_mask.sum(1).clamp(min=1).unsqueeze(1) - 1  # (B, 1)
        first_in_flat = torch.arange(n, device=embedded.device).unsqueeze(1) * length  # (B, 1)
        place = torch.arange(length, device=embedded.device).expand(n, length)
        mirrored = torch.where(place <= last, last - place, place)  # (B, T): words reversed, padding where it was
        flat = embedded.reshape(n * length, -1)
        reversed_words = flat.index_select(0, (first_in_flat + mirrored).flatten()).view_as(embedded)
        states = [self.forward_lstm(embedded)[0], self.backward_lstm(reversed_words)[0]]  # each (B, T, H / 2)
        if self.config.pooling == "max":
            padding = (place > last).unsqueeze(-1)
            return torch.cat([each.masked_fill(padding, -torch.inf).amax(dim=1) for each in states], dim=1)
        ends = (first_in_flat + last).flatten()
        return torch.cat([each.reshape(n * length, -1).index_select(0, ends) for each in states], dim=1)
