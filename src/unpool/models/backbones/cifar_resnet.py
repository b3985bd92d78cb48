"""Residual and plain networks of 6n + 2 layers for 32x32 images (He et al. 2016, arXiv:1512.03385, section 4.2)."""

from functools import partial

from torch import Tensor, nn

from unpool.layers.conv import ConvNormAct
from unpool.layers.initialize import he_normal
from unpool.layers.residual import projected, zero_padded
from unpool.models.backbones.resnet import Block, basic, plain, stage
from unpool.models.catalog import Variant
from unpool.models.classification import linear_head
from unpool.types import Backbone


class CifarResNet(Backbone):
    """A 3x3 stem and three stages: image (B, in_channels, H, W) -> three maps at strides 1, 2, 4.

    Args:
        block: makes one block of two convolutions.
        depth: blocks in each stage, the paper's n.
        width: channels of the stem and the first stage; they double with each stage.
        in_channels: channels of the image.
    """

    strides = (1, 2, 4)

    def __init__(self, block: Block, depth: int, /, *, width: int = 16, in_channels: int = 3) -> None:
        super().__init__()
        self.channels = (width, 2 * width, 4 * width)
        self.stem = ConvNormAct(in_channels, width)
        self.stages = nn.ModuleList(
            stage(block, into, channels, depth=depth, stride=stride)
            for into, channels, stride in zip((width, *self.channels), self.channels, (1, 2, 2), strict=False)
        )
        he_normal(self, mode="fan_out")

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x, features = self.stem(image), []
        for part in self.stages:
            x = part(x)
            features.append(x)
        return tuple(features)


def _row(block: Block, layers: int, params: int, gmacs: float) -> Variant:
    return Variant(
        build=partial(CifarResNet, block, (layers - 2) // 6),
        kind="backbone",
        head=linear_head,
        params=params,
        gmacs=gmacs,
        source=f"He et al. 2016, section 4.2, {layers} layers",
        input=(3, 32, 32),
        output=(10,),
        classes=10,
    )


_a = partial(basic, shortcut=zero_padded)
_b = partial(basic, shortcut=projected)

VARIANTS = {
    "cifar_resnet20": _row(_a, 20, 269_722, 0.04055),
    "cifar_resnet32": _row(_a, 32, 464_154, 0.06886),
    "cifar_resnet44": _row(_a, 44, 658_586, 0.09717),
    "cifar_resnet56": _row(_a, 56, 853_018, 0.12549),
    "cifar_resnet110": _row(_a, 110, 1_727_962, 0.25289),
    "cifar_resnet1202": _row(_a, 1202, 19_421_274, 2.82924),
    "cifar_resnet20_b": _row(_b, 20, 272_474, 0.04081),
    "cifar_resnet32_b": _row(_b, 32, 466_906, 0.06912),
    "cifar_resnet44_b": _row(_b, 44, 661_338, 0.09744),
    "cifar_resnet56_b": _row(_b, 56, 855_770, 0.12575),
    "cifar_resnet110_b": _row(_b, 110, 1_730_714, 0.25315),
    "cifar_plain20": _row(plain, 20, 269_722, 0.04055),
    "cifar_plain32": _row(plain, 32, 464_154, 0.06886),
    "cifar_plain44": _row(plain, 44, 658_586, 0.09717),
    "cifar_plain56": _row(plain, 56, 853_018, 0.12549),
    "cifar_plain110": _row(plain, 110, 1_727_962, 0.25289),
    "cifar_plain1202": _row(plain, 1202, 19_421_274, 2.82924),
}
