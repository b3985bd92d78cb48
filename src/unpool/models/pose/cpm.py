"""Convolutional pose machines (Wei et al. 2016, arXiv:1602.00134), as in shihenw/convolutional-pose-machines-release.

The last channel of the input is a Gaussian at the person's centre: it is averaged to the size of the heatmaps and read
only where a stage joins its inputs. `cpm` and `cpm_flic` are the paper's, `cpm_vgg` the authors' later one on the first
ten convolutions of VGG-19. Differs in the poolings of `cpm`, which are 2x2 as in the paper, so that its receptive
fields are the paper's 160 and 400 pixels, where the release has 3x3; and in the initial weights, which are He's normal
ones (arXiv:1502.01852) instead of N(0, 0.01^2) or a trained VGG.
"""

from functools import partial

import torch
from torch import Tensor, nn

from unpool.errors import DataError, RecipeError
from unpool.layers.cropping import crop
from unpool.layers.initialize import he_normal
from unpool.models.backbones.vgg import conv
from unpool.models.catalog import Variant
from unpool.types import Stages

STRIDE = 8  # of the heatmaps

Layers = tuple[tuple[int, int], ...]  # (channels, kernel) of each convolution


def convs(in_channels: int, layers: Layers) -> nn.Sequential:
    """Makes convolutions with bias that keep the size of the map, each with ReLU."""
    inputs = (in_channels, *(channels for channels, _ in layers))
    return nn.Sequential(*(conv(before, *layer) for before, layer in zip(inputs, layers, strict=False)))


def convs_to(out_channels: int, in_channels: int, layers: Layers) -> nn.Sequential:
    """Makes `convs(in_channels, layers)` and a 1x1 convolution to `out_channels` without ReLU."""
    return convs(in_channels, layers).append(nn.Conv2d(layers[-1][0], out_channels, 1))


class PooledConvs(nn.Module):
    """Three stages of convolutions, a 2x2 pooling after each: (B, C, H, W) -> (B, C', H/8, W/8), rounded down.

    Raises:
        DataError: the image is smaller than 8x8.
    """

    def __init__(self, in_channels: int, stages: tuple[Layers, Layers, Layers]) -> None:
        super().__init__()
        inputs = (in_channels, *(layers[-1][0] for layers in stages))
        self.stages = nn.ModuleList(convs(before, layers) for before, layers in zip(inputs, stages, strict=False))
        self.pool = nn.MaxPool2d(2)

    def forward(self, image: Tensor) -> Tensor:
        if min(image.shape[-2:]) < STRIDE:
            raise DataError(f"the image is {tuple(image.shape[-2:])} (H, W) and is halved three times: give 8 or more")
        x = image
        for stage in self.stages:
            x = self.pool(stage(x))
        return x


def vgg_features(in_channels: int, width: int, further: Layers) -> nn.Sequential:
    """Makes the first ten convolutions of VGG-19 and `further` ones after them: (B, C, H, W) -> (B, C', H/8, W/8)."""
    twice = (width, 3), (width, 3)
    stages = twice, ((2 * width, 3),) * 2, ((4 * width, 3),) * 4
    return nn.Sequential(PooledConvs(in_channels, stages), *convs(4 * width, (((8 * width, 3),) * 2 + further)))


class CentreMap(nn.Module):
    """Averages the centre map over 9x9 pixels at stride 8: (B, 1, H, W) -> (B, 1, h, w), the size of `like`."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(9, stride=STRIDE, ceil_mode=True)

    def forward(self, centre: Tensor, like: Tensor) -> Tensor:
        return crop(self.pool(centre), (like.shape[-2], like.shape[-1]))


def image_channels(in_channels: int, stages: int) -> int:
    """Returns the number of channels without the centre map.

    Raises:
        RecipeError: there is no channel beside the centre map, or fewer than two stages.
    """
    if in_channels < 2:
        raise RecipeError(
            f"in_channels is {in_channels} and includes the map of the person's centre, the last channel: "
            "give 4 for RGB"
        )
    if stages < 2:
        raise RecipeError(f"stages is {stages}; it must be 2 or more: a later stage refines the first one's prediction")
    return in_channels - 1


class CPM(nn.Module):
    """Image and centre map (B, in_channels, H, W) -> heatmaps (B, num_classes, H/8, W/8) of each stage, rounded down.

    The first stage computes separate features; the later ones share features up to the last pooling.

    Args:
        in_channels: channels of the image and one for the centre map.
        num_classes: joints and the background, which is the last map.
        stages: number of predictions, each but the first reading the one before.
        width: channels of most convolutions.

    Raises:
        RecipeError: `in_channels` or `stages` is less than 2.
        DataError: the image is smaller than 8x8.
    """

    def __init__(self, *, in_channels: int = 4, num_classes: int = 15, stages: int = 6, width: int = 128) -> None:
        super().__init__()
        channels = image_channels(in_channels, stages)
        pooled: tuple[Layers, Layers, Layers] = (((width, 9),), ((width, 9),), ((width, 9),))
        few = width // 4
        self.first = nn.Sequential(
            PooledConvs(channels, pooled),
            *convs_to(num_classes, width, ((few, 5), (4 * width, 9), (4 * width, 1))),
        )
        self.trunk = PooledConvs(channels, pooled)
        self.features = nn.ModuleList(convs(width, ((few, 5),)) for _ in range(stages - 1))
        refining = ((width, 11),) * 3 + ((width, 1),)
        self.refine = nn.ModuleList(convs_to(num_classes, few + num_classes + 1, refining) for _ in range(stages - 1))
        self.centre = CentreMap()
        he_normal(self, mode="fan_in")

    def forward(self, image: Tensor) -> Stages:
        picture, centre = image[:, :-1], image[:, -1:]
        heatmaps = [self.first(picture)]
        pooled = self.trunk(picture)  # (B, width, H/8, W/8)
        centre = self.centre(centre, pooled)
        for features, refine in zip(self.features, self.refine, strict=True):
            heatmaps.append(refine(torch.cat([features(pooled), heatmaps[-1], centre], dim=1)))
        return Stages(tuple(heatmaps))


class VGGCPM(nn.Module):
    """CPM on VGG-19's convolutions, which all stages share, with five 7x7 convolutions instead of three 11x11.

    Shapes, arguments and errors are those of CPM, except that `width` is the channels of VGG's first stage.
    """

    def __init__(self, *, in_channels: int = 4, num_classes: int = 15, stages: int = 6, width: int = 64) -> None:
        super().__init__()
        channels = image_channels(in_channels, stages)
        few = 2 * width
        self.features = vgg_features(channels, width, ((4 * width, 3),) * 4 + ((few, 3),))
        self.first = convs_to(num_classes, few, ((8 * width, 1),))
        refining = ((few, 7),) * 5 + ((few, 1),)
        self.refine = nn.ModuleList(convs_to(num_classes, few + num_classes + 1, refining) for _ in range(stages - 1))
        self.centre = CentreMap()
        he_normal(self, mode="fan_in")

    def forward(self, image: Tensor) -> Stages:
        features = self.features(image[:, :-1])  # (B, 2 * width, H/8, W/8)
        centre = self.centre(image[:, -1:], features)
        heatmaps = [self.first(features)]
        for refine in self.refine:
            heatmaps.append(refine(torch.cat([features, heatmaps[-1], centre], dim=1)))
        return Stages(tuple(heatmaps))


def _row(build: type[nn.Module], stages: int, maps: int, *, params: int, gmacs: float, source: str) -> Variant:
    return Variant(
        build=partial(build, stages=stages),
        kind="whole",
        params=params,
        gmacs=gmacs,
        source=f"shihenw/convolutional-pose-machines-release, {source}",
        input=(4, 368, 368),
        output=((maps, 46, 46),) * stages,
        classes=maps,
    )


VARIANTS = {
    "cpm": _row(
        CPM, 6, 15, params=31_219_866, gmacs=175.4377, source="_trained_LEEDS_PC/pose_deploy_centerMap.prototxt"
    ),
    "cpm_flic": _row(CPM, 4, 10, params=21_323_816, gmacs=154.5001, source="_trained_FLIC/pose_deploy.prototxt"),
    "cpm_vgg": _row(VGGCPM, 6, 15, params=29_852_058, gmacs=88.4197, source="_trained_MPI/pose_deploy_resize.prototxt"),
}
