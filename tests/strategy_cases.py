"""What the tests of the strategies share: pools of odd texts, gradients one by one, a strategy of one's own."""

from functools import cache
from typing import Any

import numpy as np
import torch
from conftest import make_texts, small_model
from datasets import Dataset
from encoder_cases import tiny_tokenizer
from transformers import PreTrainedTokenizerFast

from dami_text.config.data_options import TokenizationConfig
from dami_text.data.pool import Pool
from dami_text.data.texts import EncodedTexts
from dami_text.data.tokenization import build_tokenizer, encode
from dami_text.models.word_level import WordLevelForSequenceClassification
from dami_text.strategies import Query

KINDS, CLASSES = ("cnn", "bilstm"), (2, 3, 6)

#: Without words, of unknown words only, of one word, of a word twice.
ODD_TEXTS = ["", "zzz", "w1", "w2 zzz w2", "yyy w7 zzz"]
#: Texts with the same n-grams at several places: a CNN's maximum, and so its gradient, may be at any of them.
REPETITIVE_TEXTS = ["w3 w3 w3 w3 w3", "w4 w5 w4 w5 w6 w4 w5"]


@cache
def tokenizer_of(kind: str) -> PreTrainedTokenizerFast:
    """Of a vocabulary w0..w39, in two pieces each for an encoder: other words are unknown."""
    if kind == "bert":
        return tiny_tokenizer()
    return build_tokenizer(Dataset.from_dict({"text": make_texts(200)}), TokenizationConfig())


@cache
def _encoded(texts: tuple[str, ...], kind: str) -> EncodedTexts:
    tokenizer = tokenizer_of(kind)
    return EncodedTexts(encode(Dataset.from_dict({"text": texts}), tokenizer), tokenizer)


def pool_of(texts: list[str], labeled: Any = (), kind: str = "cnn") -> Pool:
    """The texts, as a model of that kind reads them."""
    return Pool(_encoded(tuple(texts), kind), labeled)


def odd_pool(n: int = 36, repetitive: bool = True, kind: str = "cnn") -> Pool:
    """n distinct texts in random order, the odd ones among them, of which 6 are labelled."""
    odd = [*ODD_TEXTS, *(REPETITIVE_TEXTS if repetitive else [])]
    texts = list(dict.fromkeys([*odd, *make_texts(2 * n, seed=1)]))[:n]
    order = np.random.default_rng(0).permutation(n)
    return pool_of([texts[i] for i in order], np.flatnonzero(order >= n - 6), kind)


def model_for(kind: str, pool: Pool, n_classes: int = 2, **options: Any) -> WordLevelForSequenceClassification:
    """A small model in double precision, so that a comparison sees mistakes and no rounding."""
    return small_model(kind, len(pool.texts.tokenizer), n_classes, **options).double()


def logits_of(model: WordLevelForSequenceClassification, pool: Pool, row: int) -> torch.Tensor:
    """The logits (C,) of one text, alone and without padding."""
    ids = torch.from_numpy(pool.texts.token_ids(row).astype(np.int64))[None]
    return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]


def probabilities_of(model: WordLevelForSequenceClassification, pool: Pool) -> np.ndarray:
    """The probabilities (n, C) of the unlabelled texts, one after another."""
    with torch.no_grad():
        return np.array([torch.softmax(logits_of(model, pool, row), 0).tolist() for row in pool.unlabeled])


def features_of(model: WordLevelForSequenceClassification, pool: Pool, rows: np.ndarray) -> np.ndarray:
    """The features (n, H) of `rows`, from the model's own `features`, one text after another."""
    found = []
    with torch.no_grad():
        for row in rows:
            ids = torch.from_numpy(pool.texts.token_ids(row).astype(np.int64)).reshape(1, -1)
            width = max(1, ids.shape[1])
            mask = torch.arange(width)[None] < ids.shape[1]
            embedded = model.embedding(torch.nn.functional.pad(ids, (0, width - ids.shape[1])))
            found.append(model.features(embedded, mask.long())[0].numpy())
    return np.array(found)


def loss_gradients(
    model: WordLevelForSequenceClassification, pool: Pool, row: int, parameters: list[torch.Tensor]
) -> list[tuple[float, list[torch.Tensor]]]:
    """For every class c, p(c|x) and the gradients of - log p(c|x) by `parameters`, by autograd."""
    log_probabilities = torch.log_softmax(logits_of(model, pool, row), dim=0)
    return [
        (float(value.detach().exp()), list(torch.autograd.grad(-value, parameters, retain_graph=True)))
        for value in log_probabilities
    ]


def reasons_by_row(query: Query, name: str = "score") -> dict[int, Any]:
    """One of a query's reasons, by row."""
    return {int(row): reason[name] for row, reason in zip(query.rows, query.reasons, strict=True)}


class Longest:
    """A strategy as a user writes it: the longest texts."""

    def query(self, model: Any, pool: Pool, n: int, rng: np.random.Generator) -> Query:
        lengths = pool.texts.lengths[pool.unlabeled]
        return Query.of(pool.unlabeled[np.argsort(-lengths, kind="stable")[:n]])


class NeedsArguments(Longest):
    def __init__(self, size: int) -> None:
        self.size = size


class NoQuery:
    """Not a strategy."""
