"""Fully convolutional networks on VGG (Long et al. 2015, arXiv:1411.4038), as in the authors' release.

With `padding="paper"` the image gets 100 zeros on each side and maps are cut at the release's offsets; with "same" the
7x7 convolution is padded instead: use that on small images. Every score starts at zero and every transposed convolution
as bilinear interpolation; the last one is not trained. The authors start from trained VGG weights, and each finer
network from the coarser one.
"""

from functools import partial
from typing import Literal

from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.layers.cropping import crop
from unpool.layers.initialize import he_normal
from unpool.layers.upsample import BilinearDeconv
from unpool.models.backbones.vgg import VGG
from unpool.models.catalog import Variant
from unpool.types import Backbone

SKIP_OFFSETS = (5, 9)  # of the scores of pool4 and pool3, in the release
IMAGE_OFFSETS = (19, 27, 31)  # of the upsampled scores of 32s, 16s, 8s, in the release


class FCN(nn.Module):
    """VGG's linear layers as convolutions, scores upsampled and summed: image -> logits (B, num_classes, H, W).

    Args:
        skips: number of finer maps that are added: 0 for 32s, 1 for 16s (pool4), 2 for 8s (pool4 and pool3).
        backbone: a VGG.
        num_classes: logits of each pixel.
        padding: "paper" or "same", see the module.
        dropout: share dropped after fc6 and fc7.

    Attributes:
        stride: stride of the coarsest map.
    """

    stride = 32

    def __init__(
        self,
        skips: int,
        backbone: Backbone,
        /,
        *,
        num_classes: int = 21,
        padding: Literal["paper", "same"] = "paper",
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if not isinstance(backbone, VGG):
            raise RecipeError(
                f"FCN reads the pooled maps of a VGG, not of {type(backbone).__name__}: choose a vgg* one"
            )
        if padding not in ("paper", "same"):
            raise RecipeError(f"padding is {padding!r}; it must be 'paper' or 'same'")
        self.backbone = backbone
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.pads_image = padding == "paper"
        top = backbone.channels[-1]
        self.fc = nn.Sequential(
            nn.Conv2d(top, 8 * top, 7, padding=0 if self.pads_image else 3),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(8 * top, 8 * top, 1),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        he_normal(self.fc, mode="fan_in")
        self.score = _zero_score(8 * top, num_classes)
        self.skip_scores = nn.ModuleList(_zero_score(backbone.channels[3 - i], num_classes) for i in range(skips))
        self.upsample = nn.ModuleList(BilinearDeconv(num_classes, 2) for _ in range(skips))
        self.to_image = BilinearDeconv(num_classes, 32 // 2**skips, learned=False)
        self.image_offset = IMAGE_OFFSETS[skips] if self.pads_image else 16 // 2**skips

    def forward(self, image: Tensor) -> Tensor:
        # the first convolution pads the hundredth pixel itself
        x = nn.functional.pad(image, (99, 99, 99, 99)) if self.pads_image else image
        pooled = []
        for stage in self.backbone.stages:
            x = self.pool(stage(x))
            pooled.append(x)
        x = self.score(self.fc(x))  # (B, num_classes, about H/32, W/32)
        for i, (upsample, score) in enumerate(zip(self.upsample, self.skip_scores, strict=True)):
            x = self._add(upsample(x), score(pooled[3 - i]), i)
        return crop(self.to_image(x), (image.shape[-2], image.shape[-1]), offset=self.image_offset)

    def _add(self, x: Tensor, skip: Tensor, index: int) -> Tensor:
        if self.pads_image:
            return x + crop(skip, (x.shape[-2], x.shape[-1]), offset=SKIP_OFFSETS[index])
        return crop(x, (skip.shape[-2], skip.shape[-1]), offset=1) + skip


def _zero_score(channels: int, num_classes: int) -> nn.Module:
    score = nn.Conv2d(channels, num_classes, 1)
    for parameter in score.parameters():
        nn.init.zeros_(parameter)
    return score


def _row(skips: int, params: int, gmacs: float) -> Variant:
    name = f"fcn{32 // 2**skips}s"
    return Variant(
        build=partial(FCN, skips),
        kind="composed",
        backbone="vgg16",
        params=params,
        gmacs=gmacs,
        source=f"shelhamer/fcn.berkeleyvision.org, voc-{name}",
        input=(3, 500, 500),
        output=(21, 500, 500),
        classes=21,
    )


VARIANTS = {
    "fcn32s": _row(0, 136_152_917, 181.3659),
    "fcn16s": _row(1, 134_815_994, 181.4481),
    "fcn8s": _row(2, 134_489_759, 181.529),
}
