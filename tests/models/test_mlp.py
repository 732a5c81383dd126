"""The MLP, and what is computed on it layer by layer: gradients, dropout's samples, interpretations."""

from itertools import product

import numpy as np
import pytest
import torch
from table_cases import mlp_for, odd_table, table_pool

from dami_text.interpretation.word_gradients import interpret
from dami_text.models.inference import predict_features, predict_probabilities
from dami_text.models.mlp import build_mlp
from dami_text.randomness import torch_stream
from dami_text.strategies import Bald, Representation
from dami_text.strategies.bald import mutual_information
from dami_text.strategies.gradient_lengths import expected_gradient_lengths


def forward_by_hand(model, rows):
    """Logits (n, C) of rows (n, D), in numpy."""
    *hidden, last = [(p.detach().numpy() for p in (m.weight, m.bias)) for m in [*model.hidden, model.classifier]]
    for weight, bias in hidden:
        rows = np.maximum(rows @ weight.T + bias, 0)
    weight, bias = last
    return rows @ weight.T + bias


def test_the_forward_pass_by_hand():
    pool = odd_table()
    model = mlp_for(pool, 3).double()
    assert [layer.out_features for layer in model.hidden] == [16, 8]
    expected = forward_by_hand(model, pool.texts.matrix.astype(np.float64))
    batch = pool.texts.collate(np.arange(len(pool)))
    output = model(input_ids=batch.input_ids, labels=torch.zeros(len(pool), dtype=torch.long))
    np.testing.assert_allclose(output.logits.detach().numpy(), expected, atol=1e-12)
    log_probabilities = expected - np.log(np.exp(expected).sum(axis=1, keepdims=True))
    assert output.loss.item() == pytest.approx(-log_probabilities[:, 0].mean())
    probabilities = predict_probabilities(model, pool.texts, np.arange(len(pool)), 7)
    np.testing.assert_allclose(probabilities, np.exp(log_probabilities), atol=1e-6)


def test_weights_are_drawn_as_torch_draws_them_and_by_the_seed():
    with torch_stream(0, 0, "training"):
        first = build_mlp(["a", "b"], 400)
    with torch_stream(0, 0, "training"):
        second = build_mlp(["a", "b"], 400)
    weights = first.hidden[0].weight
    assert torch.equal(weights, second.hidden[0].weight)
    assert weights.abs().max().item() == pytest.approx(400**-0.5, rel=0.01)  # uniform by fan-in, not N(0, 0.02)
    assert first.config.id2label == {0: "a", 1: "b"}
    assert first.dropout.p == 0
    assert build_mlp(["a", "b"], 400, 0.1).dropout.p == 0.1


def test_a_saved_model_gives_the_same_logits(tmp_path):
    from transformers import AutoModelForSequenceClassification

    pool = odd_table()
    model = mlp_for(pool, 2, hidden_sizes=(5,))
    model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    inputs = pool.texts.collate(np.arange(6)).input_ids
    assert torch.equal(again(input_ids=inputs).logits, model(input_ids=inputs).logits)


@pytest.mark.parametrize("n_classes", [2, 3, 6])
@pytest.mark.parametrize("frozen", [False, True])
def test_expected_gradient_lengths_are_those_of_autograd_row_by_row(n_classes, frozen):
    pool = odd_table()
    model = mlp_for(pool, n_classes).double()
    parameters = list(model.parameters())
    expected = []
    for row in pool.unlabeled:
        log_probabilities = torch.log_softmax(
            model(input_ids=pool.texts.collate(np.array([row])).input_ids).logits[0], 0
        )
        length = 0.0
        for value in log_probabilities:
            gradients = torch.autograd.grad(-value, parameters, retain_graph=True)
            length += value.exp().item() * float(sum(g.square().sum() for g in gradients)) ** 0.5
        expected.append(length)
    model.requires_grad_(not frozen)
    found = expected_gradient_lengths(model, pool.texts.collate(pool.unlabeled))
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-6)
    assert all(p.grad is None for p in parameters)


def test_interpretations_are_the_finite_differences_of_probability_and_log_odds():
    pool = odd_table()
    model = mlp_for(pool, 2).double()
    rows = pool.texts.matrix[pool.unlabeled].astype(np.float64)

    def probability(inputs):
        logits = forward_by_hand(model, inputs)
        return 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))

    h, batch = 1e-6, pool.texts.collate(pool.unlabeled)
    for target in ("probability", "logit"):
        found = interpret(model, batch, target)
        assert found.shape == (len(rows), 1, rows.shape[1])
        for d in range(rows.shape[1]):
            step = np.eye(rows.shape[1])[d] * h
            high, low = probability(rows + step), probability(rows - step)
            if target == "logit":
                high, low = np.log(high / (1 - high)), np.log(low / (1 - low))
            np.testing.assert_allclose(found[:, 0, d], (high - low) / (2 * h), atol=1e-5)


def test_the_representation_of_a_row_is_its_interpretation_and_its_deviation_that_from_the_mean():
    pool = odd_table()
    model = mlp_for(pool, 2).double()
    interpretations = interpret(model, pool.texts.collate(pool.unlabeled))[:, 0].numpy()
    found = Representation(batch_size=7).of_unlabeled(model, pool, np.random.default_rng(0))
    np.testing.assert_allclose(found.representations, interpretations, atol=1e-6)
    mean = interpretations.mean(axis=0)
    np.testing.assert_allclose(found.mean, mean, atol=1e-8)
    np.testing.assert_allclose(found.deviations, ((interpretations - mean) ** 2).sum(axis=1), rtol=1e-4, atol=1e-7)
    assert (found.words == 0).all()
    assert found.repeated == 0


def test_bald_thins_out_every_hidden_layer():
    """A small MLP's scores come near the exact expectation over all masks of its 3 + 2 hidden units."""
    pool = table_pool(np.random.default_rng(3).normal(size=(12, 4)))
    model = mlp_for(pool, 2, hidden_sizes=(3, 2), dropout=0.5).double()
    with torch.no_grad():
        model.hidden[0].weight.mul_(3)
        model.hidden[1].weight.mul_(3)
    rows = pool.texts.matrix.astype(np.float64)
    layers = [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in [*model.hidden, model.classifier]]
    samples = []
    for mask in product([0.0, 2.0], repeat=5):
        first = np.maximum(rows @ layers[0][0].T + layers[0][1], 0) * mask[:3]
        second = np.maximum(first @ layers[1][0].T + layers[1][1], 0) * mask[3:]
        logits = second @ layers[2][0].T + layers[2][1]
        samples.append(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    exact = mutual_information(torch.tensor(np.stack(samples, axis=1))).numpy()
    assert exact.max() > 0.01
    query = Bald(samples=20_000).query(model, pool, 12, np.random.default_rng(0))
    found = dict(zip(query.rows.tolist(), [reason["score"] for reason in query.reasons], strict=True))
    np.testing.assert_allclose([found[row] for row in range(12)], exact, atol=0.004)


def test_features_are_what_a_layer_reads():
    pool = odd_table()
    model = mlp_for(pool, 2)
    rows = np.arange(len(pool))
    first = predict_features(model, pool.texts, rows, 7, layer=model.hidden[1])
    assert first.shape == (len(pool), 16)
    with torch.no_grad():
        expected = torch.relu(model.hidden[0](torch.from_numpy(pool.texts.matrix)))
    np.testing.assert_allclose(first, expected, atol=1e-6)
    last = predict_features(model, pool.texts, rows, 7)
    with torch.no_grad():
        np.testing.assert_allclose(last, torch.relu(model.hidden[1](expected)), atol=1e-6)
