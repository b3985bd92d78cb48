"""U-Net for regression: the padded U-Net (Ronneberger et al. 2015, arXiv:1505.04597) predicts the noise in an image.

As in DnCNN (arXiv:1608.03981) the output is the image minus the predicted noise; the paper's network classifies. The
last convolution starts with small weights, so that the output of an untrained network is nearly the image.
"""

from functools import partial

from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.models.catalog import Variant
from unpool.models.denoising.dncnn import START
from unpool.models.segmentation.unet import UNet, conv_twice


class ResidualUNet(nn.Module):
    """The image minus its predicted noise: (B, in_channels, H, W) -> (B, in_channels, H, W), any size.

    Args:
        in_channels: channels of the image.
        num_classes: channels of the output; must equal `in_channels`.
        width: channels at the size of the image; they double with each halving.
        depth: number of halvings.

    Attributes:
        stride: stride of the coarsest map.
        finds_noise: whether the network predicts noise, True.

    Raises:
        RecipeError: `num_classes` differs from `in_channels`.
    """

    finds_noise = True

    def __init__(self, *, in_channels: int = 1, num_classes: int = 1, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        if num_classes != in_channels:
            raise RecipeError(
                f"num_classes is {num_classes} and in_channels {in_channels}; the noise is subtracted from the image, "
                "so they must be the same: give both"
            )
        self.noise = UNet(
            partial(conv_twice, padding=1), in_channels=in_channels, num_classes=num_classes, width=width, depth=depth
        )
        self.stride = self.noise.stride
        nn.init.normal_(self.noise.head.weight, std=START)

    def forward(self, image: Tensor) -> Tensor:
        return image - self.noise(image)


VARIANTS = {
    "unet_regression": Variant(
        build=ResidualUNet,
        kind="whole",
        params=31_030_593,
        gmacs=192.36756,
        source="Ronneberger et al. 2015, Figure 1, convolutions padded, one map: 65 less than two by hand",
        input=(1, 512, 512),
        output=(1, 512, 512),
        classes=1,
    ),
}
