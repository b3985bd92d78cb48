"""FCGN (Rafi, Gall & Leibe 2016, BMVC): a batch-normalised GoogLeNet that reads the image at two sizes.

The network without its pooling head returns its last maps at strides 16 and 32; the latter is upsampled by a 2x2
transposed convolution and concatenated with the former. The same network, with shared weights, does so on the image at
half the size; its maps are upsampled likewise. One transposed convolution of stride 16 makes the maps of the joints.

The paper numbers layers (its skip goes from 13 to 17); here the maps are chosen by stride, so that any backbone can be
used. Details that the paper does not print were chosen: the 2x2 convolutions keep the number of channels and have
biases and no activation; the side of the last filter is twice its stride as in FCN (arXiv:1411.4038), and it starts
with small weights, so that the logits of an untrained network are near zero. The output is logits; the paper's sigmoid
is part of the loss.
"""

from typing import cast

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.layers.cropping import crop
from unpool.layers.initialize import he_normal
from unpool.models.catalog import Variant
from unpool.ops.upsampling import fit
from unpool.types import Backbone

STRIDE = 16  # of the last transposed convolution


class FCGN(nn.Module):
    """Image (B, C, H, W) -> logits of each joint's disk (B, num_classes, H, W).

    Sizes that are no multiples of 64 work: maps are cropped to those they are concatenated with, or their last row and
    column repeated, and the output is cropped to the size of the image.

    Args:
        backbone: must have maps at strides 16 and 32.
        num_classes: joints; 14 for LSP and 16 for MPII.

    Raises:
        RecipeError: the backbone has no map at one of the two strides.
    """

    def __init__(self, backbone: Backbone, /, *, num_classes: int = 14) -> None:
        super().__init__()
        if not {STRIDE, 2 * STRIDE} <= set(backbone.strides):
            raise RecipeError(
                f"the backbone's maps have strides {backbone.strides}; FCGN needs 16 and 32: choose googlenet_bn, or a "
                "resnet* or vgg* one"
            )
        self.backbone = backbone
        self.levels = (backbone.strides.index(STRIDE), backbone.strides.index(2 * STRIDE))
        fine, coarse = (backbone.channels[level] for level in self.levels)
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
        x = torch.cat([fit(whole, size), fit(self.up_half(half), size)], dim=1)
        return crop(self.to_image(x), (height, width))

    def join(self, image: Tensor) -> Tensor:
        """Returns the backbone's two maps, concatenated at stride 16: (B, C, h, w) -> (B, C', h/16, w/16)."""
        maps = self.backbone(image)
        fine, coarse = (maps[level] for level in self.levels)
        return torch.cat([fine, fit(self.up(coarse), (fine.shape[-2], fine.shape[-1]))], dim=1)


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
