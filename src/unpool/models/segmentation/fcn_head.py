"""A backbone with dilation instead of its last strides and one convolutional head, as torchvision's `fcn_resnet*`.

The head is not that of the paper (Long et al. 2015, arXiv:1411.4038): no skips, batch norm, and a hidden layer a
quarter as wide as the map. It starts from He's normal weights, where torchvision's starts from torch's default. The
answer lies by the stride of the map, where torchvision stretches the map: `align` in `models.dense.Dense`.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from torch import nn

from unpool.layers.conv import ConvNormAct
from unpool.layers.initialize import he_normal
from unpool.models.catalog import Variant
from unpool.models.dense import Dense, DenseAuxiliary, dilated, map_indices
from unpool.types import Backbone

AUXILIARY_STRIDE = 16  # of the map that the auxiliary head reads, before dilation


def build_fcn_head(channels: int, num_classes: int, *, dropout: float = 0.1) -> nn.Module:
    """Makes the head: 3x3 convolution to a quarter of the channels, batch norm, ReLU, dropout, 1x1 convolution.

    (B, channels, H, W) -> (B, num_classes, H, W).
    """
    hidden = max(channels // 4, 1)
    head = nn.Sequential(
        OrderedDict(
            hidden=ConvNormAct(channels, hidden),
            drop=nn.Dropout(dropout),
            classify=nn.Conv2d(hidden, num_classes, 1),
        )
    )
    he_normal(head, mode="fan_in")
    return head


def fcn(
    backbone: Backbone,
    /,
    *,
    num_classes: int = 21,
    output_stride: int = 8,
    dropout: float = 0.1,
    align: Literal["stride", "sizes"] = "stride",
) -> Dense:
    """Builds torchvision's FCN on a backbone: image (B, C, H, W) -> logits (B, num_classes, H, W).

    Args:
        backbone: any; only its last map is read.
        num_classes: logits of each pixel.
        output_stride: largest stride that the backbone keeps; strides beyond it become dilation.
        dropout: share dropped in the head.
        align: "stride", or "sizes" to answer as torchvision does, see `Dense`; the weights "voc" set it.
    """
    body = dilated(backbone, output_stride)
    return Dense(body, build_fcn_head(backbone.channels[-1], num_classes, dropout=dropout), align=align)


def fcn_auxiliary(
    backbone: Backbone,
    /,
    *,
    num_classes: int = 21,
    output_stride: int = 8,
    dropout: float = 0.1,
    align: Literal["stride", "sizes"] = "stride",
) -> DenseAuxiliary:
    """Builds the FCN with a second head on the map of stride 16: image -> Auxiliary of logits; arguments as in `fcn`.

    Raises:
        RecipeError: the backbone has no map of stride 16.
    """
    (index,) = map_indices(backbone, (AUXILIARY_STRIDE,), reader="the auxiliary head")
    body = dilated(backbone, output_stride)
    head = build_fcn_head(backbone.channels[-1], num_classes, dropout=dropout)
    beside = build_fcn_head(backbone.channels[index], num_classes, dropout=dropout)
    return DenseAuxiliary(body, head, beside, index=index, align=align)


def _row(build: Callable[..., nn.Module], backbone: str, params: int, gmacs: float) -> Variant:
    logits = (21, 513, 513)
    return Variant(
        build=build,
        kind="composed",
        backbone=backbone,
        params=params,
        gmacs=gmacs,
        source=f"torchvision 0.28.0, fcn_{backbone}",
        input=(3, 513, 513),
        output=(logits, logits) if build is fcn_auxiliary else logits,
        classes=21,
    )


VARIANTS = {
    "fcn": _row(fcn, "resnet50", 32_957_013, 142.6475),
    "fcn_resnet50": _row(fcn, "resnet50", 32_957_013, 142.6475),
    "fcn_resnet101": _row(fcn, "resnet101", 51_949_141, 222.6686),
    "fcn_resnet50_aux": _row(fcn_auxiliary, "resnet50", 35_322_218, 152.6383),
    "fcn_resnet101_aux": _row(fcn_auxiliary, "resnet101", 54_314_346, 232.6594),
}
