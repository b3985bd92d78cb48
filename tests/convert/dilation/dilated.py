"""Networks to dilate, and the comparison that a dilated one must stand."""

import torch
from torch import nn

from unpool.convert import dilate

SIZES = [(64, 96), (67, 85)]


def shaken(network, seed=0):
    """The network with statistics and zero weights drawn at random, in evaluation mode and float64."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network.eval().double()


def image(size_hw=(67, 85), channels=3, batch=1):
    generator = torch.Generator().manual_seed(7)
    return torch.randn(batch, channels, *size_hw, dtype=torch.float64, generator=generator)


def keeps(network, output_stride, strides, sizes=(*SIZES, (70, 90)), channels=3):
    """Asserts that every map holds the old one at every s-th position, on sizes that `dilate` did not see."""
    dilated = dilate(network, output_stride=output_stride)
    for size in sizes:
        x = image(size, channels)
        with torch.no_grad():
            old, new = network(x), dilated(x)
        pairs = zip(old, new, strict=True) if isinstance(old, tuple) else [(old, new)]
        for (a, b), stride in zip(pairs, strides, strict=True):
            step = max(1, stride // output_stride)
            torch.testing.assert_close(b[:, :, ::step, ::step], a, rtol=1e-9, atol=1e-9)
    return dilated


def sequential(*layers):
    torch.manual_seed(0)
    return nn.Sequential(*layers).double().eval()


def conv(before, after, kernel=3, **options):
    return nn.Conv2d(before, after, kernel, **options)


class Act(nn.Module):
    """A function as a module that can be followed."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Exchange(nn.Module):
    """Two branches, of strides 4 and 8, each of which gets what the other has, as in HRNet."""

    def __init__(self, mode="nearest", *, is_sized=False):
        super().__init__()
        self.stem = nn.Sequential(conv(3, 4, stride=2, padding=1), nn.ReLU(), conv(4, 4, stride=2, padding=1))
        self.down, self.across = conv(4, 4, stride=2, padding=1), conv(4, 4, stride=2, padding=1)
        self.fine, self.coarse = conv(4, 3, padding=1), conv(4, 3, padding=1)
        self.mode, self.is_sized = mode, is_sized

    def forward(self, image):
        fine = self.stem(image)
        coarse = self.down(fine).relu()
        size = {"size": fine.shape[-2:]} if self.is_sized else {"scale_factor": 2.0}
        up = nn.functional.interpolate(coarse, **size, mode=self.mode)
        return self.fine((fine + up).relu()), self.coarse(coarse + self.across(fine))
