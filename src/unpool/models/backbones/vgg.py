"""VGG, columns A to E (Simonyan & Zisserman 2015, arXiv:1409.1556, Table 1), and torchvision's batch-norm forms.

The paper draws column A from N(0, 0.1^2) and starts the deeper columns from a trained A; here every convolution starts
from He's normal weights (arXiv:1502.01852), which need no second network, and every linear layer from N(0, 0.01^2), as
torchvision 0.28.0 has it. Column A-LRN has AlexNet's normalisation, without parameters; in the paper it does not
improve the network.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import cast

from torch import Tensor, fx, nn

from unpool.errors import DataError
from unpool.layers.conv import ConvNormAct
from unpool.layers.initialize import he_normal
from unpool.layers.norm import LocalResponseNorm
from unpool.models.catalog import Variant
from unpool.models.classification import vgg_head
from unpool.types import Backbone

Layer = Callable[[int, int, int], nn.Module]  # (in_channels, out_channels, kernel)


def conv(in_channels: int, out_channels: int, kernel: int) -> nn.Module:
    """Makes a convolution with bias and ReLU, padded so that the size is kept."""
    layer = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
    return nn.Sequential(OrderedDict(conv=layer, act=nn.ReLU()))


conv_norm = partial(ConvNormAct, bias=True)


class VGG(Backbone):
    """Stages of convolutions with a 2x2 pooling after each: image -> six maps at strides 1, 2, 4, 8, 16, 32.

    The first five maps are taken before the pooling that ends their stage, the last one after the last pooling.

    Args:
        layer: makes one convolution.
        kernels: sides of the filters, stage by stage.
        width: channels of the first stage; they double up to eight times it.
        in_channels: channels of the image.
    """

    strides = (1, 2, 4, 8, 16, 32)

    def __init__(
        self, layer: Layer, kernels: tuple[tuple[int, ...], ...], /, *, width: int = 64, in_channels: int = 3
    ) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width, 8 * width, 8 * width)
        self.channels = (*widths, widths[-1])
        self.pool = nn.MaxPool2d(2)
        self.stages = nn.ModuleList()
        for before, after, sides in zip((in_channels, *widths), widths, kernels, strict=False):
            inputs = (before, *(len(sides) - 1) * (after,))
            self.stages.append(nn.Sequential(*(layer(c, after, side) for c, side in zip(inputs, sides, strict=True))))
        he_normal(self, mode="fan_out")

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x, features = _large_enough(image), []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
            x = self.pool(x)
        return (*features, x)


def normalised(*, width: int = 64, in_channels: int = 3) -> VGG:
    """Builds column A-LRN: column A with local response norm after its first convolution, before the first map."""
    network = VGG(conv, A, width=width, in_channels=in_channels)
    cast(nn.Sequential, network.stages[0]).append(LocalResponseNorm())
    return network


@fx.wrap  # one operation of a traced network, which then refuses the same images
def _large_enough(image: Tensor) -> Tensor:
    if min(image.shape[-2:]) < VGG.strides[-1]:
        raise DataError(f"the image is {tuple(image.shape[-2:])} (H, W); VGG halves it five times: give 32 or more")
    return image


def _row(build: Callable[..., nn.Module], params: int, gmacs: float | None, source: str) -> Variant:
    return Variant(
        build=build,
        kind="backbone",
        head=vgg_head,
        params=params,
        gmacs=gmacs,
        source=source,
        input=(3, 224, 224),
        output=(1000,),
        classes=1000,
    )


A = ((3,), (3,), (3, 3), (3, 3), (3, 3))
B = ((3, 3),) * 5
C = ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1))
D = ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
E = ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3))
_PAPER = "Simonyan & Zisserman 2015, Table 1, column"
_TORCHVISION = "torchvision 0.28.0"

VARIANTS = {
    "vgg11": _row(partial(VGG, conv, A), 132_863_336, 7.60909, f"{_PAPER} A"),
    "vgg11_lrn": _row(normalised, 132_863_336, 7.60909, f"{_PAPER} A-LRN"),
    "vgg13": _row(partial(VGG, conv, B), 133_047_848, 11.30847, f"{_PAPER} B"),
    "vgg16_c": _row(partial(VGG, conv, C), 133_638_952, 11.77089, f"{_PAPER} C"),
    "vgg16": _row(partial(VGG, conv, D), 138_357_544, 15.47026, f"{_PAPER} D"),
    "vgg19": _row(partial(VGG, conv, E), 143_667_240, 19.63206, f"{_PAPER} E"),
    "vgg11_bn": _row(partial(VGG, conv_norm, A), 132_868_840, None, f"{_TORCHVISION}, vgg11_bn"),
    "vgg13_bn": _row(partial(VGG, conv_norm, B), 133_053_736, None, f"{_TORCHVISION}, vgg13_bn"),
    "vgg16_bn": _row(partial(VGG, conv_norm, D), 138_365_992, None, f"{_TORCHVISION}, vgg16_bn"),
    "vgg19_bn": _row(partial(VGG, conv_norm, E), 143_678_248, None, f"{_TORCHVISION}, vgg19_bn"),
}
