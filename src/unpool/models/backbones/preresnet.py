"""Residual networks with the activation before the weights (He et al. 2016, arXiv:1603.05027).

The first unit of each stage shares its norm and activation with the shortcut (the paper's appendix); every other unit
adds its unchanged input. A unit that changes the shape has its stride on its first convolution, and its shortcut is a
1x1 convolution without a norm, as in the authors' release (KaimingHe/resnet-1k-layers); in units of two 3x3 it is
option A (arXiv:1512.03385), without weights. The last map is taken after the last norm and activation; the earlier maps
are the sums before any activation.

The networks for 224x224 keep norm, activation and pooling of ResNet's stem, and their first unit has a norm as well:
the paper does not mention it, and without it they would have 128 parameters less.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from unpool.layers.conv import ConvNormAct
from unpool.layers.initialize import he_normal
from unpool.layers.preactivation import NormActConv, Preactivated, SharedPreactivated
from unpool.layers.residual import zero_padded
from unpool.models.catalog import Variant
from unpool.models.classification import linear_head
from unpool.types import Backbone


def basic_first(in_channels: int, width: int, stride: int) -> nn.Module:
    """Makes the first unit of a stage: 3x3, 3x3 and option A."""
    branch = nn.Sequential(
        nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False),
        NormActConv(width, width),
    )
    return SharedPreactivated(in_channels, branch, zero_padded(in_channels, width, stride))


def basic(width: int) -> nn.Module:
    """Makes any other unit: 3x3, 3x3 and the identity."""
    return Preactivated(nn.Sequential(NormActConv(width, width), NormActConv(width, width)))


def bottleneck_first(in_channels: int, width: int, stride: int) -> nn.Module:
    """Makes the first unit of a stage: 1x1 with the stride, 3x3, 1x1 to four times the width, a 1x1 shortcut."""
    branch = nn.Sequential(
        nn.Conv2d(in_channels, width, 1, stride, bias=False),
        NormActConv(width, width),
        NormActConv(width, 4 * width, 1),
    )
    return SharedPreactivated(in_channels, branch, nn.Conv2d(in_channels, 4 * width, 1, stride, bias=False))


def bottleneck(width: int) -> nn.Module:
    """Makes any other unit: 1x1, 3x3, 1x1 and the identity, which has four times the width."""
    branch = nn.Sequential(
        NormActConv(4 * width, width, 1), NormActConv(width, width), NormActConv(width, 4 * width, 1)
    )
    return Preactivated(branch)


class Units(NamedTuple):
    """Makes the units of a network.

    Attributes:
        first: makes the first unit of a stage from (in_channels, width, stride).
        other: makes any other unit from its width.
        expansion: output channels of a unit, in units of its width.
    """

    first: Callable[[int, int, int], nn.Module]
    other: Callable[[int], nn.Module]
    expansion: int

    def stage(self, in_channels: int, width: int, stride: int, *, depth: int) -> nn.Sequential:
        """Makes a stage: `depth` units of one width, the first with the stride."""
        rest = (self.other(width) for _ in range(depth - 1))
        return nn.Sequential(self.first(in_channels, width, stride), *rest)


BASIC = Units(basic_first, basic, 1)
BOTTLENECK = Units(bottleneck_first, bottleneck, 4)


class PreResNet(Backbone):
    """Stem and four stages: image (B, in_channels, H, W) -> five maps at strides 2, 4, 8, 16, 32.

    Args:
        units: makes the units.
        depths: units in each stage.
        width: channels of the stem and width of the first stage; it doubles with each stage.
        in_channels: channels of the image.
    """

    strides = (2, 4, 8, 16, 32)

    def __init__(self, units: Units, depths: tuple[int, ...], /, *, width: int = 64, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = ConvNormAct(in_channels, width, 7, stride=2)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stages = nn.ModuleList()
        channels = [width]
        for i, depth in enumerate(depths):
            self.stages.append(units.stage(channels[-1], width * 2**i, min(i, 1) + 1, depth=depth))
            channels.append(width * 2**i * units.expansion)
        self.channels = tuple(channels)
        self.norm = nn.BatchNorm2d(channels[-1])
        self.act = nn.ReLU()
        he_normal(self, mode="fan_out")

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(image)  # (B, width, H/2, W/2)
        features = [x]
        x = self.pool(x)
        for part in self.stages:
            x = part(x)
            features.append(x)
        return (*features[:-1], self.act(self.norm(x)))


class CifarPreResNet(Backbone):
    """A 3x3 convolution and three stages: image (B, in_channels, H, W) -> three maps at strides 1, 2, 4.

    Args:
        units: makes the units.
        depth: units in each stage.
        width: channels of the stem and width of the first stage; it doubles with each stage.
        in_channels: channels of the image.
    """

    strides = (1, 2, 4)

    def __init__(self, units: Units, depth: int, /, *, width: int = 16, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.channels = tuple(width * 2**i * units.expansion for i in range(3))
        self.stages = nn.ModuleList(
            units.stage(before, width * 2**i, min(i, 1) + 1, depth=depth)
            for i, before in enumerate((width, *self.channels[:-1]))
        )
        self.norm = nn.BatchNorm2d(self.channels[-1])
        self.act = nn.ReLU()
        he_normal(self, mode="fan_out")

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x, features = self.stem(image), []
        for part in self.stages:
            x = part(x)
            features.append(x)
        return (*features[:-1], self.act(self.norm(x)))


def _row(
    build: Callable[..., nn.Module], params: int, gmacs: float, source: str, *, size: int = 224, classes: int = 1000
) -> Variant:
    return Variant(
        build=build,
        kind="backbone",
        head=linear_head,
        params=params,
        gmacs=gmacs,
        source=f"He et al. 2016, Identity Mappings, {source}",
        input=(3, size, size),
        output=(classes,),
        classes=classes,
    )


_deep = partial(PreResNet, BOTTLENECK)
_cifar = partial(_row, size=32, classes=10)

VARIANTS = {
    "preresnet110": _cifar(partial(CifarPreResNet, BASIC, 18), 1_727_962, 0.25289, "CIFAR, 110 layers"),
    "preresnet164": _cifar(partial(CifarPreResNet, BOTTLENECK, 18), 1_703_258, 0.2445, "CIFAR, 164 layers"),
    "preresnet1001": _cifar(partial(CifarPreResNet, BOTTLENECK, 111), 10_327_706, 1.48785, "CIFAR, 1001 layers"),
    "preresnet50": _row(partial(_deep, (3, 4, 6, 3)), 25_549_480, 3.85797, "ImageNet, 50 layers"),
    "preresnet101": _row(partial(_deep, (3, 4, 23, 3)), 44_541_608, 7.57019, "ImageNet, 101 layers"),
    "preresnet152": _row(partial(_deep, (3, 8, 36, 3)), 60_185_256, 11.28242, "ImageNet, 152 layers"),
    "preresnet200": _row(partial(_deep, (3, 24, 36, 3)), 64_666_280, 14.77627, "ImageNet, 200 layers"),
}
