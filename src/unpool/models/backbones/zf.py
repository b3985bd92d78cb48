"""ZF (Zeiler & Fergus 2013, arXiv:1311.2901, figure 3), with the padding of the form that Faster R-CNN builds on.

The paper's convolutions are padded less, so that 224x224 gives maps of 110, 26 and 13 where these are 112, 28 and 14
(rbgirshick/py-faster-rcnn, models/pascal_voc/ZF): every stride is whole, as decoders need it. Layers and parameters are
the same. Poolings round down; Faster R-CNN makes them round up. As in the paper, each pooling is followed by AlexNet's
normalisation across channels; that release normalises before it, within a channel. Weights start from N(0, 0.01^2) and
biases from 0.
"""

from collections import OrderedDict
from typing import cast

from torch import Tensor, nn

from unpool.layers.norm import LocalResponseNorm
from unpool.models.catalog import Variant
from unpool.types import Backbone


class ZF(Backbone):
    """Five convolutions: image (B, in_channels, H, W) -> maps at strides 2, 8 and 16.

    Args:
        width: channels of the first convolution; the others keep their proportion to it.
        in_channels: channels of the image.
    """

    strides = (2, 8, 16)

    def __init__(self, *, width: int = 96, in_channels: int = 3) -> None:
        super().__init__()
        c2, c3 = 8 * width // 3, 4 * width  # 256, 384
        self.channels = (width, c2, c2)
        self.stages = nn.ModuleList(
            [
                _conv(in_channels, width, 7, stride=2),
                nn.Sequential(OrderedDict(reduce=_pool_norm(), conv=_conv(width, c2, 5, stride=2))),
                nn.Sequential(
                    OrderedDict(reduce=_pool_norm(), conv3=_conv(c2, c3), conv4=_conv(c3, c3), conv5=_conv(c3, c2))
                ),
            ]
        )
        _initialize(self)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x, features = image, []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return tuple(features)


def _conv(in_channels: int, out_channels: int, kernel: int = 3, *, stride: int = 1) -> nn.Module:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2)
    return nn.Sequential(OrderedDict(conv=conv, act=nn.ReLU()))


def _pool_norm() -> nn.Module:
    return nn.Sequential(OrderedDict(pool=nn.MaxPool2d(3, stride=2, padding=1), norm=LocalResponseNorm()))


def _initialize(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(cast(Tensor, layer.bias))


def zf_head(channels: int, num_classes: int) -> nn.Module:
    """Makes the head: pooling, three linear layers on a 6x6 map; (B, channels, H, W) -> (B, num_classes).

    Hidden layers have sixteen times the channels of the map (4096 for 256). Maps of other sizes are averaged to 6x6.
    """
    hidden = 16 * channels
    head = nn.Sequential(
        OrderedDict(
            pool5=nn.MaxPool2d(3, stride=2, padding=1),
            pool=nn.AdaptiveAvgPool2d(6),
            flatten=nn.Flatten(),
            fc6=nn.Linear(36 * channels, hidden),
            act6=nn.ReLU(),
            drop6=nn.Dropout(0.5),
            fc7=nn.Linear(hidden, hidden),
            act7=nn.ReLU(),
            drop7=nn.Dropout(0.5),
            fc8=nn.Linear(hidden, num_classes),
        )
    )
    _initialize(head)
    return head


VARIANTS = {
    "zf": Variant(
        build=ZF,
        kind="backbone",
        head=zf_head,
        params=62_357_608,
        source="Zeiler & Fergus 2013, figure 3; padded as in rbgirshick/py-faster-rcnn",
        input=(3, 224, 224),
        output=(1000,),
        classes=1000,
    ),
}
