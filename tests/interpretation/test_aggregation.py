"""The informative words against a naive reference of two passes in float64, on drawn and on real gradients."""

import weakref
from copy import deepcopy

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from conftest import encode_texts, in_processes, small_model
from numpy.typing import NDArray

from dami_text.config.options import TrainingConfig
from dami_text.data.demo import demo_dataset
from dami_text.data.texts import LabeledTexts
from dami_text.interpretation.aggregation import evenly_spread, informative_words
from dami_text.interpretation.word_gradients import interpret
from dami_text.models.training import train
from dami_text.processes import ALONE

Interpretations = list[NDArray[np.float32]]  # of each text (T, D)


def two_passes(texts: Interpretations) -> tuple[list[int], NDArray[np.float64], list[NDArray[np.float64]]]:
    """The words (-1 for a text without any), Ibar (D,), and the squared distances (T,) of each text's words."""
    exact = [text.astype(np.float64) for text in texts]
    means = [text.mean(axis=0) for text in exact if len(text)]
    mean = np.mean(means, axis=0) if means else np.zeros(texts[0].shape[1])
    distances = [((text - mean) ** 2).sum(axis=1) for text in exact]
    return [int(d.argmax()) if len(d) else -1 for d in distances], mean, distances


class Padded:
    """An interpreter of given interpretations, which counts what it is asked for."""

    def __init__(self, texts: Interpretations) -> None:
        self.texts = texts
        self.asked: list[int] = []

    def __call__(self, positions):
        self.asked += positions.tolist()
        texts = [self.texts[i] for i in positions]
        width = max(1, *map(len, texts))
        interpretations = np.zeros((len(texts), width, texts[0].shape[1]), np.float32)
        is_word = np.zeros((len(texts), width), bool)
        for i, text in enumerate(texts):
            interpretations[i, : len(text)], is_word[i, : len(text)] = text, True
        return torch.from_numpy(interpretations), torch.from_numpy(is_word)


def run(texts: Interpretations, batch_size: int, processes=ALONE):
    return informative_words(Padded(texts), np.array([len(text) for text in texts]), batch_size, processes)


def assert_is_reference(found, texts: Interpretations) -> None:
    words, mean, distances = two_passes(texts)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12, atol=1e-12 * max(np.abs(t).max(initial=0) for t in texts))
    for i, (text, word) in enumerate(zip(texts, words, strict=True)):
        if word < 0:
            assert found.words[i] == -1
            assert not found.representations[i].any()
            assert found.deviations[i] == 0
            continue
        if found.words[i] != word:  # the reference rounds too
            rounding = 1e-13 * (np.abs(text).max() + np.abs(mean).max()) ** 2 * len(mean)
            assert distances[i][found.words[i]] >= distances[i][word] - rounding
            assert (text[found.words[i]] != text[word]).any(), "of words that are the same the first is taken"
        np.testing.assert_array_equal(found.representations[i], text[found.words[i]])
        assert found.deviations[i] == pytest.approx(distances[i][word], rel=1e-6)


def lengths_of(rng, n):
    return np.where(rng.random(n) < 0.1, 0, rng.geometric(0.15, n))


def normal(rng, n, D):
    return [rng.normal(size=(T, D)) for T in lengths_of(rng, n)]


def heavy_tailed(rng, n, D):
    return [rng.standard_t(1.3, size=(T, D)) for T in lengths_of(rng, n)]


def saturated(rng, n, D):
    """Texts of confident predictions, whose gradients are tiny, next to others."""
    return [10.0 ** rng.uniform(-9, 1) * rng.normal(size=(T, D)) for T in lengths_of(rng, n)]


def same_direction(rng, n, D):
    """As from a nearly linear model: all gradients are alike, and words differ a little."""
    direction = rng.normal(size=D)
    return [direction * rng.random() + 0.05 * rng.normal(size=(T, D)) for T in lengths_of(rng, n)]


def offset(rng, n, D):
    """A common part a thousand times as large as what tells the words apart."""
    return [1000 + rng.normal(size=(T, D)) for T in lengths_of(rng, n)]


def two_camps(rng, n, D):
    """Ibar is near 0 and far from every word, at which nearly all distances tie."""
    direction = rng.normal(size=D)
    return [
        direction * rng.choice([-1.0, 1.0], size=(T, 1)) + 1e-3 * rng.normal(size=(T, D)) for T in lengths_of(rng, n)
    ]


def mostly_zero(rng, n, D):
    """As from a CNN, in which few words reach a maximum."""
    return [rng.normal(size=(T, D)) * (rng.random((T, 1)) < 0.3) for T in lengths_of(rng, n)]


def by_length(rng, n, D):
    """The mean depends on the length, by which the batches are sorted."""
    return [np.sign(T - 5.5) * T + rng.normal(size=(T, D)) for T in lengths_of(rng, n)]


MAKERS = [normal, heavy_tailed, saturated, same_direction, offset, two_camps, mostly_zero, by_length]


@pytest.mark.parametrize("most", [1, 5, 30])
def test_the_words_are_the_same_where_memory_has_room_for_few_texts(most):
    texts = [text.astype(np.float32) for text in normal(np.random.default_rng(0), 200, D=7)]
    interpreter, sizes = Padded(texts), []

    def limited(positions):
        sizes.append(len(positions))
        if len(positions) > most:
            raise torch.OutOfMemoryError("no room")
        return interpreter(positions)

    found = informative_words(limited, np.array([len(text) for text in texts]), 32)
    assert_is_reference(found, texts)
    wanted = run(texts, 32)
    np.testing.assert_array_equal(found.words, wanted.words)
    np.testing.assert_array_equal(found.deviations, wanted.deviations)
    assert sum(size > most for size in sizes) <= 4 * 31, "the first batch of each stage; others are in parts"


def test_batches_have_few_tokens_where_they_are_asked_to():
    texts = [text.astype(np.float32) for text in normal(np.random.default_rng(0), 200, D=3)]
    lengths, asked = np.array([len(text) for text in texts]), []
    interpreter = Padded(texts)

    def noting(positions):
        asked.append(len(positions) * int(lengths[positions].max()))
        return interpreter(positions)

    assert_is_reference(informative_words(noting, lengths, 100, tokens_a_text=0.5), texts)
    assert max(asked) <= max(50, lengths.max())


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(
    ("n", "batch_size"), [(1, 1), (2, 1), (2, 4), (50, 1), (50, 7), (50, 64), (500, 16), (500, 100)]
)
def test_the_words_are_those_of_two_passes(maker, n, batch_size):
    for seed in range(8):
        rng = np.random.default_rng([seed, n, batch_size])
        texts = [text.astype(np.float32) for text in maker(rng, n, D=int(rng.integers(1, 40)))]
        assert_is_reference(run(texts, batch_size), texts)


@pytest.mark.parametrize("maker", MAKERS)
def test_processes_change_no_bit(maker, monkeypatch):
    rng = np.random.default_rng(1)
    texts = [text.astype(np.float32) for text in maker(rng, 120, 9)]
    alone = run(texts, 8)
    for count in (2, 3):
        for shared in in_processes(monkeypatch, count, lambda processes: run(texts, 8, processes)):
            for name in ("words", "representations", "deviations", "mean"):
                np.testing.assert_array_equal(getattr(shared, name), getattr(alone, name))
            assert shared.repeated == alone.repeated


@pytest.mark.parametrize("empty", [0, 1, 5, 30])
def test_texts_without_words_have_no_part(empty):
    rng = np.random.default_rng(0)
    full = [rng.normal(3, 1, size=(4, 6)).astype(np.float32) for _ in range(20)]
    texts = [*full, *[np.zeros((0, 6), np.float32)] * empty]
    found = run(texts, 4)
    assert found.words[20:].tolist() == [-1] * empty
    assert not found.representations[20:].any()
    assert not found.deviations[20:].any()
    np.testing.assert_allclose(found.mean, np.mean(full, axis=(0, 1)), rtol=1e-6)
    assert_is_reference(found, texts)


def test_nothing_but_texts_without_words():
    found = run([np.zeros((0, 3), np.float32)] * 5, 2)
    assert found.words.tolist() == [-1] * 5
    assert found.representations.shape == (5, 3)
    assert not found.representations.any()
    assert not found.mean.any()
    assert found.repeated == 0


def test_no_text_at_all():
    found = informative_words(Padded([]), np.zeros(0, np.int64), 8)
    assert len(found.words) == len(found.representations) == len(found.deviations) == 0


def test_texts_of_one_word():
    texts = list(np.random.default_rng(0).normal(size=(300, 1, 4)).astype(np.float32))
    interpreter = Padded(texts)
    found = informative_words(interpreter, np.ones(300, np.int64), 16)
    assert_is_reference(found, texts)
    assert found.repeated == 0
    assert sorted(interpreter.asked) == list(range(300)), "there is nothing to choose, so nothing to do twice"


@pytest.mark.parametrize("value", [0.0, 1.0, 1e-20, 1e4])
def test_all_the_same(value):
    texts = [np.full((3, 5), value, np.float32)] * 40
    found = run(texts, 8)
    assert found.words.tolist() == [0] * 40
    np.testing.assert_allclose(found.mean, value)
    np.testing.assert_allclose(found.deviations, 0, atol=1e-12 * value**2)


@pytest.mark.parametrize("D", [1, 3, 8, 100, 101])
@pytest.mark.parametrize("T", [2, 3, 7, 20])
def test_of_words_that_tie_the_first_is_taken(D, T):
    rng = np.random.default_rng([D, T])
    texts = []
    for _ in range(60):  # a far word that stands in the text several times, among near ones
        text = 0.1 * rng.normal(size=(T, D))
        text[np.sort(rng.choice(T, min(T, 3), replace=False))] = 5 * rng.normal(size=D)
        texts.append(text.astype(np.float32))
    assert_is_reference(run(texts, 7), texts)


def test_by_hand():
    """Ibar = ((2, 0) + (0, 4)) / 2 = (1, 2), of two texts with words and one without."""
    texts = [[[1, 0], [3, 0]], [], [[0, 4]]]
    found = run([np.array(text, np.float32).reshape(-1, 2) for text in texts], 2)
    assert found.mean.tolist() == [1, 2]
    assert found.words.tolist() == [1, -1, 0]  # squared distances 4 and 8; none; 5
    assert found.deviations.tolist() == [8, 0, 5]
    assert found.representations.tolist() == [[3, 0], [0, 0], [0, 4]]
    assert found.deviations.dtype == found.representations.dtype == np.float32


@pytest.mark.parametrize("n", [1, 2, 3, 10, 157, 1000])
def test_every_beginning_of_an_even_order_is_even(n):
    order = evenly_spread(n)
    assert sorted(order) == list(range(n))
    for m in range(1, n + 1, max(1, n // 50)):
        # Kolmogorov's distance to the uniform distribution; of golden-ratio sequences it is O(log m / m).
        distance = np.abs((np.sort(order[:m]) + 0.5) / n - (np.arange(m) + 0.5) / m).max()
        assert distance <= (1.5 + np.log(m)) / m + 1 / n


def demo_texts(n: int) -> tuple[list[str], list[int]]:
    """n reviews, beyond the data set's size two joined, and labels."""
    rows = demo_dataset()[:]
    texts = rows["text"] + [" ".join(pair) for pair in zip(rows["text"], rows["text"][7:], strict=False)]
    return texts[:n], (rows["label"] * 2)[:n]


@pytest.fixture(scope="module", params=["cnn", "bilstm"])
def trained(request):
    """A small model trained on 300 reviews, and 5,200 reviews to interpret."""
    texts, labels = demo_texts(5200)
    encoded = encode_texts([*texts, "", "hm"])
    model = small_model(request.param, len(encoded.tokenizer), embedding_dim=20, n_filters=20, hidden_size=20)
    data = LabeledTexts(encoded, np.arange(300), np.array(labels[:300]))
    config = TrainingConfig(steps=60, learning_rate=5e-3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        train(model, data, None, config=config, accelerator=Accelerator(cpu=True), rng=np.random.default_rng(0))
    return model, encoded


def interpreter_of(model, encoded, asked, target="probability"):
    def interpreter(positions):
        asked.extend(positions.tolist())
        batch = encoded.collate(positions)
        return interpret(model, batch, target), batch.attention_mask.bool()

    return interpreter


@pytest.mark.parametrize("target", ["probability", "logit"])
def test_real_gradients_in_little_more_than_one_pass(trained, target):
    model, encoded = trained
    asked: list[int] = []
    found = informative_words(interpreter_of(model, encoded, asked, target), encoded.lengths, 64)
    assert set(asked) == set(range(len(encoded)))
    assert len(asked) == len(encoded) + found.repeated <= 1.05 * len(encoded)

    every = [None] * len(encoded)
    for start in range(0, len(encoded), 200):
        batch = encoded.collate(np.arange(start, min(start + 200, len(encoded))))
        for i, interpretation in enumerate(interpret(model, batch, target).numpy()):
            every[start + i] = interpretation[: encoded.lengths[start + i]]
    words, mean, distances = two_passes(every)
    np.testing.assert_allclose(found.mean, mean, atol=1e-6 * np.abs(mean).max(), rtol=1e-5)
    # A gradient's last bits depend on its batch: where words all but tie, either may be taken.
    differ = [i for i in range(len(every)) if found.words[i] != words[i]]
    assert len(differ) <= 0.002 * len(every)
    for i in differ:
        assert distances[i][found.words[i]] >= distances[i].max() * (1 - 1e-5)
    assert words[-2] == found.words[-2] == -1


def test_processes_choose_the_same_of_real_gradients(trained, monkeypatch):
    model, encoded = trained
    lengths = encoded.lengths[:400]
    alone = informative_words(interpreter_of(model, encoded, []), lengths, 32)

    def work(processes):
        return informative_words(interpreter_of(deepcopy(model), encoded, []), lengths, 32, processes)

    for shared in in_processes(monkeypatch, 2, work):
        np.testing.assert_array_equal(shared.words, alone.words)
        np.testing.assert_array_equal(shared.representations, alone.representations)
        np.testing.assert_array_equal(shared.mean, alone.mean)


def test_no_more_than_two_batches_of_interpretations_are_ever_alive():
    rng = np.random.default_rng(0)
    inner = Padded([text.astype(np.float32) for text in heavy_tailed(rng, 600, 16)])
    alive: set[int] = set()
    most = 0

    def interpreter(positions):
        nonlocal most
        interpretations, is_word = inner(positions)
        alive.add(id(interpretations))
        weakref.finalize(interpretations, alive.discard, id(interpretations))
        most = max(most, len(alive))
        return interpretations, is_word

    informative_words(interpreter, np.array([len(text) for text in inner.texts]), 8)
    assert len(inner.asked) >= 600
    assert 1 <= most <= 2
    assert not alive
