"""The first 20 convolutions of YOLO v1 (Redmon et al. 2016, arXiv:1506.02640, figure 3), which it trains on ImageNet.

The name is that of the release (pjreddie/darknet, Extraction), which normalises by batch as `extraction_bn` does; the
paper's layers have biases and no norm. Behind an average over the last map, one linear layer classifies (section 2.2).
All activations are leaky, of slope 0.1. Initial weights are He's normal ones: the paper names none.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from torch import Tensor, fx, nn

from unpool.errors import DataError
from unpool.layers.conv import ConvNormAct
from unpool.layers.initialize import he_normal
from unpool.models.catalog import Variant
from unpool.models.classification import linear_head
from unpool.types import Backbone

Layer = Callable[..., nn.Module]  # (in_channels, out_channels, kernel, *, stride)
# channels and side of each filter, stage by stage; 64 is `width`
STAGES = (
    ((64, 7),),
    ((192, 3),),
    ((128, 1), (256, 3), (256, 1), (512, 3)),
    (*((256, 1), (512, 3)) * 4, (512, 1), (1024, 3)),
    ((512, 1), (1024, 3)) * 2,
)


class Leaky(nn.LeakyReLU):
    """max(x, 0.1 x), in place."""

    def __init__(self) -> None:
        super().__init__(0.1, inplace=True)


def conv(in_channels: int, out_channels: int, kernel: int, *, stride: int = 1) -> nn.Module:
    """Makes a convolution with bias and the leaky activation, padded so that only `stride` changes the size."""
    layer = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2)
    return nn.Sequential(OrderedDict(conv=layer, act=Leaky()))


conv_norm = partial(ConvNormAct, act=Leaky)


class Extraction(Backbone):
    """Stages of 1x1 and 3x3 convolutions with a 2x2 pooling between them: image -> maps at strides 2, 4, 8, 16, 32.

    Args:
        layer: makes one convolution, `conv` or `conv_norm`.
        width: channels of the first convolution; the others keep their proportion to it.
        in_channels: channels of the image.

    Raises:
        DataError: the image is too small for the five halvings.
    """

    strides = (2, 4, 8, 16, 32)

    def __init__(self, layer: Layer, /, *, width: int = 64, in_channels: int = 3) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.stages = nn.ModuleList()
        before = in_channels
        for i, of_stage in enumerate(STAGES):
            layers = []
            for channels, kernel in of_stage:
                after = channels * width // 64
                layers.append(layer(before, after, kernel, stride=1 if i else 2))
                before = after
            self.stages.append(nn.Sequential(*layers))
        self.channels = tuple(of_stage[-1][0] * width // 64 for of_stage in STAGES)
        he_normal(self, mode="fan_in")

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x, maps = _large_enough(image), []
        for i, stage in enumerate(self.stages):
            x = stage(self.pool(x) if i else x)
            maps.append(x)
        return tuple(maps)


@fx.wrap  # one operation of a traced network, which then refuses the same images
def _large_enough(image: Tensor) -> Tensor:
    if min(image.shape[-2:]) < Extraction.strides[-1]:
        raise DataError(f"the image is {tuple(image.shape[-2:])} (H, W) and is halved five times: give 32 or more")
    return image


def _row(layer: Layer, params: int, source: str) -> Variant:
    return Variant(
        build=partial(Extraction, layer),
        kind="backbone",
        head=linear_head,
        params=params,
        source=source,
        input=(3, 224, 224),
        output=(1000,),
        classes=1000,
    )


VARIANTS = {
    "extraction": _row(conv, 23_428_136, "Redmon et al. 2016, section 2.2; counted by unpool summary"),
    "extraction_bn": _row(conv_norm, 23_437_224, "the same with batch norm; counted by unpool summary"),
}
