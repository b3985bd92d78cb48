"""Semantic FPN on any backbone with maps at strides 4 to 32 (Kirillov et al. 2019, arXiv:1901.02446, section 3).

As in detectron2's SemSegFPNHead: convolutions before a group norm have no bias. Differs in two things: heads narrower
than its 128 channels have fewer than its 32 groups, of four channels at least, so that maps of one pixel have a
variance; and each map is doubled and cut to the size of the next finer one, so that every image size works.
"""

from collections.abc import Sequence
from math import gcd

from torch import Tensor, nn

from unpool.layers.initialize import he_normal
from unpool.layers.pyramid import FeaturePyramid
from unpool.models.catalog import Variant
from unpool.models.dense import map_indices
from unpool.ops.upsampling import upsample
from unpool.types import Backbone

LEVELS = (4, 8, 16, 32)  # strides of the maps that are read
GROUPS = 32  # at most


class SemanticHead(nn.Module):
    """Upsamples maps to the size of the finest and adds them: maps of `in_channels` -> logits (B, num_classes, H, W).

    Args:
        levels: number of maps, ordered fine to coarse, each about half as large as the one before.
        in_channels: channels of every map.
        num_classes: logits of each pixel.
        width: channels of the sum.
    """

    def __init__(self, levels: int, in_channels: int, *, num_classes: int, width: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList()
        for level in range(levels):
            inputs = (in_channels, *max(level - 1, 0) * (width,))
            self.steps.append(nn.ModuleList(_conv_group_norm(channels, width) for channels in inputs))
        self.classify = nn.Conv2d(width, num_classes, 1)
        he_normal(self, mode="fan_in")

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        raised = []
        for level, steps in enumerate(self.steps):
            x = maps[level]
            for i, conv in enumerate(steps.children()):
                x = upsample(conv(x), 2, _size(maps[level - 1 - i])) if level else conv(x)
            raised.append(x)  # (B, width, H/4, W/4)
        return self.classify(sum(raised[1:], raised[0]))


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]


def _conv_group_norm(in_channels: int, out_channels: int) -> nn.Module:
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    return nn.Sequential(
        conv, nn.GroupNorm(gcd(GROUPS, out_channels, max(out_channels // 4, 1)), out_channels), nn.ReLU()
    )


class SemanticFPN(nn.Module):
    """Feature pyramid and semantic head: image (B, C, H, W) -> logits (B, num_classes, H, W).

    Args:
        backbone: must have maps at strides 4, 8, 16 and 32.
        num_classes: logits of each pixel.
        neck_width: channels of the feature pyramid.
        head_width: channels of the semantic head.

    Attributes:
        stride: stride of the coarsest map.
    """

    stride = 32

    def __init__(
        self, backbone: Backbone, /, *, num_classes: int = 19, neck_width: int = 256, head_width: int = 128
    ) -> None:
        super().__init__()
        self.indices = map_indices(backbone, LEVELS, reader="fpn")
        self.backbone = backbone
        self.neck = FeaturePyramid([backbone.channels[i] for i in self.indices], neck_width)
        self.head = SemanticHead(len(LEVELS), neck_width, num_classes=num_classes, width=head_width)

    def forward(self, image: Tensor) -> Tensor:
        maps = self.backbone(image)
        return upsample(self.head(self.neck([maps[i] for i in self.indices])), LEVELS[0], _size(image))


VARIANTS = {
    "fpn": Variant(
        build=SemanticFPN,
        kind="composed",
        backbone="resnet50",
        params=28_478_675,
        source="Kirillov et al. 2019; detectron2, SemSegFPNHead",
        input=(3, 512, 1024),
        output=(19, 512, 1024),
        classes=19,
    ),
}
