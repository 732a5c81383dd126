"""Word vectors: trained, drawn and read, and their cache."""

import math
from importlib.util import find_spec

import numpy as np
import pytest
from conftest import encode_texts, make_texts
from datasets import Dataset

from dami_text.config.data_options import WordVectorConfig
from dami_text.data import cache as array_cache
from dami_text.data import ppmi, word_vectors
from dami_text.data.texts import EncodedTexts
from dami_text.data.tokenization import encode
from dami_text.data.word_vectors import Sentences, build_word_vectors
from dami_text.errors import ConfigError, DataError

needs_gensim = pytest.mark.skipif(find_spec("gensim") is None, reason="gensim is not installed")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own; calling it empties it (it points to a new folder)."""
    folders = iter(range(100))

    def renew():
        monkeypatch.setattr(array_cache, "HF_HOME", str(tmp_path / f"cache{next(folders)}"))

    renew()
    return renew


@pytest.fixture
def gensim():
    """The library, or a skip."""
    pytest.importorskip("gensim", reason="gensim is not installed")
    import gensim.models

    return gensim


def build(texts: EncodedTexts, seed: int = 0, **options):
    return build_word_vectors(
        texts, WordVectorConfig(**{"word_vectors": "word2vec", "word_vector_dim": 12, **options}), seed
    )


def specials_are_zero_and_words_are_not(vectors) -> bool:
    return not vectors[:2].any() and bool((np.abs(vectors[2:]).max(axis=1) > 0).all())


def test_every_word_has_a_vector_and_padding_and_unknown_are_zero(encoded):
    vectors = build(encoded[0])
    assert vectors.shape == (42, 12)
    assert vectors.dtype == np.float32
    assert specials_are_zero_and_words_are_not(vectors)


@needs_gensim
def test_word2vec_is_deterministic_for_a_seed(encoded, cache):
    first = build(encoded[0], seed=3, word_vectors="word2vec")
    cache()
    np.testing.assert_array_equal(build(encoded[0], seed=3, word_vectors="word2vec"), first)
    assert not np.allclose(build(encoded[0], seed=4, word_vectors="word2vec"), first, atol=1e-3)


def test_the_second_call_does_not_train(encoded, monkeypatch, gensim):
    first = build(encoded[0])

    def refuse(*args, **kwargs):
        raise AssertionError("word2vec was trained again")

    monkeypatch.setattr(gensim.models, "Word2Vec", refuse)
    encoded[1](["w1", "w2 w3"], padding=True, truncation=True, max_length=1)  # use leaves traces in a tokenizer
    np.testing.assert_array_equal(build(encoded[0]), first)
    again = encode_texts(["", *make_texts(59)])  # the same content in another object
    np.testing.assert_array_equal(build(again), first)


def test_word2vec_is_skip_gram_of_window_5_for_10_epochs_on_one_thread(encoded, monkeypatch, gensim):
    train, asked = gensim.models.Word2Vec, {}
    monkeypatch.setattr(gensim.models, "Word2Vec", lambda **options: asked.update(options) or train(**options))
    build(encoded[0], word_vector_dim=9)
    wanted = {"sg": 1, "window": 5, "epochs": 10, "min_count": 1, "workers": 1, "vector_size": 9}
    assert {name: asked[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"word_vector_dim": 7}, {"word_vector_texts": 5}, {"lowercase": False}, {"texts": 1}]
)
def test_whatever_changes_the_vectors_trains_anew(change, monkeypatch, gensim):
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


@pytest.mark.parametrize("method", [pytest.param("word2vec", marks=needs_gensim), "ppmi"])
def test_words_that_occur_together_end_closer_than_words_that_do_not(method):
    rng = np.random.default_rng(0)
    topics = [[f"{topic}{i}" for i in range(6)] for topic in ("sea", "bank")]
    encoded = encode_texts([" ".join(rng.choice(topics[i % 2], 8)) for i in range(400)])
    vectors = build(encoded, word_vectors=method).astype(np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    ids = encoded.tokenizer.get_vocab()
    sea, bank = (vectors[[ids[word] for word in topic]] for topic in topics)
    together = np.concatenate([(topic @ topic.T)[np.triu_indices(6, 1)] for topic in (sea, bank)])
    assert together.min() > (sea @ bank.T).max()


@pytest.mark.parametrize("method", [pytest.param("word2vec", marks=needs_gensim), "ppmi"])
def test_a_sample_of_the_texts_still_gives_every_word_a_vector(cache, method):
    encoded = encode_texts([f"only{i} common words" for i in range(50)])
    vectors = build(encoded, word_vector_texts=5, word_vectors=method)
    assert specials_are_zero_and_words_are_not(vectors)
    cache()
    np.testing.assert_array_equal(build(encoded, word_vector_texts=5, word_vectors=method), vectors)
    if method == "ppmi":
        return
    # Skip-gram moves words that were read away from where they start, within 0.5 / D; the others stay.
    moved = np.abs(vectors[2:]).max(axis=1) > 0.5 / 12
    assert 2 <= moved.sum() <= 7


@pytest.mark.parametrize("method", [pytest.param("word2vec", marks=needs_gensim), "ppmi"])
@pytest.mark.parametrize("texts", [["", ""], ["never seen", "[PAD]!"], [""]])
def test_texts_without_any_known_word(texts, method):
    tokenizer = encode_texts(["alpha beta"]).tokenizer
    encoded = EncodedTexts(encode(Dataset.from_dict({"text": texts}), tokenizer), tokenizer)
    vectors = build(encoded, word_vectors=method)
    assert vectors.shape == (4, 12)
    assert specials_are_zero_and_words_are_not(vectors)


@pytest.mark.parametrize("method", [pytest.param("word2vec", marks=needs_gensim), "ppmi", "random"])
def test_a_vocabulary_without_words(method):
    assert build(encode_texts(["", "  "]), word_vectors=method).tolist() == np.zeros((2, 12)).tolist()


def slow_information(texts, n_words):
    """Positive pointwise mutual information by loops over places."""
    counts = np.zeros((n_words, n_words))
    for text in texts:
        for i, word in enumerate(text):
            for j, other in enumerate(text):
                if 0 < abs(i - j) <= 15:
                    counts[word, other] += (16 - abs(i - j)) / 15
    total, smoothed = counts.sum(axis=1), counts.sum(axis=1) ** 0.75
    return np.array(
        [
            [
                max(0.0, math.log(counts[w, c] / (total[w] * smoothed[c] / smoothed.sum()))) if counts[w, c] else 0.0
                for c in range(n_words)
            ]
            for w in range(n_words)
        ]
    )


@pytest.mark.parametrize("block", [1, 40, 10**6])
def test_ppmi_vectors_are_those_of_the_information_by_loops(block, monkeypatch):
    monkeypatch.setattr(ppmi, "BLOCK", block)
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 18, rng.integers(0, 25)).astype(np.int32) for _ in range(60)]  # words 18, 19 nowhere
    information = slow_information(texts, 20)
    values, directions = np.linalg.eigh(information @ information.T)
    order = np.argsort(-values)[:6]
    expected = directions[:, order] * values[order] ** 0.25  # U sqrt(S), up to the sign of each dimension
    found = ppmi.ppmi_vectors(texts, 20, 6, seed=0).astype(np.float64)
    assert found[18:].tolist() == np.zeros((2, 6)).tolist()
    assert found[:18].std() == pytest.approx(0.25 / 3**0.5, rel=1e-4)
    scale = np.linalg.norm(found) / np.linalg.norm(expected)
    np.testing.assert_allclose(np.abs(found), scale * np.abs(expected), atol=1e-4)
    np.testing.assert_allclose(found @ found.T, scale**2 * expected @ expected.T, atol=1e-4)


def test_ppmi_of_few_words_leaves_dimensions_empty():
    found = ppmi.ppmi_vectors([np.array([0, 1, 2, 1, 0], np.int32)], 4, 10, seed=0)
    assert found.shape == (4, 10)
    assert found[:3].any(axis=1).all()
    assert not found[:, 3:].any()


def test_ppmi_is_the_same_for_a_seed_and_is_cached(encoded, cache, monkeypatch):
    first = build(encoded[0], seed=3, word_vectors="ppmi")
    cache()
    np.testing.assert_array_equal(build(encoded[0], seed=3, word_vectors="ppmi"), first)
    monkeypatch.setattr(word_vectors, "ppmi_vectors", None)
    np.testing.assert_array_equal(build(encoded[0], seed=3, word_vectors="ppmi"), first)


def test_without_gensim(encoded, tmp_path, monkeypatch):
    file = tmp_path / "vectors.txt"
    file.write_text("1 2\nw1 1 2\n")
    monkeypatch.setattr(word_vectors, "find_spec", lambda name: None)
    for given in ("word2vec", str(file)):
        with pytest.raises(ConfigError, match=f"--word-vectors {given} needs gensim, .*; install it .*or give --word-"):
            build(encoded[0], word_vectors=given)
    np.testing.assert_array_equal(build(encoded[0], word_vectors="auto"), build(encoded[0], word_vectors="ppmi"))


def test_sentences_leave_out_unknown_words_and_lose_none_of_a_long_text():
    tokenizer = encode_texts(["a b"], max_length=10**6).tokenizer
    dataset = Dataset.from_dict({"text": ["b", "a b unknown " * 9_000, "?"]})
    encoded = EncodedTexts(encode(dataset, tokenizer), tokenizer)
    a, b = (str(tokenizer.get_vocab()[word]) for word in "ab")
    first, *pieces = Sentences(encoded, np.arange(3))
    assert first == [b]
    assert [word for piece in pieces for word in piece] == [a, b] * 9_000
    assert max(map(len, pieces)) <= 10_000  # gensim drops what comes after


def test_auto_is_ppmi_of_few_texts_with_the_models_spread(encoded):
    ppmi_of_them = build(encoded[0], word_vectors="ppmi")
    config = WordVectorConfig(word_vector_dim=12)
    np.testing.assert_array_equal(build_word_vectors(encoded[0], config, 0), ppmi_of_them)
    wider = build_word_vectors(encoded[0], config, 0, spread=0.6)
    assert wider.dtype == np.float32
    assert wider[2:].std() == pytest.approx(0.6, rel=1e-3)
    np.testing.assert_allclose(wider * (0.25 / 3**0.5 / 0.6), ppmi_of_them, rtol=1e-5)


@needs_gensim
@pytest.mark.parametrize(
    ("n_topics", "n_texts", "method"),
    [(8, 2000, "word2vec"), (8, 100, "ppmi"), (1, 2000, "ppmi")],
    ids=["words of topics", "too few texts", "words all alike"],
)
def test_auto_is_word2vec_where_that_has_learned_to_tell_words_apart(n_topics, n_texts, method, monkeypatch):
    monkeypatch.setattr(word_vectors, "FEW_WORDS", 1000)
    monkeypatch.setattr(word_vectors, "APART", 0.7)  # between .47 and .98
    rng = np.random.default_rng(0)
    topics = [[f"{topic}{i}" for i in range(10)] for topic in "abcdefgh"]
    encoded = encode_texts([" ".join(rng.choice(topics[i % n_topics], 8)) for i in range(n_texts)])
    config = WordVectorConfig(word_vector_dim=12)
    found = build_word_vectors(encoded, config, 0, spread=0.25 / 3**0.5)
    np.testing.assert_array_equal(found, build(encoded, word_vectors=method))
    if method == "word2vec":  # whose scale is its own
        np.testing.assert_array_equal(build_word_vectors(encoded, config, 0, spread=0.6), found)


def test_the_mean_cosine_is_that_of_all_pairs_of_words():
    rng = np.random.default_rng(0)
    vectors, counts = rng.normal(0.3, 1, (6, 4)).astype(np.float32), np.array([3, 0, 1, 2, 0, 1])
    words = np.repeat(np.arange(6), counts)
    cosines = [
        vectors[i] @ vectors[j] / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[j]) for i in words for j in words
    ]
    assert word_vectors.mean_cosine(vectors, counts) == pytest.approx(np.mean(cosines), rel=1e-4)
    assert word_vectors.mean_cosine(np.zeros((6, 4), np.float32), counts) == 0


@pytest.mark.parametrize(
    ("texts", "method"),
    [
        (["菜很好吃", "不好", "味道好 good"], "random"),
        (["とても美味しい", "ง่ายมาก"], "random"),
        (["한국어 문장 하나", "हिन्दी की किताब की"], "ppmi"),
        (["good film 好", "bad film", "a good plot"], "ppmi"),
    ],
)
def test_auto_is_random_where_words_are_letters(texts, method):
    encoded = encode_texts(texts)
    np.testing.assert_array_equal(build(encoded, word_vectors="auto"), build(encoded, word_vectors=method))


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
def test_vectors_from_a_file(tmp_path, binary, gensim):
    known = gensim.models.KeyedVectors(6)
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


@needs_gensim
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


@needs_gensim
def test_vectors_that_are_not_numbers_are_refused(tmp_path, encoded):
    path = tmp_path / "vectors.txt"
    path.write_text("2 2\nw1 1 nan\nw2 inf 3\n")
    with pytest.raises(DataError, match=r"vectors\.txt has vectors with NaN or infinite numbers"):
        build(encoded[0], word_vectors=str(path))


@pytest.mark.parametrize("name", ["fasttext", "no/such/file.bin", "", "."])
def test_neither_a_method_nor_a_file(encoded, name):
    with pytest.raises(ConfigError, match="it must be auto, word2vec, ppmi, random or an existing file"):
        build(encoded[0], word_vectors=name)
