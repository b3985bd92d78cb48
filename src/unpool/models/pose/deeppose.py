"""DeepPose (Toshev & Szegedy 2014, arXiv:1312.4659): AlexNet regresses the joints, a cascade refines them.

Coordinates are normalised as the paper's N(y; b): a box extends from -0.5 to 0.5, from edge to edge. Differs in the
side of the image, 227, since the paper's 220 does not lead to its 55x55 map; at other sizes the last map is averaged to
the 6x6 that the hidden layers read. The paper's count of "about 40M" parameters is not that of its layers. The paper
has no initial weights: here they are He's normal ones (arXiv:1502.01852), divided by 100 in the last layer, so that an
untrained network predicts positions close to the middle. The share of dropped hidden units, 0.6, is quoted from memory.

The cascade is trained as a whole: a later stage reads squares around the predictions of the stage before in the same
step. The paper trains its stages one after the other, on squares around randomly displaced joints, with the errors of
the stage before on the training images (its simulated predictions); that is not done here.
"""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor, nn

from unpool.errors import DataError, RecipeError
from unpool.layers.coordinates import near_middle
from unpool.layers.initialize import he_normal
from unpool.layers.norm import LocalResponseNorm
from unpool.limits import PAIR
from unpool.models.catalog import Variant
from unpool.types import CoordinateStages

JOINT = Interval(ge=0, le=1000)

LEAST = 67  # side of the smallest image whose last map has a pixel
CROP = 227  # side of the sub-images
LSP_JOINTS, LSP_TORSO = 14, (9, 2)  # left shoulder and right hip in the order of LSP


def norm_pool() -> nn.Module:
    """Makes local response norm and 3x3 pooling at stride 2."""
    return nn.Sequential(OrderedDict(norm=LocalResponseNorm(), pool=nn.MaxPool2d(3, stride=2)))


class DeepPose(nn.Module):
    """AlexNet with coordinates instead of logits: image (B, in_channels, H, W) -> (B, 2 * num_classes).

    The output is x and y of each joint in turn; the image extends from -0.5 to 0.5. Layers have the names of
    `alexnet`'s.

    Args:
        groups: groups of channels in the second, fourth and fifth convolution; 1 or 2.
        in_channels: channels of the image.
        num_classes: joints.
        width: channels of the first convolution; the other layers keep their proportion to it.
        dropout: share dropped after both hidden layers.

    Raises:
        DataError: the image is smaller than 67x67.
    """

    def __init__(
        self, groups: int, /, *, in_channels: int = 3, num_classes: int = 14, width: int = 96, dropout: float = 0.6
    ) -> None:
        super().__init__()
        c2, c3, hidden = (max(2, n * width // 96 // 2 * 2) for n in (256, 384, 4096))  # even, for two groups
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(in_channels, width, 11, stride=4),
                act1=nn.ReLU(),
                reduce1=norm_pool(),
                conv2=nn.Conv2d(width, c2, 5, padding=2, groups=groups),
                act2=nn.ReLU(),
                reduce2=norm_pool(),
                conv3=nn.Conv2d(c2, c3, 3, padding=1),
                act3=nn.ReLU(),
                conv4=nn.Conv2d(c3, c3, 3, padding=1, groups=groups),
                act4=nn.ReLU(),
                conv5=nn.Conv2d(c3, c2, 3, padding=1, groups=groups),
                act5=nn.ReLU(),
                pool5=nn.MaxPool2d(3, stride=2),
            )
        )
        last = nn.Linear(hidden, 2 * num_classes)
        self.head = nn.Sequential(
            OrderedDict(
                pool=nn.AdaptiveAvgPool2d(6),
                flatten=nn.Flatten(),
                fc6=nn.Linear(36 * c2, hidden),
                act6=nn.ReLU(),
                drop6=nn.Dropout(dropout),
                fc7=nn.Linear(hidden, hidden),
                act7=nn.ReLU(),
                drop7=nn.Dropout(dropout),
                fc8=last,
            )
        )
        he_normal(self, mode="fan_in")
        near_middle(last)

    def forward(self, image: Tensor) -> Tensor:
        if min(image.shape[-2:]) < LEAST:
            raise DataError(
                f"the image is {tuple(image.shape[-2:])} (H, W); AlexNet reduces it by 32: give {LEAST} or more, "
                f"{CROP} as published"
            )
        return self.head(self.features(image))


class DeepPoseCascade(nn.Module):
    """Networks that refine each other's joints: image (B, C, H, W) -> CoordinateStages, (B, 2 * num_classes) each.

    The first network reads the whole image. Each later one, with separate weights, reads for each joint the square
    around its predicted position, scaled to 227x227, and predicts the offset of the joint from the square's middle;
    its outputs for the other joints are not used. The side of the square is `sigma` times the diameter of the pose, the
    distance between two opposite joints of the trunk. Positions of squares have no gradient, so that the loss of a
    stage trains the network of that stage only.

    Args:
        stages: number of networks.
        sigma: side of the squares in diameters of the pose.
        in_channels: channels of the image.
        num_classes: joints.
        width: as in DeepPose.
        dropout: as in DeepPose.
        torso: indices of the two joints between which the diameter is measured; None is left shoulder and right hip in
            the order of LSP, for its 14 joints only. `build` does not accept index 0: use the other two opposite
            joints then.

    Raises:
        RecipeError: `torso` is None and the joints are not LSP's, or it is not two different joints.
        DataError: the image is smaller than 67x67.
    """

    def __init__(
        self,
        stages: int,
        sigma: float,
        /,
        *,
        in_channels: int = 3,
        num_classes: int = 14,
        width: int = 96,
        dropout: float = 0.6,
        torso: Annotated[Sequence[Annotated[int, JOINT]], PAIR] | None = None,
    ) -> None:
        super().__init__()
        if torso is None and num_classes != LSP_JOINTS:
            raise RecipeError(
                f"the pose has {num_classes} joints and torso is not set, whose default is for the {LSP_JOINTS} of "
                "LSP: set model.torso to the numbers of left shoulder and right hip"
            )
        torso = LSP_TORSO if torso is None else torso
        if len(torso) != 2 or len(set(torso)) != 2 or not set(torso) <= set(range(num_classes)):
            raise RecipeError(
                f"torso is {list(torso)} and the pose has {num_classes} joints, 0 to {num_classes - 1}: name two "
                "opposite joints of the trunk, such as left shoulder and right hip"
            )
        build = partial(DeepPose, 1, in_channels=in_channels, num_classes=num_classes, width=width, dropout=dropout)
        self.stages = nn.ModuleList(build() for _ in range(stages))
        self.torso = (int(torso[0]), int(torso[1]))
        self.sigma = sigma

    def forward(self, image: Tensor) -> CoordinateStages:
        first, *later = self.stages
        predictions = [first(image)]
        for network in later:
            wide = torch.promote_types(predictions[-1].dtype, torch.float32)  # half precision cannot tell pixels apart
            joints = predictions[-1].detach().to(wide).unflatten(1, (-1, 2))  # (B, K, 2)
            side = self.sides(joints, image)
            squares = crop_squares(image, joints, side)  # (B * K, C, 227, 227)
            moved = network(squares).unflatten(1, (-1, 2)).unflatten(0, joints.shape[:2])  # (B, K, K, 2)
            offsets = moved.diagonal(dim1=1, dim2=2).transpose(1, 2)  # (B, K, 2), of each joint in its square
            predictions.append((joints + offsets * side[:, None]).flatten(1))
        return CoordinateStages(tuple(predictions))

    def sides(self, joints: Tensor, image: Tensor) -> Tensor:
        """Returns width and height (B, 2) of the squares, in widths and heights of the image, from joints (B, K, 2)."""
        height, width = image.shape[-2:]
        x, y = (joints[:, self.torso[0]] - joints[:, self.torso[1]]).unbind(1)
        side = self.sigma * torch.hypot(x * width, y * height).clamp(min=1.0)  # a pose in one point still gets a pixel
        return torch.stack([side / width, side / height], dim=1)


def crop_squares(image: Tensor, centres: Tensor, side: Tensor) -> Tensor:
    """Crops squares around points from images and resizes them bilinearly, with zeros outside of the image.

    Args:
        image: (B, C, H, W).
        centres: (B, K, 2) x, y; the image extends from -0.5 to 0.5.
        side: (B, 2) width and height, in widths and heights of the image.

    Returns:
        (B * K, C, 227, 227), the squares of one image after another.
    """
    steps = (torch.arange(CROP, device=image.device, dtype=centres.dtype) + 0.5) / CROP - 0.5
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)  # (227, 227, 2)
    positions = centres[:, :, None, None] + offsets * side[:, None, None, None]  # (B, K, 227, 227, 2)
    grid = 2 * positions.flatten(1, 2).to(image.dtype)  # (B, K * 227, 227, 2)
    squares = nn.functional.grid_sample(image, grid, align_corners=False)
    return squares.unflatten(2, (-1, CROP)).transpose(1, 2).flatten(0, 1)


_PAPER = "Toshev & Szegedy 2014, section 3"

VARIANTS = {
    "deeppose": Variant(
        build=partial(DeepPose, 1),
        kind="whole",
        params=58_396_060,
        gmacs=1.13127,
        source=f"{_PAPER}.1, one tower, image of 227",
        input=(3, 227, 227),
        output=(28,),
        classes=14,
    ),
    "deeppose_grouped": Variant(
        build=partial(DeepPose, 2),
        kind="whole",
        params=56_982_940,
        gmacs=0.72043,
        source=f"{_PAPER}.1, the two towers of AlexNet",
        input=(3, 227, 227),
        output=(28,),
        classes=14,
    ),
    "deeppose3": Variant(
        build=partial(DeepPoseCascade, 3, 2.0),
        kind="whole",
        params=3 * 58_396_060,
        gmacs=32.80697,
        source=f"{_PAPER}.2, three stages: 29 = 1 + 14 + 14 images of 227",
        input=(3, 227, 227),
        output=((28,),) * 3,
        classes=14,
    ),
}
