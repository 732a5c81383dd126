"""A device without float64, as Apple's mps is: one that is made of tensors which refuse it."""

from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from encoder_cases import tiny_model
from strategy_cases import model_for, odd_pool
from test_strategy_battery import OPTIONS, ask

from dami_text import processes
from dami_text.clustering import KMedoids
from dami_text.config.options import TrainingConfig
from dami_text.data.batches import Batch
from dami_text.data.texts import LabeledTexts
from dami_text.interpretation.word_gradients import interpret
from dami_text.models.training import train


class Elsewhere(torch.Tensor):
    """A tensor of the device; what is computed from it is there too, until it is fetched by `cpu`."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        result = super().__torch_function__(function, types, args, kwargs or {})
        for each in result if isinstance(result, tuple | list) else [result]:
            if isinstance(each, Elsewhere) and each.dtype == torch.float64:
                raise TypeError("Cannot convert a tensor to float64 dtype: the device doesn't support it")
        return result


@pytest.fixture
def elsewhere(monkeypatch):
    """Batches go to the device wherever they are sent; counts them."""
    sent = []

    def to(batch: Batch, device: Any) -> Batch:
        sent.append(batch)
        parts = {name: value.as_subclass(Elsewhere) for name, value in vars(batch).items() if value is not None}
        return Batch(**parts)

    monkeypatch.setattr(Batch, "to", to)
    monkeypatch.setattr(processes, "lacks_float64", lambda values: isinstance(values, Elsewhere))
    return sent


def test_the_device_refuses_float64_and_says_so():
    there = torch.ones(3).as_subclass(Elsewhere)
    assert isinstance(there + 1, Elsewhere)
    with pytest.raises(TypeError, match="doesn't support it"):
        there.double()
    with pytest.raises(TypeError, match="doesn't support it"):
        there.sum(dtype=torch.float64)
    assert there.cpu().double().tolist() == [1, 1, 1]


@pytest.mark.parametrize("kind", ["cnn", "bilstm", "bert"])
@pytest.mark.parametrize("name", [name for name in OPTIONS if name not in ("own", "random")])
def test_every_strategy_asks_for_what_it_asks_for_elsewhere(name, kind, monkeypatch, request):
    pool = odd_pool(repetitive=False, kind=kind)
    model = tiny_model("bert", 3) if kind == "bert" else model_for(kind, pool, 3).float()
    expected = ask(name, model, pool, 6)
    sent = request.getfixturevalue("elsewhere")
    found = ask(name, model, pool, 6)
    assert sent, "nothing was computed there"
    assert found.rows.tolist() == expected.rows.tolist()
    assert found.reasons == expected.reasons


def test_interpretations_stay_where_they_are(elsewhere):
    pool = odd_pool()
    batch = pool.texts.collate(pool.unlabeled[:4]).to("mps")
    assert isinstance(interpret(model_for("cnn", pool).float(), batch), Elsewhere)


@pytest.mark.parametrize("method", ["fasterpam", "streamed", "sampled", "alternate"])
def test_k_medoids(elsewhere, method):
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32))
    here = KMedoids(7, method=method, random_state=0).fit(rows)
    there = KMedoids(7, method=method, random_state=0).fit(rows.as_subclass(Elsewhere))
    assert there.medoid_indices_.tolist() == here.medoid_indices_.tolist()
    assert there.predict(rows.as_subclass(Elsewhere)).tolist() == here.labels_.tolist()


@pytest.mark.parametrize("kind", ["cnn", "bilstm", "bert"])
def test_a_round_of_training(elsewhere, kind):
    pool = odd_pool(kind=kind)
    model = tiny_model("bert") if kind == "bert" else model_for(kind, pool).float()
    rows = np.arange(24)
    data = LabeledTexts(pool.texts, rows, rows % 2)
    config = TrainingConfig(epochs=2, epoch_steps=2, train_batch_size=6)
    before = model.classifier.weight.detach().clone()
    training = train(model, data, data, config=config, accelerator=Accelerator(cpu=True), rng=np.random.default_rng(0))
    assert training.steps >= 4
    assert elsewhere
    assert not torch.equal(before, model.classifier.weight)
