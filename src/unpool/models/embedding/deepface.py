"""DeepFace (Taigman et al. 2014, section 3): two convolutions, three locally connected layers, two linear layers.

`deepface` is the classifier of the 4,030 people that it was trained with (F8); `deepface_f7` ends with the 4,096
numbers that the paper compares (F7). A locally connected layer has filters and a bias of its own at each position, so
that the network takes one size of image, and faces must lie in one position in it. The paper brings them there by a 3D
model of the face (section 2), which is left out here: give crops that are aligned. M2 is padded by one pixel, so that
142 pixels become the 71 of the paper. Weights start as N(0, 0.01^2) and biases as 0.5 (section 3.2). The paper divides
each number of F7 by its largest value in training before the length is made 1; that is left out, and so is the dropout
of F7 in `deepface_f7`.
"""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from unpool.errors import DataError, RecipeError
from unpool.layers.local import LocallyConnected
from unpool.models.catalog import Variant


class DeepFaceFeatures(nn.Module):
    """DeepFace to F7: image (B, in_channels, H, W) of one size -> (B, num_classes), none of them negative.

    Args:
        in_channels: channels of the image.
        num_classes: numbers of F7.
        width: channels of C3 and of the locally connected layers; C1 has twice as many.
        size_hw: height and width of the image; the network takes no other size.

    Raises:
        RecipeError: `size_hw` is not two numbers, or too small for the layers.
        DataError: the image has another size.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int = 4096,
        width: int = 16,
        size_hw: Sequence[int] = (152, 152),
    ) -> None:
        super().__init__()
        if len(size_hw) != 2:
            raise RecipeError(f"size_hw is {list(size_hw)}; give two numbers, the height and width of the images")
        self.size_hw = (int(size_hw[0]), int(size_hw[1]))
        sizes = [_sides(side) for side in self.size_hw]
        c3, l4, l5, l6 = zip(*sizes, strict=True)
        self.features = nn.Sequential(
            OrderedDict(
                c1=nn.Conv2d(in_channels, 2 * width, 11),
                act1=nn.ReLU(),
                m2=nn.MaxPool2d(3, stride=2, padding=1),
                c3=nn.Conv2d(2 * width, width, 9),
                act3=nn.ReLU(),
                l4=LocallyConnected(width, width, c3, 9),
                act4=nn.ReLU(),
                l5=LocallyConnected(width, width, l4, 7, stride=2),
                act5=nn.ReLU(),
                l6=LocallyConnected(width, width, l5, 5),
                act6=nn.ReLU(),
            )
        )
        self.f7 = nn.Sequential(
            OrderedDict(flatten=nn.Flatten(), linear=nn.Linear(width * l6[0] * l6[1], num_classes), act=nn.ReLU())
        )
        initialize(self)

    def forward(self, image: Tensor) -> Tensor:
        if tuple(image.shape[-2:]) != self.size_hw:
            raise DataError(
                f"the image is {tuple(image.shape[-2:])} (H, W) and this DeepFace takes {self.size_hw} only, since its "
                "filters belong to positions: set data.size to it, or the option size_hw to the size of the images"
            )
        return self.f7(self.features(image))


class DeepFace(nn.Module):
    """DeepFace with its classifier F8: image (B, in_channels, H, W) of one size -> logits (B, num_classes).

    Args:
        in_channels: channels of the image.
        num_classes: people.
        width: as in DeepFaceFeatures.
        size_hw: as in DeepFaceFeatures.
        hidden: numbers of F7.
        dropout: share of them that is dropped in training.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int = 4030,
        width: int = 16,
        size_hw: Sequence[int] = (152, 152),
        hidden: int = 4096,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.body = DeepFaceFeatures(in_channels=in_channels, num_classes=hidden, width=width, size_hw=size_hw)
        self.drop = nn.Dropout(dropout)
        self.f8 = nn.Linear(hidden, num_classes)
        initialize(self.f8)

    def forward(self, image: Tensor) -> Tensor:
        return self.f8(self.drop(self.body(image)))


def initialize(module: nn.Module) -> None:
    """Draws weights from N(0, 0.01^2) and sets biases to 0.5, in place (section 3.2)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | LocallyConnected) and layer.bias is not None:
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(layer.bias, 0.5)


def _sides(side: int) -> tuple[int, int, int, int]:
    """A side of the map after C3, L4, L5 and L6.

    Raises:
        RecipeError: the side of the image is too small.
    """
    pooled = (side - 10 + 2 - 3) // 2 + 1
    c3 = pooled - 8
    l4 = c3 - 8
    l5 = (l4 - 7) // 2 + 1
    l6 = l5 - 4
    if l6 < 1:
        raise RecipeError(f"size_hw has a side of {side} pixels, too small for the layers of DeepFace: take 71 or more")
    return c3, l4, l5, l6


VARIANTS = {
    "deepface": Variant(
        build=DeepFace,
        kind="whole",
        params=118_923_774,
        source="Taigman et al. 2014, Figure 2: 11,648 + 41,488 + 62,774,800 + 7,850,000 + 2,829,456 + 28,905,472 + "
        "16,510,910, biases at each position",
        input=(3, 152, 152),
        output=(4030,),
        classes=4030,
    ),
    "deepface_f7": Variant(
        build=DeepFaceFeatures,
        kind="whole",
        params=118_923_774 - 16_510_910,
        source="Taigman et al. 2014, Figure 2, without F8",
        input=(3, 152, 152),
        output=(4096,),
        classes=4096,
    ),
}
