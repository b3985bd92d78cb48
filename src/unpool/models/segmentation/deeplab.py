"""DeepLabv3 on any backbone (Chen et al. 2017, arXiv:1706.05587), with the paper's head and with torchvision's.

`deeplabv3` is the paper's: pyramid, 1x1 to 256, 1x1 to the classes, and the last stage's blocks dilated by a multi-grid
of (1, 2, 4). The dropout of a tenth before the classes is that of the authors' release. The paper's ResNet strides
at the end of a stage, so that the first block of a dilated stage has the stage's full rate; ours strides at the start,
and gets that rate here too; backbones without blocks in stages, timm's among them, get no multi-grid, as the paper
has none for them. `deeplabv3_resnet50` and `_resnet101` are torchvision's: one more 3x3 convolution, no
multi-grid, dropout of a half before it. Heads start from He's normal weights.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import cycle

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


def paper_head(channels: int, num_classes: int, *, rates: Sequence[int], width: int) -> nn.Module:
    """Pyramid, 1x1, dropout, classes: (B, C, H, W) -> (B, num_classes, H, W)."""
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
    """Pyramid, 1x1, dropout, 3x3, classes: (B, C, H, W) -> (B, num_classes, H, W)."""
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
    multi_grid: Sequence[int] | None = None,
    head_width: int = 256,
) -> Dense:
    """The paper's network: image (B, C, H, W) -> logits (B, num_classes, H, W).

    Args:
        backbone: of any kind; only its last map is read.
        num_classes: logits of each pixel.
        output_stride: stride that the backbone keeps; further ones become dilation.
        rates: of the pyramid at output stride 16; at 8 they are doubled.
        multi_grid: of the blocks of the last stage, in units of its rate; [1] leaves them as they are. None is the
            paper's [1, 2, 4] where the backbone has such blocks, as every ResNet does, and [1] where it has not.
        head_width: channels of the head.
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
) -> Dense:
    """Torchvision's network; arguments as in `deeplabv3`."""
    body = dilated(backbone, output_stride)
    scaled = scaled_rates(rates, output_stride)
    return Dense(body, torchvision_head(backbone.channels[-1], num_classes, rates=scaled, width=head_width))


def deeplabv3_auxiliary(
    backbone: Backbone,
    /,
    *,
    num_classes: int = 21,
    output_stride: int = 8,
    rates: Sequence[int] = RATES,
    head_width: int = 256,
) -> DenseAuxiliary:
    """Torchvision's network with an FCN head on the stage whose stride was 16: image -> Auxiliary."""
    (index,) = map_indices(backbone, (AUXILIARY_STRIDE,), reader="the auxiliary head")
    body = dilated(backbone, output_stride)
    scaled = scaled_rates(rates, output_stride)
    head = torchvision_head(backbone.channels[-1], num_classes, rates=scaled, width=head_width)
    return DenseAuxiliary(body, head, build_fcn_head(backbone.channels[index], num_classes), index=index)


def scaled_rates(rates: Sequence[int], output_stride: int) -> tuple[int, ...]:
    """Rates that reach as far in the image at another output stride as `rates` do at 16."""
    return tuple(max(1, rate * 16 // output_stride) for rate in rates)


def apply_multi_grid(backbone: nn.Module, grid: Sequence[int]) -> None:
    """Sets the rate of each block of the last stage to its largest rate times the number of the grid, in index.

    All convolutions of a block wider than one pixel get it. Blocks beyond the grid start it anew.

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
    """The convolutions wider than one pixel of each block of the last stage; none where there are no such blocks."""
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
