"""DnCNN (Zhang et al. 2017, arXiv:1608.03981): convolutions predict the noise, which is subtracted from the image.

As in cszn/DnCNN's PyTorch training code, without a bias in the last convolution, which the MatConvNet release has.
Batch norm has PyTorch's default momentum; that code's 0.95 is in the convention of Keras, 0.05 in PyTorch's. The last
convolution starts with small weights, the paper's with He's: with those the untrained network predicts ten times the
true noise, and after 8,000 patches PSNR was 21.1 dB instead of 27.3 (BSD68, level 25).
"""

from functools import partial

from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.layers.conv import ConvNormAct
from unpool.layers.initialize import he_normal
from unpool.models.catalog import Variant

START = 1e-3  # deviation of the last convolution's initial weights, for images in 0..1


class DnCNN(nn.Module):
    """The image minus its predicted noise: (B, in_channels, H, W) -> (B, in_channels, H, W), any size.

    Args:
        depth: number of 3x3 convolutions; the receptive field is a square of side 2 * depth + 1.
        in_channels: channels of the image.
        num_classes: channels of the output; must equal `in_channels`.
        width: channels between.

    Attributes:
        finds_noise: whether the network predicts noise, True.

    Raises:
        RecipeError: `num_classes` differs from `in_channels`.
    """

    finds_noise = True

    def __init__(self, depth: int, /, *, in_channels: int = 1, num_classes: int = 1, width: int = 64) -> None:
        super().__init__()
        if num_classes != in_channels:
            raise RecipeError(
                f"num_classes is {num_classes} and in_channels {in_channels}; the noise is subtracted from the image, "
                "so they must be the same: give both"
            )
        last = nn.Conv2d(width, num_classes, 3, padding=1, bias=False)
        self.noise = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1),
            nn.ReLU(),
            *(ConvNormAct(width, width) for _ in range(depth - 2)),
            last,
        )
        he_normal(self, mode="fan_in")
        nn.init.normal_(last.weight, std=START)

    def forward(self, image: Tensor) -> Tensor:
        return image - self.noise(image)


VARIANTS = {
    "dncnn_s": Variant(
        build=partial(DnCNN, 17),
        kind="whole",
        params=556_096,
        gmacs=85.55545,
        source="cszn/DnCNN, dncnn_pytorch/main_train.py, DnCNN-S",
        input=(1, 321, 481),
        output=(1, 321, 481),
        classes=1,
    ),
    "dncnn_b": Variant(
        build=partial(DnCNN, 20),
        kind="whole",
        params=667_072,
        gmacs=1.66176,
        source="Zhang et al. 2017, section III, DnCNN-B",
        input=(1, 50, 50),
        output=(1, 50, 50),
        classes=1,
    ),
}
