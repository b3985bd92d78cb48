"""AlexNet (Krizhevsky et al. 2012), Caffe's reference network, and the later network that torchvision calls AlexNet.

Images are 227x227 and not padded: the paper's 224 does not divide. Its two GPUs are groups of channels in the second,
fourth and fifth convolution. Weights are drawn from N(0, 0.01^2); biases are 1 in those three convolutions and in the
hidden linear layers, else 0. (Caffe's copy, bvlc_alexnet, starts them at 0.1: with 1 its loss stayed flat.)

"caffenet" normalises after the pooling instead of before, and as Caffe does: the factor is divided by the number of
channels summed and the constant is 1 instead of 2. Its release draws the hidden linear layers from N(0, 0.005^2).

"alexnet_torchvision" is the one tower of Krizhevsky 2014, "One weird trick" (arXiv:1404.5997), as torchvision 0.28.0
has it: other widths, no normalisation, torch's default initial weights.

At other image sizes the last map is averaged to 6x6; poolings round down.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from torch import Tensor, fx, nn

from unpool.errors import DataError, RecipeError
from unpool.layers.norm import LocalResponseNorm
from unpool.models.catalog import Variant

LEAST = 67  # side of the smallest image whose last map has a pixel


def norm_pool() -> nn.Module:
    """Makes the paper's order: local response norm, then 3x3 pooling at stride 2."""
    return nn.Sequential(OrderedDict(norm=LocalResponseNorm(), pool=nn.MaxPool2d(3, stride=2)))


def pool_norm() -> nn.Module:
    """Makes CaffeNet's order with its constants: pooling, then local response norm."""
    return nn.Sequential(OrderedDict(pool=nn.MaxPool2d(3, stride=2), norm=LocalResponseNorm(alpha=1e-4 / 5, k=1.0)))


class AlexNet(nn.Module):
    """Five convolutions, three linear layers: image (B, in_channels, H, W) -> logits (B, num_classes).

    Args:
        reduce: makes the modules after the first and the second activation, `norm_pool` or `pool_norm`.
        groups: groups of channels in the second, fourth and fifth convolution; 1 or 2.
        in_channels: channels of the image.
        num_classes: logits.
        width: channels of the first convolution, a multiple of `groups`; the other layers keep their proportion to it.

    Raises:
        RecipeError: `width` is no multiple of `groups`.
        DataError: the image is too small for the three poolings.
    """

    def __init__(
        self,
        reduce: Callable[[], nn.Module],
        groups: int,
        /,
        *,
        in_channels: int = 3,
        num_classes: int = 1000,
        width: int = 96,
    ) -> None:
        super().__init__()
        if width % groups:
            raise RecipeError(f"width is {width} and the network has {groups} groups: give a multiple of that")
        c2, c3, c4, c5, hidden = (_in_twos(n * width, 96) for n in (256, 384, 384, 256, 4096))
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(in_channels, width, 11, stride=4),
                act1=nn.ReLU(),
                reduce1=reduce(),
                conv2=nn.Conv2d(width, c2, 5, padding=2, groups=groups),
                act2=nn.ReLU(),
                reduce2=reduce(),
                conv3=nn.Conv2d(c2, c3, 3, padding=1),
                act3=nn.ReLU(),
                conv4=nn.Conv2d(c3, c4, 3, padding=1, groups=groups),
                act4=nn.ReLU(),
                conv5=nn.Conv2d(c4, c5, 3, padding=1, groups=groups),
                act5=nn.ReLU(),
                pool5=nn.MaxPool2d(3, stride=2),
            )
        )
        self.head = nn.Sequential(
            OrderedDict(
                pool=nn.AdaptiveAvgPool2d(6),
                flatten=nn.Flatten(),
                fc6=nn.Linear(36 * c5, hidden),
                act6=nn.ReLU(),
                drop6=nn.Dropout(0.5),
                fc7=nn.Linear(hidden, hidden),
                act7=nn.ReLU(),
                drop7=nn.Dropout(0.5),
                fc8=nn.Linear(hidden, num_classes),
            )
        )
        initialize(self)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(large_enough(image, LEAST)))


ONES = ("features.conv2", "features.conv4", "features.conv5", "head.fc6", "head.fc7")  # layers whose bias starts at 1


def initialize(network: nn.Module) -> None:
    """Draws the paper's initial weights (section 5), in place: N(0, 0.01^2), biases 1 in ONES and 0 elsewhere."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(layer.bias, float(name in ONES))


class OneWeirdTrick(nn.Module):
    """torchvision's AlexNet: image (B, in_channels, H, W) -> logits (B, num_classes).

    Args:
        in_channels: channels of the image.
        num_classes: logits.
        width: channels of the first convolution; the other layers keep their proportion to it.

    Raises:
        DataError: the image is too small for the three poolings.
    """

    def __init__(self, *, in_channels: int = 3, num_classes: int = 1000, width: int = 64) -> None:
        super().__init__()
        c2, c3, c4, hidden = 3 * width, 6 * width, 4 * width, 64 * width
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(in_channels, width, 11, stride=4, padding=2),
                act1=nn.ReLU(),
                pool1=nn.MaxPool2d(3, stride=2),
                conv2=nn.Conv2d(width, c2, 5, padding=2),
                act2=nn.ReLU(),
                pool2=nn.MaxPool2d(3, stride=2),
                conv3=nn.Conv2d(c2, c3, 3, padding=1),
                act3=nn.ReLU(),
                conv4=nn.Conv2d(c3, c4, 3, padding=1),
                act4=nn.ReLU(),
                conv5=nn.Conv2d(c4, c4, 3, padding=1),
                act5=nn.ReLU(),
                pool5=nn.MaxPool2d(3, stride=2),
            )
        )
        self.head = nn.Sequential(
            OrderedDict(
                pool=nn.AdaptiveAvgPool2d(6),
                flatten=nn.Flatten(),
                drop6=nn.Dropout(0.5),
                fc6=nn.Linear(36 * c4, hidden),
                act6=nn.ReLU(),
                drop7=nn.Dropout(0.5),
                fc7=nn.Linear(hidden, hidden),
                act7=nn.ReLU(),
                fc8=nn.Linear(hidden, num_classes),
            )
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(large_enough(image, LEAST - 4)))  # two rows of padding on each side


def _in_twos(part: int, whole: int) -> int:
    """part / whole rounded down to an even number, at least 2."""
    return max(2, part // whole // 2 * 2)


@fx.wrap  # one operation of a traced network, which then refuses the same images
def large_enough(image: Tensor, least: int) -> Tensor:
    if min(image.shape[-2:]) < least:
        raise DataError(
            f"the image is {tuple(image.shape[-2:])} (H, W); AlexNet reduces it by 32: give {least} or more"
        )
    return image


def _row(build: Callable[..., nn.Module], params: int, gmacs: float, source: str, *, size: int = 227) -> Variant:
    return Variant(
        build=build,
        kind="whole",
        params=params,
        gmacs=gmacs,
        source=source,
        input=(3, size, size),
        output=(1000,),
        classes=1000,
    )


VARIANTS = {
    "alexnet": _row(partial(AlexNet, norm_pool, 1), 62_378_344, 1.13526, "Krizhevsky et al. 2012 on one tower"),
    "alexnet_grouped": _row(partial(AlexNet, norm_pool, 2), 60_965_224, 0.72441, "Krizhevsky et al. 2012, Figure 2"),
    "caffenet": _row(partial(AlexNet, pool_norm, 2), 60_965_224, 0.72441, "BVLC/caffe, bvlc_reference_caffenet"),
    "alexnet_torchvision": _row(OneWeirdTrick, 61_100_840, 0.71419, "torchvision 0.28.0, alexnet", size=224),
}
