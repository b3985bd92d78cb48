"""Simple baselines (Xiao et al. 2018, arXiv:1804.06208): transposed convolutions on the last map of a backbone.

As in microsoft/human-pose-estimation.pytorch, initial weights are drawn from N(0, 0.001^2); its ResNet is trained.
Differs at sizes that are no multiples of the backbone's stride, which that code does not handle: the image is padded
with zeros at the bottom and right and the heatmaps are cropped, so that their stride is 4 at every size and backbones
that round sizes down read the whole image.
"""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.layers.cropping import crop
from unpool.models.catalog import Variant
from unpool.types import Backbone

STRIDE = 4  # of the heatmaps


class SimpleBaseline(nn.Module):
    """Doubles the coarsest map up to stride 4: image (B, C, H, W) -> heatmaps (B, num_classes, H/4, W/4), rounded up.

    Args:
        backbone: returns one map per stride, fine to coarse; only the last is read.
        num_classes: joints.
        widths: channels of the transposed convolutions; if the backbone needs fewer, the last ones are used.

    Raises:
        RecipeError: the backbone needs more transposed convolutions than `widths` has numbers.
    """

    def __init__(
        self, backbone: Backbone, /, *, num_classes: int = 17, widths: Sequence[int] = (256, 256, 256)
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.multiple = backbone.strides[-1]
        doublings = max((backbone.strides[-1] // STRIDE).bit_length() - 1, 0)
        if doublings > len(widths):
            raise RecipeError(f"widths has {len(widths)} numbers and this backbone needs {doublings}: add some")
        self.deconvs = nn.Sequential()
        channels = backbone.channels[-1]
        for width in list(widths)[len(widths) - doublings :]:
            deconv = nn.ConvTranspose2d(channels, width, 4, stride=2, padding=1, bias=False)
            self.deconvs.extend([deconv, nn.BatchNorm2d(width), nn.ReLU()])
            channels = width
        self.head = nn.Conv2d(channels, num_classes, 1)
        for layer in (*self.deconvs, self.head):
            if isinstance(layer, nn.ConvTranspose2d | nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.001)
        nn.init.zeros_(cast(Tensor, self.head.bias))

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        whole = nn.functional.pad(image, (0, -width % self.multiple, 0, -height % self.multiple))
        x = self.head(self.deconvs(self.backbone(whole)[-1]))
        return crop(x, (-(-height // STRIDE), -(-width // STRIDE)))


VARIANTS = {
    "simple_baselines": Variant(
        build=SimpleBaseline,
        kind="composed",
        backbone="resnet50",
        params=33_999_697,
        gmacs=5.4264,
        source="microsoft/human-pose-estimation.pytorch, pose_resnet.py, ResNet-50",
        input=(3, 256, 192),
        output=(17, 64, 48),
        classes=17,
    ),
}
