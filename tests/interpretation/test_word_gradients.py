"""Interpretations against central finite differences and hand arithmetic; and the model is left as it was."""

import numpy as np
import pytest
import torch
from conftest import small_model
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers.modeling_outputs import SequenceClassifierOutput

from dami_text.data.batches import Batch
from dami_text.interpretation.word_gradients import embedding_hook, interpret, interpretation_mode

KINDS = ["cnn", "bilstm"]
TARGETS = ["probability", "logit"]
VOCABULARY = 20


def random_batch(lengths, seed=0) -> Batch:
    rng = np.random.default_rng(seed)
    mask = np.arange(max(1, *lengths)) < np.array(lengths)[:, None]
    ids = np.where(mask, rng.integers(1, VOCABULARY, mask.shape), 0)
    return Batch(torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64)))


def output_by_hand(logits: np.ndarray, c: int, target: str) -> np.ndarray:
    """The probability or the log-odds of class c, from logits (n, C)."""
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return p[:, c] if target == "probability" else np.log(p[:, c]) - np.log(1 - p[:, c])


def finite_differences(model, batch: Batch, target: str, classes: list[int], step: float = 1e-6) -> np.ndarray:
    """Central differences (B, T, D) of each text's output for its class, one perturbed number at a time."""
    embedded = model.embedding(batch.input_ids).detach()
    result = torch.zeros_like(embedded)
    for i, c in enumerate(classes):
        T, D = embedded.shape[1:]
        steps = step * torch.eye(T * D, dtype=embedded.dtype).view(-1, T, D)
        mask = batch.attention_mask[i : i + 1].expand(T * D, -1)
        with torch.no_grad():
            up, down = (model(inputs_embeds=embedded[i] + s, attention_mask=mask).logits for s in (steps, -steps))
        difference = output_by_hand(up.numpy(), c, target) - output_by_hand(down.numpy(), c, target)
        result[i] = torch.from_numpy(difference / (2 * step)).view(T, D)
    return result.numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("target_class", ["auto", "predicted", "all"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_against_finite_differences(kind, target, target_class, n_classes):
    model = small_model(kind, VOCABULARY, n_classes).double()
    batch = random_batch([4, 1, 0, 6, 2, 5, 6])
    n = len(batch.input_ids)
    with torch.no_grad():  # so that every class is predicted
        model.classifier.bias -= model(batch.input_ids, batch.attention_mask).logits.mean(dim=0)
    predicted = model(batch.input_ids, batch.attention_mask).logits.argmax(dim=1).tolist()
    assert len(set(predicted)) > 1
    if target_class == "all":
        choices = [[c] * n for c in range(n_classes)]
    else:
        choices = [[1] * n if target_class == "auto" and n_classes == 2 else predicted]
    expected = np.concatenate([finite_differences(model, batch, target, classes) for classes in choices], axis=-1)
    found = interpret(model, batch, target, target_class)
    assert found.shape == (n, 6, 5 * len(choices))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6 * np.abs(expected).max())
    assert np.abs(expected).max() > 0.01, "the comparison says something"


class Linear(nn.Module):
    """logits = bias + sum of weight @ x_j over the words, padding too: its gradients are known by hand."""

    def __init__(self, weight, bias):
        super().__init__()
        self.config = type("Config", (), {"num_labels": len(bias)})()
        self.embedding = nn.Embedding(VOCABULARY, len(weight[0]), padding_idx=0)
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float32))
        self.bias = nn.Parameter(torch.tensor(bias, dtype=torch.float32))
        nn.init.zeros_(self.embedding.weight)  # so that the bias alone decides the logits

    def get_input_embeddings(self):
        return self.embedding

    def forward(self, input_ids, attention_mask):
        return SequenceClassifierOutput(logits=self.embedding(input_ids).sum(dim=1) @ self.weight.T + self.bias)


WEIGHT2 = [[1.0, -2.0, 0.5], [3.0, 1.0, 0.0]]  # w1 - w0 = (2, 3, -0.5)
WEIGHT3 = [[1.0, 0.0], [0.0, 2.0], [-1.0, 4.0]]


def of_linear(weight, chances, target, target_class):
    """The interpretation of the first word, and of padding, in a model that predicts `chances`."""
    model = Linear(weight, np.log(chances))
    found = interpret(model, random_batch([2, 1]), target, target_class)
    assert torch.equal(found[0, 0], found[0, 1]), "a linear model is the same at every word"
    assert torch.equal(found[0, 0], found[1, 0])
    assert not found[1, 1].any(), "padding has none"
    return found[0, 0].tolist()


@pytest.mark.parametrize(
    ("target", "target_class", "chances", "expected"),
    [
        ("logit", "auto", [0.8, 0.2], [2, 3, -0.5]),
        ("logit", "predicted", [0.8, 0.2], [-2, -3, 0.5]),
        ("logit", "all", [0.8, 0.2], [-2, -3, 0.5, 2, 3, -0.5]),
        ("probability", "auto", [0.8, 0.2], [0.32, 0.48, -0.08]),  # p (1 - p) = 0.16
        ("probability", "auto", [0.5, 0.5], [0.5, 0.75, -0.125]),
        ("probability", "predicted", [0.8, 0.2], [-0.32, -0.48, 0.08]),
        ("probability", "predicted", [0.1, 0.9], [0.18, 0.27, -0.045]),  # 0.09
    ],
)
def test_two_classes_by_hand(target, target_class, chances, expected):
    assert of_linear(WEIGHT2, chances, target, target_class) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("target", "target_class", "expected"),
    [
        # The mean weight is 0.5 (1, 0) + 0.3 (0, 2) + 0.2 (-1, 4) = (0.3, 1.4); p_c (w_c - mean).
        ("probability", "auto", [0.35, -0.7]),
        ("probability", "predicted", [0.35, -0.7]),
        ("probability", "all", [0.35, -0.7, -0.09, 0.18, -0.26, 0.52]),
        # w_c less the mean of the others' weights by their chances: (0, 2) 0.6 + (-1, 4) 0.4 = (-0.4, 2.8), and so on.
        ("logit", "auto", [1.4, -2.8]),
        ("logit", "all", [1.4, -2.8, -3 / 7, 6 / 7, -1.625, 3.25]),
    ],
)
def test_three_classes_by_hand(target, target_class, expected):
    assert of_linear(WEIGHT3, [0.5, 0.3, 0.2], target, target_class) == pytest.approx(expected, rel=1e-5)


class Largest(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that is made."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        self.elements = max(self.elements, *(leaf.numel() for leaf in tree_leaves(made) if torch.is_tensor(leaf)), 0)
        return made


@pytest.mark.parametrize("target_class", ["auto", "predicted", "all"])
def test_many_classes_take_no_memory_for_each_pair_of_them(target_class):
    n_classes, n_texts = 100, 8
    model = Linear(np.random.default_rng(0).normal(size=(n_classes, 2)).tolist(), np.zeros(n_classes))
    with Largest() as largest:
        interpret(model, random_batch([1] * n_texts), "logit", target_class)
    assert largest.elements <= n_texts * n_classes * 2


@pytest.mark.parametrize("rare", [1e-3, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("positive", [True, False])
def test_saturated_texts_have_small_gradients_not_wrong_ones(rare, positive):
    chances = [rare, 1 - rare] if positive else [1 - rare, rare]
    expected = np.array([2, 3, -0.5])
    assert of_linear(WEIGHT2, chances, "logit", "auto") == pytest.approx(expected, rel=1e-4)
    found = of_linear(WEIGHT2, chances, "probability", "auto")
    assert np.array(found) / (rare * (1 - rare)) == pytest.approx(expected, rel=1e-4)


def state_of(model):
    modes = [module.training for module in model.modules()]
    gradients = [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()]
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()]
    return modes, gradients, hooks, [p.detach().clone() for p in model.parameters()]


def assert_same_state(before, after):
    assert before[0] == after[0]
    assert before[2] == after[2]
    for (required, gradient), (required_after, gradient_after) in zip(before[1], after[1], strict=True):
        assert required == required_after
        assert (gradient is None) == (gradient_after is None)
        assert gradient is None or torch.equal(gradient, gradient_after)
    assert all(torch.equal(a, b) for a, b in zip(before[3], after[3], strict=True))


def prepared(kind, requires_grad, with_gradients):
    """A model with a mode, a hook and gradients of its own."""
    model = small_model(kind, VOCABULARY, 3).train()
    model.classifier.eval()
    model.get_input_embeddings().register_forward_hook(lambda module, inputs, output: None)
    model.requires_grad_(requires_grad)
    model.classifier.requires_grad_(not requires_grad)
    if with_gradients:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 7)
    return model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("with_gradients", [True, False])
def test_the_model_is_left_as_it_was(kind, requires_grad, with_gradients):
    model = prepared(kind, requires_grad, with_gradients)
    before = state_of(model)
    for target_class in ("auto", "all"):
        interpret(model, random_batch([3, 2]), target_class=target_class)
    assert_same_state(before, state_of(model))


class Failing(nn.Module):
    """Stands in for a layer that fails."""

    def forward(self, *args):
        raise ArithmeticError("no forward today")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["embedding", "later"])
def test_the_model_is_left_as_it_was_after_an_exception(kind, where):
    model = prepared(kind, True, True)
    batch = random_batch([3, 2])
    if where == "later":
        model.classifier = Failing()
    else:
        batch.input_ids[0, 0] = VOCABULARY + 5
    before = state_of(model)
    with pytest.raises((ArithmeticError, IndexError)):
        interpret(model, batch)
    assert_same_state(before, state_of(model))


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_need_no_gradients_nor_does_the_caller(kind):
    model, batch = small_model(kind, VOCABULARY), random_batch([3, 0, 5])
    expected = interpret(model, batch)
    with torch.no_grad():
        assert torch.equal(interpret(model, batch), expected)
        assert not torch.is_grad_enabled()
    model.requires_grad_(False)
    torch.testing.assert_close(interpret(model, batch), expected)
    assert not expected.requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_off(kind):
    model, batch = small_model(kind, VOCABULARY, dropout=0.5), random_batch([3, 5])
    expected = interpret(model, batch)
    assert torch.equal(interpret(model.train(), batch), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", TARGETS)
def test_padding_and_batches_change_nothing(kind, target):
    model = small_model(kind, VOCABULARY, 3)
    lengths = [4, 0, 7, 1]
    batch = random_batch(lengths)
    found = interpret(model, batch, target, "all")
    assert not found[batch.attention_mask == 0].any()
    wider = Batch(*(nn.functional.pad(t, (0, 9)) for t in (batch.input_ids, batch.attention_mask)))
    torch.testing.assert_close(interpret(model, wider, target, "all")[:, :7], found, atol=1e-6, rtol=1e-5)
    for i, length in enumerate(lengths):
        alone = Batch(batch.input_ids[i : i + 1, : max(1, length)], batch.attention_mask[i : i + 1, : max(1, length)])
        mine = interpret(model, alone, target, "all")[0, :length]
        torch.testing.assert_close(mine, found[i, :length], atol=1e-6, rtol=1e-5)


def test_the_hook_gives_the_words_embeddings_and_goes():
    model, batch = small_model("cnn", VOCABULARY), random_batch([3, 5])
    with embedding_hook(model) as captured:
        model(batch.input_ids, batch.attention_mask)
        assert torch.equal(captured[0], model.embedding.weight[batch.input_ids])
        assert captured[0].requires_grad
        assert captured[0].is_leaf
    model(batch.input_ids, batch.attention_mask)
    assert len(captured) == 1


def test_cudnn_is_off_for_recurrent_networks_only():
    for kind, enabled in (("cnn", True), ("bilstm", False)):
        before = torch.backends.cudnn.enabled
        with interpretation_mode(small_model(kind, VOCABULARY)):
            assert torch.backends.cudnn.enabled == (before and enabled)
        assert torch.backends.cudnn.enabled == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_card_the_same_gradients(kind):
    model, batch = small_model(kind, VOCABULARY, 3), random_batch([4, 0, 7, 1])
    wanted = interpret(model, batch)
    found = interpret(model.cuda(), batch.to("cuda")).cpu()
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-3)
