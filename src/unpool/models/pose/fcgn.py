"""FCGN (Rafi, Gall & Leibe 2016, BMVC): a batch-normalised GoogLeNet that sees the image at two sizes.

The network without its pooling head gives its last maps at strides 16 and 32; the latter is upsampled by a 2x2
transposed convolution and stands beside the former. The same network, weights shared, does so on the image at half
the size; its maps are upsampled likewise. One transposed convolution of stride 16 makes the maps of the joints.

The paper counts layers (its skip goes from 13 to 17) where strides are the rule here, which lets any backbone do. What
it does not print was chosen: the 2x2 convolutions keep the number of channels, have biases and no activation, the last
filter has twice its stride as in FCN (arXiv:1411.4038) and starts small, so that a new network is undecided. The answer
is logits; the paper's sigmoid belongs to the loss.
"""

from typing import cast

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.layers.cropping import crop
from unpool.layers.initialize import he_normal
from unpool.models.catalog import Variant
from unpool.types import Backbone

STRIDE = 16  # pixels of the image in one of the last transposed convolution's inputs


class FCGN(nn.Module):
    """Image (B, C, H, W) -> logits of each joint's disk (B, num_classes, H, W).

    Sizes that are no multiples of 64 work: maps are brought to the sizes of their neighbours by repeating pixels, and
    what reaches beyond the image is cut off.

    Args:
        backbone: gives maps at strides 16 and 32.
        num_classes: joints; 14 for LSP and 16 for MPII.
    """

    def __init__(self, backbone: Backbone, /, *, num_classes: int = 14) -> None:
        super().__init__()
        if not {STRIDE, 2 * STRIDE} <= set(backbone.strides):
            raise RecipeError(
                f"the backbone's maps have strides {backbone.strides}; FCGN needs 16 and 32: choose googlenet_bn, or a "
                "resnet* or vgg* one"
            )
        self.backbone = backbone
        self.indices = (backbone.strides.index(STRIDE), backbone.strides.index(2 * STRIDE))
        fine, coarse = (backbone.channels[index] for index in self.indices)
        joined = fine + coarse
        self.up = nn.ConvTranspose2d(coarse, coarse, 2, stride=2)
        self.up_half = nn.ConvTranspose2d(joined, joined, 2, stride=2)
        self.to_image = nn.ConvTranspose2d(2 * joined, num_classes, 2 * STRIDE, stride=STRIDE, padding=STRIDE // 2)
        for layer in (self.up, self.up_half):
            he_normal(layer, mode="fan_in")
        nn.init.normal_(self.to_image.weight, std=0.001)
        nn.init.zeros_(cast(Tensor, self.to_image.bias))

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        size = -(-height // STRIDE), -(-width // STRIDE)
        whole = self.join(image)  # (B, joined, H/16, W/16)
        half = self.join(nn.functional.avg_pool2d(image, 2, ceil_mode=True))  # (B, joined, H/32, W/32)
        x = torch.cat([_resize(whole, size), _resize(self.up_half(half), size)], dim=1)
        return crop(self.to_image(x), (height, width))

    def join(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, channels of both maps, h/16, w/16)."""
        maps = self.backbone(image)
        fine, coarse = (maps[index] for index in self.indices)
        return torch.cat([fine, _resize(self.up(coarse), (fine.shape[-2], fine.shape[-1]))], dim=1)


def _resize(x: Tensor, size_hw: tuple[int, int]) -> Tensor:
    return nn.functional.interpolate(x, size_hw, mode="nearest")


VARIANTS = {
    "fcgn": Variant(
        build=FCGN,
        kind="composed",
        backbone="googlenet_bn",
        params=77_172_206,
        gmacs=17.4228,
        source="Rafi, Gall & Leibe 2016, section 3, LSP's 14 joints; counted by hand",
        input=(3, 256, 256),
        output=(14, 256, 256),
        classes=14,
    ),
}
