"""Stacked hourglasses (Newell et al. 2016, arXiv:1603.06937), as in the authors' princeton-vl/pose-hg-train, hg.lua.

The later PyTorch release registers convolutions on shortcuts that are never run; there are none here. Initial weights
are PyTorch's default, as in Torch7. Differs at odd sizes: poolings round up, and a pooled map is doubled (nearest) and
cut to the size of the map that it is added to, so that every size works.
"""

from functools import partial

from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.layers.conv import ConvNormAct
from unpool.models.catalog import Variant
from unpool.ops.upsampling import upsample
from unpool.types import Stages


def norm_act_conv(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    """Makes batch norm, ReLU and a convolution with bias that keeps the size of the map."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
    return nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(), conv)


class Bottleneck(nn.Module):
    """x + (1x1 to half the width, 3x3, 1x1), each after its norm and ReLU.

    (B, in_channels, H, W) -> (B, out_channels, H, W); x goes through a 1x1 convolution where the width changes.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.branch = nn.Sequential(
            norm_act_conv(in_channels, half, 1),
            norm_act_conv(half, half, 3),
            norm_act_conv(half, out_channels, 1),
        )
        changes = in_channels != out_channels
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x) + self.shortcut(x)


class Hourglass(nn.Module):
    """A bottleneck at each level on the way down, on the way up and on the skip: (B, C, H, W) -> the same shape.

    Args:
        width: channels of all maps.
        depth: number of halvings.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.across = Bottleneck(width, width)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.down = Bottleneck(width, width)
        self.inner = Hourglass(width, depth - 1) if depth > 1 else Bottleneck(width, width)
        self.up = Bottleneck(width, width)

    def forward(self, x: Tensor) -> Tensor:
        coarse = self.up(self.inner(self.down(self.pool(x))))
        return self.across(x) + upsample(coarse, 2, (x.shape[-2], x.shape[-1]), mode="nearest-exact")


class Reinjection(nn.Module):
    """Input of the next stack, without that of the stack before: 1x1 of the features plus 1x1 of the heatmaps."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Conv2d(width, width, 1)
        self.heatmaps = nn.Conv2d(num_classes, width, 1)

    def forward(self, features: Tensor, heatmaps: Tensor) -> Tensor:
        return self.features(features) + self.heatmaps(heatmaps)


class StackedHourglass(nn.Module):
    """Image (B, in_channels, H, W) -> heatmaps (B, num_classes, H/4, W/4) of each stack, sizes rounded up.

    Args:
        stacks: number of hourglasses, one after another.
        in_channels: channels of the image.
        num_classes: joints.
        width: channels of the hourglasses, at least 4; the stem has a quarter, then half of them.
        depth: halvings of each hourglass.

    Raises:
        RecipeError: `width` is below 4.
    """

    def __init__(
        self, stacks: int, /, *, in_channels: int = 3, num_classes: int = 16, width: int = 256, depth: int = 4
    ) -> None:
        super().__init__()
        if width < 4:
            raise RecipeError(f"width is {width}; the stem has a quarter of it: give 4 or more")
        self.stem = nn.Sequential(
            ConvNormAct(in_channels, width // 4, 7, stride=2, bias=True),
            Bottleneck(width // 4, width // 2),
            nn.MaxPool2d(2, ceil_mode=True),
            Bottleneck(width // 2, width // 2),
            Bottleneck(width // 2, width),
        )
        self.hourglasses = nn.ModuleList(Hourglass(width, depth) for _ in range(stacks))
        self.features = nn.ModuleList(
            nn.Sequential(Bottleneck(width, width), ConvNormAct(width, width, 1, bias=True)) for _ in range(stacks)
        )
        self.heads = nn.ModuleList(nn.Conv2d(width, num_classes, 1) for _ in range(stacks))
        self.back = nn.ModuleList(Reinjection(width, num_classes) for _ in range(stacks - 1))

    def forward(self, image: Tensor) -> Stages:
        x = self.stem(image)  # (B, width, H/4, W/4)
        stages: list[Tensor] = []
        for i, (hourglass, lin, head) in enumerate(zip(self.hourglasses, self.features, self.heads, strict=True)):
            features = lin(hourglass(x))
            stages.append(head(features))
            if i < len(self.back):
                x = x + self.back[i](features, stages[-1])
        return Stages(tuple(stages))


def _row(stacks: int, params: int, gmacs: float) -> Variant:
    return Variant(
        build=partial(StackedHourglass, stacks),
        kind="whole",
        params=params,
        gmacs=gmacs,
        source="princeton-vl/pose-hg-train, hg.lua, 256 channels, one module",
        input=(3, 256, 256),
        output=((16, 64, 64),) * stacks,
        classes=16,
    )


VARIANTS = {
    "hourglass1": _row(1, 3_426_448, 5.1503),
    "hourglass2": _row(2, 6_570_400, 8.3346),
    "hourglass8": _row(8, 25_434_112, 27.4402),
}
