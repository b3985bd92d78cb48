"""Mask R-CNN (He et al. 2017, arXiv:1703.06870) on a pyramid, and its form for the joints of people, Keypoint R-CNN.

Both are Faster R-CNN with a third branch, which reads regions of 14x14 cells by RoI align and gives a map of each. For
masks it has four 3x3 convolutions, a deconvolution to 28x28 and a score for each class; for joints eight convolutions
of 512 channels, a deconvolution and bilinear upsampling to 56x56 (sections 3 and 5, figure 4 right).

`maskrcnn_resnet50_fpn` and `keypointrcnn_resnet50_fpn` are torchvision's 0.28.0, see `faster_rcnn` for where its cells
lie. `maskrcnn` and `keypointrcnn` have fewer channels and smaller anchors, for images of 100 to 300 pixels. Scores of
masks start from N(0, 0.001^2) (Detectron2), other layers of the branch from He's normal weights; of a deconvolution as
torchvision and Detectron2 count them, by all taps of its filter, not by those that reach one output. `num_classes`
counts things; of Keypoint R-CNN, whose only things are people, it counts joints.
"""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from unpool.layers.frozen import Norms
from unpool.layers.initialize import he_normal
from unpool.layers.regions import RegionPooling
from unpool.models.catalog import Variant
from unpool.models.detection.detector import draw_normal
from unpool.models.detection.faster_rcnn import EXACT, STRIDES, TORCHVISION, Cells, pyramid_parts
from unpool.models.detection.two_stages import TwoStages
from unpool.ops.phases import phase
from unpool.types import Backbone

SIDE = 14  # cells of a region along each side


class Branched(TwoStages):
    """Faster R-CNN with a branch for masks or joints: image -> ProposedRegions, then `classify` and `region_maps`.

    Args:
        backbone: must have maps at strides 4, 8, 16 and 32.
        branch: from regions (R, C, 14, 14) to maps.
        of_boxes: what the maps say.
        cells: where cells lie.
        parts: of `TwoStages`, by name.

    Attributes:
        joint_centre: where in its pixel a joint lies, as boxes are counted; 0 where the published weights have it so.
        joint_steps: positions along each side of a box at which joints are sought, at least; see `ops.region_maps`.
    """

    def __init__(
        self,
        backbone: Backbone,
        branch: nn.Module,
        of_boxes: Literal["masks", "joints"],
        cells: Cells,
        **parts: Any,
    ) -> None:
        super().__init__(backbone, **parts)
        self.branch_pool = RegionPooling(STRIDES, SIDE, kind=cells.kind)
        self.branch = branch
        self.of_boxes = of_boxes
        self.joint_centre = cells.centre
        self.joint_steps = 1 if cells.is_whole else 4 * SIDE

    def region_maps(self, maps: Sequence[Tensor], boxes: Sequence[Tensor], input_hw: tuple[int, int]) -> Tensor:
        """Logits of each region: masks (R, K + 1, 28, 28), that of the background unused, or joints (R, K, 56, 56).

        Arguments as in `classify`.
        """
        with phase(self.of_boxes):
            return self.branch(self.branch_pool(maps, boxes))


def with_masks(  # noqa: PLR0913 - options of recipes
    cells: Cells,
    backbone: Backbone,
    /,
    *,
    num_classes: int = 90,
    anchors: Sequence[int] = (),
    neck_width: int = 256,
    head_width: int = 1024,
    mask_width: int = 256,
    norms: Norms = "frozen",
) -> Branched:
    """Builds Mask R-CNN: image (B, C, H, W) -> ProposedRegions, then `classify` and `region_maps`.

    Args:
        cells: sizes of the published anchors, and where they, regions and joints lie.
        backbone: must have maps at strides 4, 8, 16 and 32.
        num_classes: things, without the background.
        anchors: as in `faster_rcnn.on_pyramid`.
        neck_width: channels of the pyramid.
        head_width: units of each hidden layer.
        mask_width: channels of the branch for masks.
        norms: whether the backbone's batch norms are trained.
    """
    branch = nn.Sequential(
        _convolutions(neck_width, mask_width, depth=4)
        | {"deconv": nn.ConvTranspose2d(mask_width, mask_width, 2, 2), "act": nn.ReLU()}
    )
    _draw(branch)
    branch.add_module("logits", nn.Conv2d(mask_width, num_classes + 1, 1))
    draw_normal(branch.get_submodule("logits"), std=0.001)
    parts = pyramid_parts(
        cells, backbone, num_classes=num_classes, anchors=anchors, neck_width=neck_width, head_width=head_width
    )
    return Branched(backbone, branch, "masks", cells, reader="maskrcnn", norms=norms, **parts)


def with_joints(  # noqa: PLR0913 - options of recipes
    cells: Cells,
    backbone: Backbone,
    /,
    *,
    num_classes: int = 17,
    anchors: Sequence[int] = (),
    neck_width: int = 256,
    head_width: int = 1024,
    joint_width: int = 512,
    norms: Norms = "frozen",
) -> Branched:
    """Builds Keypoint R-CNN: image (B, C, H, W) -> ProposedRegions, then `classify` and `region_maps`.

    Args:
        cells: sizes of the published anchors, and where they, regions and joints lie.
        backbone: must have maps at strides 4, 8, 16 and 32.
        num_classes: joints; the only things are people.
        anchors: as in `faster_rcnn.on_pyramid`.
        neck_width: channels of the pyramid.
        head_width: units of each hidden layer.
        joint_width: channels of the branch for joints.
        norms: whether the backbone's batch norms are trained.
    """
    branch = nn.Sequential(
        _convolutions(neck_width, joint_width, depth=8)
        | {
            "deconv": nn.ConvTranspose2d(joint_width, num_classes, 4, 2, padding=1),
            "upsample": nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        }
    )
    _draw(branch)
    parts = pyramid_parts(cells, backbone, num_classes=1, anchors=anchors, neck_width=neck_width, head_width=head_width)
    return Branched(backbone, branch, "joints", cells, reader="keypointrcnn", norms=norms, **parts)


def _convolutions(before: int, width: int, *, depth: int) -> "OrderedDict[str, nn.Module]":
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i in range(1, depth + 1):
        layers[f"conv{i}"] = nn.Conv2d(before if i == 1 else width, width, 3, padding=1)
        layers[f"act{i}"] = nn.ReLU()
    return layers


def _draw(branch: nn.Module) -> None:
    """Draws the weights of a branch, all at once; those of a deconvolution are half of He's at stride 2."""
    he_normal(branch, mode="fan_out")
    nn.init.kaiming_normal_(branch.get_submodule("deconv").get_parameter("weight"), mode="fan_out")


def _row(
    build: Any,
    backbone: str,
    params: int,
    source: str,
    *,
    side: int,
    channels: int,
    of_boxes: Literal["masks", "joints"],
) -> Variant:
    of_maps = [-(-side // stride) for stride in (*STRIDES, 64)]
    count = 3 * sum(cells**2 for cells in of_maps)
    things = 90 if backbone == "resnet50" else 20
    return Variant(
        build=build,
        kind="composed",
        backbone=backbone,
        params=params,
        source=source,
        input=(3, side, side),
        output=(*((channels, cells, cells) for cells in of_maps[:-1]), (count,), (count, 4), (4,), ()),
        classes=17 if of_boxes == "joints" else things,
        of_boxes=of_boxes,
    )


_narrow = {"neck_width": 128, "head_width": 256, "norms": "trained"}

VARIANTS = {
    "maskrcnn": _row(
        partial(with_masks, EXACT, mask_width=64, **_narrow),
        "resnet18",
        13_940_813,
        "He et al. 2017, narrower; counted by unpool summary",
        side=128,
        channels=128,
        of_boxes="masks",
    ),
    "maskrcnn_resnet50_fpn": _row(
        partial(with_masks, TORCHVISION),
        "resnet50",
        44_401_393,
        "torchvision 0.28.0, maskrcnn_resnet50_fpn",
        side=800,
        channels=256,
        of_boxes="masks",
    ),
    "keypointrcnn": _row(
        partial(with_joints, EXACT, joint_width=64, **_narrow),
        "resnet18",
        14_063_722,
        "He et al. 2017, section 5, narrower; counted by unpool summary",
        side=128,
        channels=128,
        of_boxes="joints",
    ),
    "keypointrcnn_resnet50_fpn": _row(
        partial(with_joints, TORCHVISION),
        "resnet50",
        59_137_258,
        "torchvision 0.28.0, keypointrcnn_resnet50_fpn",
        side=800,
        channels=256,
        of_boxes="joints",
    ),
}
