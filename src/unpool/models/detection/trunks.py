"""The convolutions of two networks of the release of Fast R-CNN: CaffeNet (S) and VGG_CNN_M_1024 (M).

CaffeNet (Jia et al. 2014) is padded as in rbgirshick/fast-rcnn, models/CaffeNet, by 5 in the first convolution and by 1
in the poolings, so that a cell of the map is 16 pixels. VGG_CNN_M_1024 is column M of Chatfield et al. 2014
(arXiv:1405.3531, Table 1); here it is padded alike, and in the release less, so that its regions are read a little
beside where they lie. Layers and parameters are the same. Weights start from N(0, 0.01^2) and biases from 0.
"""

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor, nn

from unpool.layers.norm import LocalResponseNorm
from unpool.models.detection.detector import draw_normal
from unpool.types import Backbone


class Trunk(Backbone):
    """Layers in a row: image (B, in_channels, H, W) -> one map at stride 16.

    Args:
        layers: from image to map.
        channels: of the map.
    """

    strides = (16,)

    def __init__(self, layers: nn.Sequential, channels: int) -> None:
        super().__init__()
        self.channels = (channels,)
        self.layers = layers
        draw_normal(self, std=0.01)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return (self.layers(image),)


def caffenet(in_channels: int, width: int = 96) -> Trunk:
    """Makes the trunk of CaffeNet, in two groups; its map has 8/3 of `width` channels, 256 of 96. `width` is even."""
    c2, c3 = 8 * width // 3 // 2 * 2, 4 * width
    layers = nn.Sequential(
        OrderedDict(
            conv1=_conv(in_channels, width, 11, stride=4),
            reduce1=_pool_norm(),
            conv2=_conv(width, c2, 5, groups=2),
            reduce2=_pool_norm(),
            conv3=_conv(c2, c3, 3),
            conv4=_conv(c3, c3, 3, groups=2),
            conv5=_conv(c3, c2, 3, groups=2),
        )
    )
    return Trunk(layers, c2)


def vgg_m(in_channels: int, width: int = 96) -> Trunk:
    """Makes the trunk of VGG_CNN_M_1024; its map has 16/3 of `width` channels, 512 of 96."""
    c2, c3 = 8 * width // 3, 16 * width // 3
    layers = nn.Sequential(
        OrderedDict(
            conv1=_conv(in_channels, width, 7, stride=2),
            reduce1=_norm_pool(),
            conv2=_conv(width, c2, 5, stride=2),
            reduce2=_norm_pool(),
            conv3=_conv(c2, c3, 3),
            conv4=_conv(c3, c3, 3),
            conv5=_conv(c3, c3, 3),
        )
    )
    return Trunk(layers, c3)


MakeTrunk = Callable[[int, int], Trunk]  # (in_channels, width)


def _conv(in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Module:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups)
    return nn.Sequential(OrderedDict(conv=conv, act=nn.ReLU()))


def _pool_norm() -> nn.Module:
    norm = LocalResponseNorm(alpha=1e-4 / 5, k=1.0)
    return nn.Sequential(OrderedDict(pool=nn.MaxPool2d(3, stride=2, padding=1), norm=norm))


def _norm_pool() -> nn.Module:
    return nn.Sequential(OrderedDict(norm=LocalResponseNorm(), pool=nn.MaxPool2d(3, stride=2, padding=1)))
