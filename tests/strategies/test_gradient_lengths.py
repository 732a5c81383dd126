"""Lengths of single texts' gradients against autograd on one text and one class at a time."""

import math

import numpy as np
import pytest
import torch
from conftest import small_model
from strategy_cases import CLASSES, KINDS, loss_gradients, model_for, odd_pool
from torch import nn

from dami_text.data.batches import Batch
from dami_text.models.bilstm import BiLSTMConfig
from dami_text.models.text_cnn import TextCNNConfig
from dami_text.models.word_level import WordLevelForSequenceClassification
from dami_text.strategies.gradient_lengths import expected_gradient_lengths, expected_word_gradients


def slow_lengths(model, pool):
    """The expected gradient length of every text."""
    parameters = list(model.parameters())
    return [
        sum(
            p * math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
            for p, gradients in loss_gradients(model, pool, row, parameters)
        )
        for row in range(len(pool))
    ]


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_of_all_parameters(kind, n_classes):
    pool = odd_pool()
    model = model_for(kind, pool, n_classes)
    found = expected_gradient_lengths(model, pool.texts.collate(np.arange(len(pool))))
    expected = slow_lengths(model, pool)
    assert found.tolist() == pytest.approx(expected, rel=1e-5)
    assert min(expected) > 0


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_of_single_words(kind, n_classes):
    pool = odd_pool()
    model = model_for(kind, pool, n_classes)
    batch = pool.texts.collate(np.arange(len(pool)))
    found = expected_word_gradients(model, batch)
    for row in range(len(pool)):
        gradients = loss_gradients(model, pool, row, [model.embedding.weight])
        of_word = sum(p * gradient.norm(dim=1) for p, (gradient,) in gradients)  # (V,)
        ids = pool.texts.token_ids(row)
        assert found[row, : len(ids)].tolist() == pytest.approx(of_word[ids.tolist()].tolist(), rel=1e-5, abs=1e-9)
    assert found.max() > 0.01


def hand_made_cnn(size: int) -> WordLevelForSequenceClassification:
    """One filter over words of one number: 0 for padding, 0 for word 1, 2 for word 2, -1 for word 3."""
    config = TextCNNConfig(filter_sizes=[size], n_filters=1, vocab_size=4, embedding_dim=1, num_labels=2)
    from dami_text.models.text_cnn import TextCNNForSequenceClassification

    model = TextCNNForSequenceClassification(config).eval()
    with torch.no_grad():
        model.embedding.weight.copy_(torch.tensor([[0.0], [0.0], [2.0], [-1.0]]))
        model.convolutions[0].weight.copy_(torch.tensor([3.0, 0.5])[:size].view(1, 1, 1, size))
        model.convolutions[0].bias.fill_(1)
        model.classifier.weight.copy_(torch.tensor([[0.5], [-1.5]]))
        model.classifier.bias.copy_(torch.tensor([-7.0, 7.0]))
    return model


def test_by_hand():
    """Words 3, 2: h = max(-3 + 1, 6 + 1) = 7, z = (-3.5, -3.5), p = (1/2, 1/2); the loss of either label by z is
    (1/2, 1/2) but for signs, by h -1/2 (w_1 - w_0) = 1 but for its sign."""
    batch = Batch(torch.tensor([[3, 2]]), torch.ones(1, 2, dtype=torch.long))
    by_embedding, by_filter, by_filter_bias = 3.0, 2.0, 1.0
    by_classifier, by_classifier_bias = 7 / math.sqrt(2), 1 / math.sqrt(2)
    every = math.hypot(by_embedding, by_filter, by_filter_bias, by_classifier, by_classifier_bias)
    assert expected_gradient_lengths(hand_made_cnn(1), batch).tolist() == pytest.approx([every])
    assert expected_word_gradients(hand_made_cnn(1), batch).tolist() == [pytest.approx([0, 3])]


def test_occurrences_of_a_word_are_summed_by_hand():
    """Words 2, 2: the first window has both, 6 + 1 + 1 = 8 against 7: h by E_2 is 3 + 0.5."""
    batch = Batch(torch.tensor([[2, 2, 0]]), torch.tensor([[1, 1, 0]]))
    model = hand_made_cnn(2)
    z = [-7 + 8 * 0.5, 7 - 8 * 1.5]
    p = math.exp(z[1]) / (math.exp(z[0]) + math.exp(z[1]))
    length = 2 * p * (1 - p) * 2 * 3.5  # p_0 ||p_1 (w_1 - w_0) 3.5|| + p_1 ||p_0 (w_1 - w_0) 3.5||
    assert expected_word_gradients(model, batch)[0, :2].tolist() == pytest.approx([length] * 2)


class TwoLayers(WordLevelForSequenceClassification):
    """Layers of the given kind between the embedding and the mean over the words."""

    config_class = BiLSTMConfig

    def __init__(self, config, make_layers):
        super().__init__(config)
        self.layers = make_layers()
        self.post_init()

    def features(self, embedded, attention_mask):
        hidden = embedded * attention_mask.unsqueeze(-1)
        for layer in self.layers:
            hidden = layer(hidden)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        return hidden.tanh()[:, 0]


class OnChannels(nn.Module):
    """A convolution over the words of (B, T, D)."""

    def __init__(self, *args, **kwargs):
        super().__init__()
        self.convolution = nn.Conv2d(*args, **kwargs)

    def forward(self, hidden):
        return self.convolution(hidden.transpose(1, 2).unsqueeze(2)).squeeze(2).transpose(1, 2)


def shared(what):
    first, second = nn.Linear(6, 6), nn.Linear(6, 6)
    if what == "weight":
        second.weight = first.weight
    return nn.ModuleList([first, nn.Tanh(), second if what == "weight" else first])


LAYERS = {
    "linear": lambda: nn.ModuleList([nn.Linear(6, 6, bias=False), nn.Tanh(), nn.Linear(6, 6)]),
    "convolution": lambda: nn.ModuleList([OnChannels(6, 6, (1, 3), padding=(0, 2), dilation=(1, 2), bias=False)]),
    "convolution in groups": lambda: nn.ModuleList([OnChannels(6, 6, (1, 3), padding=(0, 1), groups=2)]),
    "circular convolution": lambda: nn.ModuleList([OnChannels(6, 6, (1, 3), padding=(0, 1), padding_mode="circular")]),
    "same convolution": lambda: nn.ModuleList([OnChannels(6, 6, (1, 3), padding="same")]),
    "LSTM": lambda: nn.ModuleList([nn.LSTM(6, 6, batch_first=True)]),
    "LSTM without bias": lambda: nn.ModuleList([nn.LSTM(6, 6, batch_first=True, bias=False)]),
    "LSTM of two layers": lambda: nn.ModuleList([nn.LSTM(6, 6, num_layers=2, batch_first=True)]),
    "LSTM of both directions": lambda: nn.ModuleList([nn.LSTM(6, 3, bidirectional=True, batch_first=True)]),
    "LSTM of projections": lambda: nn.ModuleList([nn.LSTM(6, 7, proj_size=6, batch_first=True)]),
    "GRU": lambda: nn.ModuleList([nn.GRU(6, 6, batch_first=True), nn.LayerNorm(6)]),
    "in place": lambda: nn.ModuleList([nn.Linear(6, 6), nn.ELU(inplace=True), nn.Linear(6, 6)]),
    "a layer twice": lambda: shared("layer"),
    "a weight twice": lambda: shared("weight"),
}


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS.keys())
def test_of_models_of_ones_own(layers):
    pool = odd_pool(16)
    config = BiLSTMConfig(hidden_size=3, vocab_size=len(pool.texts.tokenizer), embedding_dim=6, num_labels=3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TwoLayers(config, layers).eval().double()
    found = [expected_gradient_lengths(model, pool.texts.collate(np.array([row]))) for row in range(len(pool))]
    assert torch.cat(found).tolist() == pytest.approx(slow_lengths(model, pool), rel=1e-5)


def test_an_embedding_without_a_padding_word():
    pool = odd_pool(16)
    model = model_for("cnn", pool, 3)
    model.embedding.padding_idx = None
    found = expected_gradient_lengths(model, pool.texts.collate(np.arange(len(pool))))
    assert found.tolist() == pytest.approx(slow_lengths(model, pool), rel=1e-5)


@pytest.mark.parametrize("layers", ["linear", "GRU"])
def test_frozen_weights_count_like_others(layers):
    pool = odd_pool(12)
    config = BiLSTMConfig(hidden_size=3, vocab_size=len(pool.texts.tokenizer), embedding_dim=6, num_labels=2)
    model = TwoLayers(config, LAYERS[layers]).eval()
    batch = pool.texts.collate(np.arange(len(pool)))
    expected = expected_gradient_lengths(model, batch)
    for frozen in (model.embedding, model.layers, model):
        frozen.requires_grad_(False)
        torch.testing.assert_close(expected_gradient_lengths(model, batch), expected)
        assert not any(parameter.requires_grad for parameter in frozen.parameters())


def test_gradients_of_saturated_texts_vanish_and_stay_numbers():
    pool = odd_pool(12)
    batch = pool.texts.collate(np.arange(len(pool)))
    for kind in KINDS:
        for n_classes in CLASSES:
            model = small_model(kind, len(pool.texts.tokenizer), n_classes)
            model.classifier.bias.data[0] += 1000
            assert expected_gradient_lengths(model, batch).tolist() == [0] * len(pool)
            assert not expected_word_gradients(model, batch).any()
