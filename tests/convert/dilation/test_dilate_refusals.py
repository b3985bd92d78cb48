"""What cannot be dilated exactly is refused by name."""

import pytest
from torch import nn

from tests.convert.dilation.dilated import conv, sequential
from unpool.convert import dilate
from unpool.errors import NotConvertible


class Backwards(nn.Module):
    """A module without a rule that reads other rows."""

    def forward(self, x):
        return x.flip(2)


class FirstRow(nn.Module):
    def forward(self, x):
        return x[:, :, 0]


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ((conv(3, 4, stride=2), Backwards()), r"1:flip cannot be dilated to stride 1: .*differs"),
        (
            (conv(3, 4, stride=2, padding=1), nn.PixelUnshuffle(2)),
            "1 cannot be dilated to stride 1: no rule follows it on a finer grid .it gives",
        ),
        ((nn.PixelUnshuffle(2),), "0 cannot be dilated to stride 1: it makes the map smaller in a way that has no dil"),
        (
            (nn.MaxPool2d(2, return_indices=True),),
            "0 cannot be dilated to stride 1: it returns the indices of its maxima",
        ),
        (
            (conv(3, 4, stride=2), FirstRow()),
            "1:getitem cannot .* single rows or columns: slice with a range, or choose",
        ),
        ((conv(3, 4, stride=2), nn.InstanceNorm2d(4)), "1 cannot be dilated to stride 1: .*differs"),
        ((conv(3, 3, stride=2), nn.Flatten(2)), None),
        ((conv(3, 4, stride=4), nn.ConvTranspose2d(4, 4, 2, stride=2)), None),
    ],
)
def test_layer_without_an_exact_counterpart_is_named(layers, told):
    network = sequential(*layers)
    if told is None:
        dilate(network, output_stride=1)
        return
    with pytest.raises(NotConvertible, match=told):
        dilate(network, output_stride=1)


def test_stride_that_the_output_stride_does_not_divide_is_refused():
    with pytest.raises(NotConvertible, match="0 cannot be dilated to stride 2: it goes from stride 1 to 3"):
        dilate(sequential(conv(3, 4, stride=3)), output_stride=2)


def test_layer_of_a_derived_class_called_on_maps_of_different_grids_is_refused():
    class Same(nn.Conv2d):
        """Pads as timm's class of this name does."""

        def forward(self, x):
            return super().forward(nn.functional.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2)))

    Same.__module__, Same.__qualname__ = "timm.layers.conv2d_same", "Conv2dSame"
    shared = Same(3, 3, 2, stride=2)
    with pytest.raises(NotConvertible, match="0 cannot be dilated to stride 1: it is called twice, on maps of diff"):
        dilate(nn.Sequential(shared, shared), output_stride=1)


def test_branch_on_the_image_is_refused_with_what_to_do():
    class Branching(nn.Module):
        def forward(self, x):
            return x[:, :, ::2] if x.shape[2] > 10 else x

    with pytest.raises(NotConvertible, match=r"Branching cannot be followed: .*torch\.fx\.wrap"):
        dilate(Branching(), output_stride=1)


def test_network_that_acts_differently_while_it_trains_is_refused():
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.aux = conv(3, 4, stride=2), conv(4, 4)

        def forward(self, x):
            x = self.body(x)
            return (x, self.aux(x)) if self.training else x

    with pytest.raises(NotConvertible, match="Auxiliary acts differently while it trains, from 'aux' on"):
        dilate(Auxiliary(), output_stride=1)


def test_network_whose_maps_are_collected_by_hooks_is_refused():
    class Hooked(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.maps = conv(3, 4, stride=2), []
            self.conv.register_forward_hook(self.collect)

        def collect(self, module, inputs, output):
            self.maps.append(output)

        def forward(self, x):
            self.maps.clear()
            self.conv(x)
            return tuple(self.maps)

    with pytest.raises(NotConvertible, match=r"Hooked cannot be followed: .* where hooks collect or change maps"):
        dilate(Hooked(), output_stride=1)


@pytest.mark.parametrize("stride", [0, -8, True, 2.0])
def test_output_stride_must_be_a_count(stride):
    with pytest.raises(NotConvertible, match="it must be a whole number of at least 1"):
        dilate(conv(3, 4, stride=2), output_stride=stride)


def test_network_whose_values_are_no_numbers_cannot_be_compared_and_is_refused():
    network = sequential(conv(3, 4, stride=2), nn.BatchNorm2d(4)).eval()
    network[1].running_var.fill_(-1)
    with pytest.raises(NotConvertible, match="differs by inf"):
        dilate(network, output_stride=1)
