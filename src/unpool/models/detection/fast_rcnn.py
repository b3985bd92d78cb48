"""Fast R-CNN (Girshick 2015, arXiv:1504.08083): one pass over the image, and RoI max pooling of given proposals.

`fastrcnn_vgg16`, `fastrcnn_caffenet` and `fastrcnn_vgg_m` are the release's L, S and M (rbgirshick/fast-rcnn). A region
is read from the map of stride 16; two hidden layers with dropout, then the class and, for each class, the box. Each
image is given with its proposals (`data.proposals`). `fastrcnn` is the detector of `fasterrcnn` without its first
stage, for images of 100 to 300 pixels: on a pyramid of ResNet-18, as in Lin et al. 2017 (arXiv:1612.03144, Table 3),
with RoI max pooling; so what the two differ by is where proposals are from.

Differs from the paper as `faster_rcnn` does: nothing is added to the sides of boxes, hidden layers start from He's
weights, all layers are trained. `num_classes` counts the things: the background is added.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.layers.frozen import Norms
from unpool.layers.pyramid import FeaturePyramid
from unpool.layers.regions import RegionPooling
from unpool.models.catalog import Variant
from unpool.models.dense import map_indices
from unpool.models.detection.detector import Detector, round_up
from unpool.models.detection.practice import FAST
from unpool.models.detection.trunks import MakeTrunk, caffenet, vgg_m
from unpool.models.detection.two_stages import RegionClassifier, hidden_head
from unpool.ops.phases import phase
from unpool.types import Backbone, ClassifiedRegions, RegionMaps

STRIDE = 16  # of the map of the paper's forms
STRIDES = (4, 8, 16, 32)  # of the pyramid's maps


class FastRCNN(Detector):
    """Classifies given regions: image (B, C, H, W) -> RegionMaps; `classify` goes on from regions of it.

    Args:
        backbone: must have maps at the strides of `pool`.
        reader, norms: see `Detector`.
        neck: from the maps read to those that regions are read from.
        pool: reads regions.
        head: from regions (R, C, side, side) to features (R, F).
        classifier: from features to classes and boxes.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        reader: str,
        norms: Norms,
        neck: nn.Module,
        pool: RegionPooling,
        head: nn.Module,
        classifier: RegionClassifier,
    ) -> None:
        super().__init__(backbone, strides=pool.strides, reader=reader, norms=norms, practice=FAST)
        self.neck = neck
        self.pool = pool
        self.head = head
        self.classifier = classifier

    def forward(self, image: Tensor) -> RegionMaps:
        with phase("backbone"):
            return RegionMaps(tuple(self.neck(self.read(image))))

    @phase("head")
    def classify(self, maps: Sequence[Tensor], boxes: Sequence[Tensor], input_hw: tuple[int, int]) -> ClassifiedRegions:
        """Scores and moves regions of the images that `maps` are of; see `TwoStages.classify`."""
        return self.classifier(self.head(self.pool(maps, boxes)))


def on_pyramid(
    backbone: Backbone,
    /,
    *,
    num_classes: int = 20,
    neck_width: int = 128,
    head_width: int = 256,
    norms: Norms = "trained",
) -> FastRCNN:
    """Builds Fast R-CNN on a pyramid.

    Args:
        backbone: must have maps at strides 4, 8, 16 and 32.
        num_classes: things, without the background.
        neck_width: channels of the pyramid.
        head_width: units of each hidden layer.
        norms: whether the backbone's batch norms are trained.
    """
    indices = map_indices(backbone, STRIDES, reader="fastrcnn")
    return FastRCNN(
        backbone,
        reader="fastrcnn",
        norms=norms,
        neck=FeaturePyramid([backbone.channels[i] for i in indices], neck_width),
        pool=RegionPooling(STRIDES, 7, kind="pool"),
        head=hidden_head(49 * neck_width, head_width),
        classifier=RegionClassifier(head_width, num_classes),
    )


def on_one_map(
    backbone: Backbone, /, *, num_classes: int = 20, head_width: int = 4096, norms: Norms = "frozen"
) -> FastRCNN:
    """Builds the paper's network on the map of stride 16 of a backbone, whose poolings round up, as Caffe's do.

    Args:
        backbone: must have a map at stride 16; only that is read.
        num_classes: things, without the background.
        head_width: units of each hidden layer.
        norms: whether the backbone's batch norms are trained, if it has any.
    """
    (index,) = map_indices(backbone, [STRIDE], reader="fastrcnn_vgg16")
    return _of_one_map(
        backbone, backbone.channels[index], side=7, hidden=(head_width, head_width), classes=num_classes, norms=norms
    )


def on_trunk(
    trunk: MakeTrunk,
    last: Literal["same", "quarter"],
    /,
    *,
    in_channels: int = 3,
    num_classes: int = 20,
    width: int = 96,
    head_width: int = 4096,
) -> FastRCNN:
    """Builds the paper's small and medium networks.

    Args:
        trunk: makes the convolutions.
        last: units of the second hidden layer beside those of the first.
        in_channels: channels of the image.
        num_classes: things, without the background.
        width: channels of the first convolution, an even number; the others keep their proportion to it.
        head_width: units of the first hidden layer.

    Raises:
        RecipeError: `width` is odd.
    """
    if width % 2:
        raise RecipeError(f"width is {width} and the network has 2 groups: give a multiple of that")
    body = trunk(in_channels, width)
    hidden = (head_width, head_width if last == "same" else head_width // 4)
    return _of_one_map(body, body.channels[0], side=6, hidden=hidden, classes=num_classes, norms="frozen")


def _of_one_map(
    backbone: Backbone, channels: int, *, side: int, hidden: tuple[int, int], classes: int, norms: Norms
) -> FastRCNN:
    round_up(backbone)
    return FastRCNN(
        backbone,
        reader="fastrcnn",
        norms=norms,
        neck=nn.Identity(),
        pool=RegionPooling([STRIDE], side, kind="pool"),
        head=hidden_head(side**2 * channels, hidden[0], last=hidden[1], dropout=0.5),
        classifier=RegionClassifier(hidden[1], classes),
    )


def _row(
    build: Callable[..., nn.Module],
    params: int,
    source: str,
    *,
    maps: Sequence[tuple[int, int, int]],
    input_hw: tuple[int, int] = (600, 1000),
    backbone: str | None = None,
) -> Variant:
    return Variant(
        build=build,
        kind="composed" if backbone else "whole",
        backbone=backbone,
        params=params,
        source=source,
        input=(3, *input_hw),
        output=tuple(maps),
        classes=20,
        reads_proposals=True,
    )


_RELEASE = "Girshick 2015; rbgirshick/fast-rcnn, models"

VARIANTS = {
    "fastrcnn": _row(
        on_pyramid,
        13_588_905,
        "Girshick 2015 on a pyramid; counted by unpool summary",
        maps=[(128, 128 // stride, 128 // stride) for stride in STRIDES],
        input_hw=(128, 128),
        backbone="resnet18",
    ),
    "fastrcnn_vgg16": _row(on_one_map, 134_690_729, f"{_RELEASE}/VGG16", maps=[(512, 38, 63)], backbone="vgg16"),
    "fastrcnn_caffenet": _row(
        partial(on_trunk, caffenet, "same"), 57_298_409, f"{_RELEASE}/CaffeNet", maps=[(256, 39, 64)]
    ),
    "fastrcnn_vgg_m": _row(
        partial(on_trunk, vgg_m, "quarter"), 86_333_161, f"{_RELEASE}/VGG_CNN_M_1024", maps=[(512, 39, 64)]
    ),
}
