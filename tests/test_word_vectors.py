"""Word vectors: trained, drawn and read, and their cache."""

import gensim.models
import numpy as np
import pytest
from conftest import encode_texts, make_texts
from datasets import Dataset
from gensim.models import KeyedVectors

from dami_text.config import WordVectorConfig
from dami_text.data import cache as array_cache
from dami_text.data.pool import EncodedTexts
from dami_text.data.tokenization import encode
from dami_text.data.word_vectors import Sentences, build_word_vectors
from dami_text.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own; calling it empties it (it points to a new folder)."""
    folders = iter(range(100))

    def renew():
        monkeypatch.setattr(array_cache, "HF_HOME", str(tmp_path / f"cache{next(folders)}"))

    renew()
    return renew


def build(texts: EncodedTexts, seed: int = 0, **options):
    return build_word_vectors(texts, WordVectorConfig(**{"word_vector_dim": 12, **options}), seed)


def specials_are_zero_and_words_are_not(vectors) -> bool:
    return not vectors[:2].any() and bool((np.abs(vectors[2:]).max(axis=1) > 0).all())


def test_every_word_has_a_vector_and_padding_and_unknown_are_zero(encoded):
    vectors = build(encoded[0])
    assert vectors.shape == (42, 12)
    assert vectors.dtype == np.float32
    assert specials_are_zero_and_words_are_not(vectors)


def test_word2vec_is_deterministic_for_a_seed(encoded, cache):
    first = build(encoded[0], seed=3)
    cache()
    np.testing.assert_array_equal(build(encoded[0], seed=3), first)
    assert not np.allclose(build(encoded[0], seed=4), first, atol=1e-3)


def test_the_second_call_does_not_train(encoded, monkeypatch):
    first = build(encoded[0])

    def refuse(*args, **kwargs):
        raise AssertionError("word2vec was trained again")

    monkeypatch.setattr(gensim.models, "Word2Vec", refuse)
    encoded[1](["w1", "w2 w3"], padding=True, truncation=True, max_length=1)  # use leaves traces in a tokenizer
    np.testing.assert_array_equal(build(encoded[0]), first)
    again = encode_texts(["", *make_texts(59)])  # the same content in another object
    np.testing.assert_array_equal(build(again), first)


def test_word2vec_is_skip_gram_of_window_5_for_10_epochs_on_one_thread(encoded, monkeypatch):
    train, asked = gensim.models.Word2Vec, {}
    monkeypatch.setattr(gensim.models, "Word2Vec", lambda **options: asked.update(options) or train(**options))
    build(encoded[0], word_vector_dim=9)
    wanted = {"sg": 1, "window": 5, "epochs": 10, "min_count": 1, "workers": 1, "vector_size": 9}
    assert {name: asked[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"word_vector_dim": 7}, {"word_vector_texts": 5}, {"lowercase": False}, {"texts": 1}]
)
def test_whatever_changes_the_vectors_trains_anew(change, monkeypatch):
    texts = ["A b c", "b c", "a", "d d", "e", "f a"]
    build(encode_texts(texts))
    trained = []
    train = gensim.models.Word2Vec
    monkeypatch.setattr(gensim.models, "Word2Vec", lambda **options: trained.append(1) or train(**options))
    changed = dict(change)
    texts = texts[: len(texts) - changed.pop("texts", 0)]
    lowercase = changed.pop("lowercase", True)
    build(encode_texts(texts, lowercase=lowercase), **changed)
    assert trained == [1]


def test_words_that_occur_together_end_closer_than_words_that_do_not():
    rng = np.random.default_rng(0)
    topics = [[f"{topic}{i}" for i in range(6)] for topic in ("sea", "bank")]
    encoded = encode_texts([" ".join(rng.choice(topics[i % 2], 8)) for i in range(400)])
    vectors = build(encoded).astype(np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    ids = encoded.tokenizer.get_vocab()
    sea, bank = (vectors[[ids[word] for word in topic]] for topic in topics)
    together = np.concatenate([(topic @ topic.T)[np.triu_indices(6, 1)] for topic in (sea, bank)])
    assert together.min() > (sea @ bank.T).max()


def test_a_sample_of_the_texts_still_gives_every_word_a_vector(cache):
    encoded = encode_texts([f"only{i} common words" for i in range(50)])
    vectors = build(encoded, word_vector_texts=5)
    assert specials_are_zero_and_words_are_not(vectors)
    cache()
    np.testing.assert_array_equal(build(encoded, word_vector_texts=5), vectors)
    # Skip-gram moves words that were read away from where they start, within 0.5 / D; the others stay.
    moved = np.abs(vectors[2:]).max(axis=1) > 0.5 / 12
    assert 2 <= moved.sum() <= 7


@pytest.mark.parametrize("texts", [["", ""], ["never seen", "[PAD]!"], [""]])
def test_texts_without_any_known_word(texts):
    tokenizer = encode_texts(["alpha beta"]).tokenizer
    encoded = EncodedTexts(encode(Dataset.from_dict({"text": texts}), tokenizer), tokenizer)
    vectors = build(encoded)
    assert vectors.shape == (4, 12)
    assert specials_are_zero_and_words_are_not(vectors)


def test_a_vocabulary_without_words():
    assert build(encode_texts(["", "  "])).tolist() == np.zeros((2, 12)).tolist()


def test_sentences_leave_out_unknown_words_and_lose_none_of_a_long_text():
    tokenizer = encode_texts(["a b"], max_length=10**6).tokenizer
    dataset = Dataset.from_dict({"text": ["b", "a b unknown " * 9_000, "?"]})
    encoded = EncodedTexts(encode(dataset, tokenizer), tokenizer)
    a, b = (str(tokenizer.get_vocab()[word]) for word in "ab")
    first, *pieces = Sentences(encoded, np.arange(3))
    assert first == [b]
    assert [word for piece in pieces for word in piece] == [a, b] * 9_000
    assert max(map(len, pieces)) <= 10_000  # gensim drops what comes after


def test_random_vectors_are_kims():
    encoded = encode_texts([" ".join(f"w{i}" for i in range(500))])
    vectors = build(encoded, word_vectors="random", word_vector_dim=40)
    assert vectors.shape == (502, 40)
    assert specials_are_zero_and_words_are_not(vectors)
    words = vectors[2:]
    assert np.abs(words).max() <= 0.25
    assert abs(words.mean()) < 0.005
    assert words.std() == pytest.approx(0.25 / 3**0.5, rel=0.02)  # of a uniform distribution
    np.testing.assert_array_equal(build(encoded, word_vectors="random", word_vector_dim=40), vectors)
    assert not np.array_equal(build(encoded, word_vectors="random", word_vector_dim=40, seed=1), vectors)


@pytest.mark.parametrize("binary", [False, True])
def test_vectors_from_a_file(tmp_path, binary):
    known = KeyedVectors(6)
    values = np.random.default_rng(0).normal(0, 2, (300, 6)).astype(np.float32)
    known.add_vectors(["naïve", "cat", *(f"filler{i}" for i in range(298))], values)
    path = tmp_path / "vectors.any"
    known.save_word2vec_format(path, binary=binary)
    encoded = encode_texts(["The naïve cat", " ".join(f"missing{i}" for i in range(300))])
    vectors = build(encoded, word_vectors=str(path))
    ids = encoded.tokenizer.get_vocab()
    assert vectors.shape == (305, 6)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors[[ids["naïve"], ids["cat"]]], values[:2], rtol=1e-6)
    assert specials_are_zero_and_words_are_not(vectors)
    missing = vectors[[ids[f"missing{i}"] for i in range(300)]]
    assert missing.std() == pytest.approx(values.std(), rel=0.05)
    np.testing.assert_array_equal(build(encoded, word_vectors=str(path)), vectors)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"Once upon a time there was no vector.\nNone at all.\n",
        b"0 5\n",
        b"3 2\na 1 2\nb 3 4\n",  # a word is missing
        b"2 3\na 1 2 3\nb 3 4\n",  # a number is missing
        b"2 2\na 1 2\nb 3 x\n",
        b"2 4\na \x00\x01",
        b"\x93NUMPY\x01\x00v\x00" + bytes(range(256)),
        b"\xff\xfe\x00w" * 40,
        b"word 0.1 0.2\nother 0.3 0.4\n",  # GloVe's format has no first line
        b"-1 3\na 1 2 3\n",
        b"1 0\na\n",
        b"99999999999999 99999999999\na 1 2\n",
    ],
    ids=range(14),
)
def test_a_file_without_word_vectors_is_refused(tmp_path, content, encoded):
    path = tmp_path / "vectors.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"vectors\.txt holds no word vectors; wanted word2vec's text or binary format"):
        build(encoded[0], word_vectors=str(path))


def test_vectors_that_are_not_numbers_are_refused(tmp_path, encoded):
    path = tmp_path / "vectors.txt"
    path.write_text("2 2\nw1 1 nan\nw2 inf 3\n")
    with pytest.raises(DataError, match=r"vectors\.txt has vectors with NaN or infinite numbers"):
        build(encoded[0], word_vectors=str(path))


@pytest.mark.parametrize("name", ["fasttext", "no/such/file.bin", "", "."])
def test_neither_a_method_nor_a_file(encoded, name):
    with pytest.raises(ConfigError, match="it must be word2vec, random or an existing file"):
        build(encoded[0], word_vectors=name)
