"""LeNet-5 as the lecture draws it (LeCun et al. 1998, Gradient-based learning applied to document recognition).

The paper's own network differs from what is built today under its name: its third layer sees only some of the maps,
its pooling averages and is trained, its activation is 1.7159 tanh(2x / 3), its last layer measures distances. Here
every map is seen, pooling takes the maximum (with which the lecture's order CONV-POOL-TANH gives exactly what
CONV-TANH-POOL gives), the activation is tanh and the last layer is linear. Weights start with variance 1 / fan-in
(LeCun et al. 1998, Efficient BackProp), which fits tanh, biases with zero.
"""

from collections import OrderedDict
from functools import partial

from torch import Tensor, fx, nn

from unpool.errors import DataError
from unpool.models.catalog import Variant

SEEN = 32  # side of the image, padding included


class LeNet5(nn.Module):
    """CONV-POOL-TANH-CONV-POOL-TANH-FC-TANH-FC-TANH-FC: image (B, in_channels, H, W) -> logits (B, num_classes).

    The last map is averaged to 5x5 where the image, padding included, is larger than 32x32.

    Args:
        padding: rows and columns of zeros added at each border of the image; 2 makes 28x28 into 32x32.
        in_channels: channels of the image.
        num_classes: logits.
        width: channels of the first convolution; the other layers keep the paper's proportion to it.

    Raises:
        DataError: the image with its padding is smaller than 32x32, so that the last map is smaller than 5x5.
    """

    def __init__(self, padding: int, /, *, in_channels: int = 1, num_classes: int = 10, width: int = 6) -> None:
        super().__init__()
        self.least = SEEN - 2 * padding
        second, hidden, last = 16 * width // 6, 20 * width, 14 * width
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(in_channels, width, 5, padding=padding),
                pool1=nn.MaxPool2d(2),
                act1=nn.Tanh(),
                conv2=nn.Conv2d(width, second, 5),
                pool2=nn.MaxPool2d(2),
                act2=nn.Tanh(),
            )
        )
        self.head = nn.Sequential(
            OrderedDict(
                pool=nn.AdaptiveAvgPool2d(5),
                flatten=nn.Flatten(),
                fc3=nn.Linear(25 * second, hidden),
                act3=nn.Tanh(),
                fc4=nn.Linear(hidden, last),
                act4=nn.Tanh(),
                fc5=nn.Linear(last, num_classes),
            )
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
                nn.init.zeros_(layer.bias)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(_large_enough(image, self.least)))


@fx.wrap  # one operation of a traced network, which then refuses the same images
def _large_enough(image: Tensor, least: int) -> Tensor:
    if min(image.shape[-2:]) < least:
        raise DataError(
            f"the image is {tuple(image.shape[-2:])} (H, W) and this LeNet-5 needs {least} or more: enlarge it, or "
            "take lenet5_28, which pads 28x28"
        )
    return image


def _row(padding: int) -> Variant:
    return Variant(
        build=partial(LeNet5, padding),
        kind="whole",
        params=61_706,
        gmacs=0.00042,
        source=f"LeCun et al. 1998 as in lecture 002, {SEEN - 2 * padding} pixels",
        input=(1, SEEN - 2 * padding, SEEN - 2 * padding),
        output=(10,),
        classes=10,
    )


VARIANTS = {"lenet5": _row(0), "lenet5_28": _row(2)}
