"""Texts as TF-IDF: the features, the words, and files that run nothing."""

import re
import unicodedata

import numpy as np
import pytest
import skops.io
from datasets import Dataset
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion
from tokenizers import Regex, pre_tokenizers

from dami_text.config.data_options import TokenizationConfig
from dami_text.data.estimators import TEXT_ENCODER
from dami_text.data.letters import LETTERS_WITHOUT_SPACES
from dami_text.data.tfidf import DENSE, TfidfEncoder, TfidfTexts
from dami_text.data.tokenization import LETTER_WITHOUT_SPACES
from dami_text.errors import ConfigError, DataError

TEXTS = ["A dull film, and a long one.", "a lively film", "Lively, lively!", "", "dull and long"]


def encoder_of(texts, **options):
    return TfidfEncoder.fit(Dataset.from_dict({"text": texts}), TokenizationConfig(**options))


def test_a_feature_is_log_count_times_idf_and_each_part_has_length_one():
    encoder = encoder_of(TEXTS, min_document_frequency=1)
    names = encoder.union.get_feature_names_out().tolist()
    features = encoder.encode(TEXTS).toarray()
    n_words = sum(name.startswith("words__") for name in names)
    # "Lively, lively!": the word twice, the pair of the two once; both in ln((1 + 5) / (1 + d)) + 1
    word, pair = (np.log(6 / (1 + d)) + 1 for d in (2, 1))
    expected = np.array([(1 + np.log(2)) * word, pair])
    found = features[2, [names.index("words__lively"), names.index("words__lively lively")]]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), rtol=1e-5)
    norms = [np.linalg.norm(features[:, part], axis=1) for part in (slice(n_words), slice(n_words, None))]
    np.testing.assert_allclose(norms, [[1, 1, 1, 0, 1]] * 2, rtol=1e-5)


def test_what_is_not_in_the_vocabulary_counts_in_the_length_as_the_rarest_entry():
    encoder = encoder_of([*TEXTS, "long film"], min_document_frequency=2)
    vocabulary = {name: place for place, name in enumerate(encoder.union.get_feature_names_out())}
    words = [name.removeprefix("words__") for name in vocabulary if name.startswith("words__")]
    assert sorted(words) == ["and", "and long", "dull", "film", "lively", "long"]
    found = encoder.encode(["A dull film, a dull book"]).toarray()[0]
    # words: dull twice, film, and book; pairs: dull film, film dull, dull book (each once, none is known)
    idf = {word: np.log(7 / (1 + d)) + 1 for word, d in {"dull": 2, "film": 3}.items()}
    known, rarest = np.array([(1 + np.log(2)) * idf["dull"], idf["film"]]), np.log(7 / 3) + 1
    length = np.sqrt((known**2).sum() + 4 * rarest**2)
    np.testing.assert_allclose(found[[vocabulary["words__dull"], vocabulary["words__film"]]], known / length, rtol=1e-5)
    assert not encoder.encode(["xyz", ""]).toarray().any()
    features = encoder.encode(TEXTS)
    lengths = [np.square(features.toarray()[:, part]).sum(axis=1) for part in (slice(6), slice(6, None))]
    np.testing.assert_allclose(encoder.unknown(features), 2 - lengths[0] - lengths[1], rtol=1e-5)
    every = encoder_of(TEXTS, min_document_frequency=1)
    np.testing.assert_allclose(every.unknown(every.encode(TEXTS)), [0, 0, 0, 2, 0], atol=1e-6)


def test_an_encoder_of_earlier_versions_measures_known_entries_alone(tmp_path):
    union = FeatureUnion([("words", TfidfVectorizer(min_df=2)), ("characters", TfidfVectorizer(analyzer="char_wb"))])
    skops.io.dump(union.fit(TEXTS), tmp_path / TEXT_ENCODER)
    encoder = TfidfEncoder.load(tmp_path)
    features = encoder.encode(TEXTS)
    np.testing.assert_allclose(features.toarray(), union.transform(TEXTS).toarray(), rtol=1e-6)
    assert not encoder.unknown(features).any()


def test_words_of_one_text_stay_out():
    names = encoder_of(TEXTS, min_document_frequency=2).union.get_feature_names_out().tolist()
    assert "words__lively" in names
    assert "words__one" not in names


@pytest.mark.parametrize("texts", [["alpha", "beta"], ["我喜欢", "不好看"], ["one"]])
def test_texts_that_have_nothing_in_common_have_features(texts):
    assert encoder_of(texts).encode(texts).toarray().any(axis=1).all()


@pytest.mark.parametrize("texts", [["", " "], ["!", "?"]])
def test_texts_without_a_word_are_an_error(texts):
    with pytest.raises(DataError, match="no text has a word"):
        encoder_of(texts)


def test_words_stand_where_they_are_in_the_text():
    texts = TfidfTexts(Dataset.from_dict({"text": TEXTS}), encoder_of(TEXTS))
    assert texts.word_places(2) == [(0, 6), (8, 14)]
    assert [texts.word(0, i) for i in range(2)] == ["dull", "film"]
    assert texts.word_places(3) == []


def test_batches_are_rows_of_the_matrix():
    texts = TfidfTexts(Dataset.from_dict({"text": TEXTS}), encoder_of(TEXTS))
    rows = np.array([3, 0, 0, 2])
    batch = texts.collate(rows)
    shape = (len(rows), texts.matrix.shape[1])
    found = sparse.csr_matrix((batch.values.numpy(), batch.columns.numpy(), batch.starts.numpy()), shape)
    np.testing.assert_array_equal(found.toarray(), texts.matrix[rows].toarray())


def test_projected_features_keep_the_angles_of_a_pool_with_few_dimensions():
    """Twelve texts span at most twelve dimensions: their products are nearly the same when one is lost."""
    words = [f"{a} {b}" for a in ("good", "bad", "new") for b in ("film", "book", "song", "play")]
    texts = TfidfTexts(Dataset.from_dict({"text": words}), encoder_of(words, min_document_frequency=1))
    dense = texts.projected
    assert dense.shape[1] <= DENSE
    np.testing.assert_allclose(dense @ dense.T, (texts.matrix @ texts.matrix.T).toarray(), atol=0.6)
    np.testing.assert_allclose(
        np.linalg.norm(dense @ dense.T),
        np.linalg.norm((texts.matrix @ texts.matrix.T).toarray()),
        rtol=0.05,
    )


def test_a_saved_encoder_gives_the_same_features(tmp_path):
    encoder = encoder_of(TEXTS, lowercase=False)
    encoder.save_pretrained(tmp_path)
    loaded = TfidfEncoder.load(tmp_path)
    assert len(loaded) == len(encoder)
    assert (loaded.encode(TEXTS) != encoder.encode(TEXTS)).nnz == 0


def test_a_file_of_anything_else_is_refused(tmp_path):
    skops.io.dump(LogisticRegression(), tmp_path / TEXT_ENCODER)
    with pytest.raises(ConfigError, match="holds LogisticRegression, which does not belong there"):
        TfidfEncoder.load(tmp_path)
    union = FeatureUnion([("words", TfidfVectorizer(tokenizer=pytest.fail))])
    skops.io.dump(union, tmp_path / TEXT_ENCODER)
    with pytest.raises(ConfigError, match="which does not belong there"):
        TfidfEncoder.load(tmp_path)
    (tmp_path / TEXT_ENCODER).write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(ConfigError, match="cannot be read"):
        TfidfEncoder.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's a good café, 2nd best", ["it", "good", "café", "2nd", "best"]),
        ("我喜欢film2024!", ["我", "喜", "欢", "film2024"]),
        ("データは楽しい", ["デー", "タ", "は", "楽", "し", "い"]),
        ("ง่ายมาก", ["ง่", "า", "ย", "ม", "า", "ก"]),
        ("हिन्दी की किताब", ["हिन्दी", "की", "किताब"]),
        ("한국어 문장", ["한국어", "문장"]),
    ],
)
def test_words_of_many_languages(text, words):
    encoder = encoder_of([text.lower()])
    assert [text[start:end].lower() for start, end in encoder.words(text)] == words


def test_the_letters_without_spaces_are_those_of_the_word_level_tokenizer():
    split = pre_tokenizers.Split(Regex(LETTER_WITHOUT_SPACES), "isolated")
    fixed = unicodedata.ucd_3_2_0  # the same letters in every Python
    letters = [c for c in map(chr, range(0x30000)) if fixed.category(c) == "Lo"]
    alone = {c for c in letters if len(split.pre_tokenize_str(c + c)) == 2}
    ours = {c for c in letters if re.match(f"[{LETTERS_WITHOUT_SPACES}]", c)}
    assert len(alone) > 70_000
    assert sorted(ours ^ alone) == []
