"""Encoded texts, their batches and ids, the pool and the oracle."""

import hashlib

import numpy as np
import pytest
import torch
from conftest import encode_texts, make_texts
from datasets import Dataset, concatenate_datasets
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from dami_text.config.data_options import TokenizationConfig
from dami_text.data.batches import batches_by_length
from dami_text.data.pool import Oracle, Pool
from dami_text.data.texts import EncodedTexts, is_telling, telling_words
from dami_text.data.tokenization import build_tokenizer, encode

LENGTHS = {
    "none": np.zeros(0, np.int64),
    "one": np.array([7]),
    "empty texts": np.zeros(10, np.int64),
    "short": np.random.default_rng(0).integers(0, 30, 1000),
    "some long": np.random.default_rng(1).choice([0, 1, 5, 300, 900, 10_000], 400),
    "all long": np.full(9, 10_000),
}


@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
def test_batches_partition_the_texts_within_their_bounds(lengths, batch_size):
    batches = batches_by_length(lengths, batch_size)
    dealt = np.concatenate([np.zeros(0, np.int64), *batches])
    assert sorted(dealt) == list(range(len(lengths)))
    assert (np.diff(lengths[dealt]) >= 0).all(), "shortest first"
    limit = 256 * batch_size
    for batch, following in zip(batches, [*batches[1:], None], strict=False):
        assert 1 <= len(batch) <= batch_size
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= limit
        if following is not None:  # a batch ends only where one more text would break a bound
            assert len(batch) == batch_size or (len(batch) + 1) * lengths[following].min() > limit


def layouts(dataset: Dataset) -> dict[str, Dataset]:
    """The same rows, lying differently in Arrow's memory."""
    n = len(dataset)
    pieces = [dataset.select(range(i, min(i + 7, n))) for i in range(0, n, 7)]
    shuffled = np.random.default_rng(0).permutation(n)
    return {
        "one chunk": dataset,
        "many chunks": concatenate_datasets(pieces),
        "slice of a larger one": concatenate_datasets([dataset, dataset]).select(range(n, 2 * n)),
        "indices": dataset.select(shuffled).select(np.argsort(shuffled)),
    }


@pytest.mark.parametrize("layout", ["one chunk", "many chunks", "slice of a larger one", "indices"])
def test_texts_and_token_ids_whatever_the_layout(layout):
    texts = ["", *make_texts(40), ""]
    dataset = Dataset.from_dict({"text": texts, "label": [0] * len(texts)})
    tokenizer = build_tokenizer(dataset, TokenizationConfig(min_document_frequency=1))
    encoded = EncodedTexts(layouts(encode(dataset, tokenizer))[layout], tokenizer)
    vocabulary = tokenizer.get_vocab()
    expected = [[vocabulary[word] for word in text.split()] for text in texts]
    assert len(encoded) == len(texts)
    assert [encoded.text(row) for row in range(len(texts))] == texts
    assert [encoded.token_ids(row).tolist() for row in range(len(texts))] == expected
    assert encoded.lengths.tolist() == [len(ids) for ids in expected]
    content = np.concatenate([np.array(ids, np.int32) for ids in expected]).tobytes()
    assert b"".join(encoded.token_id_blocks()) == content + np.array([len(ids) for ids in expected]).tobytes()


def test_labels_are_left_behind():
    dataset = Dataset.from_dict({"text": ["a b", "c"], "label": [41, 42]})
    tokenizer = build_tokenizer(dataset, TokenizationConfig(min_document_frequency=1))
    encoded = EncodedTexts(encode(dataset, tokenizer), tokenizer)
    held = [value for value in vars(encoded).values() if isinstance(value, Dataset)]
    assert [dataset.column_names for dataset in held] == [["text"]]


def test_collate_pads_on_the_right():
    encoded = encode_texts(["a b c", "", "b"])
    ids = encoded.tokenizer.get_vocab()
    batch = encoded.collate(np.array([2, 0, 1]))
    assert batch.input_ids.tolist() == [[ids["b"], 0, 0], [ids["a"], ids["b"], ids["c"]], [0, 0, 0]]
    assert batch.attention_mask.tolist() == [[1, 0, 0], [1, 1, 1], [0, 0, 0]]
    assert batch.input_ids.dtype == batch.attention_mask.dtype == torch.int64
    moved = batch.to("meta")
    assert moved.input_ids.device.type == moved.attention_mask.device.type == "meta"
    assert batch.input_ids.device.type == "cpu"


def test_empty_texts_alone_have_a_width_of_one():
    batch = encode_texts(["", "a"]).collate(np.array([0, 0]))
    assert batch.input_ids.tolist() == batch.attention_mask.tolist() == [[0], [0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The CAT  sat\n", ["The", "CAT", "sat"]),
        ("Well--done, Straße!", ["Well", "--", "done", ",", "Straße", "!"]),
        ("[PAD] [UNK]", ["[", "PAD", "]", "[", "UNK", "]"]),
        ("İSTANBUL 東京 good👍🏽 ok", ["İSTANBUL", "東", "京", "good", "👍🏽", "ok"]),
        ("cafe\u0301 cre\u0300me e\u0301te\u0301", ["cafe\u0301", "cre\u0300me", "e\u0301te\u0301"]),
        (
            "\u1112\u1161\u11ab\u1100\u1173\u11af a\u030a\u0323.",
            ["\u1112\u1161\u11ab\u1100\u1173\u11af", "a\u030a\u0323", "."],
        ),
        ("a\x1cb", ["a", "\x1c", "b"]),
    ],
)
def test_words_as_they_stand_in_the_text(text, words):
    encoded = encode_texts([text, "other words"])
    assert encoded.lengths[0] == len(words)
    assert [encoded.word(0, i) for i in range(len(words))] == words


def test_words_of_a_text_that_was_cut():
    encoded = encode_texts(["One Two Three Four"], max_length=2)
    assert encoded.lengths.tolist() == [2]
    assert [encoded.word(0, i) for i in range(2)] == ["One", "Two"]


def test_words_keep_their_numbers_where_a_tokenizer_drops_one():
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate("abc")}, []))  # without unknown pieces
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", model_max_length=20)
    encoded = EncodedTexts(encode(Dataset.from_dict({"text": ["zz ab zz zz c b zz"]}), fast), fast)
    numbers = encoded.collate(np.array([0])).word_ids.tolist()
    assert numbers == [[1, 1, 4, 5]]
    assert [encoded.word(0, number) for number in (1, 4, 5)] == ["ab", "c", "b"]
    assert encoded.word_places(0) == [(0, 0), (3, 5), (5, 5), (5, 5), (12, 13), (14, 15)]


def test_stable_ids_hash_the_text_and_number_the_duplicates():
    encoded = encode_texts(["hello", "été", "hello", "", "hello", ""])
    hello, ete, empty = (hashlib.blake2b(t.encode(), digest_size=8).hexdigest() for t in ("hello", "été", ""))
    expected = [f"{hello}-0", f"{ete}-0", f"{hello}-1", f"{empty}-0", f"{hello}-2", f"{empty}-1"]
    assert [encoded.stable_id(row) for row in range(6)] == expected


def test_stable_ids_do_not_depend_on_the_order_of_the_rows():
    texts = make_texts(10_500, longest=3)  # more than one block is hashed; short texts repeat
    order = np.random.default_rng(3).permutation(len(texts))
    shuffled = [texts[i] for i in order]

    def ids(rows: list[str]) -> dict[str, set[str]]:
        encoded = encode_texts(rows)
        found: dict[str, set[str]] = {}
        for row, text in enumerate(rows):
            found.setdefault(text, set()).add(encoded.stable_id(row))
        return found

    first, second = ids(texts), ids(shuffled)
    assert first == second
    assert sum(map(len, first.values())) == len(texts)


def test_pool_keeps_sorted_rows_and_never_changes():
    pool = Pool(encode_texts(["a"] * 6), [4, 1, 4])
    assert len(pool) == 6
    assert pool.labeled.tolist() == [1, 4]
    assert pool.unlabeled.tolist() == [0, 2, 3, 5]
    more = pool.with_labeled(np.array([5, 0]))
    assert more.labeled.tolist() == [0, 1, 4, 5]
    assert more.unlabeled.tolist() == [2, 3]
    assert pool.labeled.tolist() == [1, 4]
    assert pool.labeled.dtype == pool.unlabeled.dtype == np.int64
    assert more.texts is pool.texts


def test_the_pool_has_the_labels_that_were_told_and_no_others():
    texts = encode_texts(["a"] * 6)
    for labels in (np.array([1, 0, 2]), np.array([[1, 1], [0, 0], [0, 1]])):
        pool = Pool(texts, [4, 1, 2], labels)
        assert pool.labels.tolist() == labels[[1, 2, 0]].tolist(), "in the order of the rows"
        more = pool.with_labeled(np.array([5, 1]), labels[:2])
        assert more.labels.tolist() == labels[[1, 2, 0, 0]].tolist(), "of row 1 the new one"
        for other in (pool.sample(1, np.random.default_rng(0)), pool.without([0]), pool.with_texts(texts)):
            assert other.labels.tolist() == pool.labels.tolist()
        assert pool.labels.tolist() == labels[[1, 2, 0]].tolist(), "the pool stays as it was"
    assert Pool(texts, [1]).labels is None
    assert Pool(texts, [1]).with_labeled(np.array([2]), np.array([0])).labels is None


def test_a_sample_of_the_pool_offers_random_unlabelled_rows():
    pool = Pool(encode_texts(["a"] * 1000), range(0, 1000, 2))
    sampled = pool.sample(100, np.random.default_rng(0))
    assert len(set(sampled.unlabeled)) == 100
    assert (np.diff(sampled.unlabeled) > 0).all()
    assert set(sampled.unlabeled) < set(pool.unlabeled)
    np.testing.assert_array_equal(sampled.labeled, pool.labeled)
    assert abs(sampled.unlabeled.mean() - 500) < 100, "three standard errors of 29 each and the shift of 0.5"
    assert len(pool.unlabeled) == 500, "the pool stays as it was"
    np.testing.assert_array_equal(pool.sample(501, np.random.default_rng(0)).unlabeled, pool.unlabeled)
    told = sampled.with_labeled(sampled.unlabeled[:1])
    assert len(told.unlabeled) == 499, "of the whole pool again"


def test_oracle_reveals_what_is_asked_for():
    assert Oracle(np.array([2, 0, 1, 1])).reveal(np.array([3, 0])).tolist() == [1, 2]


@pytest.mark.parametrize("rows", [[-1], [60], [0, 1000]])
def test_rows_outside_of_the_pool_are_refused(encoded, rows):
    texts, _ = encoded
    with pytest.raises(ValueError, match=f"to {rows[-1]} of {len(texts)} texts"):
        Pool(texts, rows)


@pytest.mark.parametrize(
    ("word", "telling"),
    [
        *[
            (word, True)
            for word in ("a", "東", "हि", "7", "²", "don't", "€", "😀", "❤️", "🇩🇪", "#️⃣", "→a", "&eacute;", "@joe")
        ],
        *[(word, False) for word in ("", ".", "...", "!?", "'", "—", "。", "=", "|", "&amp;", "&#39;", "&nbsp;")],
        *[(word, False) for word in ("\u200b", "\u200d", "\ufe0f", "\ufeff", "\u0301", " ")],
    ],
)
def test_telling_words_have_a_letter_a_digit_or_a_symbol(word, telling):
    assert is_telling(word) == telling


def test_where_no_word_is_telling_all_count():
    encoded = encode_texts(["so - good !", ". - !", "", "! a b"])
    assert telling_words(encoded, 0, 4).tolist() == [True, False, True, False]
    assert telling_words(encoded, 1, 3).tolist() == [True, True, True]
    assert telling_words(encoded, 2, 0).tolist() == []
    assert telling_words(encoded, 3, 1).tolist() == [True]  # the text was cut after its first word
