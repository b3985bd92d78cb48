"""ResNet and the plain networks it is compared with (He et al. 2016, arXiv:1512.03385, Table 1).

Bottlenecks have their stride on the 3x3 convolution, as torchvision's do ("v1.5"); rows ending in `_v1` have it on
the first 1x1, as the paper's release does. The stem's pooling is padded by one pixel instead of rounding up. Rows
ending in `_deep` have three 3x3 convolutions where the paper has one 7x7, as PSPNet's do (arXiv:1612.01105).
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from unpool.layers.conv import ConvNormAct
from unpool.layers.initialize import he_normal
from unpool.layers.residual import Residual, always_projected, projected, zero_padded
from unpool.models.catalog import Variant
from unpool.models.classification import linear_head
from unpool.types import Backbone

Block = Callable[[int, int, int], nn.Module]  # (in_channels, width, stride)


def basic_branch(in_channels: int, width: int, stride: int) -> nn.Sequential:
    """Makes two 3x3 convolutions with batch norm, the second without activation."""
    return nn.Sequential(
        ConvNormAct(in_channels, width, stride=stride),
        ConvNormAct(width, width, act=None),
    )


def basic(in_channels: int, width: int, stride: int, *, shortcut: Block = projected) -> nn.Module:
    """Makes a basic block: two 3x3 convolutions and a shortcut."""
    return Residual(basic_branch(in_channels, width, stride), shortcut(in_channels, width, stride))


def plain(in_channels: int, width: int, stride: int) -> nn.Module:
    """Makes a plain block: the two convolutions of a basic block without its shortcut."""
    return basic_branch(in_channels, width, stride).append(nn.ReLU())


def bottleneck(in_channels: int, width: int, stride: int, *, stride_first: bool = False) -> nn.Module:
    """Makes a bottleneck: 1x1 to `width`, 3x3, 1x1 to four times the width, and a shortcut.

    The stride is on the 3x3 convolution, or on the first one if `stride_first`.
    """
    first, second = (stride, 1) if stride_first else (1, stride)
    branch = nn.Sequential(
        ConvNormAct(in_channels, width, 1, stride=first),
        ConvNormAct(width, width, stride=second),
        ConvNormAct(width, 4 * width, 1, act=None),
    )
    return Residual(branch, projected(in_channels, 4 * width, stride))


def stem(in_channels: int, width: int, *, multiples: tuple[int, ...] = (), bias: bool = False) -> nn.Module:
    """Makes a stem: a 7x7 convolution of stride 2, or a deep stem of 3x3 convolutions, the first of stride 2.

    Args:
        in_channels: channels of the image.
        width: filters of the 7x7 convolution.
        multiples: filters of each 3x3 convolution, in units of `width`; empty for the 7x7 convolution.
        bias: learn a bias in the first convolution.
    """
    if not multiples:
        return ConvNormAct(in_channels, width, 7, stride=2, bias=bias)
    inputs = (in_channels, *(m * width for m in multiples[:-1]))
    convs = (
        ConvNormAct(before, m * width, stride=1 if i else 2, bias=bias and i == 0)
        for i, (before, m) in enumerate(zip(inputs, multiples, strict=True))
    )
    return nn.Sequential(*convs)


class ResNet(Backbone):
    """Stem and four stages: image (B, in_channels, H, W) -> five maps at strides 2, 4, 8, 16, 32.

    Args:
        block: makes one block.
        depths: blocks in each stage.
        expansion: output channels of a block, in units of its width.
        deep_stem: widths of the stem's 3x3 convolutions in units of `width`; none for one 7x7 convolution.
        stem_bias: learn a bias in the first convolution, as the release of ResNet-50 does.
        width: channels of the stem and width of the first stage; it doubles with each stage.
        in_channels: channels of the image.
    """

    strides = (2, 4, 8, 16, 32)

    def __init__(
        self,
        block: Block,
        depths: tuple[int, ...],
        expansion: int = 1,
        deep_stem: tuple[int, ...] = (),
        /,
        *,
        stem_bias: bool = False,
        width: int = 64,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.stem = stem(in_channels, width, multiples=deep_stem, bias=stem_bias)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stages = nn.ModuleList()
        channels = [width * deep_stem[-1] if deep_stem else width]
        for i, depth in enumerate(depths):
            self.stages.append(stage(block, channels[-1], width * 2**i, expansion, depth=depth, stride=min(i, 1) + 1))
            channels.append(width * 2**i * expansion)
        self.channels = tuple(channels)
        he_normal(self, mode="fan_out")

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(image)  # (B, channels[0], H/2, W/2)
        features = [x]
        x = self.pool(x)
        for part in self.stages:
            x = part(x)
            features.append(x)
        return tuple(features)


def stage(block: Block, in_channels: int, width: int, expansion: int = 1, *, depth: int, stride: int) -> nn.Sequential:
    """Makes a stage: `depth` blocks of one width, the first with the stride.

    Args:
        block: makes one block.
        in_channels: channels before the stage.
        width: of the blocks.
        expansion: output channels of a block, in units of its width.
        depth: number of blocks.
        stride: of the first block.
    """
    rest = (block(width * expansion, width, 1) for _ in range(depth - 1))
    return nn.Sequential(block(in_channels, width, stride), *rest)


def _row(build: Callable[..., nn.Module], params: int, gmacs: float, source: str) -> Variant:
    return Variant(
        build=build,
        kind="backbone",
        head=linear_head,
        params=params,
        gmacs=gmacs,
        source=f"He et al. 2016, Table 1, {source}",
        input=(3, 224, 224),
        output=(1000,),
        classes=1000,
    )


_option_a = partial(basic, shortcut=zero_padded)
_option_c = partial(basic, shortcut=always_projected)
_first = partial(bottleneck, stride_first=True)
_DEEP = (1, 1, 2)  # 64, 64, 128
_SEMSEG = "with the stem of hszhao/semseg, model/resnet.py; counted by hand"

VARIANTS = {
    "resnet18": _row(partial(ResNet, basic, (2, 2, 2, 2)), 11_689_512, 1.81407, "18-layer, option B"),
    "resnet34": _row(partial(ResNet, basic, (3, 4, 6, 3)), 21_797_672, 3.66376, "34-layer, option B"),
    "resnet50": _row(partial(ResNet, bottleneck, (3, 4, 6, 3), 4), 25_557_032, 4.08918, "50-layer, stride on the 3x3"),
    "resnet101": _row(partial(ResNet, bottleneck, (3, 4, 23, 3), 4), 44_549_160, 7.80141, "101-layer"),
    "resnet152": _row(partial(ResNet, bottleneck, (3, 8, 36, 3), 4), 60_192_808, 11.51363, "152-layer"),
    "resnet18_a": _row(partial(ResNet, _option_a, (2, 2, 2, 2)), 11_515_688, 1.79481, "18-layer, option A"),
    "resnet34_a": _row(partial(ResNet, _option_a, (3, 4, 6, 3)), 21_623_848, 3.64449, "34-layer, option A"),
    "resnet18_c": _row(partial(ResNet, _option_c, (2, 2, 2, 2)), 12_043_816, 1.8783, "18-layer, option C"),
    "resnet34_c": _row(partial(ResNet, _option_c, (3, 4, 6, 3)), 22_716_840, 3.83075, "34-layer, option C"),
    "plain18": _row(partial(ResNet, plain, (2, 2, 2, 2)), 11_515_688, 1.79481, "18-layer, no shortcut"),
    "plain34": _row(partial(ResNet, plain, (3, 4, 6, 3)), 21_623_848, 3.64449, "34-layer, no shortcut"),
    "resnet50_v1": _row(
        partial(ResNet, _first, (3, 4, 6, 3), 4, stem_bias=True), 25_557_096, 3.858, "50-layer as released"
    ),
    "resnet101_v1": _row(partial(ResNet, _first, (3, 4, 23, 3), 4), 44_549_160, 7.5702, "101-layer as released"),
    "resnet152_v1": _row(partial(ResNet, _first, (3, 8, 36, 3), 4), 60_192_808, 11.2824, "152-layer as released"),
    "resnet50_deep": _row(partial(ResNet, bottleneck, (3, 4, 6, 3), 4, _DEEP), 25_680_808, 5.44434, _SEMSEG),
    "resnet101_deep": _row(partial(ResNet, bottleneck, (3, 4, 23, 3), 4, _DEEP), 44_672_936, 9.15656, _SEMSEG),
}
