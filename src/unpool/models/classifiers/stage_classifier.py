"""A linear classifier on the mean of one map of a backbone: how far each stage has what a new task needs.

Yosinski et al. 2014 (arXiv:1411.1792); Zeiler and Fergus 2014 (arXiv:1311.2901, Table 7), who had support vector
machines on each layer. Later stages are there, and run, without effect.
"""

from torch import Tensor, nn

from unpool.models.catalog import Variant
from unpool.models.classification import linear_head
from unpool.models.dense import map_indices
from unpool.types import Backbone


class StageClassifier(nn.Module):
    """A backbone and a linear layer on the global average of one of its maps: image (B, C, H, W) -> (B, num_classes).

    Args:
        backbone: must have a map at `at_stride`.
        num_classes: logits of each image.
        at_stride: pixels of the image between neighbouring positions of the map that is read.
    """

    def __init__(self, backbone: Backbone, /, *, num_classes: int = 1000, at_stride: int = 32) -> None:
        super().__init__()
        (self.index,) = map_indices(backbone, (at_stride,), reader="stage_classifier")
        self.backbone = backbone
        self.head = linear_head(backbone.channels[self.index], num_classes)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.backbone(image)[self.index])


VARIANTS = {
    "stage_classifier": Variant(
        build=StageClassifier,
        kind="composed",
        backbone="resnet50",
        params=25_557_032,
        source="torchvision 0.28.0, resnet50, which it is at its last map",
        input=(3, 224, 224),
        output=(1000,),
        classes=1000,
    ),
}
