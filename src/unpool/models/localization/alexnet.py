"""AlexNet (Krizhevsky et al. 2012) with a layer of boxes on its last hidden layer, as the lecture attaches it."""

from functools import partial
from typing import cast

from torch import Tensor, nn

from unpool.layers.coordinates import coordinate_layer
from unpool.models.classifiers.alexnet import LEAST, AlexNet, large_enough, norm_pool
from unpool.models.localization.localizer import Boxes, both_heads, row, shapes
from unpool.types import LocatedBoxes


class AlexNetLocalizer(nn.Module):
    """AlexNet on one tower and a linear layer on its fc7: image (B, in_channels, H, W) -> LocatedBoxes.

    The layers of AlexNet have the names of `alexnet`'s.

    Args:
        boxes: "agnostic" or "per_class".
        in_channels: channels of the image.
        num_classes: scores of each thing.
        things: that each image shows.
        width: as in AlexNet.

    Raises:
        DataError: the image is too small for the three poolings.
    """

    def __init__(
        self, boxes: Boxes, /, *, in_channels: int = 3, num_classes: int = 1000, things: int = 1, width: int = 96
    ) -> None:
        super().__init__()
        self.scores, self.boxes = shapes(boxes, num_classes, things)
        network = AlexNet(norm_pool, 1, in_channels=in_channels, num_classes=things * num_classes, width=width)
        self.features, self.head = network.features, network.head
        numbers = 4 * things * (num_classes if boxes == "per_class" else 1)
        self.locate = coordinate_layer(cast(nn.Linear, network.head[-1]).in_features, numbers)

    def forward(self, image: Tensor) -> LocatedBoxes:
        scores, boxes = both_heads(self.head, self.locate, self.features(large_enough(image, LEAST)))
        return LocatedBoxes(scores.unflatten(1, self.scores), boxes.unflatten(1, self.boxes))


_ON_FC7 = partial(
    row,
    source="Krizhevsky et al. 2012 on one tower, with a layer of boxes on fc7",
    backbone="alexnet",
    kind="whole",
    size=227,
)

VARIANTS = {
    "alexnet_localizer": _ON_FC7(partial(AlexNetLocalizer, "agnostic"), 62_378_344 + 16_388),
    "alexnet_localizer_per_class": _ON_FC7(partial(AlexNetLocalizer, "per_class"), 62_378_344 + 16_388_000),
}
