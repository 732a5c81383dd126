"""The word-level tokenizer and the encoded data set."""

import json
import logging
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import encode_texts, make_texts
from datasets import Dataset, load_from_disk
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer

from dami_text.config.data_options import TokenizationConfig
from dami_text.data.tokenization import build_tokenizer, encode, warn_of_long_texts

HOSTILE = ["[PAD] is [UNK]", "[PAD]", "[UNK][PAD]", "", "a", "Never seen: Ünïcode 東京 \x00", "[pad] [CLS] </s>"]


def tokenizer_of(texts, **options):
    return build_tokenizer(
        Dataset.from_dict({"text": texts}), TokenizationConfig(**{"min_document_frequency": 1} | options)
    )


def words_of(tokenizer) -> set[str]:
    return set(tokenizer.get_vocab()) - {"[PAD]", "[UNK]"}


def test_padding_and_unknown_come_first():
    tokenizer = tokenizer_of(["b a"])
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id) == (0, 1)
    assert tokenizer.get_vocab().keys() == {"[PAD]", "[UNK]", "a", "b"}
    assert len(tokenizer) == 4


@pytest.mark.parametrize(
    ("lowercase", "words"), [(True, {"the", "cat", "élan", "'", "s"}), (False, {"The", "the", "cat", "Élan", "'", "s"})]
)
def test_lower_case_is_an_option(lowercase, words):
    assert words_of(tokenizer_of(["The the", "cat's", "E\u0301lan"], lowercase=lowercase)) == words


def test_the_vocabulary_is_the_most_frequent_words():
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in rng.permutation(np.repeat(np.arange(30), np.arange(1, 31)))]  # w0 once, w29 30 times
    texts = [" ".join(words[i : i + 5]) for i in range(0, len(words), 5)]
    tokenizer = tokenizer_of(texts, max_vocabulary=12)
    assert len(tokenizer) == 12
    assert words_of(tokenizer) == {word for word, _ in Counter(words).most_common(10)}


def test_the_same_texts_give_the_same_tokenizer_even_where_counts_tie():
    texts = make_texts(50) + [f"once{i}" for i in range(500)]
    first, second = (tokenizer_of(texts, max_vocabulary=300).backend_tokenizer.to_str() for _ in range(2))
    assert first == second


def test_words_that_the_vocabulary_lacks_are_unknown():
    tokenizer = tokenizer_of(["one two"])
    encoded = encode(Dataset.from_dict({"text": ["two three One", "four"]}), tokenizer)
    one, two = (tokenizer.get_vocab()[word] for word in ("one", "two"))
    assert encoded["input_ids"][:] == [[two, 1, one], [1]]


@pytest.mark.parametrize("known", [True, False], ids=["seen in training", "never seen"])
def test_nothing_in_a_text_is_a_special_token(known):
    tokenizer = tokenizer_of(HOSTILE if known else ["[ pad unk ] is a cls"])
    vocabulary = tokenizer.get_vocab()
    (ids,) = encode(Dataset.from_dict({"text": ["[PAD] is [UNK]"]}), tokenizer)["input_ids"]
    assert ids == [vocabulary[word] for word in ["[", "pad", "]", "is", "[", "unk", "]"]]
    assert tokenizer("[PAD] is [UNK]")["input_ids"] == ids


@pytest.mark.parametrize("lowercase", [True, False])
def test_a_saved_tokenizer_loads_with_the_same_ids(tmp_path, lowercase):
    texts = HOSTILE + make_texts(30)
    tokenizer = tokenizer_of(texts, lowercase=lowercase, max_length=77)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    dataset = Dataset.from_dict({"text": texts})
    ids = encode(dataset, tokenizer)["input_ids"][:]
    assert loaded(texts)["input_ids"] == tokenizer(texts)["input_ids"] == ids
    assert encode(dataset, loaded)["input_ids"][:] == ids
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert (loaded.pad_token_id, loaded.unk_token_id, loaded.model_max_length) == (0, 1, 77)


def test_texts_of_every_length_pass_whole(caplog):
    long = " ".join(f"w{i % 7}" for i in range(10_000))
    encoded = encode_texts(["", "w1", long, " \t\n", "\u3000"], max_length=10_000)
    assert encoded.lengths.tolist() == [0, 1, 10_000, 0, 0]
    ids = encoded.tokenizer.get_vocab()
    assert encoded.token_ids(2).tolist() == [ids[word] for word in long.split()]
    assert not caplog.records


def test_texts_that_are_too_long_are_cut_and_counted_in_one_warning(caplog):
    texts = ["a b c", "a b c d", "", "d c b a d c b"]
    dataset = Dataset.from_dict({"text": texts})
    tokenizer = build_tokenizer(dataset, TokenizationConfig(max_length=3, min_document_frequency=1))
    with caplog.at_level(logging.WARNING):
        encoded = encode(dataset, tokenizer)
    ids = tokenizer.get_vocab()
    assert encoded["input_ids"][:] == [[ids[word] for word in text.split()[:3]] for text in texts]
    assert encoded["length"][:] == [3, 4, 0, 7]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "2 of 4 texts are longer than 3 words (the longest has 7)" in record.getMessage()


def test_texts_of_several_parts_are_counted_together(caplog):
    dataset = Dataset.from_dict({"text": ["a b c", "a b c d", "", "d c b a d c b"]})
    tokenizer = build_tokenizer(dataset, TokenizationConfig(max_length=3, min_document_frequency=1))
    parts = [encode(dataset.select(rows), tokenizer, warn=False) for rows in ([0, 1], [2], [3])]
    assert not caplog.records
    warn_of_long_texts(parts, tokenizer)
    (record,) = caplog.records
    assert "2 of 4 texts are longer than 3 words (the longest has 7)" in record.getMessage()


def test_columns_and_their_types_are_kept():
    dataset = Dataset.from_dict({"text": ["a b", ""], "label": [1, 0]})
    encoded = encode(dataset, tokenizer_of(["a b"]))
    assert encoded.column_names == ["text", "label", "input_ids", "length"]
    assert encoded.features["input_ids"].feature.dtype == encoded.features["length"].dtype == "int32"
    assert encoded["label"][:] == [1, 0]


ENCODE = """
import json, sys
from datasets import load_from_disk
from dami_text.config.data_options import TokenizationConfig
from dami_text.data.tokenization import build_tokenizer, encode
dataset = load_from_disk(sys.argv[1])
tokenizer = build_tokenizer(dataset, TokenizationConfig())
encoded = encode(dataset, tokenizer)
print(json.dumps([encoded._fingerprint, [f["filename"] for f in encoded.cache_files], tokenizer.get_vocab()]))
"""


def test_encoding_is_cached_across_calls_and_processes(tmp_path):
    Dataset.from_dict({"text": [*make_texts(100), *(f"tie{i}" for i in range(200))]}).save_to_disk(tmp_path)
    dataset = load_from_disk(tmp_path)
    tokenizer = build_tokenizer(dataset, TokenizationConfig())
    encoded = encode(dataset, tokenizer)
    (cached,) = (Path(file["filename"]) for file in encoded.cache_files)
    written = cached.stat().st_mtime_ns

    tokenizer(["a", "b c"], padding=True, truncation=True, max_length=1)  # its use leaves traces in a tokenizer
    assert encode(load_from_disk(tmp_path), tokenizer)._fingerprint == encoded._fingerprint

    elsewhere = subprocess.run(
        [sys.executable, "-c", ENCODE, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    fingerprint, files, vocabulary = json.loads(elsewhere.stdout)
    assert (fingerprint, files) == (encoded._fingerprint, [str(cached)])
    assert vocabulary == tokenizer.get_vocab()
    assert cached.stat().st_mtime_ns == written
    assert [file.name for file in tmp_path.glob("cache-*")] == [cached.name]


@pytest.mark.parametrize("change", ["texts", "lowercase", "max_length"])
def test_whatever_changes_the_ids_changes_the_fingerprint(change):
    dataset = Dataset.from_dict({"text": ["A b", "c"]})
    fingerprint = encode(dataset, build_tokenizer(dataset, TokenizationConfig()))._fingerprint
    other = Dataset.from_dict({"text": ["A b", "d"]}) if change == "texts" else dataset
    options = {"texts": {}, "lowercase": {"lowercase": False}, "max_length": {"max_length": 1}}[change]
    tokenizer = build_tokenizer(dataset, TokenizationConfig(**options))
    assert encode(other, tokenizer)._fingerprint != fingerprint


def test_words_of_fewer_texts_stay_out_of_the_vocabulary_however_often_they_occur() -> None:
    texts = ["anna anna anna called", "the film called on 5551234", "the plot", "the film"]
    words = tokenizer_of(texts, min_document_frequency=2).get_vocab()
    assert words.keys() == {"[PAD]", "[UNK]", "the", "film", "called"}
    assert (words["[PAD]"], words["[UNK]"], words["the"]) == (0, 1, 2)
    assert sorted(words.values()) == list(range(5))
    assert tokenizer_of(texts, min_document_frequency=3).get_vocab().keys() == {"[PAD]", "[UNK]", "the"}
    assert "anna" in tokenizer_of(texts, min_document_frequency=1).get_vocab()


def test_the_default_leaves_out_words_of_one_text_and_the_limit_counts_what_is_left() -> None:
    texts = Dataset.from_dict({"text": ["a b c secret", "a b c", "a b", "a"]})
    assert set(build_tokenizer(texts, TokenizationConfig()).get_vocab()) == {"[PAD]", "[UNK]", "a", "b", "c"}
    assert set(build_tokenizer(texts, TokenizationConfig(max_vocabulary=4)).get_vocab()) == {"[PAD]", "[UNK]", "a", "b"}


def test_a_vocabulary_without_words_is_allowed() -> None:
    tokenizer = tokenizer_of(["a b", "c d"], min_document_frequency=2)
    assert tokenizer("a c z")["input_ids"] == [1, 1, 1]


def test_kept_words_come_in_the_same_order_as_with_all() -> None:
    texts = make_texts(60)
    every = tokenizer_of(texts, min_document_frequency=1).get_vocab()
    kept = tokenizer_of(texts, min_document_frequency=2).get_vocab()
    count = Counter(word for text in texts for word in set(text.lower().split()))
    assert sorted(kept, key=lambda word: kept[word]) == [
        word for word in sorted(every, key=lambda word: every[word]) if count[word] >= 2 or word in ("[PAD]", "[UNK]")
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("我喜欢film2024!", ["我", "喜", "欢", "film2024", "!"]),
        ("データは楽しい。", ["デー", "タ", "は", "楽", "し", "い", "。"]),
        ("ง่ายมาก", ["ง่", "า", "ย", "ม", "า", "ก"]),
        ("ພາສາ", ["ພ", "າ", "ສ", "າ"]),
        ("ភាសា", ["ភា", "សា"]),
        ("မြန်မာ", ["မြ", "န်", "မာ"]),
        ("हिन्दी की किताब", ["हिन्दी", "की", "किताब"]),
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("اللُّغَة العربية", ["اللُّغَة", "العربية"]),
    ],
)
def test_each_letter_is_a_word_where_a_script_has_no_spaces(text, words, tmp_path):
    tokenizer = tokenizer_of([text])
    tokenizer.save_pretrained(tmp_path)
    for either in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        found = either(text, return_offsets_mapping=True, add_special_tokens=False)
        assert [text[start:end] for start, end in found["offset_mapping"]] == words
        assert either.unk_token_id not in found["input_ids"]


FAMILY, SCOTLAND = "👩🏽\u200d💻", "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("see https://t.co/aB3_x?q=1&b=2#c now", ["see", "https://t.co/aB3_x?q=1&b=2#c", "now"]),
        ("(http://a.org/b). www.c.de, www. x", ["(", "http://a.org/b", ").", "www.c.de", ",", "www", ".", "x"]),
        ("看http://t.cn/abc真好", ["看", "http://t.cn/abc", "真", "好"]),
        ('<a href="http://é.fr/">', ["<", "a", "href", '="', "http://é.fr/", '">']),
        ("@joe_x: .@ann a@b.com @", ["@joe_x", ":", ".", "@ann", "a", "@", "b", ".", "com", "@"]),
        ("R&amp;D &#39;ok&#x27; a&b; &;", ["R", "&amp;", "D", "&#39;", "ok", "&#x27;", "a", "&", "b", ";", "&;"]),
        ("ok😀😀👍🏽!❤️❤︎", ["ok", "😀", "😀", "👍🏽", "!", "❤️", "❤︎"]),
        (f"{FAMILY}{SCOTLAND}🇩🇪🇫🇷1️⃣", [FAMILY, SCOTLAND, "🇩🇪", "🇫🇷", "1️⃣"]),
        ("x\u200dy can't ... e.g.", ["x\u200dy", "can", "'", "t", "...", "e", ".", "g", "."]),
    ],
)
def test_urls_user_names_entities_and_emoji_are_a_word_each(text, words, tmp_path):
    tokenizer = tokenizer_of([text], lowercase=False)
    tokenizer.save_pretrained(tmp_path)
    for either in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        found = either(text, return_offsets_mapping=True, add_special_tokens=False)
        assert [text[start:end] for start, end in found["offset_mapping"]] == words
        assert either.convert_ids_to_tokens(found["input_ids"]) == words


def test_other_texts_have_the_words_of_the_tokenizers_library():
    """Runs of letters and digits, and of what is neither a letter nor a space, in texts of any characters."""
    rng = np.random.default_rng(0)
    characters = [*"aZ09_éßжαع한ि\u0301'.,-!?#%*()\"/\\=+<>$€²½ \t\n\u00a0\u200b\u00ad"]
    texts = ["".join(rng.choice(characters, 40)) for _ in range(300)]
    library = pre_tokenizers.Whitespace()
    split = tokenizer_of(texts).backend_tokenizer.pre_tokenizer
    for text in texts:
        assert split.pre_tokenize_str(text) == library.pre_tokenize_str(text)
