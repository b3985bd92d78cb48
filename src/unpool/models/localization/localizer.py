"""Localisation as regression: a classifier and, beside its head, one that regresses the corners of boxes.

The head of the boxes reads the last map, after the last convolution, as in OverFeat (Sermanet et al. 2014,
arXiv:1312.6229) and VGG (Simonyan & Zisserman 2015, arXiv:1409.1556, appendix A), or the last hidden layer ("last FC"),
as in DeepPose (arXiv:1312.4659) and R-CNN (arXiv:1311.2524). It gives one box for all classes, 4 numbers, or one for
each class, 4 K. Differs from VGG, whose numbers are centre, width and height. On a backbone whose classifier has no
hidden layer, such as ResNet, both heads share a new one, whose size no paper has.
"""

from functools import partial
from typing import Literal, cast

from torch import Tensor, nn

from unpool.layers.coordinates import coordinate_head, coordinate_layer, hidden_layer
from unpool.layers.initialize import normal_linear
from unpool.models.catalog import Variant
from unpool.models.classification import linear_head, vgg_head
from unpool.types import Backbone, LocatedBoxes

Boxes = Literal["agnostic", "per_class"]  # of each thing one box for all classes, or one for each


def shapes(boxes: Boxes, num_classes: int, things: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shapes of scores and boxes of one image in LocatedBoxes.

    >>> shapes("agnostic", 3, 1), shapes("per_class", 3, 2)
    (((3,), (4,)), ((2, 3), (2, 3, 4)))
    """
    each = (things,) if things > 1 else ()
    return (*each, num_classes), (*each, *((num_classes,) if boxes == "per_class" else ()), 4)


def both_heads(head: nn.Sequential, locate: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and numbers from what a classifier's head reads: `locate` reads the layer before the head's last one."""
    *hidden, last = head
    for layer in hidden:
        x = layer(x)
    return last(x), locate(x)


class MapLocalizer(nn.Module):
    """Both heads on the last map: image (B, C, H, W) -> LocatedBoxes.

    Args:
        boxes: "agnostic" or "per_class".
        backbone: returns maps, fine to coarse; only the last is read.
        num_classes: scores of each thing.
        things: that each image shows.
        hidden: units of the layer between the map and the boxes.
        dropout: share of them that is dropped.
    """

    def __init__(
        self,
        boxes: Boxes,
        backbone: Backbone,
        /,
        *,
        num_classes: int = 1000,
        things: int = 1,
        hidden: int = 512,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.scores, self.boxes = shapes(boxes, num_classes, things)
        channels, numbers = backbone.channels[-1], 4 * things * (num_classes if boxes == "per_class" else 1)
        self.backbone = backbone
        self.head = linear_head(channels, things * num_classes)
        self.locate = coordinate_head(channels, numbers, hidden=hidden, dropout=dropout)

    def forward(self, image: Tensor) -> LocatedBoxes:
        x = self.backbone(image)[-1]
        return LocatedBoxes(self.head(x).unflatten(1, self.scores), self.locate(x).unflatten(1, self.boxes))


class HiddenLocalizer(nn.Module):
    """Both heads on the last hidden layer: image (B, C, H, W) -> LocatedBoxes.

    Args:
        backbone: returns maps, fine to coarse; only the last is read.
        head: from the last map to scores; its last layer is linear.
        boxes: "agnostic" or "per_class".
        num_classes: scores of each thing.
        things: that each image shows.
    """

    def __init__(self, backbone: Backbone, head: nn.Sequential, *, boxes: Boxes, num_classes: int, things: int) -> None:
        super().__init__()
        self.scores, self.boxes = shapes(boxes, num_classes, things)
        numbers = 4 * things * (num_classes if boxes == "per_class" else 1)
        self.backbone = backbone
        self.head = head
        self.locate = coordinate_layer(cast(nn.Linear, head[-1]).in_features, numbers)

    def forward(self, image: Tensor) -> LocatedBoxes:
        scores, boxes = both_heads(self.head, self.locate, self.backbone(image)[-1])
        return LocatedBoxes(scores.unflatten(1, self.scores), boxes.unflatten(1, self.boxes))


def on_hidden_layer(
    boxes: Boxes,
    backbone: Backbone,
    /,
    *,
    num_classes: int = 1000,
    things: int = 1,
    hidden: int = 512,
    dropout: float = 0.5,
) -> HiddenLocalizer:
    """Builds the localizer on a hidden layer of `hidden` units on the last map, of which `dropout` are dropped."""
    head = hidden_layer(backbone.channels[-1], hidden, dropout=dropout)
    scores = nn.Linear(hidden, things * num_classes)
    normal_linear(scores)
    head.add_module("linear", scores)
    return HiddenLocalizer(backbone, head, boxes=boxes, num_classes=num_classes, things=things)


def on_vgg(boxes: Boxes, backbone: Backbone, /, *, num_classes: int = 1000, things: int = 1) -> HiddenLocalizer:
    """Builds the localizer on VGG's second hidden layer, which has eight units for each channel of the last map."""
    head = cast(nn.Sequential, vgg_head(backbone.channels[-1], things * num_classes))
    return HiddenLocalizer(backbone, head, boxes=boxes, num_classes=num_classes, things=things)


def row(
    build: partial[nn.Module],
    params: int,
    source: str,
    *,
    backbone: str,
    kind: Literal["composed", "whole"] = "composed",
    size: int = 224,
) -> Variant:
    """Makes the row of a localizer of ImageNet's classes; `build` has "agnostic" or "per_class" as its first."""
    return Variant(
        build=build,
        kind=kind,
        backbone=backbone,
        params=params,
        source=source,
        input=(3, size, size),
        output=shapes(build.args[0], 1000, 1),
        classes=1000,
    )


_MAP = "`unpool summary`; torchvision 0.28.0, resnet18, with a hidden layer of 512 on its last map"
_HIDDEN = "`unpool summary`; torchvision 0.28.0, resnet18, with a hidden layer of 512 for both heads"
_VGG = "Simonyan & Zisserman 2015, Table 1, column D, with a layer of boxes on fc7"

VARIANTS = {
    "localizer": row(partial(MapLocalizer, "agnostic"), 24_537_132, _MAP, backbone="resnet18"),
    "localizer_per_class": row(partial(MapLocalizer, "per_class"), 26_587_080, _MAP, backbone="resnet18"),
    "localizer_fc": row(partial(on_hidden_layer, "agnostic"), 24_537_132, _HIDDEN, backbone="resnet18"),
    "localizer_fc_per_class": row(partial(on_hidden_layer, "per_class"), 26_587_080, _HIDDEN, backbone="resnet18"),
    "vgg16_localizer": row(partial(on_vgg, "agnostic"), 138_357_544 + 16_388, _VGG, backbone="vgg16"),
    "vgg16_localizer_per_class": row(partial(on_vgg, "per_class"), 138_357_544 + 16_388_000, _VGG, backbone="vgg16"),
}
