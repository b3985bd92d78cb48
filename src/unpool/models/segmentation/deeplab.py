"""DeepLabv3 on any backbone (Chen et al. 2017, arXiv:1706.05587), with the paper's head and with torchvision's.

`deeplabv3` is the paper's: pyramid, 1x1 to 256, 1x1 to the classes, and the last stage's blocks dilated by a multi-grid
of (1, 2, 4). The dropout of 0.1 before the classes is that of the authors' release. The paper's ResNet has its stride
at the end of a stage, so that the first block of a dilated stage has the stage's full rate; ours has it at the start,
and its first block gets the full rate too. Backbones without blocks in stages, such as timm's, get no multi-grid: the
paper has none for them. `deeplabv3_resnet50` and `_resnet101` are torchvision's: one more 3x3 convolution, no
multi-grid, dropout of 0.5 before it. Heads start from He's normal weights.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Annotated, Literal

from annotated_types import Interval, Len
from torch import nn

from unpool.errors import RecipeError
from unpool.layers.conv import ConvNormAct
from unpool.layers.initialize import he_normal
from unpool.layers.pyramid import ASPP, set_rate
from unpool.models.catalog import Variant
from unpool.models.dense import Dense, DenseAuxiliary, dilated, map_indices
from unpool.models.segmentation.fcn_head import AUXILIARY_STRIDE, build_fcn_head
from unpool.types import Backbone

RATES = (6, 12, 18)  # of the pyramid at output stride 16
MULTI_GRID = (1, 2, 4)
GRID = Interval(ge=1, le=64)


def paper_head(channels: int, num_classes: int, *, rates: Sequence[int], width: int) -> nn.Module:
    """Makes the paper's head: pyramid, 1x1, dropout, classes; (B, channels, H, W) -> (B, num_classes, H, W)."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        pyramid=ASPP(channels, width, rates=rates),
        project=ConvNormAct((2 + len(rates)) * width, width, 1),
        drop=nn.Dropout(0.1),
        classify=nn.Conv2d(width, num_classes, 1),
    )
    head = nn.Sequential(parts)
    he_normal(head, mode="fan_in")
    return head


def torchvision_head(channels: int, num_classes: int, *, rates: Sequence[int], width: int) -> nn.Module:
    """Makes torchvision's head: pyramid, 1x1, dropout, 3x3, classes; (B, channels, H, W) -> (B, num_classes, H, W)."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        pyramid=ASPP(channels, width, rates=rates),
        project=ConvNormAct((2 + len(rates)) * width, width, 1),
        drop=nn.Dropout(0.5),
        conv=ConvNormAct(width, width),
        classify=nn.Conv2d(width, num_classes, 1),
    )
    head = nn.Sequential(parts)
    he_normal(head, mode="fan_in")
    return head


def deeplabv3(
    backbone: Backbone,
    /,
    *,
    num_classes: int = 21,
    output_stride: int = 16,
    rates: Sequence[int] = RATES,
    multi_grid: Annotated[Sequence[Annotated[int, GRID]], Len(1, 64)] | None = None,
    head_width: int = 256,
) -> Dense:
    """Builds the paper's network: image (B, C, H, W) -> logits (B, num_classes, H, W).

    Args:
        backbone: any; only its last map is read.
        num_classes: logits of each pixel.
        output_stride: largest stride that the backbone keeps; strides beyond it become dilation.
        rates: dilation of the pyramid's branches at output stride 16; at 8 they are doubled.
        multi_grid: dilation of the blocks of the last stage, in units of the stage's dilation; [1] changes nothing.
            None is the paper's [1, 2, 4] if the backbone has such blocks, as every ResNet does, else [1].
        head_width: channels of the head.

    Raises:
        RecipeError: `multi_grid` is not [1] and the backbone's last stage has no blocks.
    """
    body = dilated(backbone, output_stride)
    if multi_grid is not None:
        apply_multi_grid(body, multi_grid)
    elif last_blocks(body):
        apply_multi_grid(body, MULTI_GRID)
    scaled = scaled_rates(rates, output_stride)
    return Dense(body, paper_head(backbone.channels[-1], num_classes, rates=scaled, width=head_width))


def deeplabv3_torchvision(
    backbone: Backbone,
    /,
    *,
    num_classes: int = 21,
    output_stride: int = 8,
    rates: Sequence[int] = RATES,
    head_width: int = 256,
    align: Literal["stride", "sizes"] = "stride",
) -> Dense:
    """Builds torchvision's network: image (B, C, H, W) -> logits (B, num_classes, H, W).

    Arguments as in `deeplabv3`; `align` is "stride", or "sizes" to answer as torchvision does: see `Dense`. The weights
    "voc" set it.
    """
    body = dilated(backbone, output_stride)
    scaled = scaled_rates(rates, output_stride)
    head = torchvision_head(backbone.channels[-1], num_classes, rates=scaled, width=head_width)
    return Dense(body, head, align=align)


def deeplabv3_auxiliary(
    backbone: Backbone,
    /,
    *,
    num_classes: int = 21,
    output_stride: int = 8,
    rates: Sequence[int] = RATES,
    head_width: int = 256,
    align: Literal["stride", "sizes"] = "stride",
) -> DenseAuxiliary:
    """Builds torchvision's network with an FCN head on the map of stride 16 as well: image -> Auxiliary of logits.

    Arguments as in `deeplabv3_torchvision`.

    Raises:
        RecipeError: the backbone has no map of stride 16.
    """
    (index,) = map_indices(backbone, (AUXILIARY_STRIDE,), reader="the auxiliary head")
    body = dilated(backbone, output_stride)
    scaled = scaled_rates(rates, output_stride)
    head = torchvision_head(backbone.channels[-1], num_classes, rates=scaled, width=head_width)
    beside = build_fcn_head(backbone.channels[index], num_classes)
    return DenseAuxiliary(body, head, beside, index=index, align=align)


def scaled_rates(rates: Sequence[int], output_stride: int) -> tuple[int, ...]:
    """Returns the rates that at `output_stride` span as many pixels of the image as `rates` do at output stride 16."""
    return tuple(max(1, rate * 16 // output_stride) for rate in rates)


def apply_multi_grid(backbone: nn.Module, grid: Sequence[int]) -> None:
    """Dilates the blocks of the last stage, in place: block i by the stage's largest dilation times grid[i].

    All convolutions of a block with filters wider than one pixel are changed. A grid shorter than the stage is
    repeated.

    Raises:
        RecipeError: the backbone has no stages of blocks.
    """
    if tuple(grid) == (1,):
        return
    blocks = last_blocks(backbone)
    if not blocks:
        raise RecipeError(f"multi_grid is {list(grid)} and this backbone has no last stage of blocks: set it to [1]")
    unit = max(conv.dilation[0] for block in blocks for conv in block)
    for block, factor in zip(blocks, cycle(grid), strict=False):
        for conv in block:
            set_rate(conv, unit * factor)


def last_blocks(backbone: nn.Module) -> list[list[nn.Conv2d]]:
    """Returns, for each block of the last stage, its convolutions with filters wider than one pixel.

    Empty if the backbone has no `stages` made of blocks.
    """
    stages = dict(backbone.named_children()).get("stages")
    last = list(stages)[-1] if isinstance(stages, nn.ModuleList) else nn.Identity()
    convs = [
        [m for m in block.modules() if isinstance(m, nn.Conv2d) and m.kernel_size > (1, 1)] for block in last.children()
    ]
    return [block for block in convs if block]


def _row(build: Callable[..., nn.Module], backbone: str, params: int, gmacs: float | None = None) -> Variant:
    logits = (21, 513, 513)
    paper = build is deeplabv3
    return Variant(
        build=build,
        kind="composed",
        backbone=backbone,
        params=params,
        gmacs=gmacs,
        source="Chen et al. 2017, section 3" if paper else f"torchvision 0.28.0, deeplabv3_{backbone}",
        input=(3, 513, 513),
        output=(logits, logits) if build is deeplabv3_auxiliary else logits,
        classes=21,
    )


VARIANTS = {
    "deeplabv3": _row(deeplabv3, "resnet101", 58_040_661),
    "deeplabv3_resnet50": _row(deeplabv3_torchvision, "resnet50", 39_638_869, 168.653),
    "deeplabv3_resnet101": _row(deeplabv3_torchvision, "resnet101", 58_630_997, 248.6741),
    "deeplabv3_resnet50_aux": _row(deeplabv3_auxiliary, "resnet50", 42_004_074, 178.6437),
    "deeplabv3_resnet101_aux": _row(deeplabv3_auxiliary, "resnet101", 60_996_202, 258.6648),
}
