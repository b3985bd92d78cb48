"""A small correlation network for flow: at each level the second frame is warped by the flow so far, then compared.

The pyramid, the warping and the partial correlation are those of PWC-Net (Sun et al. 2018, arXiv:1709.02371, section
3); widths and depth are ours, so small that the network learns on two cores: four levels, of strides 2 to 16, each
with its decoder of three convolutions, and no context network. The stride of the finest flow is 2, not 4: scenes of
128 pixels have thin things. Frames and features are normalised around each position (local contrast, as Jarrett et al.
2009, "What is the best multi-stage architecture for object recognition?"), and features compared as cosines: of plain
products those of two grounds of one colour drown the texture, and nothing is learned.
"""

from functools import partial

import torch
from torch import Tensor, nn

from unpool.layers.initialize import he_normal
from unpool.models.catalog import Variant
from unpool.models.flow.frames import AXES, channels_of_frame
from unpool.ops.displacements import correlation, enlarged, warped
from unpool.types import Auxiliary

SLOPE = 0.1
FRAME, FEATURES = 15, 9  # pixels of the squares in which contrasts are taken
_LEAST = 1e-4  # of a variance
START = 1e-2  # deviation of the initial weights of what gives the flow: at first nothing moves


class FlowPyramid(nn.Module):
    """Flow in pixels: (B, 2C, H, W) -> (B, 2, H, W), and at strides 2 to 16 as auxiliary outputs.

    Args:
        in_channels: of both frames.
        num_classes: 2: x and y.
        width: channels at stride 2; each level has half as many more.
        depth: levels of the pyramid.
        reach: displacements that are compared to either side of the flow so far, in pixels of each level.

    Raises:
        RecipeError: the number of channels is odd, or `num_classes` is not 2.
    """

    def __init__(
        self, *, in_channels: int = 6, num_classes: int = 2, width: int = 16, depth: int = 4, reach: int = 3
    ) -> None:
        super().__init__()
        self.stride, self.reach = 2**depth, reach
        widths = [width * (2 + level) // 2 for level in range(depth)]
        inputs = [channels_of_frame(in_channels, num_classes), *widths]
        self.features = nn.ModuleList(
            nn.Sequential(_conv(before, after, stride=2), _conv(after, after))
            for before, after in zip(inputs, widths, strict=False)
        )
        compared = (2 * reach + 1) ** 2
        self.decoders = nn.ModuleList(
            nn.Sequential(
                _conv(compared + channels + AXES, 3 * width),
                _conv(3 * width, 2 * width),
                _conv(2 * width, 2 * width),
                nn.Conv2d(2 * width, AXES, 3, padding=1),
            )
            for channels in widths
        )
        he_normal(self, mode="fan_in")
        for layers in self.decoders.children():
            nn.init.normal_(list(layers.parameters())[-2], std=START)

    def forward(self, image: Tensor) -> Auxiliary:
        first, second = image.chunk(2, dim=1)
        both, maps = contrast(torch.cat([first, second]), FRAME), []
        for block in self.features:
            both = block(both)
            maps.append(both.chunk(2))
        here, there = maps[-1]
        flow = torch.zeros(len(here), AXES, *here.shape[-2:], device=here.device, dtype=here.dtype)
        flows = []  # each in pixels of its level
        for (here, there), decoder in zip(maps[::-1], list(self.decoders)[::-1], strict=True):
            flow = _finer(flow, here) if flows else flow
            first, second = comparable(here, there)
            alike = correlation(first, warped(second, flow.detach()), reach=self.reach)
            flow = flow + decoder(torch.cat([nn.functional.leaky_relu(alike, SLOPE), here, flow], dim=1))
            flows.append(flow)
        in_pixels = tuple(2.0**level * flow for level, flow in enumerate(flows[::-1], 1))
        return Auxiliary(_finer(flows[-1], image), in_pixels)


def _finer(flow: Tensor, like: Tensor) -> Tensor:
    """A flow of the level below that of `like`, in the pixels of that one."""
    return 2 * enlarged(flow, 2, (like.shape[-2], like.shape[-1]))


def contrast(maps: Tensor, window: int) -> Tensor:
    """Maps (B, C, H, W) less their mean in a square around each position, over their deviation in it.

    Example:
        >>> ramp = torch.arange(5.0).expand(1, 1, 5, 5)
        >>> round(float(contrast(ramp + 100, 3)[0, 0, 2, 2]), 4)
        0.0
    """
    mean = partial(nn.functional.avg_pool2d, kernel_size=window, stride=1, padding=window // 2, count_include_pad=False)
    middle = mean(maps)
    return (maps - middle) / (mean(maps.square()) - middle.square()).clamp_min(_LEAST).sqrt()


def comparable(here: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """Local contrasts of the features (B, C, H, W) of both frames, each position of length sqrt(C).

    So their mean product (`ops.displacements.correlation`) is the cosine of what differs from the surroundings.
    """
    both = nn.functional.normalize(contrast(torch.cat([here, there]), FEATURES), dim=1) * here.shape[1] ** 0.5
    first, second = both.chunk(2)
    return first, second


def _conv(before: int, after: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1), nn.LeakyReLU(SLOPE))


VARIANTS = {
    "flow_pyramid": Variant(
        build=FlowPyramid,
        kind="whole",
        params=285_080,
        source="unpool, after PWC-Net",
        input=(6, 128, 128),
        output=((2, 128, 128), (2, 64, 64), (2, 32, 32), (2, 16, 16), (2, 8, 8)),
        classes=2,
    ),
}
