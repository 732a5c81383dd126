"""EGL-word against the dense gradient of the embedding's weights."""

import numpy as np
import pytest
from encoder_cases import tiny_model
from strategy_cases import CLASSES, KINDS, loss_gradients, model_for, odd_pool, pool_of

from dami_text.strategies import EglWord, Explaining


def slow_word_lengths(model, pool, row):
    """The expected gradient length (V,) of every word's embedding."""
    gradients = loss_gradients(model, pool, row, [model.embedding.weight])
    return sum(p * np.linalg.norm(gradient.numpy(), axis=1) for p, (gradient,) in gradients)


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_against_the_dense_gradient(kind, n_classes):
    pool = odd_pool()
    model = model_for(kind, pool, n_classes)
    special = {pool.texts.tokenizer.pad_token_id, pool.texts.tokenizer.unk_token_id}
    expected, words, outdone = [], {}, 0
    for row in pool.unlabeled:
        of_word = slow_word_lengths(model, pool, row)
        ids = pool.texts.token_ids(row).tolist()
        best = max((w for w in ids if w not in special), key=lambda w: of_word[w], default=None)
        expected.append(0.0 if best is None else of_word[best])
        words[row] = None if best is None else pool.texts.tokenizer.convert_ids_to_tokens(best)
        outdone += max((of_word[w] for w in ids), default=0) > expected[-1] + 1e-6
    assert outdone, "in some text an unknown word would have won"
    query = EglWord().query(model, pool, len(expected), np.random.default_rng(0))
    found = dict(zip(query.rows.tolist(), query.reasons, strict=True))
    assert [found[row]["score"] for row in pool.unlabeled] == pytest.approx(expected, rel=1e-5)
    assert {row: found[row]["word"] for row in words} == words
    assert query.rows.tolist() == pool.unlabeled[np.argsort(-np.array(expected), kind="stable")].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_words_and_padding_do_not_compete(kind):
    pool = pool_of(["", "zzz", "yyy zzz zzz", "w1 zzz zzz zzz zzz zzz zzz", "w1"])
    query = EglWord().query(model_for(kind, pool), pool, 5, np.random.default_rng(0))
    found = dict(zip(query.rows.tolist(), query.reasons, strict=True))
    assert [found[row] for row in range(3)] == [{"score": 0, "word": None}] * 3
    assert found[3]["word"] == found[4]["word"] == "w1"
    assert query.rows.tolist()[2:] == [0, 1, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_a_texts_words_have_the_lengths_of_their_embeddings_for_weights(kind):
    pool = odd_pool()
    model, strategy = model_for(kind, pool), EglWord()
    assert isinstance(strategy, Explaining)
    special = {pool.texts.tokenizer.pad_token_id, pool.texts.tokenizer.unk_token_id}
    rows = pool.unlabeled[:12]
    for row, weights in zip(rows, strategy.explain(model, pool.texts, rows), strict=True):
        of_word, ids = slow_word_lengths(model, pool, row), pool.texts.token_ids(row).tolist()
        assert weights[: len(ids)] == pytest.approx(
            [0.0 if w in special else of_word[w] for w in ids], rel=1e-4, abs=1e-9
        )


def test_a_word_in_pieces_has_the_highest_weight_of_its_pieces():
    pool = odd_pool(kind="bert")
    model = tiny_model(n_classes=3, vocab_size=len(pool.texts.tokenizer)).eval()
    query = EglWord().query(model, pool, len(pool.unlabeled), np.random.default_rng(0))
    every = EglWord().explain(model, pool.texts, query.rows)
    for row, reason, weights in zip(query.rows.tolist(), query.reasons, every, strict=True):
        assert len(weights) <= len(pool.texts.word_places(row))
        assert max(weights, default=0.0) == pytest.approx(reason["score"], rel=1e-4, abs=1e-9)
        if reason["word"] is not None:
            assert pool.texts.word(row, int(weights.argmax())) == reason["word"]
