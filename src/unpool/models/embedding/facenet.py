"""FaceNet's NN1, the network of its triplets (Schroff et al. 2015, arXiv:1503.03832, Table 1), after Zeiler and Fergus.

1x1 convolutions stand before the 3x3 ones; the first two linear layers are maxouts of two pieces. The table counts
weights without biases, and there are none here. At other sizes than 220x220 the last map is averaged to 7x7. The paper
normalises the embedding to length 1 within the network; here the task does, of every network.
"""

from collections import OrderedDict

from torch import Tensor, nn

from unpool.layers.initialize import he_normal
from unpool.layers.norm import LocalResponseNorm
from unpool.models.catalog import Variant


class Maxout(nn.Module):
    """The largest of two linear layers: (B, in_features) -> (B, out_features) (Goodfellow et al. 2013)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, 2 * out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).unflatten(1, (-1, 2)).amax(2)


class FaceNet(nn.Module):
    """NN1: image (B, in_channels, H, W) -> (B, num_classes).

    Args:
        in_channels: channels of the image.
        num_classes: length of the embedding.
        width: channels of the first convolution; the other layers keep the paper's proportion to it.
    """

    def __init__(self, *, in_channels: int = 3, num_classes: int = 128, width: int = 64) -> None:
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict(
                conv1=_conv(in_channels, width, 7, stride=2),
                pool1=_pool(),
                rnorm1=LocalResponseNorm(),
                conv2=_pair(width, width, 3 * width),
                rnorm2=LocalResponseNorm(),
                pool2=_pool(),
                conv3=_pair(3 * width, 3 * width, 6 * width),
                pool3=_pool(),
                conv4=_pair(6 * width, 6 * width, 4 * width),
                conv5=_pair(4 * width, 4 * width, 4 * width),
                conv6=_pair(4 * width, 4 * width, 4 * width),
                pool4=_pool(),
            )
        )
        hidden = 64 * width  # the 32x128 of the table
        self.head = nn.Sequential(
            OrderedDict(
                average=nn.AdaptiveAvgPool2d(7),
                flatten=nn.Flatten(),
                fc1=Maxout(49 * 4 * width, hidden),
                fc2=Maxout(hidden, hidden),
                fc3=nn.Linear(hidden, num_classes, bias=False),
            )
        )
        he_normal(self, mode="fan_in")

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(image))


def _conv(in_channels: int, out_channels: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, act=nn.ReLU()))


def _pair(in_channels: int, reduced: int, out_channels: int) -> nn.Sequential:
    """A 1x1 and a 3x3 convolution."""
    return nn.Sequential(OrderedDict(reduce=_conv(in_channels, reduced, 1), conv=_conv(reduced, out_channels, 3)))


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, padding=1)


VARIANTS = {
    "facenet_nn1": Variant(
        build=FaceNet,
        kind="whole",
        params=140_006_592,
        source="Schroff et al. 2015, Table 1, whose rows sum to 140M",
        input=(3, 220, 220),
        output=(128,),
        classes=128,
    ),
}
