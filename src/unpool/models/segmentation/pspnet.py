"""PSPNet on any backbone (Zhao et al. 2017, arXiv:1612.01105, section 3), as in hszhao/semseg.

Cell i of a map lies on the pixel 8i, as with the aligned corners of the release, which refuses images whose sides are
not 8k + 1; here every size works. Grids of averages are resized with aligned corners. Dropout drops single values, as
in the paper's Caffe release; semseg's drops whole channels. Networks with the auxiliary head are separate rows; the
releases build it for training only. Heads start from He's normal weights.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import nn

from unpool.layers.conv import ConvNormAct
from unpool.layers.initialize import he_normal
from unpool.layers.pyramid import PyramidPooling
from unpool.models.catalog import Variant
from unpool.models.dense import Dense, DenseAuxiliary, dilated, map_indices
from unpool.models.segmentation.fcn_head import AUXILIARY_STRIDE, build_fcn_head
from unpool.types import Backbone

BINS = (1, 2, 3, 6)


def psp_head(channels: int, num_classes: int, *, bins: Sequence[int], width: int) -> nn.Module:
    """Makes the head: pyramid pooling, 3x3, dropout, classes; (B, channels, H, W) -> (B, num_classes, H, W)."""
    each = max(channels // len(bins), 1)
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        pyramid=PyramidPooling(channels, each, bins=bins),
        project=ConvNormAct(channels + len(bins) * each, width),
        drop=nn.Dropout(0.1),
        classify=nn.Conv2d(width, num_classes, 1),
    )
    head = nn.Sequential(parts)
    he_normal(head, mode="fan_in")
    return head


def build_pspnet(
    backbone: Backbone,
    /,
    *,
    num_classes: int = 21,
    output_stride: int = 8,
    bins: Sequence[int] = BINS,
    head_width: int = 512,
) -> Dense:
    """Builds PSPNet on a backbone: image (B, C, H, W) -> logits (B, num_classes, H, W).

    Args:
        backbone: any; only its last map is read.
        num_classes: logits of each pixel.
        output_stride: largest stride that the backbone keeps; strides beyond it become dilation.
        bins: cells along each side of the pyramid's grids.
        head_width: channels of the 3x3 convolution.
    """
    body = dilated(backbone, output_stride)
    head = psp_head(backbone.channels[-1], num_classes, bins=bins, width=head_width)
    return Dense(body, head, align="corners")


def pspnet_auxiliary(
    backbone: Backbone,
    /,
    *,
    num_classes: int = 21,
    output_stride: int = 8,
    bins: Sequence[int] = BINS,
    head_width: int = 512,
) -> DenseAuxiliary:
    """Builds PSPNet with an FCN head on the map of stride 16: image -> Auxiliary of logits; arguments as in `pspnet`.

    Raises:
        RecipeError: the backbone has no map of stride 16.
    """
    (index,) = map_indices(backbone, (AUXILIARY_STRIDE,), reader="the auxiliary head")
    body = dilated(backbone, output_stride)
    head = psp_head(backbone.channels[-1], num_classes, bins=bins, width=head_width)
    beside = build_fcn_head(backbone.channels[index], num_classes)
    return DenseAuxiliary(body, head, beside, index=index, align="corners")


def _row(build: Callable[..., nn.Module], backbone: str, params: int, gmacs: float) -> Variant:
    logits = (21, 473, 473)
    return Variant(
        build=build,
        kind="composed",
        backbone=backbone,
        params=params,
        gmacs=gmacs,
        source="hszhao/semseg, model/pspnet.py",
        input=(3, 473, 473),
        output=(logits, logits) if build is pspnet_auxiliary else logits,
        classes=21,
    )


_AUXILIARY = 60 * 60 * (9 * 1024 * 256 + 256 * 21) / 1e9  # multiply-adds of the auxiliary head, by hand

VARIANTS = {
    "pspnet": _row(build_pspnet, "resnet50_deep", 46_716_373, 161.6371),
    "pspnet_aux": _row(pspnet_auxiliary, "resnet50_deep", 49_081_578, 161.6371 + _AUXILIARY),
    "pspnet_resnet101": _row(build_pspnet, "resnet101_deep", 65_708_501, 229.8207),
    "pspnet_resnet101_aux": _row(pspnet_auxiliary, "resnet101_deep", 68_073_706, 229.8207 + _AUXILIARY),
}
