"""Errors without a message, in a network's own code, end as refusals that name their type."""

from functools import partial

import pytest
import torch
from torch import nn

from unpool.convert import dilate, fold_batch_norm, fully_convolutional
from unpool.errors import NotConvertible

CONVERSIONS = [fold_batch_norm, partial(dilate, output_stride=2), fully_convolutional]
BLANK = [AssertionError(""), ValueError(), ValueError("\n"), RuntimeError(" \n ")]


class Raising(nn.Module):
    """A classifier that raises an error for each image, or for those whose size is not 64x96."""

    def __init__(self, error, *, is_picky=False):
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.Linear(4, 2)
        self.error, self.is_picky = error, is_picky

    def forward(self, x):
        if not self.is_picky or x.shape[-2:] != (64, 96):
            raise self.error
        return self.fc(self.norm(self.conv(x)).mean((2, 3)))


class Asserting(nn.Module):
    """As timm's attention in blocks: the size of a map is asserted without a message while the graph runs."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, stride=4), nn.Linear(4, 2)

    def forward(self, x):
        y = self.conv(x)
        torch._assert(y.shape[2] == 16, "")
        return self.fc(y.mean((2, 3)))


@pytest.mark.parametrize("convert", CONVERSIONS)
@pytest.mark.parametrize("error", BLANK, ids=repr)
def test_error_without_a_message_is_named_by_its_type(convert, error):
    with pytest.raises(NotConvertible, match=rf"does not take an image of .* \({type(error).__name__}\)"):
        convert(Raising(error).eval(), image=torch.zeros(1, 3, 64, 96))


@pytest.mark.parametrize("error", BLANK, ids=repr)
def test_sizes_that_end_in_a_blank_error_are_no_sizes_of_the_network(error):
    assert len(fold_batch_norm(Raising(error, is_picky=True).eval()).changes) == 1


def test_assertion_without_a_message_inside_of_the_graph_is_named():
    with pytest.raises(NotConvertible, match=r"_assert cannot be .* \(AssertionError\): make it take maps of every"):
        fully_convolutional(Asserting().eval(), image=torch.zeros(1, 3, 64, 96))
