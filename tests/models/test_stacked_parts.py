"""The parts of stacked trainings: the optimizer against torch's, dropout, tokens, networks, and memory."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import encode_texts, make_texts, small_model
from stack_cases import KINDS, jobs_on, telling_texts
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from dami_text.config.options import TrainingConfig
from dami_text.data.texts import FeatureTexts, LabeledTexts
from dami_text.models.inference import predict_probabilities
from dami_text.models.stacked import memory
from dami_text.models.stacked.adam import StackedAdam
from dami_text.models.stacked.dropout import Dropout
from dami_text.models.stacked.memory import ACTIVATIONS, COPIES, bytes_a_job, bytes_kept, slots_that_fit
from dami_text.models.stacked.networks import FEATURES, PARTS
from dami_text.models.stacked.stack import Stack
from dami_text.models.stacked.tokens import TokenTable
from dami_text.randomness import TorchState, torch_stream

CPU = torch.device("cpu")


@pytest.mark.parametrize("warmup", [0, 5])
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_the_optimizer_is_torchs_for_each_model(optimizer, weight_decay, warmup):
    """Three slots; the second takes its steps alone for a while, and then another model, from its first step on."""
    options = {"weight_decay": weight_decay, "warmup_steps": warmup, "learning_rate": 0.05}
    torch.manual_seed(0)
    weights = {name: torch.randn(3, *shape, dtype=torch.float64) for name, shape in {"a": (4, 2), "b": (5,)}.items()}
    gradients = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    stacked = StackedAdam(weights, gradients, TrainingConfig(optimizer=optimizer, **options))
    kind = torch.optim.AdamW if optimizer == "adamw" else torch.optim.Adam

    def alone(slot):
        own = [weight[slot].clone().requires_grad_() for weight in weights.values()]
        plain = kind(own, 0.05, weight_decay=weight_decay, fused=False)
        return own, plain, torch.optim.lr_scheduler.LambdaLR(plain, lambda step: min(1, (step + 1) / max(1, warmup)))

    models, taken = [alone(slot) for slot in range(3)], [0, 0, 0]
    for step in range(12):
        if step == 7:  # the slot is filled again
            for weight in weights.values():
                weight[1].normal_()
            stacked.begin(1)
            models[1], taken[1] = alone(1), 0
        for gradient in gradients.values():
            gradient.normal_()
        stacked.warm_up(dict(enumerate(taken)))
        stacked.step()
        for slot, (own, plain, schedule) in enumerate(models):
            for weight, gradient in zip(own, gradients.values(), strict=True):
                weight.grad = gradient[slot].clone()
            plain.step()
            schedule.step()
            taken[slot] += 1
            for weight, name in zip(own, weights, strict=True):
                torch.testing.assert_close(weights[name][slot], weight.detach(), rtol=1e-12, atol=1e-12)


def stream(seed):
    with torch_stream(seed, 0, "training"):
        return TorchState.now()


def test_masks_on_a_cpu_are_those_of_nn_dropout():
    module, dropout = torch.nn.Dropout(0.3), Dropout(0.3, torch.zeros(3, 6, 11, dtype=torch.float64))
    for slot in (0, 2):
        dropout.begin(slot, stream(slot))
    found = []
    for n in (6, 2, 5):
        dropout.draw({0: n, 2: n})
        found.append(dropout.masks.clone())
    for slot in (0, 2):
        with stream(slot).resumed():
            for n, masks in zip((6, 2, 5), found, strict=True):
                assert torch.equal(masks[slot, :n], module(torch.ones(n, 11, dtype=torch.float64)))


def test_masks_that_are_drawn_ahead_depend_on_the_models_own_stream_alone():
    """As on a card: next to other models, in another slot and after other steps, a model has the same masks."""

    def masks(n_slots, slot, others):
        dropout = Dropout(0.5, torch.zeros(n_slots, 4, 50), ahead=3)
        for other in others:
            dropout.begin(other, stream(other + 10))
            dropout.draw({other: 4})
        dropout.begin(slot, stream(0))
        found = []
        for step in range(8):
            dropout.draw(dict.fromkeys([slot, *others], 4 - step % 2))
            found.append(dropout.masks[slot].clone())
        return torch.stack(found)

    alone, third = masks(1, 0, []), masks(4, 2, [0, 3])
    assert torch.equal(alone, third)
    assert set(alone.unique().tolist()) == {0.0, 2.0}
    assert float(alone.mean()) == pytest.approx(1, abs=4 / 1600**0.5)
    assert len({tuple(mask.flatten().tolist()) for mask in alone}) == 8, "no step's masks are drawn twice"


def test_the_table_of_tokens_gives_what_a_batch_has():
    first, second = encode_texts(["", "a b c", "b"]), encode_texts(make_texts(20))
    table = TokenTable(CPU)
    places = [table.places(LabeledTexts(texts, np.arange(len(texts)), np.zeros(1))) for texts in (first, second)]
    again = table.places(LabeledTexts(first, np.array([2, 1]), np.zeros(2)))
    assert again.tolist() == places[0][[2, 1]].tolist()
    for texts, there in zip((first, second), places, strict=True):
        batch = texts.collate(np.arange(len(texts)))
        ids, is_word = table.batch(torch.from_numpy(there).view(1, -1), batch.input_ids.shape[1])
        assert torch.equal(is_word[0], batch.attention_mask.bool())
        assert torch.equal(ids[0] * is_word[0], batch.input_ids * batch.attention_mask)
        assert table.lengths[there].tolist() == texts.lengths.tolist()
    n_texts = table.n_texts
    read_anew = table.places(LabeledTexts(encode_texts(make_texts(20)), np.arange(20), np.zeros(20)))
    assert read_anew.tolist() == places[1].tolist()
    assert table.n_texts == n_texts == 23
    ids, is_word = table.batch(torch.tensor([[-1, 1]]), 5)
    assert is_word.tolist() == [[[False] * 5, [True] * 3 + [False] * 2]]


def test_texts_without_tokens_have_no_place_in_the_table():
    features = SimpleNamespace(**vars(FeatureTexts(np.zeros((2, 3), np.float32))))
    with pytest.raises(TypeError, match="got SimpleNamespace; wanted texts with token ids"):
        TokenTable(CPU).places(LabeledTexts(features, np.arange(2), np.zeros(2)))


@pytest.mark.parametrize("pooling", ["max", "last"])
@pytest.mark.parametrize("kind", KINDS)
def test_stacked_features_and_their_gradients_are_the_models_own(kind, pooling):
    """Of texts of 0 to 7 words with padding behind them, by automatic differentiation of both."""
    options = {"pooling": pooling} if kind == "bilstm" else {"filter_sizes": (4, 1, 2)}
    models = [small_model(kind, 9, seed=seed, **options).double() for seed in range(3)]
    torch.manual_seed(0)
    embedded = torch.randn(3, 8, 7, 5, dtype=torch.float64, requires_grad=True)
    is_word = torch.arange(7) < torch.stack([torch.randperm(8) for _ in models]).unsqueeze(-1)
    names = [name for name, _ in models[0].named_parameters() if name.split(".")[0] not in ("embedding", "classifier")]
    weights = {
        name: torch.stack([model.get_parameter(name).detach() for model in models]).requires_grad_() for name in names
    }
    found = FEATURES[type(models[0])](models[0].config, weights, embedded, is_word)
    wanted = torch.stack([model.features(*each) for model, *each in zip(models, embedded, is_word.long(), strict=True)])
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    factors = torch.randn_like(found)
    gradients = torch.autograd.grad((found * factors).sum(), [embedded, *weights.values()])
    own = [model.get_parameter(name) for name in names for model in models]
    of_embedded, *of_own = torch.autograd.grad((wanted * factors).sum(), [embedded, *own])
    torch.testing.assert_close(gradients[0], of_embedded, rtol=1e-10, atol=1e-12)
    for i, gradient in enumerate(gradients[1:]):
        torch.testing.assert_close(gradient, torch.stack(of_own[3 * i : 3 * i + 3]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pass_of_some_slots_predicts_what_their_models_predict(kind, monkeypatch):
    """In batches of a few texts, of different ones for each model."""
    monkeypatch.setattr("dami_text.models.stacked.stack.PASS_TEXTS", {"cpu": 14})
    encoded, labels = telling_texts(60, 3)
    jobs = jobs_on(encoded, labels, kind, 4)
    stack = Stack(jobs[0].model, 4, jobs[0].config, CPU, vocab_size=len(encoded.tokenizer) + 3)
    for slot, job in enumerate(jobs):
        stack.load(slot, job)
    rows = {3: np.arange(50)[::-1], 1: np.array([7, 0, 33])}
    data = [LabeledTexts(encoded, each, labels[each]) for each in rows.values()]
    found = stack.probabilities(list(rows), [stack.places(each) for each in data])
    for (slot, own), probabilities in zip(rows.items(), found, strict=True):
        wanted = predict_probabilities(jobs[slot].model.eval(), encoded, own)
        np.testing.assert_allclose(probabilities, wanted, rtol=1e-6)


def test_bytes_that_are_kept_for_gradients():
    """A product keeps both its factors, and exp what it gives: a tensor that is kept twice counts once."""
    x, y = (torch.randn(10, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert bytes_kept(lambda: x * y) == 2 * 240
    assert bytes_kept(lambda: (x * y).exp() * x) == 3 * 240
    assert bytes_kept(lambda: x + 1) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_takes_its_weights_five_times_and_what_grows_with_the_batch(kind):
    texts = telling_texts(60, 3)
    small, large = (bytes_a_job(jobs_on(*texts, kind, 3, train_batch_size=n), CPU) for n in (10, 20))
    job = jobs_on(*texts, kind, 1)[0]
    weights = COPIES * sum(weight.nbytes for weight in job.model.parameters())
    assert weights < small < large
    # What does not grow with the batch, such as the weights themselves, is small here.
    assert large - weights == pytest.approx(2 * (small - weights), rel=0.3)
    longest = int(texts[0].lengths.max())
    embeddings = 10 * longest * 5 * 8
    assert small - weights > ACTIVATIONS * embeddings / PARTS[type(job.model)]


def test_slots_are_what_the_free_memory_holds(monkeypatch):
    jobs = jobs_on(*telling_texts(60, 3), n_jobs=2)
    one = bytes_a_job(jobs, CPU)
    card = SimpleNamespace(type="cuda")
    monkeypatch.setattr(memory, "bytes_a_job", lambda jobs, device: one)
    for free, slots in ((10 * one, 7), (1.5 * one, 1), (0, 1)):
        monkeypatch.setattr(memory, "free_bytes", lambda device, free=free: int(free))
        assert slots_that_fit(jobs, card) == slots
    assert slots_that_fit(jobs, CPU) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_reads_nothing_back_from_the_device(kind):
    """Tensors without values, which torch has to try what a step would do, refuse to be read."""
    encoded, labels = telling_texts(60, 3)
    job = jobs_on(encoded, labels, kind, 1, warmup_steps=3)[0]
    with FakeTensorMode(allow_non_fake_inputs=True):
        with pytest.raises(DataDependentOutputException):
            torch.ones(1).item()
        stack = Stack(job.model, 3, job.config, CPU, vocab_size=len(encoded.tokenizer))
        stack.places(job.data)
        for _ in range(2):
            stack._differentiate(slice(1, 3), 16)
            stack._update()
