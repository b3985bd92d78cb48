"""What every detector has: a backbone of which it reads some maps, frozen norms, and the numbers of its practice."""

from collections.abc import Sequence

from torch import Tensor, nn

from unpool.layers.anchors import Shape, shared_out
from unpool.layers.frozen import Norms, freeze_norms, hold_frozen
from unpool.models.dense import map_indices
from unpool.models.detection.practice import Practice
from unpool.ops.phases import phase
from unpool.types import Backbone

FOUR = (10.0, 10.0, 5.0, 5.0)  # 1 over the deviation of deltas, 0.1 and 0.2, of Fast R-CNN and SSD


class Detector(nn.Module):
    """Reads the maps of a backbone at some strides; what becomes of them is the subclass's.

    Args:
        backbone: must have maps at the strides.
        strides: of the maps that are read, fine to coarse.
        reader: name of the detector, for messages.
        norms: whether the backbone's batch norms are trained, see `freeze_norms`.
        practice: how it is trained and how it answers.

    Attributes:
        box_weights: of the deltas that answers are decoded from, see `ops.boxes.decode`.
        practice: as given.

    Raises:
        RecipeError: the backbone has no map at one of the strides.
    """

    box_weights: tuple[float, float, float, float] = FOUR

    def __init__(
        self, backbone: Backbone, *, strides: Sequence[int], reader: str, norms: Norms, practice: Practice
    ) -> None:
        super().__init__()
        self.indices = map_indices(backbone, strides, reader=reader)
        self.practice = practice
        freeze_norms(backbone, norms)
        self.backbone = backbone

    @phase("backbone")
    def read(self, image: Tensor) -> tuple[Tensor, ...]:
        """Maps of the backbone at the strides, of images (B, C, H, W)."""
        maps = self.backbone(image)
        return tuple(maps[i] for i in self.indices)

    def train(self, mode: bool = True) -> "Detector":  # noqa: FBT001, FBT002 - torch's own signature
        super().train(mode)
        hold_frozen(self.backbone)
        return self


def shapes_of(anchors: Sequence[int], published: Sequence[Sequence[Shape]]) -> Sequence[Sequence[Shape]]:
    """Shapes of the anchors of each map: those of a recipe's list, or the published ones where it is empty."""
    return shared_out(anchors, len(published)) if anchors else published


def round_up(backbone: nn.Module) -> None:
    """Sets every max pooling of a backbone to round up, in place, as Caffe's do: the last row and column are read."""
    for module in backbone.modules():
        if isinstance(module, nn.MaxPool2d):
            module.ceil_mode = True


def size_of(image: Tensor) -> tuple[int, int]:
    """Height and width of images (B, C, H, W)."""
    return image.shape[-2], image.shape[-1]


def draw_normal(module: nn.Module, *, std: float) -> None:
    """Draws the weights of every convolution and linear layer from N(0, std^2), in place; biases become 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
