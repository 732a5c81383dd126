"""The maxima of filters by matrix products, beside torch's convolutions and maxima."""

from itertools import product

import numpy as np
import pytest
import torch
from conftest import small_model
from torch import nn

from dami_text.models import text_cnn
from dami_text.models.window_maxima import maxima_of_words, window_maxima

SIZES = (2, 3, 5)


def convolutions(n_filters: int = 4, dtype: torch.dtype = torch.float64) -> nn.ModuleList:
    """Filters of each size over embeddings of three dimensions."""
    torch.manual_seed(1)
    return nn.ModuleList(nn.Conv2d(3, n_filters, (1, size), dtype=dtype) for size in SIZES)


def embeddings(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Embeddings of that shape, which are to have a gradient."""
    return torch.from_numpy(np.random.default_rng(0).normal(size=shape)).to(dtype).requires_grad_()


def by_hand(embedded: torch.Tensor, starts: torch.Tensor, filters: nn.ModuleList) -> np.ndarray:
    """The maxima, one window after another."""
    n, length, dimensions = embedded.shape
    padded = np.concatenate([embedded.detach().numpy(), np.zeros((n, max(SIZES) - 1, dimensions))], axis=1)
    rows = []
    for text, size_of in product(range(n), filters):
        weights, biases = size_of.weight.detach().numpy()[:, :, 0], size_of.bias.detach().numpy()
        size = weights.shape[2]
        windows = [padded[text, i : i + size].T for i in range(length) if starts[text, i]]
        values = [[(weight * window).sum() for weight in weights] for window in windows]
        rows.append(biases + (np.max(values, axis=0) if values else -np.inf))
    return np.concatenate(rows).reshape(n, -1)


@pytest.mark.parametrize("products", [True, False])
def test_they_are_the_largest_values_over_the_windows(products: bool) -> None:
    filters, embedded = convolutions(), embeddings((4, 6, 3))
    starts = torch.tensor([[1] * 6, [1] * 3 + [0] * 3, [0, 1, 0, 0, 1, 1], [0] * 6]) == 1
    with torch.no_grad():
        found = window_maxima(embedded, starts, filters, products=products)
    np.testing.assert_allclose(found, by_hand(embedded, starts, filters), atol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 7])
def test_the_gradients_are_those_of_convolutions(length: int) -> None:
    starts = torch.arange(length) < torch.tensor([[length], [1], [0], [length - 1]])
    weights = torch.from_numpy(np.random.default_rng(2).normal(size=(4, 4 * len(SIZES))))
    gradients = []
    for products in (True, False):
        filters, embedded = convolutions(), embeddings((4, length, 3))
        maxima = torch.relu(window_maxima(embedded, starts, filters, products=products))
        (maxima * weights).sum().backward()
        gradients.append([embedded.grad, *(weight.grad for weight in filters.parameters())])
    for found, wanted in zip(*gradients, strict=True):
        assert found is not None
        assert wanted is not None
        assert wanted.abs().max() > 0
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_the_gradients_are_those_of_finite_differences() -> None:
    filters, embedded, starts = convolutions(), embeddings((2, 5, 3)), torch.ones(2, 5, dtype=torch.bool)
    inputs = [embedded, *filters.parameters()]
    assert torch.autograd.gradcheck(lambda *_: window_maxima(embedded, starts, filters, products=True), inputs)


@pytest.mark.parametrize("of_filters", [True, False])
def test_a_gradient_that_nobody_wants_is_not_computed(of_filters: bool) -> None:
    filters, embedded = convolutions().requires_grad_(of_filters), embeddings((2, 5, 3)).detach()
    embedded.requires_grad_(not of_filters)
    window_maxima(embedded, torch.ones(2, 5, dtype=torch.bool), filters, products=True).sum().backward()
    assert (embedded.grad is None) == of_filters
    assert all((weight.grad is not None) == of_filters for weight in filters.parameters())


def test_of_equal_windows_the_first_has_the_gradient() -> None:
    filters = convolutions()
    embedded = torch.ones(1, 9, 3, dtype=torch.float64, requires_grad=True)  # windows 0 to 4 of each size are the same
    with torch.no_grad():
        for weight in filters.parameters():
            weight.abs_()  # so that windows which reach beyond the text are smaller
    window_maxima(embedded, torch.ones(1, 9, dtype=torch.bool), filters, products=True).sum().backward()
    assert embedded.grad is not None
    assert embedded.grad[0, : max(SIZES)].abs().min() > 0
    assert embedded.grad[0, max(SIZES) :].abs().max() == 0


def test_weights_that_are_no_numbers_give_no_numbers() -> None:
    filters, embedded = convolutions(), embeddings((2, 5, 3))
    with torch.no_grad():
        filters[0].weight[0] = torch.nan
    maxima = window_maxima(embedded, torch.ones(2, 5, dtype=torch.bool), filters, products=True)
    maxima.sum().backward()
    assert maxima[:, 0].isnan().all()
    assert maxima[:, 1:].isfinite().all()


def test_many_places_are_sorted_as_few_are() -> None:
    filters = convolutions(n_filters=2, dtype=torch.float32)
    n, length = 40, 2000  # more places than numbers of 16 bits
    gradients = []
    for products in (True, False):
        embedded = embeddings((n, length, 3), torch.float32)
        maxima = window_maxima(embedded, torch.ones(n, length, dtype=torch.bool), filters, products=products)
        gradients.append(torch.autograd.grad(maxima.sum(), embedded)[0])
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-5)


@pytest.mark.parametrize("length", [1, 2, 7])
def test_the_maxima_of_words_that_recur_are_the_same(length: int) -> None:
    filters, rng = convolutions(), np.random.default_rng(3)
    vectors, places = embeddings((4, 3)), torch.from_numpy(rng.integers(0, 4, (5, length)))
    is_word = torch.arange(length) < torch.tensor([[length], [1], [0], [length - 1], [length]])
    is_word[4, ::2] = False  # between words
    embedded = vectors[places] * is_word.unsqueeze(-1)
    with torch.no_grad():
        found = maxima_of_words(vectors, places, is_word, filters)
        wanted = window_maxima(embedded, is_word, filters, products=True)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found, by_hand(embedded, is_word, filters), atol=1e-12)


@pytest.mark.parametrize(("n_words", "is_quick"), [(10, True), (1000, False)])
def test_a_cnn_takes_the_words_once_where_they_recur_and_no_gradient_is_wanted(n_words, is_quick, monkeypatch):
    model, calls = small_model("cnn", 1000).double(), []
    monkeypatch.setattr(text_cnn, "maxima_of_words", lambda *given: calls.append(1) or maxima_of_words(*given))
    ids = torch.from_numpy(np.random.default_rng(4).integers(1, n_words, (6, 9)))
    ids[1, 3:] = ids[2] = 0
    wanted = model(ids).logits
    assert not calls
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, wanted, rtol=0, atol=1e-12)
        torch.testing.assert_close(model(ids, (ids != 0).long()).logits, wanted, rtol=0, atol=1e-12)
    assert len(calls) == 2 * is_quick
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        model.float()(ids)
    assert len(calls) == 2 * is_quick, "rounded numbers are multiplied by convolutions"


def test_a_pass_on_a_card_does_not_count_words() -> None:
    """The device "meta" has no numbers, so that counting raises; on a card it would wait for them."""
    model, ids = small_model("cnn", 10).to("meta"), torch.ones(6, 9, dtype=torch.long, device="meta")
    with torch.no_grad():
        assert model(ids).logits.shape == (6, 2)
    with pytest.raises(NotImplementedError):
        ids.unique()
