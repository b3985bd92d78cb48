"""Segmentation networks. A new one is one new file here and one word in MODULES.

Each maps an image (B, C, H, W) to logits (B, num_classes, H, W). Its attribute `stride` is that of its coarsest map: if
the image is shifted by a multiple of it, the output is shifted by as much and otherwise the same, except near the
border.
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
