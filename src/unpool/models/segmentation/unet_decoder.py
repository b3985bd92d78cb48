"""U-Net on any backbone: nearest upsampling, concatenation with the skip, two 3x3 convolutions.

Ronneberger et al. 2015 (arXiv:1505.04597) with another encoder, in the widths of segmentation_models_pytorch 0.6, whose
parameter count it has. Differs at odd sizes: maps are cut to the actual size of the skip, so that every image size
works, where that library refuses all but multiples of 32. A map at stride 1 is used as a skip too.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.layers.conv import ConvNormAct
from unpool.layers.initialize import he_normal
from unpool.models.catalog import Variant
from unpool.ops.upsampling import upsample
from unpool.types import Backbone


class UNetDecoder(nn.Module):
    """Joins the maps of a backbone from coarse to fine: image (B, C, H, W) -> logits (B, num_classes, H, W).

    Args:
        backbone: returns one map per stride, fine to coarse.
        num_classes: logits of each pixel.
        widths: channels of the decoder's blocks, coarse to fine; if the backbone needs fewer, the last ones are used.

    Attributes:
        stride: stride of the coarsest map.
    """

    def __init__(
        self, backbone: Backbone, /, *, num_classes: int = 21, widths: Sequence[int] = (256, 128, 64, 32, 16)
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.stride = backbone.strides[-1]
        strides = list(reversed(backbone.strides))
        channels, *skips = reversed(backbone.channels)
        if backbone.strides[0] > 1:
            skips.append(0)  # the last block is at the size of the image, for which the backbone has no map
            strides.append(1)
        self.factors = _factors(strides)
        if len(skips) > len(widths):
            raise RecipeError(f"widths has {len(widths)} numbers and this backbone needs {len(skips)}: add some")
        self.blocks = nn.ModuleList()
        for skip, width in zip(skips, list(widths)[len(widths) - len(skips) :], strict=True):
            self.blocks.append(nn.Sequential(ConvNormAct(channels + skip, width), ConvNormAct(width, width)))
            channels = width
        self.head = nn.Conv2d(channels, num_classes, 3, padding=1)
        he_normal(self.blocks, mode="fan_in")
        he_normal(self.head, mode="fan_in")

    def forward(self, image: Tensor) -> Tensor:
        x, *skips = reversed(self.backbone(image))
        for i, (factor, block) in enumerate(zip(self.factors, self.blocks, strict=True)):
            like = skips[i] if i < len(skips) else image
            x = upsample(x, factor, (like.shape[-2], like.shape[-1]), mode="nearest-exact")
            x = block(torch.cat([x, skips[i]], dim=1) if i < len(skips) else x)
        return self.head(x)  # (B, num_classes, H, W)


def _factors(strides: Sequence[int]) -> list[int]:
    """How many times finer each map is than the one before, coarse to fine."""
    if any(coarse % fine for coarse, fine in pairwise(strides)):
        raise RecipeError(f"the backbone's maps have strides {strides[::-1]}; unet needs each to divide the next one")
    return [coarse // fine for coarse, fine in pairwise(strides)]


VARIANTS = {
    "unet": Variant(
        build=UNetDecoder,
        kind="composed",
        backbone="resnet34",
        params=24_439_269,
        gmacs=32.0109,
        source="segmentation_models_pytorch 0.6.0, Unet on resnet34",
        input=(3, 512, 512),
        output=(21, 512, 512),
        classes=21,
    ),
}
