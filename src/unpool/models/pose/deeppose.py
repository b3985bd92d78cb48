"""DeepPose (Toshev & Szegedy 2014, arXiv:1312.4659): AlexNet that regresses the joints, and the cascade that refines.

Coordinates are normalised as the paper's N(y; b): a box reaches from -0.5 to 0.5, from edge to edge. Differs in the
side of the image, 227 instead of the 220 that gives no 55x55 map; other sizes are averaged to the 6x6 that the hidden
layers read. The paper's count of "about 40M" parameters is not that of its layers. It does not say how weights start:
here with He's normal ones (arXiv:1502.01852), a hundredth of that in the last layer, so that an untrained network
answers close to the middle.
"""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.layers.initialize import he_normal, normal_linear
from unpool.layers.norm import LocalResponseNorm
from unpool.models.catalog import Variant
from unpool.types import CoordinateStages

SMALLEST = 67  # side of the image that leaves one pixel after the three poolings
CROP = 227  # side of the sub-images


class DeepPose(nn.Module):
    """AlexNet with coordinates instead of logits: image (B, in_channels, H, W) -> (B, 2 * num_classes).

    x and y of joint after joint, the image from -0.5 to 0.5.

    Args:
        groups: towers of the second, fourth and fifth convolution.
        in_channels: channels of the image.
        num_classes: joints.
        width: a third of the channels of the first convolution; the others are its multiples.
        dropout: share dropped after both hidden layers.
    """

    def __init__(
        self, groups: int, /, *, in_channels: int = 3, num_classes: int = 14, width: int = 32, dropout: float = 0.6
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(in_channels, 3 * width, 11, stride=4),
                act1=nn.ReLU(),
                norm1=LocalResponseNorm(),
                pool1=nn.MaxPool2d(3, stride=2),
                conv2=nn.Conv2d(3 * width, 8 * width, 5, padding=2, groups=groups),
                act2=nn.ReLU(),
                norm2=LocalResponseNorm(),
                pool2=nn.MaxPool2d(3, stride=2),
                conv3=nn.Conv2d(8 * width, 12 * width, 3, padding=1),
                act3=nn.ReLU(),
                conv4=nn.Conv2d(12 * width, 12 * width, 3, padding=1, groups=groups),
                act4=nn.ReLU(),
                conv5=nn.Conv2d(12 * width, 8 * width, 3, padding=1, groups=groups),
                act5=nn.ReLU(),
                pool5=nn.MaxPool2d(3, stride=2),
            )
        )
        self.head = nn.Sequential(
            OrderedDict(
                pool=nn.AdaptiveAvgPool2d(6),
                flatten=nn.Flatten(),
                fc6=nn.Linear(8 * width * 36, 128 * width),
                act6=nn.ReLU(),
                drop6=nn.Dropout(dropout),
                fc7=nn.Linear(128 * width, 128 * width),
                act7=nn.ReLU(),
                drop7=nn.Dropout(dropout),
            )
        )
        self.joints = nn.Linear(128 * width, 2 * num_classes)
        he_normal(self, mode="fan_in")
        normal_linear(self.joints, std=0.01 * (2 / self.joints.in_features) ** 0.5)

    def forward(self, image: Tensor) -> Tensor:
        if min(image.shape[-2:]) < SMALLEST:
            raise ValueError(
                f"the image is {tuple(image.shape[-2:])} (H, W) and nothing is left of it after three poolings: "
                f"give {SMALLEST} or more, {CROP} as published"
            )
        return self.joints(self.head(self.features(image)))


class DeepPoseCascade(nn.Module):
    """Each stage looks closely at every joint of the stage before: image (B, C, H, W) -> CoordinateStages.

    The first network sees the whole image. Each later one, which has weights of its own, sees for each joint a square
    around it, scaled to 227x227, and answers by how far the joint is from its middle; of its answers for all joints the
    joint's own is taken. The side of the square is `sigma` times the diameter of the pose, the distance between two
    opposite joints of the trunk. Places of squares carry no gradient, so that each stage's loss trains its own network.

    Args:
        stages: how many networks.
        sigma: side of the squares in diameters; the paper has 2 for LSP, 1 for FLIC.
        in_channels: channels of the image.
        num_classes: joints.
        width: as in DeepPose.
        dropout: as in DeepPose.
        torso: the joints between which the diameter is measured, from 0; the default is left shoulder and right hip in
            the order of LSP.
    """

    def __init__(
        self,
        stages: int,
        sigma: float,
        /,
        *,
        in_channels: int = 3,
        num_classes: int = 14,
        width: int = 32,
        dropout: float = 0.6,
        torso: Sequence[int] = (9, 2),
    ) -> None:
        super().__init__()
        if len(torso) != 2 or max(torso) >= num_classes:
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
        found = [first(image)]
        for network in later:
            wide = torch.promote_types(found[-1].dtype, torch.float32)  # half precision cannot tell pixels apart
            joints = found[-1].detach().to(wide).unflatten(1, (-1, 2))  # (B, K, 2)
            side = self.sides(joints, image)
            squares = crop_squares(image, joints, side)  # (B * K, C, 227, 227)
            moved = network(squares).unflatten(1, (-1, 2)).unflatten(0, joints.shape[:2])  # (B, K, K, 2)
            own = moved.diagonal(dim1=1, dim2=2).transpose(1, 2)  # (B, K, 2)
            found.append((joints + own * side[:, None]).flatten(1))
        return CoordinateStages(tuple(found))

    def sides(self, joints: Tensor, image: Tensor) -> Tensor:
        """(B, K, 2) -> (B, 2): width and height of the square around each joint, in widths and heights of the image."""
        size = joints.new_tensor((image.shape[-1], image.shape[-2]))
        across = (joints[:, self.torso[0]] - joints[:, self.torso[1]]) * size
        diameter = across.square().sum(1, keepdim=True).sqrt().clamp(min=1.0)  # a pose in one point still gets a pixel
        return self.sigma * diameter / size


def crop_squares(image: Tensor, centres: Tensor, side: Tensor) -> Tensor:
    """Squares around points, bilinear, zeros outside of the image.

    Args:
        image: (B, C, H, W).
        centres: (B, K, 2) x, y; the image reaches from -0.5 to 0.5.
        side: (B, 2) width and height, in widths and heights of the image.

    Returns:
        (B * K, C, 227, 227), the squares of one image after another.
    """
    steps = (torch.arange(CROP, device=image.device, dtype=centres.dtype) + 0.5) / CROP - 0.5
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)  # (227, 227, 2)
    places = centres[:, :, None, None] + offsets * side[:, None, None, None]  # (B, K, 227, 227, 2)
    grid = 2 * places.flatten(1, 2).to(image.dtype)  # (B, K * 227, 227, 2)
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
