"""Segmentation networks. A new one is one new file here and one word in MODULES.

Each maps an image (B, C, H, W) to logits (B, num_classes, H, W) and says by `stride` how coarse its coarsest grid is:
an image moved by a multiple of it gives the same answer, moved, away from the border.
"""

from unpool.models.catalog import Variant
from unpool.models.segmentation import (
    deeplab,
    fcn,
    fcn_alexnet,
    fcn_head,
    fpn,
    frrn,
    pspnet,
    segnet,
    unet,
    unet_decoder,
)

MODULES = (fcn, fcn_alexnet, fcn_head, deeplab, pspnet, fpn, frrn, segnet, unet, unet_decoder)
MODELS: dict[str, Variant] = {name: row for module in MODULES for name, row in module.VARIANTS.items()}
