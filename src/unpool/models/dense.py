"""Segmentation networks made of a backbone and a head that reads one of its maps."""

from collections.abc import Sequence

from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.types import Auxiliary, Backbone


class Dense(nn.Module):
    """Logits of the last map of a backbone, bilinearly at the size of the image: (B, C, H, W) -> (B, N, H, W).

    Args:
        backbone: gives the map.
        head: from the map to logits of its size.
        align_corners: corners of the map on corners of the image, instead of edges on edges.

    Attributes:
        stride: stride of the coarsest map.
    """

    def __init__(self, backbone: Backbone, head: nn.Module, *, align_corners: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.align_corners = align_corners
        self.stride = max(backbone.strides)

    def forward(self, image: Tensor) -> Tensor:
        return resize(self.head(self.backbone(image)[-1]), image, align_corners=self.align_corners)


class DenseAuxiliary(Dense):
    """The same network with a head on an earlier map beside it: image -> Auxiliary of logits (B, N, H, W), one more.

    Args:
        backbone: gives the maps.
        head: from the last map to logits of its size.
        auxiliary: from map `place` to logits of its size.
        place: index of the auxiliary head's map.
        align_corners: as in Dense.
    """

    def __init__(
        self, backbone: Backbone, head: nn.Module, auxiliary: nn.Module, *, place: int, align_corners: bool = False
    ) -> None:
        super().__init__(backbone, head, align_corners=align_corners)
        self.auxiliary = auxiliary
        self.place = place

    def forward(self, image: Tensor) -> Auxiliary:  # pyright: ignore[reportIncompatibleMethodOverride]
        maps = self.backbone(image)
        logits = resize(self.head(maps[-1]), image, align_corners=self.align_corners)
        beside = resize(self.auxiliary(maps[self.place]), image, align_corners=self.align_corners)
        return Auxiliary(logits, (beside,))


def resize(x: Tensor, like: Tensor, *, align_corners: bool = False) -> Tensor:
    """(B, C, h, w) -> (B, C, H, W): bilinearly to the size of `like`."""
    return nn.functional.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=align_corners)


def places_of(backbone: Backbone, strides: Sequence[int], *, reader: str) -> tuple[int, ...]:
    """Index of the backbone's map at each stride.

    Args:
        backbone: as it was before its strides were changed to dilation.
        strides: of the maps that are read.
        reader: who reads them, for the message.

    Raises:
        RecipeError: there is no map at one of the strides.
    """
    missing = [stride for stride in strides if stride not in backbone.strides]
    if missing:
        raise RecipeError(
            f"{reader} reads the maps at strides {', '.join(map(str, strides))}, and this backbone has none at "
            f"{', '.join(map(str, missing))} (it has {', '.join(map(str, backbone.strides))}): choose another backbone"
        )
    return tuple(backbone.strides.index(stride) for stride in strides)
