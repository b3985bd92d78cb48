"""Coordinates of joints, or of the parts of any thing, from the last map of a backbone.

DeepPose (Toshev & Szegedy 2014, arXiv:1312.4659) regresses them with AlexNet; here its head, a hidden layer and one of
coordinates, stands on any backbone.
"""

from torch import Tensor, nn

from unpool.layers.coordinates import coordinate_head
from unpool.models.catalog import Variant
from unpool.types import Backbone


class JointRegression(nn.Module):
    """A head of coordinates on the last map: image (B, C, H, W) -> (B, 2 * num_classes).

    The output is x and y of each joint in turn; the image extends from -0.5 to 0.5.

    Args:
        backbone: returns one map per stride, fine to coarse; only the last is read.
        num_classes: joints.
        hidden: units of the hidden layer.
        dropout: share of them that is dropped.
    """

    def __init__(
        self, backbone: Backbone, /, *, num_classes: int = 14, hidden: int = 512, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = coordinate_head(backbone.channels[-1], 2 * num_classes, hidden=hidden, dropout=dropout)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.backbone(image)[-1])


VARIANTS = {
    "joint_regression": Variant(
        build=JointRegression,
        kind="composed",
        backbone="resnet18",
        params=24_036_444,
        source="`unpool summary`; torchvision 0.28.0, resnet18, with a hidden layer of 512 on its last map",
        input=(3, 224, 224),
        output=(28,),
        classes=14,
    ),
}
