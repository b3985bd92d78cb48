"""What conversions are called with: things that are no network or no image, and a state that is not theirs."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from unpool.convert import dilate, fold_batch_norm, fully_convolutional
from unpool.errors import NotConvertible

IMAGE = torch.zeros(1, 3, 8, 8)
CONVERSIONS = {
    "dilate": lambda network, image: dilate(network, output_stride=1, image=image),
    "fully_convolutional": lambda network, image: fully_convolutional(network, image=image),
    "fold_batch_norm": lambda network, image: fold_batch_norm(network, image=image),
}
every_conversion = pytest.mark.parametrize("convert", CONVERSIONS.values(), ids=CONVERSIONS)


@every_conversion
@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lambda x: x, "the network is a function: give a torch.nn.Module"),
        (nn.Sequential(nn.LazyConv2d(3, 3)), "0.weight of Sequential has no shape before the first image"),
    ],
    ids=["function", "lazy"],
)
def test_what_is_no_network_yet_is_refused(convert, network, words):
    with pytest.raises(NotConvertible, match=words):
        convert(network, IMAGE)


@every_conversion
@pytest.mark.parametrize(("image", "words"), [(np.zeros((1, 3, 8, 8)), "ndarray"), ((1, 3, 8, 8), "tuple")])
def test_image_that_is_no_tensor_is_refused(convert, image, words):
    with pytest.raises(NotConvertible, match=f"image= is {words}: give one tensor"):
        convert(nn.Conv2d(3, 3, 8), image)


class Random(nn.Module):
    """Draws numbers that it does not use."""

    def __init__(self):
        super().__init__()
        self.conv, self.flat = nn.Conv2d(3, 4, 8), nn.Flatten()

    def forward(self, x):
        torch.rand(3)
        return self.flat(self.conv(x))


@every_conversion
def test_random_state_is_left_as_it_was(convert):
    network, state = Random(), torch.get_rng_state()
    convert(network, IMAGE)
    assert torch.get_rng_state().equal(state)


@dataclasses.dataclass
class Maps:
    last: torch.Tensor


class InClass(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)

    def forward(self, x):
        return Maps(self.conv(x))


def test_output_that_cannot_be_compared_is_refused():
    with pytest.raises(NotConvertible, match="the output of InClass holds a Maps, which cannot be compared"):
        dilate(InClass(), output_stride=1)


class Rolled(nn.Module):
    """Takes images of 64 rows alone."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2, stride=2)

    def forward(self, x):
        torch._assert(x.shape[2] == 64, "64 rows")
        return torch.roll(self.conv(x), 2, 3)


def test_values_of_the_image_are_not_what_is_compared_on():
    with pytest.raises(NotConvertible, match="roll cannot be dilated"):
        dilate(Rolled(), output_stride=1, image=torch.zeros(1, 3, 64, 64))


class Numbered(nn.Module):
    """Gives one tensor more at 9 rows."""

    def forward(self, x):
        return [x] * (2 if x.shape[2] == 9 else 1)


def test_number_of_tensors_that_depends_on_the_size_is_refused():
    with pytest.raises(NotConvertible, match=r"1 cannot be dilated|gives \d tensors and not \d"):
        dilate(nn.Sequential(nn.Conv2d(3, 4, 3, stride=8, padding=1), Numbered()), output_stride=4)


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)

    def forward(self, x):
        try:
            return self.conv(x) if x.shape[2] > 50 else x
        except Exception:
            return x


def test_branch_that_the_network_catches_is_refused_by_its_layer():
    network = nn.Sequential(nn.Conv2d(3, 3, 3, stride=2), Branching())
    with pytest.raises(NotConvertible, match="Sequential cannot be followed: 1 branches on its input"):
        dilate(network, output_stride=1)
