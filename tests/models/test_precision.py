"""Half precision in passes, against the same passes in float32."""

import logging

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from conftest import make_texts, small_model
from datasets import Dataset
from encoder_cases import save_encoder, tiny_model, tiny_tokenizer
from strategy_cases import pool_of

from dami_text.config.options import ModelConfig
from dami_text.data.texts import EncodedTexts, FeatureTexts
from dami_text.data.tokenization import encode
from dami_text.interpretation.word_gradients import interpret
from dami_text.models import frozen_features as features_module
from dami_text.models import precision
from dami_text.models.encoder import load_encoder
from dami_text.models.frozen_features import checked_half, features_of, frozen_features
from dami_text.models.inference import head_logits, predict_features, predict_logits, predict_probabilities
from dami_text.processes import asked_half
from dami_text.strategies.gradient_lengths import expected_word_gradients

KINDS = ["cnn", "bilstm", "bert"]


def model_and_pool(kind):
    pool = pool_of(make_texts(60, longest=25), kind=kind)
    model = tiny_model("bert", 3) if kind == "bert" else small_model(kind, len(pool.texts.tokenizer), 3)
    return model, pool


def ask_for(monkeypatch, half):
    monkeypatch.setattr(precision, "asked_half", lambda: half)


def test_what_is_asked_for_is_what_the_process_has_begun_with():
    state = AcceleratorState._shared_state.copy()
    try:
        AcceleratorState._reset_state()
        assert asked_half() is None
        Accelerator(cpu=True, mixed_precision="bf16")
        assert asked_half() == torch.bfloat16
    finally:
        AcceleratorState._reset_state()
        AcceleratorState._shared_state.update(state)


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_in_half_precision_are_near_and_the_last_layer_is_in_float32(kind, monkeypatch):
    (model, pool), rows = model_and_pool(kind), np.arange(60)
    full, full_features = predict_probabilities(model, pool.texts, rows), predict_features(model, pool.texts, rows)
    ask_for(monkeypatch, torch.bfloat16)
    found, features = predict_probabilities(model, pool.texts, rows), predict_features(model, pool.texts, rows)
    logits = predict_logits(model, pool.texts, rows)
    assert not np.array_equal(features, full_features)
    assert np.linalg.norm(features - full_features) < 0.05 * np.linalg.norm(full_features)
    np.testing.assert_allclose(found, full, atol=0.05)
    # The last layer's weights are not rounded: its logits are those of the features in float32.
    np.testing.assert_allclose(logits, head_logits(model, features), rtol=1e-5, atol=1e-6)
    assert not any(module._forward_hooks for module in model.modules())


def test_a_head_on_features_stays_in_float32(tmp_path, monkeypatch):
    model, texts = frozen(tmp_path)
    texts = texts.with_features(FeatureTexts(frozen_features(model, texts)))
    full = predict_probabilities(model, texts, np.arange(len(texts)))
    ask_for(monkeypatch, torch.bfloat16)
    np.testing.assert_array_equal(predict_probabilities(model, texts, np.arange(len(texts))), full)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_computed_in_bfloat16_of_encoders_and_never_in_float16(kind, monkeypatch):
    model, pool = model_and_pool(kind)
    batch = pool.texts.collate(np.arange(20))
    for gradients in (lambda: interpret(model, batch), lambda: expected_word_gradients(model, batch)):
        ask_for(monkeypatch, None)
        full = gradients()
        ask_for(monkeypatch, torch.bfloat16)
        half = gradients()
        assert half.dtype == torch.float32
        assert torch.equal(half, full) == (kind != "bert")
        assert float((half - full).norm() / full.norm()) < 0.05
        ask_for(monkeypatch, torch.float16)
        assert torch.equal(gradients(), full)


def test_hooks_are_gone_after_an_exception():
    model, _ = model_and_pool("cnn")

    def fail():
        with precision.half_precision(model, torch.bfloat16):
            assert torch.is_autocast_enabled("cpu")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not torch.is_autocast_enabled("cpu")
    assert not model.classifier._forward_hooks


# A frozen encoder's features


def frozen(tmp_path):
    options = ModelConfig(model=str(save_encoder(tmp_path, seed=3)), freeze_encoder=True)
    model = load_encoder(options, ("neg", "pos"), 512, 0).pretrained
    dataset, tokenizer = Dataset.from_dict({"text": make_texts(50)}), tiny_tokenizer()
    return model, EncodedTexts(encode(dataset, tokenizer), tokenizer)


def test_features_of_little_change_are_in_half_precision_and_kept_apart(tmp_path, monkeypatch):
    model, texts = frozen(tmp_path)
    full = frozen_features(model, texts)[:]
    monkeypatch.setattr(features_module, "TOLERATED", 0.05)
    half = frozen_features(model, texts, precision="bf16")[:]
    assert not np.array_equal(half, full)
    largest = np.abs(full).max(axis=1, keepdims=True)
    assert (np.abs(half - full) / largest).max() <= 0.05
    again = features_of(model, texts, np.arange(len(texts)), half=torch.bfloat16)
    assert (np.abs(half - again) / largest).max() <= 0.02, "other batches are rounded otherwise"
    np.testing.assert_array_equal(frozen_features(model, texts)[:], full)


def test_features_that_half_precision_would_change_stay_in_float32_and_it_is_told(tmp_path, monkeypatch, caplog):
    model, texts = frozen(tmp_path)
    full = frozen_features(model, texts)[:]
    monkeypatch.setattr(features_module, "TOLERATED", 1e-4)
    with caplog.at_level(logging.WARNING):
        found = frozen_features(model, texts, precision="bf16")[:]
    np.testing.assert_array_equal(found, full)
    (told,) = [record.getMessage() for record in caplog.records]
    assert "--mixed-precision bf16 would change features by up to" in told
    assert "the encoder's features stay in float32; fp16 has more digits" in told


def test_the_check_looks_at_the_text_that_changes_most(monkeypatch):
    """Of three texts, one changes by 2% of its largest feature."""
    full = np.array([[1, -2, 0.5], [4, 1, 1], [0, 0, 0]], np.float32)
    found = {None: full, torch.bfloat16: full + np.array([[0, 0, 0], [0, 0.08, 0], [0, 0, 0]], np.float32)}
    monkeypatch.setattr(features_module, "features_of", lambda model, texts, rows, half: found[half][rows])
    texts = pool_of(["a", "b b", "c c c"], kind="cnn").texts
    for tolerated, wanted in ((0.021, torch.bfloat16), (0.019, None)):
        monkeypatch.setattr(features_module, "TOLERATED", tolerated)
        assert checked_half(None, texts, "bf16") == wanted
    assert checked_half(None, texts, "no") is None
