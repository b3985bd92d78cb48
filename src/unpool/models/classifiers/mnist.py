"""The two networks of the first lecture: perceptrons of several layers, and four convolutions for MNIST."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from unpool.errors import DataError, RecipeError
from unpool.layers.initialize import he_normal
from unpool.models.catalog import Variant


class Perceptron(nn.Module):
    """Linear layers with ReLU between them: image (B, in_channels, H, W) of one size -> logits (B, num_classes).

    Args:
        in_channels: channels of the image.
        num_classes: logits.
        widths: hidden units of each layer.
        size_hw: height and width of the image; the network takes no other size.

    Raises:
        RecipeError: `size_hw` is not two numbers.
        DataError: the image has another size.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        num_classes: int = 10,
        widths: Sequence[int] = (512, 512),
        size_hw: Sequence[int] = (28, 28),
    ) -> None:
        super().__init__()
        if len(size_hw) != 2:
            raise RecipeError(f"size_hw is {list(size_hw)}; give two numbers, the height and width of the images")
        self.size_hw = (int(size_hw[0]), int(size_hw[1]))
        sizes = [in_channels * self.size_hw[0] * self.size_hw[1], *widths]
        self.hidden = nn.Sequential()
        for before, after in pairwise(sizes):
            self.hidden.extend([nn.Linear(before, after), nn.ReLU()])
        self.head = nn.Linear(sizes[-1], num_classes)
        he_normal(self, mode="fan_in")

    def forward(self, image: Tensor) -> Tensor:
        if tuple(image.shape[-2:]) != self.size_hw:
            raise DataError(
                f"the image is {tuple(image.shape[-2:])} (H, W) and this perceptron takes {self.size_hw} only: "
                "set data.size to it, or the option size_hw to the size of the images"
            )
        return self.head(self.hidden(image.flatten(1)))


class MnistConvNet(nn.Module):
    """Four 3x3 convolutions of one width, two poolings, 512 hidden units, dropout.

    Image (B, in_channels, H, W) -> logits (B, num_classes). If the image is not 28x28, the last map is averaged to 7x7.

    Args:
        in_channels: channels of the image.
        num_classes: logits.
        width: channels of each convolution.
    """

    def __init__(self, *, in_channels: int = 1, num_classes: int = 10, width: int = 32) -> None:
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(in_channels, width, 3, padding=1),
                act1=nn.ReLU(),
                pool1=nn.MaxPool2d(2),
                conv2=nn.Conv2d(width, width, 3, padding=1),
                act2=nn.ReLU(),
                conv3=nn.Conv2d(width, width, 3, padding=1),
                act3=nn.ReLU(),
                pool2=nn.MaxPool2d(2),
                conv4=nn.Conv2d(width, width, 3, padding=1),
                act4=nn.ReLU(),
            )
        )
        self.head = nn.Sequential(
            OrderedDict(
                pool=nn.AdaptiveAvgPool2d(7),
                flatten=nn.Flatten(),
                fc1=nn.Linear(width * 49, 16 * width),
                act=nn.ReLU(),
                drop=nn.Dropout(0.5),
                fc2=nn.Linear(16 * width, num_classes),
            )
        )
        he_normal(self, mode="fan_in")

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(image))


VARIANTS = {
    "mlp": Variant(
        build=Perceptron,
        kind="whole",
        params=669_706,
        gmacs=0.00067,
        source="lecture 001, perceptron of several layers, 784-512-512-10",
        input=(1, 28, 28),
        output=(10,),
        classes=10,
    ),
    "mnist_convnet": Variant(
        build=MnistConvNet,
        kind="whole",
        params=836_522,
        gmacs=0.0051,
        source="lecture 001, tensorpack's mnist-convnet",
        input=(1, 28, 28),
        output=(10,),
        classes=10,
    ),
}
