"""SSD (Liu et al. 2016, arXiv:1512.02325) on any backbone with maps at strides 8 and 16.

`ssd300` has the default boxes of the paper for Pascal VOC, `ssd300_vgg16` those that torchvision 0.28.0 has for COCO;
both are made for 300x300 and take every image that leaves a position to the coarsest map. Sides of default boxes are
shares of the image and at most 1, as torchvision has them. The backbone's poolings round up, as Caffe's do. `ssd` is
small, for images of 64 pixels and more: it reads the map of stride 32 in place of the dilated fc6 and fc7, and the
default boxes of its two coarsest maps are spread over the image, whatever its size, as those of `ssd300` are.
Convolutions start from Glorot's uniform weights. `num_classes` counts the things: the background is added.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn

from unpool.errors import DataError
from unpool.layers.anchors import Anchors, Shape, per_anchor
from unpool.layers.frozen import Norms
from unpool.layers.norm import L2Norm
from unpool.models.catalog import Variant
from unpool.models.dense import map_indices
from unpool.models.detection.detector import Detector, round_up, shapes_of, size_of
from unpool.models.detection.practice import SSD as PRACTICE
from unpool.ops.phases import phase
from unpool.types import AnchoredBoxes, Backbone

RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))  # of width and height or the reverse, beside 1
VOC = (0.1, 0.2, 0.37, 0.54, 0.71, 0.88, 1.05)  # sides as shares of the image, map by map, and one more
COCO = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)
SMALL = (0.12, 0.25, 0.42, 0.6, 0.8, 1.0)
LEAST = 17  # side of the smallest map of stride 16 whose coarsest map has a position


def default_shapes(sides: Sequence[float], ratios: Sequence[Sequence[int]]) -> tuple[tuple[Shape, ...], ...]:
    """Shapes of each map: its side, the mean of it and the next, and each ratio both ways; at most 1.

    >>> [(round(w, 3), round(h, 3)) for w, h in default_shapes([0.2, 0.5], [[2]])[0]]
    [(0.2, 0.2), (0.316, 0.316), (0.283, 0.141), (0.141, 0.283)]
    """
    result = []
    for side, following, of_map in zip(sides, sides[1:], ratios, strict=False):
        mean = math.sqrt(side * following)
        shapes = [(side, side), (mean, mean)]
        for ratio in of_map:
            long, short = side * math.sqrt(ratio), side / math.sqrt(ratio)
            shapes += [(long, short), (short, long)]
        result.append(tuple((min(w, 1.0), min(h, 1.0)) for w, h in shapes))
    return tuple(result)


class Maps(NamedTuple):
    """Default boxes of each map: pixels between positions (None spreads them over the image) and shapes."""

    strides: tuple[int | None, ...]
    shapes: Sequence[Sequence[Shape]]


class SSD(Detector):
    """Scores and moves default boxes on maps of falling size: image (B, C, H, W) -> AnchoredBoxes of K + 1 classes.

    Args:
        backbone: must have maps at the strides that `extra` reads.
        extra: from those to all that have default boxes.
        maps: their default boxes.
        num_classes: K.
        anchors: width, height, width and so on in pixels of the input, as many for each map; empty for those of `maps`.
        norms: whether the backbone's batch norms are trained.
    """

    def __init__(
        self,
        backbone: Backbone,
        extra: "PaperMaps | HalvedMaps",
        maps: Maps,
        *,
        num_classes: int,
        anchors: Sequence[int],
        norms: Norms,
    ) -> None:
        super().__init__(backbone, strides=extra.strides, reader="ssd", norms=norms, practice=PRACTICE)
        self.extra = extra
        self.anchors = Anchors(shapes_of(anchors, maps.shapes), maps.strides, is_share=not anchors)
        self.num_scores = num_classes + 1
        pairs = list(zip(extra.channels, self.anchors.counts, strict=True))
        self.scores = nn.ModuleList(nn.Conv2d(c, n * self.num_scores, 3, padding=1) for c, n in pairs)
        self.deltas = nn.ModuleList(nn.Conv2d(c, n * 4, 3, padding=1) for c, n in pairs)
        for module in (self.extra, self.scores, self.deltas):
            draw_uniform(module)

    def forward(self, image: Tensor) -> AnchoredBoxes:
        with phase("backbone"):
            maps = self.extra(self.read(image))
        with phase("head"):
            scores = [per_anchor(conv(x), self.num_scores) for conv, x in zip(self.scores, maps, strict=True)]
            deltas = [per_anchor(conv(x), 4) for conv, x in zip(self.deltas, maps, strict=True)]
            return AnchoredBoxes(torch.cat(scores, 1), torch.cat(deltas, 1), *self.anchors(maps, size_of(image)))


def draw_uniform(module: nn.Module) -> None:
    """Draws every convolution from Glorot's uniform weights, in place; biases become 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class PaperMaps(nn.Module):
    """The paper's six maps of the backbone's two: strides 8 and 16, dilated fc6 and fc7, conv8 to conv11.

    Args:
        channels: of the maps of strides 8 and 16.
        width: channels of fc7; those of the others are in proportion, 1024 to 512, 256, 256 and 256.

    Raises:
        DataError: the image is too small for the two convolutions that are not padded.
    """

    strides = (8, 16)

    def __init__(self, channels: Sequence[int], *, width: int) -> None:
        super().__init__()
        first, second = channels
        half, quarter, eighth = width // 2, width // 4, width // 8
        self.norm = L2Norm(first)
        self.fc = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1),
            *_conv(second, width, 3, padding=6, dilation=6),
            *_conv(width, width, 1),
        )
        self.more = nn.ModuleList(
            [
                nn.Sequential(*_conv(width, quarter, 1), *_conv(quarter, half, 3, stride=2, padding=1)),
                nn.Sequential(*_conv(half, eighth, 1), *_conv(eighth, quarter, 3, stride=2, padding=1)),
                nn.Sequential(*_conv(quarter, eighth, 1), *_conv(eighth, quarter, 3)),
                nn.Sequential(*_conv(quarter, eighth, 1), *_conv(eighth, quarter, 3)),
            ]
        )
        self.channels = (first, width, half, quarter, quarter, quarter)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        first, second = maps
        result = [self.norm(first), self.fc(_large_enough(second))]
        for part in self.more:
            result.append(part(result[-1]))
        return result


def _conv(
    before: int, after: int, kernel: int, *, stride: int = 1, padding: int = 0, dilation: int = 1
) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(before, after, kernel, stride, padding, dilation), nn.ReLU()


@fx.wrap
def _large_enough(x: Tensor) -> Tensor:
    if min(x.shape[-2:]) < LEAST:
        raise DataError(
            f"the map of stride 16 is {tuple(x.shape[-2:])} (H, W), which SSD300 halves twice and crops twice: give "
            f"images of {16 * LEAST - 15} pixels or more, or take ssd"
        )
    return x


class HalvedMaps(nn.Module):
    """The backbone's maps and two more, each half the one before.

    Args:
        channels: of the backbone's maps.
        width: channels of the two.
    """

    strides = (8, 16, 32)

    def __init__(self, channels: Sequence[int], *, width: int) -> None:
        super().__init__()
        self.more = nn.ModuleList(
            nn.Sequential(*_conv(before, width // 2, 1), *_conv(width // 2, width, 3, stride=2, padding=1))
            for before in (channels[-1], width)
        )
        self.channels = (*channels, width, width)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        result = list(maps)
        for part in self.more:
            result.append(part(result[-1]))
        return result


def ssd300(
    sides: Sequence[float],
    backbone: Backbone,
    /,
    *,
    num_classes: int = 20,
    anchors: Sequence[int] = (),
    extra_width: int = 1024,
    norms: Norms = "frozen",
) -> SSD:
    """Builds the paper's network: image (B, C, H, W) -> AnchoredBoxes.

    Args:
        sides: of the default boxes, as shares of the image.
        backbone: must have maps at strides 8 and 16.
        num_classes: things, without the background.
        anchors: see `SSD`.
        extra_width: channels of fc6 and fc7; those behind them are in proportion.
        norms: whether the backbone's batch norms are trained, if it has any.
    """
    round_up(backbone)
    indices = map_indices(backbone, PaperMaps.strides, reader="ssd300")
    extra = PaperMaps([backbone.channels[i] for i in indices], width=extra_width)
    maps = Maps((8, 16, 32, 64, None, None), default_shapes(sides, RATIOS))
    return SSD(backbone, extra, maps, num_classes=num_classes, anchors=anchors, norms=norms)


def small_ssd(
    backbone: Backbone,
    /,
    *,
    num_classes: int = 20,
    anchors: Sequence[int] = (),
    extra_width: int = 256,
    norms: Norms = "trained",
) -> SSD:
    """Builds the small network: image (B, C, H, W) -> AnchoredBoxes.

    Args:
        backbone: must have maps at strides 8, 16 and 32.
        num_classes: things, without the background.
        anchors: see `SSD`.
        extra_width: channels of the two maps behind the backbone's.
        norms: whether the backbone's batch norms are trained.
    """
    indices = map_indices(backbone, HalvedMaps.strides, reader="ssd")
    extra = HalvedMaps([backbone.channels[i] for i in indices], width=extra_width)
    maps = Maps((8, 16, 32, None, None), default_shapes(SMALL, RATIOS))
    return SSD(backbone, extra, maps, num_classes=num_classes, anchors=anchors, norms=norms)


def _row(build: Callable[..., nn.Module], params: int, source: str, *, classes: int, gmacs: float | None) -> Variant:
    return Variant(
        build=build,
        kind="composed",
        backbone="vgg16",
        params=params,
        gmacs=gmacs,
        source=source,
        input=(3, 300, 300),
        output=((8732, classes + 1), (8732, 4), (4,), ()),
        classes=classes,
    )


_SMALL_COUNT = 4 * 16**2 + 6 * (8**2 + 4**2 + 2**2) + 4

VARIANTS = {
    "ssd": Variant(
        build=small_ssd,
        kind="composed",
        backbone="resnet18",
        params=13_594_058,
        source="Liu et al. 2016, smaller; counted by unpool summary",
        input=(3, 128, 128),
        output=((_SMALL_COUNT, 21), (_SMALL_COUNT, 4), (4,), ()),
        classes=20,
    ),
    "ssd300": _row(partial(ssd300, VOC), 26_285_486, "Liu et al. 2016, Table 1", classes=20, gmacs=None),
    "ssd300_vgg16": _row(
        partial(ssd300, COCO), 35_641_826, "torchvision 0.28.0, ssd300_vgg16", classes=90, gmacs=34.858
    ),
}
