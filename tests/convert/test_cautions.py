"""A network that computes with the size of its image where nobody can look says so."""

import logging

import pytest
import torch
from torch import nn

from unpool.convert import dilate, fold_batch_norm, fully_convolutional


def double_where_large(x):
    return x * 2 if x.shape[2] > 150 else x


torch.fx.wrap("double_where_large")


class Wrapped(nn.Module):
    def forward(self, x):
        return double_where_large(x)


class Whole(nn.Module):
    def forward(self, x):
        return x * 2 if x.shape[2] > 150 else x


def backbone(layer):
    return dilate(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), layer), output_stride=1)


def classifier(layer):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), layer, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return fully_convolutional(network, image=torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize("convert", [backbone, classifier])
def test_branch_of_a_layer_that_is_kept_whole_is_named_in_the_result_and_in_the_log(convert, caplog):
    with caplog.at_level(logging.WARNING):
        assert convert(Whole()).caution == "1 branches on its input"
    assert "1 branches on its input, so that" in caplog.text


@pytest.mark.parametrize("convert", [backbone, classifier])
def test_function_that_is_kept_whole_is_named(convert):
    expected = "1:double_where_large was not looked into, since torch.fx.wrap keeps it whole"
    assert convert(Wrapped()).caution == expected


@pytest.mark.parametrize("convert", [backbone, classifier])
def test_network_that_is_followed_to_its_end_needs_no_caution(convert, caplog):
    assert convert(nn.ReLU()).caution == ""
    assert not caplog.records


def test_function_that_was_kept_whole_is_named_when_converted_again():
    assert "double_where_large was not looked into" in fold_batch_norm(backbone(Wrapped())).caution


class Caught(nn.Module):
    def forward(self, x):
        try:
            return x * 2 if x.shape[2] > 150 else x
        except Exception:
            return x


def test_layer_that_catches_its_branch_is_kept_whole():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), Caught())
    image = torch.ones(1, 3, 320, 64)
    assert torch.allclose(dilate(network, output_stride=1)(image)[:, :, ::2, ::2], network(image), atol=1e-5)
