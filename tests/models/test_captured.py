"""Captured training steps, with the step run anew in place of a CUDA graph, against steps that are not captured."""

import inspect
import logging
import warnings
from contextlib import nullcontext
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import make_texts, small_model
from encoder_cases import tiny_model
from strategy_cases import pool_of

from dami_text.config.options import TrainingConfig
from dami_text.data.texts import LabeledTexts
from dami_text.models import captured, recording, training
from dami_text.models.adapters import adapter_config, add_adapter
from dami_text.models.captured import CapturedSteps
from dami_text.models.recording import EAGER_STEPS, take_step
from dami_text.processes import make_accelerator


def needs_peft(kind):
    without = find_spec("peft") is None
    return pytest.param(kind, marks=pytest.mark.skipif(without, reason="no adapters: pip install 'dami_text[peft]'"))


@pytest.fixture
def recorded(monkeypatch):
    """Captures on the CPU: a recorded step is repeated by running it; the widths that were recorded."""
    widths = []

    def record(function):
        widths.extend(function.args)
        return function

    optimizer = training._optimizer
    monkeypatch.setattr(captured, "recorder", lambda: record)
    monkeypatch.setattr(training._Steps, "_captures", lambda steps: True)
    monkeypatch.setattr(training, "_optimizer", lambda model, config, capturable: optimizer(model, config, False))
    return widths


def labelled(kind, n=43):
    pool = pool_of(make_texts(n, shortest=1), kind=kind)
    return LabeledTexts(pool.texts, np.arange(n), np.random.default_rng(0).integers(0, 3, n))


def new_model(kind, data):
    is_bert = kind in ("bert", "adapter")
    model = tiny_model("bert", 3) if is_bert else small_model(kind, len(data.texts.tokenizer), 3)
    if kind == "adapter":
        model.base_model.requires_grad_(False)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            add_adapter(model, adapter_config(model, 2, "base", None))
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # the noise of a batch depends on its shape
    return model.double()


def trained(kind, config):
    data = labelled("bert" if kind == "adapter" else kind)
    model = new_model(kind, data)
    found = training.train(model, data, None, config, make_accelerator(), rng=np.random.default_rng(1))
    return found, model.state_dict()


@pytest.mark.parametrize("options", [{}, {"class_weights": "balanced"}, {"optimizer": "adamw", "warmup_steps": 7}])
@pytest.mark.parametrize("kind", ["cnn", "bilstm", "bert", needs_peft("adapter")])
def test_the_same_weights_as_without_capturing(kind, options, recorded, monkeypatch):
    config = TrainingConfig(steps=40, train_batch_size=8, learning_rate=1e-3, **options)
    found, weights = trained(kind, config)
    assert recorded  # and the last batch of a pass has fewer texts than the others
    monkeypatch.setattr(training._Steps, "_captures", lambda steps: False)
    expected, wanted = trained(kind, config)
    assert (found.steps, found.has_learned) == (expected.steps, expected.has_learned)
    for name, weight in wanted.items():
        torch.testing.assert_close(weights[name], weight, rtol=1e-7, atol=1e-9, msg=name)


def steps_of(data, record, kind="cnn"):
    model = new_model(kind, data)
    whole = data.texts.collate(data.rows)
    return CapturedSteps(
        model,
        torch.optim.SGD(model.parameters(), 0.1),
        whole,
        torch.from_numpy(data.labels),
        batch_size=8,
        class_weights=torch.ones(3),
        loss=torch.zeros(()),
        newest=0.5,
        autocast=nullcontext,
        record=record,
    )


def test_what_cannot_be_recorded_is_told_once_and_steps_go_on(caplog, monkeypatch):
    monkeypatch.setattr(recording, "_told", set())

    def failing(function):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    data = labelled("cnn")
    steps, plain = steps_of(data, failing), steps_of(data, lambda function: function)
    batches = [np.arange(8)] * (EAGER_STEPS + 3)
    with caplog.at_level(logging.INFO):
        assert steps.take(batches, None) == len(batches)
        steps_of(data, failing).take(batches, None)
    assert [record.getMessage() for record in caplog.records] == [
        "a training step of TextCNNForSequenceClassification cannot be recorded as a CUDA graph (operation not "
        "permitted when stream is capturing); kernels are launched one by one"
    ]
    assert not steps.is_recording
    plain.take(batches, None)
    for found, wanted in zip(steps._model.parameters(), plain._model.parameters(), strict=True):
        torch.testing.assert_close(found, wanted)


def test_steps_before_a_recording_do_not_warn():
    """torch says on a card what an optimizer for graphs is not for; whatever else it warns of is an error here."""
    told = "This instance was constructed with capturable=True"
    assert told in inspect.getsource(torch.optim.Optimizer)
    take_step(SimpleNamespace(step=lambda: warnings.warn(told + ", but", stacklevel=1)))
    with pytest.raises(UserWarning, match="other"):
        take_step(SimpleNamespace(step=lambda: warnings.warn("other", stacklevel=1)))


@pytest.mark.parametrize("kind", ["cnn", "bilstm", "bert"])
def test_a_step_reads_nothing_back_from_the_device(kind, monkeypatch):
    """The device "meta" has shapes and no numbers, so that whatever asks for one raises."""
    monkeypatch.setattr("transformers.utils.import_utils.is_cuda_stream_capturing", lambda: True)
    steps = steps_of(labelled(kind), lambda function: function, kind)
    for name in ("_ids", "_mask", "_labels", "_rows", "_counts", "_class_weights", "_loss"):
        setattr(steps, name, getattr(steps, name).to("meta"))
    steps._model.to("meta")
    steps._optimizer.param_groups[0]["params"] = list(steps._model.parameters())
    steps._step(16)
    with pytest.raises(RuntimeError, match="meta"):
        float(steps._loss)


@pytest.mark.parametrize("first", [0, 12])
def test_where_memory_runs_out_the_rest_is_trained_in_halves(first, recorded, monkeypatch):
    """From step number `first` on, memory holds five texts: of batches of eight, recorded or not."""
    config = TrainingConfig(steps=30, train_batch_size=8, learning_rate=1e-3)
    data = labelled("cnn")
    expected = training.train(
        model := new_model("cnn", data), data, None, config, make_accelerator(), rng=np.random.default_rng(1)
    )
    forward, called = type(model).forward, []

    def limited(self, input_ids=None, **inputs):
        called.append(len(input_ids))
        if len(called) > first and len(input_ids) > 5:
            raise torch.OutOfMemoryError("no room")
        return forward(self, input_ids=input_ids, **inputs)

    monkeypatch.setattr(type(model), "forward", limited)
    other = new_model("cnn", data)
    found = training.train(other, data, None, config, make_accelerator(), rng=np.random.default_rng(1))
    assert found == expected
    assert called[: first + 1] == [8] * (first + 1)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], weight, rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.parametrize(("window", "is_captured"), [(None, True), (20, True), (19, False)])
def test_steps_on_texts_in_several_windows_are_not_recorded(window, is_captured):
    """How many windows a text has would be read from the card in the middle of a step."""
    options = {} if window is None else {"text_window": window}
    steps = SimpleNamespace(
        model=SimpleNamespace(config=SimpleNamespace(**options)),
        n_texts=2,
        _lengths=np.array([3, 20]),
        _config=TrainingConfig(),
        _accelerator=SimpleNamespace(device=torch.device("cuda"), scaler=None),
    )
    assert training._Steps._captures(steps) is is_captured


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
@pytest.mark.parametrize("kind", ["cnn", "bilstm", "bert"])
def test_on_a_card_the_same_losses_as_without_capturing(kind, monkeypatch):
    config = TrainingConfig(steps=40, train_batch_size=8, learning_rate=1e-3)
    _, weights = trained(kind, config)
    monkeypatch.setattr(training._Steps, "_captures", lambda steps: False)
    _, wanted = trained(kind, config)
    for name, weight in wanted.items():
        torch.testing.assert_close(weights[name], weight, rtol=1e-5, atol=1e-7, msg=name)
