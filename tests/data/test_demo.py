import re
import time

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from dami_text.data.demo import demo_dataset

N_TRAIN = 3000


@pytest.fixture(scope="module")
def demo() -> Dataset:
    return demo_dataset()


def accuracy(demo: Dataset, longest_phrase: int) -> float:
    """Test accuracy of a logistic regression on the phrases of up to so many words."""
    phrases = CountVectorizer(ngram_range=(1, longest_phrase), token_pattern=r"[\w']+")
    X, labels = phrases.fit_transform(demo["text"]), np.array(demo["label"])
    order = np.random.default_rng(0).permutation(len(labels))
    train, test = order[:N_TRAIN], order[N_TRAIN:]
    return float(LogisticRegression(max_iter=1000).fit(X[train], labels[train]).score(X[test], labels[test]))


def test_columns_and_size(demo: Dataset) -> None:
    assert demo.features == Features(text=Value("string"), label=ClassLabel(names=["negative", "positive"]))
    assert len(demo) == 4000
    assert len(set(demo["text"])) == 4000


def test_classes_are_balanced(demo: Dataset) -> None:
    assert abs(sum(demo["label"]) / len(demo) - 0.5) < 0.03


def test_sentences_are_short_and_written_as_people_write(demo: Dataset) -> None:
    lengths = np.array([len(text.split()) for text in demo["text"]])
    assert 9 < lengths.mean() < 14
    assert lengths.min() >= 3
    assert lengths.max() <= 30
    for text in demo["text"]:
        assert text[0].isupper()
        assert text.endswith(".")
        assert "  " not in text
        assert "{" not in text


@pytest.mark.parametrize(
    ("phrase", "positive"),
    [("is good", True), ("is bad", False), ("is not good", False), ("is not bad", True)],
)
def test_polarity_and_negation_decide_together_but_for_a_little_noise(
    demo: Dataset, phrase: str, positive: bool
) -> None:
    plain = re.compile(rf"(we saw it on a rainy tuesday and |from where i sat )?the \w+ {phrase}\b(?!, but)", re.I)
    labels = [row["label"] for row in demo if plain.match(row["text"])]
    assert len(labels) >= 15
    assert np.mean(np.array(labels) == positive) > 0.85


def test_words_alone_do_not_decide_and_phrases_do(demo: Dataset) -> None:
    words, phrases = accuracy(demo, 1), accuracy(demo, 3)
    assert words < 0.73
    assert phrases > words + 0.1


def test_polar_words_are_common_and_rare(demo: Dataset) -> None:
    counts = {word: sum(word in text for text in demo["text"]) for word in ("good", "bad", "nuanced", "leaden")}
    assert min(counts["good"], counts["bad"]) > 500
    assert max(counts["nuanced"], counts["leaden"]) < 50


def test_made_in_less_than_a_second_and_always_the_same(demo: Dataset) -> None:
    """That other processes make the same is tested in test_splits.py."""
    start = time.process_time()
    again = demo_dataset()
    assert time.process_time() - start < 1
    assert again[:] == demo[:]
