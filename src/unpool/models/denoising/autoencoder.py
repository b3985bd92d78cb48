"""Autoencoders with a bottleneck: linear as PCA, fully connected for denoising, and convolutional.

The linear one is Baldi & Hornik's (1989, Neural Networks 2), whose best weights span the first principal components of
centred data. The fully connected one is that of Vincent et al. (2008, ICML), who leave open whether the weights on both
sides are tied; here they are not. The task adds the noise. The convolutional one is of no paper: its encoder has
strided convolutions, its decoder nearest upsampling and convolutions, so that no checkerboard appears.
"""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from unpool.errors import DataError, RecipeError
from unpool.layers.initialize import he_normal
from unpool.models.backbones.vgg import conv
from unpool.models.catalog import Variant
from unpool.ops.upsampling import upsample


class DenseAutoencoder(nn.Module):
    """One hidden layer: image (B, in_channels, H, W) of one size -> (B, num_classes, H, W).

    Args:
        act: the activation of both layers, which then have biases; None for neither activations nor biases.
        in_channels: channels of the image.
        num_classes: channels of the output.
        width: hidden units.
        size_hw: height and width of the image; the network takes no other size.

    Raises:
        RecipeError: `size_hw` is not two numbers.
        DataError: the image has another size.
    """

    def __init__(
        self,
        act: type[nn.Module] | None,
        /,
        *,
        in_channels: int = 1,
        num_classes: int = 1,
        width: int = 32,
        size_hw: Sequence[int] = (28, 28),
    ) -> None:
        super().__init__()
        if len(size_hw) != 2:
            raise RecipeError(f"size_hw is {list(size_hw)}; give two numbers, the height and width of the images")
        self.size_hw = (int(size_hw[0]), int(size_hw[1]))
        pixels = self.size_hw[0] * self.size_hw[1]
        self.encoder = nn.Linear(in_channels * pixels, width, bias=act is not None)
        self.decoder = nn.Linear(width, num_classes * pixels, bias=act is not None)
        self.act = nn.Identity() if act is None else act()
        for layer in (self.encoder, self.decoder):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, image: Tensor) -> Tensor:
        if tuple(image.shape[-2:]) != self.size_hw:
            raise DataError(
                f"the image is {tuple(image.shape[-2:])} (H, W) and this autoencoder takes {self.size_hw} only: "
                "resize the images to it, or set the option size_hw to the size of the images"
            )
        code = self.act(self.encoder(image.flatten(1)))  # (B, width)
        return self.act(self.decoder(code)).unflatten(1, (-1, *self.size_hw))


class ConvAutoencoder(nn.Module):
    """Strided convolutions to a code, and a decoder: (B, in_channels, H, W) -> (B, num_classes, H, W), any size.

    Args:
        in_channels: channels of the image.
        num_classes: channels of the output.
        width: channels after the first halving; they double with each.
        depth: number of halvings.
        code: channels of the code, (B, code, H / 2^depth, W / 2^depth), sizes rounded up.

    Attributes:
        stride: stride of the code.
    """

    def __init__(
        self, *, in_channels: int = 1, num_classes: int = 1, width: int = 32, depth: int = 3, code: int = 16
    ) -> None:
        super().__init__()
        self.stride = 2**depth
        widths = [width * 2**i for i in range(depth)]
        self.encoder = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU())
            for before, after in zip([in_channels, *widths], widths, strict=False)
        )
        self.bottleneck = nn.Conv2d(widths[-1], code, 1)
        back = widths[::-1]
        self.decoder = nn.ModuleList(conv(*pair, 3) for pair in zip([code, *back], back, strict=False))
        self.head = nn.Conv2d(width, num_classes, 3, padding=1)
        he_normal(self, mode="fan_in")

    def forward(self, image: Tensor) -> Tensor:
        x, sizes = image, []
        for stage in self.encoder:
            sizes.append((x.shape[-2], x.shape[-1]))
            x = stage(x)
        x = self.bottleneck(x)  # (B, code, H / 2^depth, W / 2^depth)
        for stage in self.decoder:
            x = stage(upsample(x, 2, sizes.pop(), mode="nearest-exact"))
        return self.head(x)


def _dense(act: type[nn.Module] | None, width: int, params: int, source: str) -> Variant:
    return Variant(
        build=partial(DenseAutoencoder, act, width=width),
        kind="whole",
        params=params,
        gmacs=2 * 784 * width / 1e9,
        source=source,
        input=(1, 28, 28),
        output=(1, 28, 28),
        classes=1,
    )


VARIANTS = {
    "linear_autoencoder": _dense(None, 32, 50_176, "lecture 001, compare to PCA: 784-32-784, no biases"),
    "denoising_autoencoder": _dense(nn.Sigmoid, 500, 785_284, "Vincent et al. 2008, 784-500-784, sigmoids"),
    "conv_autoencoder": Variant(
        build=ConvAutoencoder,
        kind="whole",
        params=205_841,
        gmacs=0.0651392,
        source="lecture 001, autoencoder with a bottleneck: 400 numbers for 1,600 pixels",
        input=(1, 40, 40),
        output=(1, 40, 40),
        classes=1,
    ),
}
