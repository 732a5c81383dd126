"""The average of weights, against hand arithmetic."""

import pytest
import torch
from torch import nn

from dami_text.models.averaged_weights import AveragedWeights


def numbers(layer):
    return [float(each.detach()) for each in (layer.weight, layer.bias, layer.running_mean)]


@torch.no_grad()
def set_numbers(layer, weight, bias, mean):
    layer.weight.fill_(weight)
    layer.bias.fill_(bias)
    layer.running_mean.fill_(mean)


def test_averages_by_hand():
    layer = nn.BatchNorm1d(1)
    layer.bias.requires_grad_(False)  # which is not trained
    average = AveragedWeights(layer)
    set_numbers(layer, 1, 5, 0)
    average.add(1.0)
    set_numbers(layer, 3, 5, 8)
    average.add(0.25)
    with average.as_weights():
        assert numbers(layer) == [1.5, 5, 2]
        assert layer.weight.requires_grad
    assert numbers(layer) == [3, 5, 8]
    set_numbers(layer, 5.5, 5, 2)
    average.add(0.5)
    with average.as_weights():
        assert numbers(layer) == [3.5, 5, 2]


def test_the_weights_come_back_where_an_evaluation_fails():
    layer = nn.BatchNorm1d(1)
    average = AveragedWeights(layer)
    average.add(1.0)
    set_numbers(layer, 3, 5, 8)
    average.add(0.5)
    with pytest.raises(ZeroDivisionError), average.as_weights():
        _ = 1 / 0
    assert numbers(layer) == [3, 5, 8]
