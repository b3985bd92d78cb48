"""SegNet and SegNet-Basic (Badrinarayanan et al. 2017, arXiv:1511.00561), as the authors' release has them.

Convolutions keep their biases before batch norm and SegNet-Basic its local response norm on the input, as in the
release; its input is 0..255, so that on normalised images that norm does next to nothing.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from unpool.layers.conv import ConvNormAct
from unpool.layers.initialize import he_normal
from unpool.layers.pooling import MaxPoolSwitches, MaxUnpool
from unpool.models.catalog import Variant


class SwitchedAutoencoder(nn.Module):
    """Stages with a pooling after each, then stages with an unpooling at the pooling's switches before each.

    (B, C, H, W) -> (B, C', H, W), any size: poolings round up and each unpooling restores the size before its pooling.

    Args:
        encoder: modules that keep the size of the map, fine to coarse.
        decoder: the same number of such modules, coarse to fine.
    """

    def __init__(self, encoder: Iterable[nn.Module], decoder: Iterable[nn.Module]) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(encoder)
        self.decoder = nn.ModuleList(decoder)
        self.pool = MaxPoolSwitches()
        self.unpool = MaxUnpool()

    def forward(self, x: Tensor) -> Tensor:
        remembered = []
        for stage in self.encoder:
            x = stage(x)
            height, width = x.shape[-2:]
            x, switches = self.pool(x)
            remembered.append((switches, (height, width)))
        for stage in self.decoder:
            switches, size_hw = remembered.pop()
            x = stage(self.unpool(x, switches, size_hw))
        return x


def _convs(channels: Sequence[int]) -> nn.Sequential:
    return nn.Sequential(*(ConvNormAct(before, after, bias=True) for before, after in pairwise(channels)))


class SegNet(nn.Module):
    """VGG-16's convolutions and their mirror image: image (B, in_channels, H, W) -> logits (B, num_classes, H, W).

    Args:
        in_channels: channels of the image.
        num_classes: logits of each pixel.
        width: channels of the first stage; they double up to eight times it.

    Attributes:
        stride: stride of the coarsest map.
    """

    stride = 32

    def __init__(self, *, in_channels: int = 3, num_classes: int = 11, width: int = 64) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width, 8 * width, 8 * width)
        depths = (2, 2, 3, 3, 3)
        inputs = (in_channels, *widths)
        encoder = [_convs((before, *depth * (w,))) for before, w, depth in zip(inputs, widths, depths, strict=False)]
        decoder = [
            _convs((*depth * (w,), before))
            for before, w, depth in zip(inputs[1:], widths[1:], depths[1:], strict=False)
        ]
        finest = nn.Sequential(*_convs((width, width)), nn.Conv2d(width, num_classes, 3, padding=1))
        self.body = SwitchedAutoencoder(encoder, [*reversed(decoder), finest])
        he_normal(self, mode="fan_in")

    def forward(self, image: Tensor) -> Tensor:
        return self.body(image)


class SegNetBasic(nn.Module):
    """Four 7x7 convolutions with poolings, four with unpoolings and without ReLU, and a 1x1 classifier.

    Image (B, in_channels, H, W) -> logits (B, num_classes, H, W).

    Args:
        in_channels: channels of the image.
        num_classes: logits of each pixel.
        width: channels of every convolution.

    Attributes:
        stride: stride of the coarsest map.
    """

    stride = 16

    def __init__(self, *, in_channels: int = 3, num_classes: int = 11, width: int = 64) -> None:
        super().__init__()
        conv = partial(ConvNormAct, kernel=7, bias=True)
        self.norm = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.body = SwitchedAutoencoder(
            [conv(in_channels if i == 0 else width, width) for i in range(4)],
            [conv(width, width, act=None) for _ in range(4)],
        )
        self.head = nn.Conv2d(width, num_classes, 1)
        he_normal(self, mode="fan_in")

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.body(self.norm(image)))


VARIANTS = {
    "segnet": Variant(
        build=SegNet,
        kind="whole",
        params=29_449_355,
        gmacs=106.7124,
        source="alexgkendall/SegNet-Tutorial, segnet_inference.prototxt",
        input=(3, 360, 480),
        output=(11, 360, 480),
        classes=11,
    ),
    "segnet_basic": Variant(
        build=SegNetBasic,
        kind="whole",
        params=1_416_587,
        gmacs=59.1888,
        source="alexgkendall/SegNet-Tutorial, segnet_basic_inference.prototxt",
        input=(3, 360, 480),
        output=(11, 360, 480),
        classes=11,
    ),
}
