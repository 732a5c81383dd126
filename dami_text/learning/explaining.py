"""How much each word of a text has to do with a model's prediction."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dami_text.data.ids import Rows
from dami_text.data.texts import Texts, telling_words
from dami_text.interpretation.word_gradients import word_influence
from dami_text.learning.shown import Explanation, Explanations
from dami_text.models.inference import predict_probabilities


@runtime_checkable
class WeighsWords(Protocol):
    """A model that weighs words in a way of its own; any other is differentiated by their embeddings."""

    def word_weights(self, texts: Texts, row: int) -> NDArray[np.float64]:
        """How much each word (W,) of a row's text speaks for the predicted class, at least 0."""


def prediction_weights(model: PreTrainedModel, texts: Texts, rows: Rows) -> list[NDArray[np.float64]]:
    """How much each word (W,) of the texts at `rows` (n,) has to do with the predicted class."""
    if isinstance(model, WeighsWords):
        return [model.word_weights(texts, row) for row in rows.tolist()]
    return word_influence(model, texts, rows)


def telling_weights(texts: Texts, row: int, weights: NDArray[np.float64]) -> list[tuple[tuple[int, int], float]]:
    """Where each word begins and ends, and its weight of `weights` (W,).

    Bare punctuation is left out, unless the text is nothing else.
    """
    telling = telling_words(texts, row, len(weights))
    places = texts.word_places(row)  # more than there are weights where the text was cut
    words = zip(places, weights.tolist(), telling, strict=False)
    return [(place, weight) for place, weight, tells in words if tells]


def explanations(model: PreTrainedModel, texts: Texts, class_names: Sequence[str]) -> Explanations:
    """The prediction for each text and the weights of its words."""
    found = Explanations()
    rows = np.arange(len(texts))
    probabilities, weights = predict_probabilities(model, texts, rows), prediction_weights(model, texts, rows)
    for row, (p, of_text) in enumerate(zip(probabilities, weights, strict=True)):
        words = telling_weights(texts, row, of_text)
        label = int(p.argmax())
        found.append(
            Explanation(
                text=texts.text(row),
                label=class_names[label],
                probability=float(p[label]),
                places=tuple(place for place, _ in words),
                weights=tuple(weight for _, weight in words),
            )
        )
    return found
