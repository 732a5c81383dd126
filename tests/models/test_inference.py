"""Passes over texts: order, batches, modes, and the sharing of batches among processes."""

import gc
import logging
from copy import deepcopy

import numpy as np
import pytest
import torch
from conftest import encode_texts, in_processes, make_texts, small_model
from encoder_cases import tiny_model
from strategy_cases import odd_pool, pool_of

from dami_text.data.texts import EncodedTexts
from dami_text.models import inference, resident, room
from dami_text.models.inference import device_of, evaluation_mode, over_batches, predict_features, predict_probabilities
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


def test_a_batch_without_room_in_memory_is_halved(caplog, monkeypatch):
    monkeypatch.setattr(room, "_told", set())
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
    told = "a batch of 16 texts is more than the device has memory for; batches of passes are halved"
    assert [record.getMessage() for record in caplog.records] == [told]


def test_a_text_without_room_in_memory_is_an_error():
    def full(batch):
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        over_batches(full, odd_pool().texts, np.arange(3), torch.device("cpu"), 16)


class Scripted:
    """A memory in which a token takes so many bytes, and more the wider the batch is."""

    def __init__(self, free, bytes_of_token=lambda width: 100):
        self._free, self._bytes, self.taken, self.measured = free, bytes_of_token, 0, 0

    def begin(self):
        self.taken = 0
        self.measured += 1

    def compute(self, n, width):
        self.taken = max(self.taken, n * width * self._bytes(width))
        if self.taken > self._free:
            raise torch.OutOfMemoryError("no room")

    def peak(self):
        return self.taken

    def free(self):
        return self._free


def batches_in(memory, lengths):
    found = []
    for positions in room.Room(memory).batches(lengths):
        memory.compute(len(positions), max(1, int(lengths[positions].max())))
        found.append(positions)
    return found


@pytest.mark.parametrize("n", [1, 40, 9_000])
def test_batches_on_a_card_hold_every_text_once_with_little_padding(n):
    lengths = np.random.default_rng(0).integers(0, 60, n)
    memory = Scripted(10**12)
    found = batches_in(memory, lengths)
    assert sorted(np.concatenate(found).tolist()) == list(range(n))
    for positions in found:
        padded, real = len(positions) * max(1, lengths[positions].max()), np.maximum(lengths[positions], 1).sum()
        assert padded <= room.ENOUGH or real >= (1 - room.PADDING) * padded
    assert sum(len(p) * lengths[p].max() for p in found) <= 1.25 * lengths.sum() + room.ENOUGH
    assert memory.measured <= 8


def test_texts_of_one_length_come_in_two_batches_where_there_is_memory():
    lengths = np.full(50_000, 20)
    assert [len(p) for p in batches_in(Scripted(10**12), lengths)] == [room.ENOUGH // 20, 50_000 - room.ENOUGH // 20]


def test_batches_on_a_card_keep_to_half_of_the_memory_that_was_measured():
    lengths = np.random.default_rng(0).integers(1, 400, 3_000)
    memory = Scripted(4_000_000, lambda width: 100 + width)  # as attention has it
    found = batches_in(memory, lengths)
    assert max(len(p) * lengths[p].max() * (100 + lengths[p].max()) for p in found) <= 4_000_000
    assert len(found) > 50


def test_after_memory_has_run_out_batches_are_at_most_half_as_large():
    plan = room.Room(Scripted(10**12))
    batches = plan.batches(np.full(3_000, 10))
    first = next(batches)
    plan.ran_out(10 * len(first))
    assert {len(p) for p in list(batches)[:-1]} == {len(first) // 2}


@pytest.fixture
def as_on_card(monkeypatch):
    """Passes on the CPU take the way of a card's."""
    memory = Scripted(10**12)
    monkeypatch.setattr(inference, "is_card", lambda device: True)
    monkeypatch.setattr(inference, "CardMemory", lambda device: memory)
    monkeypatch.setattr(resident, "is_card", lambda device: True)
    return memory


@pytest.mark.parametrize("kind", ["cnn", "bilstm", "bert"])
def test_passes_on_a_card_find_what_those_on_the_cpu_do(kind, as_on_card, monkeypatch):
    pool = pool_of(["", *make_texts(90, longest=25), "never again"], kind=kind)
    model = tiny_model("bert", 3) if kind == "bert" else small_model(kind, len(pool.texts.tokenizer), 3)
    rows = np.random.default_rng(0).permutation(92)[:70]
    found = predict_probabilities(model, pool.texts, rows)
    features = predict_features(model, pool.texts, rows)
    monkeypatch.undo()
    np.testing.assert_allclose(found, predict_probabilities(model, pool.texts, rows), atol=1e-6)
    np.testing.assert_allclose(features, predict_features(model, pool.texts, rows), rtol=1e-5, atol=1e-6)


def test_a_pass_on_a_card_without_room_is_halved_and_told_once(as_on_card, monkeypatch, caplog):
    monkeypatch.setattr(room, "_told", set())
    texts, sizes = encoded_texts(), []

    def lengths(batch):
        sizes.append(len(batch.input_ids))
        if len(batch.input_ids) > 5:
            raise torch.OutOfMemoryError("no room")
        return batch.attention_mask.sum(dim=1)

    with caplog.at_level(logging.INFO):
        for _ in range(2):
            found = over_batches(lengths, texts, np.arange(len(texts)), CPU)
            assert found.tolist() == texts.lengths.tolist()
    assert len(caplog.records) == 1
    assert sizes[0] == len(texts)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", ["cnn", "bert"])
def test_texts_that_lie_on_a_device_make_the_same_batches(kind, side, monkeypatch):
    pool = pool_of(["", *make_texts(20), "so good", ""], kind=kind)
    monkeypatch.setattr(pool.texts.tokenizer, "padding_side", side)
    there = resident.ResidentTexts(pool.texts, CPU)
    for rows in (np.array([0]), np.array([3, 1, 0, 22, 3]), np.arange(23)[::-1]):
        found, wanted = there.collate(rows), pool.texts.collate(rows)
        for name in ("input_ids", "attention_mask", "word_ids"):
            one, other = getattr(found, name), getattr(wanted, name)
            assert (one is None) == (other is None)
            assert one is None or torch.equal(one, other), name


def test_texts_go_to_a_card_once_and_leave_it_with_the_texts(as_on_card):
    texts = encoded_texts()
    there = resident.resident(texts, CPU)
    assert resident.resident(texts, CPU) is there
    assert resident.resident(encoded_texts(), CPU) is not there
    n = len(resident._there)
    del texts, there
    gc.collect()
    assert len(resident._there) < n


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
@pytest.mark.parametrize("kind", ["cnn", "bilstm", "bert"])
def test_passes_on_a_real_card_find_what_those_on_the_cpu_do(kind):
    pool = pool_of(["", *make_texts(900, longest=25), "never again"], kind=kind)
    model = tiny_model("bert", 3) if kind == "bert" else small_model(kind, len(pool.texts.tokenizer), 3)
    rows = np.random.default_rng(0).permutation(902)
    wanted = predict_probabilities(model, pool.texts, rows), predict_features(model, pool.texts, rows)
    model.cuda()
    found = predict_probabilities(model, pool.texts, rows), predict_features(model, pool.texts, rows)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
