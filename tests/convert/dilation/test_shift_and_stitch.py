"""A network dilated to stride 1 is the network before on every shift of the image, in values and in gradients.

Without padding that holds at every position. With padding it holds where no window reaches the border, which lies
elsewhere for a shifted image. Global averages are kept out: they run over the first shift.
"""

import pytest
import torch
from torch import nn

from tests.convert.dilation.dilated import Exchange, conv, image, sequential
from unpool.convert import dilate


class Residual(nn.Module):
    """A branch with a stride and its shortcut."""

    def __init__(self):
        super().__init__()
        self.branch = nn.Sequential(
            conv(4, 4, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 4, padding=1)
        )
        self.shortcut = conv(4, 4, 1, stride=2)

    def forward(self, x):
        return (self.branch(x) + self.shortcut(x)).relu()


class First(nn.Module):
    """The first map of a network that gives several."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)[0]


def unpadded():
    return sequential(conv(3, 4), nn.ReLU(), nn.MaxPool2d(2), conv(4, 5), nn.ReLU(), nn.MaxPool2d(2), conv(5, 3, 2))


def strided():
    return sequential(
        conv(3, 4, 4, stride=2), nn.ReLU(), conv(4, 4, 2, stride=2, groups=2), nn.AvgPool2d(2), conv(4, 3)
    )


def padded():
    return sequential(conv(3, 4, padding=1), nn.MaxPool2d(3, 2, 1), Residual(), conv(4, 3, padding=1))


def exchanging():
    return sequential(First(Exchange()))


def stitched(network, x, stride):
    """What the network gives for the image and its shifts, laid side by side."""
    parts = {(a, b): network(x[:, :, a:, b:]) for a in range(stride) for b in range(stride)}
    height = sum(parts[a, 0].shape[2] for a in range(stride))
    width = sum(parts[0, b].shape[3] for b in range(stride))
    whole = x.new_zeros(1, parts[0, 0].shape[1], height, width)
    for (a, b), part in parts.items():
        whole[:, :, a::stride, b::stride] = part
    return whole


def inside(x, border, like):
    """What lies at least `border` positions from the border, of as many positions as both have."""
    height, width = (min(m, n) for m, n in zip(x.shape[2:], like.shape[2:], strict=True))
    return x[:, :, border : height - border, border : width - border]


CASES = [(unpadded, 4, 0, (30, 33)), (unpadded, 4, 0, (29, 36)), (strided, 8, 0, (39, 43)), (padded, 4, 14, (48, 52))]
CASES += [(exchanging, 4, 28, (88, 96))]


@pytest.mark.parametrize(("build", "stride", "border", "size_hw"), CASES)
def test_dilated_network_gives_what_shift_and_stitch_gives_and_its_gradients(build, stride, border, size_hw):
    network = build()
    dilated = dilate(network, output_stride=1)
    x, y = (image(size_hw).requires_grad_() for _ in range(2))
    whole, dense = stitched(network, x, stride), dilated(y)
    old, new = inside(whole, border, dense), inside(dense, border, whole)
    assert min(old.shape[2:]) >= 12
    torch.testing.assert_close(new, old, rtol=0, atol=1e-12)
    weight = torch.randn(old.shape, dtype=old.dtype, generator=torch.Generator().manual_seed(1))
    (old * weight).sum().backward()
    (new * weight).sum().backward()
    torch.testing.assert_close(y.grad, x.grad, rtol=0, atol=1e-12)
    for before, after in zip(network.parameters(), dilated.parameters(), strict=True):
        torch.testing.assert_close(after.grad, before.grad, rtol=0, atol=1e-10)
