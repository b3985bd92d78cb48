"""RetinaNet (Lin et al. 2017, arXiv:1708.02002) on any backbone with maps at strides 8, 16 and 32.

`retinanet_resnet50_fpn` is torchvision's 0.28.0, whose first class of 91 is a background that is never right; P6 is
computed from P5 and not from C5, and anchors stand around the corners of cells. `retinanet` is that with fewer
channels, two convolutions in each subnet instead of four and smaller anchors, in the middle of cells, for images of 100
to 300 pixels. Classes are independent: there is no background.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from unpool.layers.anchors import Anchors, by_ratio, per_anchor
from unpool.layers.frozen import Norms
from unpool.layers.pyramid import ConvolvedLevels, FeaturePyramid
from unpool.models.catalog import Variant
from unpool.models.dense import map_indices
from unpool.models.detection.detector import Detector, draw_normal, shapes_of, size_of
from unpool.models.detection.practice import FOCAL
from unpool.ops.phases import phase
from unpool.types import AnchoredBoxes, Backbone

STRIDES = (8, 16, 32)  # of the maps that are read; anchors stand on two more
PRIOR = 0.01  # score of every class before training


class Form(NamedTuple):
    """Sides of the smallest anchors of each map, where they lie (see `Anchors`), and convolutions of a subnet."""

    sizes: tuple[int, ...]
    centre: float
    is_whole: bool
    depth: int


EXACT = Form((16, 32, 64, 128, 256), centre=0.5, is_whole=False, depth=2)
TORCHVISION = Form((32, 64, 128, 256, 512), centre=0.0, is_whole=True, depth=4)


def subnet(width: int, outputs: int, *, depth: int) -> nn.Sequential:
    """Makes 3x3 convolutions with ReLU and one without: (B, width, h, w) -> (B, outputs, h, w), from N(0, 0.01^2)."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for i in range(depth):
        parts[f"conv{i}"] = nn.Conv2d(width, width, 3, padding=1)
        parts[f"act{i}"] = nn.ReLU()
    parts["last"] = nn.Conv2d(width, outputs, 3, padding=1)
    net = nn.Sequential(parts)
    draw_normal(net, std=0.01)
    return net


class RetinaNet(Detector):
    """Scores and moves the anchors of a pyramid by two subnets: image (B, C, H, W) -> AnchoredBoxes of K classes.

    Args:
        form: anchors and depth.
        backbone: must have maps at strides 8, 16 and 32.
        num_classes: K, each independent of the others.
        anchors: width, height, width and so on in pixels of the input, as many for each of five maps; empty for the
            published nine on each.
        neck_width: channels of the pyramid and of the subnets.
        norms: whether the backbone's batch norms are trained.
    """

    box_weights = (1.0, 1.0, 1.0, 1.0)

    def __init__(
        self,
        form: Form,
        backbone: Backbone,
        /,
        *,
        num_classes: int = 91,
        anchors: Sequence[int] = (),
        neck_width: int = 256,
        norms: Norms = "frozen",
    ) -> None:
        super().__init__(backbone, strides=STRIDES, reader="retinanet", norms=norms, practice=FOCAL)
        indices = map_indices(backbone, STRIDES, reader="retinanet")
        pyramid = FeaturePyramid([backbone.channels[i] for i in indices], neck_width)
        self.neck = nn.Sequential(OrderedDict(pyramid=pyramid, more=ConvolvedLevels(neck_width)))
        shapes = shapes_of(anchors, [by_ratio(_octave(size)) for size in form.sizes])
        self.anchors = Anchors(shapes, (*STRIDES, 64, 128), centre=form.centre, is_whole=form.is_whole)
        count = len(shapes[0])
        self.scores = subnet(neck_width, count * num_classes, depth=form.depth)
        self.deltas = subnet(neck_width, count * 4, depth=form.depth)
        nn.init.constant_(cast(Tensor, cast(nn.Conv2d, self.scores[-1]).bias), -math.log((1 - PRIOR) / PRIOR))
        self.num_classes = num_classes

    def forward(self, image: Tensor) -> AnchoredBoxes:
        with phase("backbone"):
            maps = self.neck(self.read(image))
        with phase("head"):
            scores = torch.cat([per_anchor(self.scores(x), self.num_classes) for x in maps], 1)
            deltas = torch.cat([per_anchor(self.deltas(x), 4) for x in maps], 1)
            return AnchoredBoxes(scores, deltas, *self.anchors(maps, size_of(image)))


def _octave(size: int) -> tuple[int, int, int]:
    """Three sides a third of an octave apart, rounded down as torchvision does."""
    return size, int(size * 2 ** (1 / 3)), int(size * 2 ** (2 / 3))


VARIANTS = {
    "retinanet": Variant(
        build=partial(RetinaNet, EXACT, neck_width=128, norms="trained"),
        kind="composed",
        backbone="resnet18",
        params=12_868_888,
        source="Lin et al. 2017, RetinaNet, narrower; counted by unpool summary",
        input=(3, 128, 128),
        output=((9 * (16**2 + 8**2 + 4**2 + 2**2 + 1), 20), (9 * 341, 4), (4,), ()),
        classes=20,
    ),
    "retinanet_resnet50_fpn": Variant(
        build=partial(RetinaNet, TORCHVISION),
        kind="composed",
        backbone="resnet50",
        params=34_014_999,
        gmacs=151.54,
        source="torchvision 0.28.0, retinanet_resnet50_fpn",
        input=(3, 800, 800),
        output=((9 * (100**2 + 50**2 + 25**2 + 13**2 + 7**2), 91), (9 * (12500 + 843), 4), (4,), ()),
        classes=91,
    ),
}
