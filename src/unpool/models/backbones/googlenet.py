"""GoogLeNet (Szegedy et al. 2015, arXiv:1409.4842, Table 1), with batch norm, and as torchvision has it.

Details that the paper leaves open are those of Caffe's release: poolings round up, local response norm has the factor
1e-4 / 5 and the constant 1, weights are uniform with variance 1 / fan-in, biases start at 0.2 and at 0 in the last
layer. The networks with auxiliary heads are in `models/classifiers/googlenet_auxiliary.py`.

"googlenet_bn" has batch norm after every convolution instead of biases and local response norm. "googlenet_torchvision"
has in addition the differences of torchvision 0.28.0: 3x3 filters where the paper has 5x5, a last pooling of 2x2, 1e-3
in its norms, a dropout of 0.2. Its published weights need images normalised with mean and deviation 0.5. Both start
from He's normal weights (arXiv:1502.01852).
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import cast

from torch import Tensor, fx, nn

from unpool.errors import DataError
from unpool.layers.inception import Inception, Widths
from unpool.layers.norm import LocalResponseNorm
from unpool.models.catalog import Variant
from unpool.models.classification import dropout_head
from unpool.types import Backbone

MODULES = {
    "3a": Widths(64, 96, 128, 16, 32, 32),
    "3b": Widths(128, 128, 192, 32, 96, 64),
    "4a": Widths(192, 96, 208, 16, 48, 64),
    "4b": Widths(160, 112, 224, 24, 64, 64),
    "4c": Widths(128, 128, 256, 24, 64, 64),
    "4d": Widths(112, 144, 288, 32, 64, 64),
    "4e": Widths(256, 160, 320, 32, 128, 128),
    "5a": Widths(256, 160, 320, 32, 128, 128),
    "5b": Widths(384, 192, 384, 48, 128, 128),
}
STEM = 64  # filters of the first convolution in the paper's table, MODULES
LEAST = 31  # side of the smallest image whose last map has a pixel


Layer = Callable[..., nn.Module]  # (in_channels, out_channels, kernel, stride=1)


def conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Module:
    """Makes a convolution with bias and ReLU; initial weights are those of Caffe's release."""
    layer = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2)
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")
    nn.init.constant_(cast(Tensor, layer.bias), 0.2)
    return nn.Sequential(OrderedDict(conv=layer, act=nn.ReLU()))


def conv_norm(in_channels: int, out_channels: int, kernel: int, stride: int = 1, *, eps: float = 1e-5) -> nn.Module:
    """Makes a convolution with batch norm and ReLU."""
    layer = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(OrderedDict(conv=layer, norm=nn.BatchNorm2d(out_channels, eps=eps), act=nn.ReLU()))


class GoogLeNet(Backbone):
    """Stem and nine Inception modules: image (B, in_channels, H, W) -> five maps at strides 2, 4, 8, 16, 32.

    Each map is taken before the pooling that follows it.

    Args:
        layer: makes one convolution with its norm and activation.
        norm: makes the module before and after the second stage's convolutions.
        large: side of the filters in the third branch of each module.
        last_pool: side of the last pooling's window.
        width: channels of the first convolution; all others keep the paper's proportion to it.
        in_channels: channels of the image.

    Attributes:
        taps: names of the modules whose output `tapped` returns in addition to the maps.
        tap_channels: channels of these outputs.

    Raises:
        DataError: the image is smaller than 31x31, too small for the four poolings.
    """

    strides = (2, 4, 8, 16, 32)
    taps: tuple[str, ...] = ("4a", "4d")

    def __init__(
        self,
        layer: Layer,
        norm: Callable[[], nn.Module],
        large: int = 5,
        last_pool: int = 3,
        /,
        *,
        width: int = STEM,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        rows = {name: scaled(row, width) for name, row in MODULES.items()}
        self.channels = (width, 3 * width, *(rows[last].out_channels for last in ("3b", "4e", "5b")))
        self.tap_channels = tuple(rows[name].out_channels for name in self.taps)
        self.pools = nn.ModuleList(nn.MaxPool2d(side, stride=2, ceil_mode=True) for side in (3, 3, 3, last_pool))
        first = OrderedDict(conv1=layer(in_channels, width, 7, 2))
        second = OrderedDict(
            norm1=norm(), reduce=layer(width, width, 1), conv2=layer(width, 3 * width, 3), norm2=norm()
        )
        self.stages = nn.ModuleList([nn.Sequential(first), nn.Sequential(second)])
        for number, before in zip("345", self.channels[1:], strict=False):
            stage, channels = nn.Sequential(), before
            for name, row in rows.items():
                if name[0] == number:
                    stage.add_module(name, Inception(channels, row, layer=layer, large=large))
                    channels = row.out_channels
            self.stages.append(stage)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.tapped(image)[0]

    def tapped(self, image: Tensor) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Returns the maps, and the outputs of the modules named in `taps`, by name."""
        x, features, tapped = _large_enough(image), [], {}
        for i, stage in enumerate(self.stages):
            x = self.pools[i - 1](x) if i else x
            for name, part in stage.named_children():
                x = part(x)
                if name in self.taps:
                    tapped[name] = x
            features.append(x)
        return tuple(features), tapped


@fx.wrap  # one operation of a traced network, which then refuses the same images
def _large_enough(image: Tensor) -> Tensor:
    if min(image.shape[-2:]) < LEAST:
        raise DataError(
            f"the image is {tuple(image.shape[-2:])} (H, W); GoogLeNet halves it five times: give {LEAST} or more"
        )
    return image


def scaled(row: Widths, width: int) -> Widths:
    """Returns a row of the paper's table scaled to a first convolution of `width` filters; at least 1 filter each."""
    return Widths(*(max(1, filters * width // STEM) for filters in row))


def _row(body: Callable[..., nn.Module], dropout: float, params: int, gmacs: float | None, source: str) -> Variant:
    return Variant(
        build=body,
        kind="backbone",
        head=partial(dropout_head, dropout=dropout),
        params=params,
        gmacs=gmacs,
        source=source,
        input=(3, 224, 224),
        output=(1000,),
        classes=1000,
    )


paper = partial(GoogLeNet, conv, partial(LocalResponseNorm, alpha=1e-4 / 5, k=1.0))
torchvisions = partial(GoogLeNet, partial(conv_norm, eps=1e-3), nn.Identity, 3, 2)

VARIANTS = {
    "googlenet": _row(paper, 0.4, 6_998_552, 1.58267, "Szegedy et al. 2015, Table 1; BVLC/caffe, bvlc_googlenet"),
    "googlenet_bn": _row(
        partial(GoogLeNet, conv_norm, nn.Identity), 0.4, 7_005_832, 1.58267, "Table 1, batch norm instead of biases"
    ),
    "googlenet_torchvision": _row(torchvisions, 0.2, 6_624_904, 1.49838, "torchvision 0.28.0, googlenet"),
}
