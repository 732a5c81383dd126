"""A convolutional network for sentences (Kim 2014, "Convolutional Neural Networks for Sentence Classification").

Kim has zeros before a text as well as behind it, and limits the norm of the last layer's weights to 3. Here zeros come
behind only, so that a text's first word lies in one window of each filter, and the weights have no limit.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

# Relative, so that transformers finds the file and copies it along (publishing.push.export_code).
from .window_maxima import maxima_of_words, window_maxima
from .word_level import WordLevelConfig, WordLevelForSequenceClassification


class TextCNNConfig(WordLevelConfig):
    """`filter_sizes` are the widths of the filters in words; each width has `n_filters` maps."""

    model_type = "dami_text_cnn"

    def __init__(self, filter_sizes: Sequence[int] = (3, 4, 5), n_filters: int = 100, **kwargs: Any) -> None:
        self.filter_sizes = list(filter_sizes)
        self.n_filters = n_filters
        super().__init__(**kwargs)

    @property
    def feature_dim(self) -> int:
        """H, the number of features that the classifier's last layer reads."""
        return len(self.filter_sizes) * self.n_filters


class TextCNNForSequenceClassification(WordLevelForSequenceClassification):
    """Filters over windows of words, the maximum of each over the text, dropout, a linear layer."""

    config_class = TextCNNConfig

    def __init__(self, config: TextCNNConfig) -> None:
        super().__init__(config)
        # Two-dimensional over a height of 1: the embeddings (B, T, D) then are in channels-last layout as they stand.
        self.convolutions = nn.ModuleList(
            nn.Conv2d(config.embedding_dim, config.n_filters, (1, size)) for size in config.filter_sizes
        )
        self.post_init()  # type: ignore[no-untyped-call]  # transformers leaves it untyped

    def features(self, embedded: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The filters' maxima over the text (B, H), from embeddings (B, T, D) and the mask of words (B, T).

        A window counts where it starts at a word; zeros follow the text's end, so that padding changes nothing and a
        text shorter than a filter has its windows too. A text without words has features 0.
        """
        starts = attention_mask != 0
        products = _suits_products(embedded)
        maxima = window_maxima(embedded * attention_mask.unsqueeze(-1), starts, self.convolutions, products=products)
        return torch.relu(maxima)

    def features_of_ids(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The same from the ids of words (B, T); where words recur, each is multiplied once on a CPU."""
        if _suits_products(self.embedding.weight):
            words, places = input_ids.unique(return_inverse=True)
            if 2 * len(words) <= input_ids.numel():
                return torch.relu(
                    maxima_of_words(self.embedding(words), places, attention_mask != 0, self.convolutions)
                )
        return super().features_of_ids(input_ids, attention_mask)


def _suits_products(numbers: torch.Tensor) -> bool:
    """Whether matrix products are quicker than convolutions: on a CPU, in full precision."""
    is_full = numbers.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled("cpu")
    return is_full and numbers.device.type == "cpu"
