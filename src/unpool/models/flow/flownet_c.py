"""FlowNetC (Dosovitskiy et al. 2015, arXiv:1504.06852): features of both frames, their correlation, and a decoder.

The network of figure 2 with the widths of the release; flows are given in pixels, where the release gives a twentieth.
Differs at the end: the finest flow, of a quarter of the sides, is enlarged bilinearly to the image as the paper does
without its variational refinement.
"""

import torch
from torch import Tensor, nn

from unpool.layers.initialize import he_normal
from unpool.models.catalog import Variant
from unpool.models.flow.frames import AXES, channels_of_frame
from unpool.ops.displacements import correlation, enlarged
from unpool.types import Auxiliary

SCALE = 20.0  # pixels of a flow of 1 in front of the last layers, as the release has it
SLOPE = 0.1  # of the activation below 0
FINEST = 4  # stride of the finest flow
START = 1e-3  # deviation of the initial weights of what gives the flow: at first little moves


class FlowNetC(nn.Module):
    """Flow in pixels: (B, 2C, H, W) -> (B, 2, H, W), and at strides 4 to 64 as auxiliary outputs.

    Args:
        in_channels: of both frames.
        num_classes: 2: x and y.
        width: channels of the first convolution.
        reach: displacements that are compared along an axis, to either side, in steps of two at stride 8.

    Raises:
        RecipeError: the number of channels is odd, or `num_classes` is not 2.
    """

    stride = 64

    def __init__(self, *, in_channels: int = 6, num_classes: int = 2, width: int = 64, reach: int = 10) -> None:
        super().__init__()
        w = width
        self.reach = reach
        channels = channels_of_frame(in_channels, num_classes)
        self.features = nn.ModuleList([_conv(channels, w, 7, 2), _conv(w, 2 * w, 5, 2), _conv(2 * w, 4 * w, 5, 2)])
        self.redirected = _conv(4 * w, w // 2, 1)
        self.encoder = nn.ModuleList(
            [
                _conv((2 * reach + 1) ** 2 + w // 2, 4 * w, 3),
                *(
                    nn.Sequential(_conv(before, after, 3, 2), _conv(after, after, 3))
                    for before, after in ((4 * w, 8 * w), (8 * w, 8 * w), (8 * w, 16 * w))
                ),
            ]
        )
        beside = (8 * w, 8 * w, 4 * w, 2 * w)  # channels of the maps that the decoder meets, coarse to fine
        grown = (8 * w, 4 * w, 2 * w, w)
        inputs = [16 * w, *(a + b + AXES for a, b in zip(beside, grown, strict=True))]
        self.predict = nn.ModuleList(nn.Conv2d(channels, AXES, 3, padding=1) for channels in inputs)
        self.grow = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(before, after, 4, 2, 1), nn.LeakyReLU(SLOPE))
            for before, after in zip(inputs, grown, strict=False)
        )
        self.grow_flow = nn.ModuleList(nn.ConvTranspose2d(AXES, AXES, 4, 2, 1) for _ in grown)
        he_normal(self, mode="fan_in")
        for layer in self.predict.children():
            nn.init.normal_(next(layer.parameters()), std=START)

    def forward(self, image: Tensor) -> Auxiliary:
        first, second = image.chunk(2, dim=1)
        both = torch.cat([first, second])
        maps = []
        for convolution in self.features:
            both = convolution(both)
            maps.append(both[: len(first)])
        alike = nn.functional.leaky_relu(correlation(*both.chunk(2), reach=self.reach, step=2), SLOPE)
        x = torch.cat([self.redirected(maps[-1]), alike], dim=1)
        levels = [maps[1]]  # stride 4
        for block in self.encoder:
            x = block(x)
            levels.append(x)
        flows = self._decoded(levels)
        whole = enlarged(flows[-1], FINEST, (image.shape[-2], image.shape[-1]))
        return Auxiliary(SCALE * whole, tuple(SCALE * flow for flow in flows[::-1]))

    def _decoded(self, levels: list[Tensor]) -> list[Tensor]:
        """Flows from coarse to fine, of maps from fine to coarse."""
        x = levels.pop()
        flows = [self.predict[0](x)]
        for grow, grow_flow, predict in zip(self.grow, self.grow_flow, self.predict[1:], strict=True):
            beside = levels.pop()
            rows, columns = beside.shape[-2:]
            larger = [part[..., :rows, :columns] for part in (grow(x), grow_flow(flows[-1]))]
            x = torch.cat([beside, *larger], dim=1)
            flows.append(predict(x))
        return flows


def _conv(before: int, after: int, side: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, side, stride, side // 2), nn.LeakyReLU(SLOPE))


VARIANTS = {
    "flownet_c": Variant(
        build=FlowNetC,
        kind="whole",
        params=39_175_298,
        source="NVIDIA/flownet2-pytorch, networks/FlowNetC.py, parameter count",
        input=(6, 384, 512),
        output=((2, 384, 512), (2, 96, 128), (2, 48, 64), (2, 24, 32), (2, 12, 16), (2, 6, 8)),
        classes=2,
    ),
}
