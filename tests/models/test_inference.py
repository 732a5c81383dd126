"""Passes over texts: order, batches, modes, and the sharing of batches among processes."""

import logging
from copy import deepcopy

import numpy as np
import pytest
import torch
from conftest import encode_texts, in_processes, make_texts, small_model
from strategy_cases import odd_pool

from dami_text.data.texts import EncodedTexts
from dami_text.models.inference import device_of, evaluation_mode, over_batches, predict_probabilities
from dami_text.processes import ALONE, Processes

KINDS = ["cnn", "bilstm"]
CPU = torch.device("cpu")


def encoded_texts() -> EncodedTexts:
    return encode_texts(["", *make_texts(58, longest=25), "", "never again"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_probabilities_are_each_texts_own_in_the_order_of_the_rows(kind, n_classes, batch_size):
    texts = encoded_texts()
    model = small_model(kind, len(texts.tokenizer), n_classes)
    rows = np.random.default_rng(0).permutation(len(texts))[:50]
    probabilities = predict_probabilities(model, texts, rows, batch_size)
    expected = []
    for row in rows:
        ids = torch.from_numpy(texts.token_ids(row).astype(np.int64)).reshape(1, -1)
        logits = model(ids).logits[0].detach().double().numpy()
        expected.append(np.exp(logits) / np.exp(logits).sum())
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert probabilities.dtype == np.float32


def mixed_modes(model):
    model.train()
    model.classifier.eval()
    return [(name, module.training) for name, module in model.named_modules()]


@pytest.mark.parametrize("kind", KINDS)
def test_no_dropout_inside_and_every_modules_own_mode_after(kind):
    texts = encoded_texts()
    model = small_model(kind, len(texts.tokenizer))
    rows = np.arange(len(texts))
    expected = predict_probabilities(model, texts, rows)
    modes = mixed_modes(model)
    np.testing.assert_array_equal(predict_probabilities(model, texts, rows), expected)
    assert [(name, module.training) for name, module in model.named_modules()] == modes
    assert torch.is_grad_enabled()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_modes_are_restored_after_an_exception():
    model = small_model("cnn", 10)
    modes = mixed_modes(model)

    def fail() -> None:
        with evaluation_mode(model):
            assert not any(module.training for module in model.modules())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [(name, module.training) for name, module in model.named_modules()] == modes


@pytest.mark.parametrize("batch_size", [1, 5, 1000])
def test_over_batches_calls_with_every_text_once(batch_size):
    texts = encoded_texts()
    rows = np.arange(len(texts))[::-1]
    seen = []

    def summary(batch):
        assert len(batch.input_ids) <= batch_size
        seen.append(len(batch.input_ids))
        length = batch.attention_mask.sum(dim=1)
        return torch.stack([length, (batch.input_ids * batch.attention_mask).sum(dim=1)], dim=1).reshape(-1, 1, 2)

    result = over_batches(summary, texts, rows, CPU, batch_size)
    assert sum(seen) == len(texts)
    assert result.shape == (len(texts), 1, 2)
    assert result.dtype == np.int64
    assert result[:, 0].tolist() == [[len(texts.token_ids(r)), texts.token_ids(r).sum()] for r in rows]


def test_device_of_is_where_the_weights_are():
    assert device_of(small_model("cnn", 10)) == CPU
    assert device_of(small_model("cnn", 10).to("meta")).type == "meta"


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_processes_share_everything_once_and_gather_it_in_order(count, n, monkeypatch):
    items = [f"batch {i}" for i in range(n)]
    shares = [Processes(i, count).share(items) for i in range(count)]
    assert sorted(item for share in shares for item in share) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    gathered = in_processes(monkeypatch, count, lambda p: list(p.gather(iter(p.share(items)))))
    assert gathered == [items] * count


def test_one_process_passes_results_through_as_they_are_made():
    made = []

    def make():
        for i in range(3):
            made.append(i)
            yield i

    results = iter(ALONE.gather(make()))
    assert made == []
    assert next(results) == 0
    assert made == [0]
    assert ALONE.on_main(lambda: "here") == "here"


@pytest.mark.parametrize("count", [2, 3])
def test_on_main_runs_there_alone_and_answers_everywhere(count, monkeypatch):
    ran = []

    def answer(process):
        return process.on_main(lambda: ran.append(process.index) or f"from {process.index}")

    assert in_processes(monkeypatch, count, answer) == ["from 0"] * count
    assert ran == [0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_processes_changes_no_bit(kind, monkeypatch):
    texts = encoded_texts()
    model = small_model(kind, len(texts.tokenizer))
    rows = np.arange(len(texts))
    alone = predict_probabilities(model, texts, rows, 8, ALONE)
    for shared in in_processes(monkeypatch, 3, lambda p: predict_probabilities(deepcopy(model), texts, rows, 8, p)):
        np.testing.assert_array_equal(shared, alone)


def test_a_batch_without_room_in_memory_is_halved(caplog):
    pool = odd_pool(30)
    sizes = []

    def lengths(batch):
        sizes.append(len(batch.input_ids))
        if len(batch.input_ids) > 4:
            raise torch.OutOfMemoryError("no room")
        return batch.attention_mask.sum(dim=1)

    with caplog.at_level(logging.INFO):
        found = over_batches(lengths, pool.texts, pool.unlabeled, torch.device("cpu"), 16)
    assert found.tolist() == pool.texts.lengths[pool.unlabeled].tolist()
    assert max(sizes) == 16
    assert "a batch of 16 texts is more than the device has memory for; it is halved" in caplog.text


def test_a_text_without_room_in_memory_is_an_error():
    def full(batch):
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        over_batches(full, odd_pool().texts, np.arange(3), torch.device("cpu"), 16)
