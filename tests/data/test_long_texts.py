"""What is read of long texts, by hand and against transformers' own truncation."""

import logging

import numpy as np
import pytest
from datasets import Dataset
from encoder_cases import tiny_tokenizer
from transformers import AutoTokenizer

from dami_text.config.data_options import TokenizationConfig
from dami_text.data.long_texts import MOST_WINDOWS, long_texts_of, set_long_texts
from dami_text.data.texts import EncodedTexts
from dami_text.data.tokenization import build_tokenizer, encode

CLS, SEP = "[CLS]", "[SEP]"
FILM = "the film is good and the music is bad"  # 11 pieces of 9 words


def encoded(texts, how, longest):
    tokenizer = tiny_tokenizer(longest)
    set_long_texts(tokenizer, how)
    return EncodedTexts(encode(Dataset.from_dict({"text": texts}), tokenizer), tokenizer)


def tokens(texts, row):
    return texts.tokenizer.convert_ids_to_tokens(texts.token_ids(row))


def words(texts, row):
    """The words that tokens are pieces of, as they stand in the text, by the batch's own numbers."""
    numbers = texts.collate(np.array([row])).word_ids[0].tolist()
    return [texts.word(row, number) if number >= 0 else None for number in numbers]


@pytest.mark.parametrize("longest", [3, 8, 12, 13, 14, 40])
def test_truncated_texts_are_as_transformers_truncates_them(longest):
    texts = encoded([FILM, "", "good"], "truncate", longest)
    for row in range(3):
        assert (
            texts.token_ids(row).tolist()
            == tiny_tokenizer()(texts.text(row), truncation=True, max_length=longest)["input_ids"]
        )


def test_the_beginning_and_the_end_by_hand():
    texts = encoded([FILM, "good film"], "head-tail", 7)
    assert tokens(texts, 0) == [CLS, "the", "film", "is", "ba", "##d", SEP]
    assert words(texts, 0) == [None, "the", "film", "is", "bad", "bad", None]
    assert texts.word_places(0) == [(0, 3), (4, 8), (9, 11), (34, 37)]
    assert tokens(texts, 1) == [CLS, "go", "##od", "film", SEP]
    assert texts.lengths.tolist() == [7, 5]


def test_a_word_that_is_cut_at_the_gap_keeps_one_number():
    texts = encoded(["good " + "w" + "12" * 8], "head-tail", 7)
    assert tokens(texts, 0)[-3:-1] == ["##12", "##12"], "pieces of one word on both sides"
    assert set(words(texts, 0)) == {None, "good", "w" + "12" * 8}


def test_windows_by_hand():
    texts = encoded([FILM, "good film", ""], "windows", 7)
    assert tokens(texts, 0) == [
        *(CLS, "the", "film", "is", "go", SEP),  # 11 pieces in three windows of five at most: 4, 4 and 3
        *(CLS, "##od", "and", "the", "music", SEP),
        *(CLS, "is", "ba", "##d", SEP),
    ]
    assert [word for word in words(texts, 0) if word] == [
        *("the", "film", "is", "good", "good", "and", "the", "music", "is", "bad", "bad"),
    ]
    assert texts.word_places(0)[-1] == (34, 37)
    assert [tokens(texts, row) for row in (1, 2)] == [[CLS, "go", "##od", "film", SEP], [CLS, SEP]]


def test_there_are_so_many_windows_at_most():
    texts = encoded(["the " * 1_000], "windows", 12)
    assert texts.lengths.tolist() == [12 * MOST_WINDOWS]
    assert texts.token_ids(0).tolist().count(texts.tokenizer.cls_token_id) == MOST_WINDOWS


def test_words_of_a_network_over_words_by_hand():
    dataset = Dataset.from_dict({"text": ["a b c d e f g", "a, b"]})
    tokenizer = build_tokenizer(dataset, TokenizationConfig(max_length=4, min_document_frequency=1))
    set_long_texts(tokenizer, "head-tail")
    texts = EncodedTexts(encode(dataset, tokenizer), tokenizer)
    assert tokens(texts, 0) == ["a", "b", "f", "g"]
    assert [texts.word(0, i) for i in range(4)] == ["a", "b", "f", "g"]
    assert texts.word_places(0) == [(0, 1), (2, 3), (10, 11), (12, 13)]
    assert [texts.word(1, i) for i in range(3)] == ["a", ",", "b"]


def test_what_is_read_is_saved_with_the_tokenizer(tmp_path):
    tokenizer = tiny_tokenizer(9)
    assert long_texts_of(tokenizer) == "truncate"
    set_long_texts(tokenizer, "windows")
    tokenizer.save_pretrained(tmp_path)
    assert long_texts_of(AutoTokenizer.from_pretrained(tmp_path)) == "windows"


@pytest.mark.parametrize(
    ("how", "longest", "level", "told"),
    [
        ("truncate", 7, "WARNING", "1 of 2 texts are longer than 7 pieces of words (the longest has 13) and were cut"),
        (
            *("head-tail", 7, "WARNING"),
            "1 of 2 texts are longer than 7 pieces of words (the longest has 13): their first and last tokens are "
            "read, half of 7 each",
        ),
        (
            *("windows", 7, "INFO"),
            "1 of 2 texts are longer than 7 pieces of words (the longest has 13) and are read in windows",
        ),
    ],
)
def test_long_texts_are_counted_in_a_line(how, longest, level, told, caplog):
    with caplog.at_level(logging.INFO):
        texts = encoded([FILM, "good"], how, longest)
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (level, f"{told}; see --max-length and --long-texts")
    assert texts.long_texts == told
    assert encoded([FILM], how, 13).long_texts is None


def test_texts_of_too_many_windows_are_counted_too(caplog):
    with caplog.at_level(logging.INFO):
        encoded([FILM, "the " * 1_000], "windows", 12)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "2 of 2 texts are longer" in record.getMessage()
    assert "and are read in windows, 1 of them up to the 16th window; see" in record.getMessage()
