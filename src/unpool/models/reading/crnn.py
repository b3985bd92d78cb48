"""The convolutional recurrent network of Shi et al. 2015 (arXiv:1507.05717, Table 1), which reads columns in order.

Seven convolutions make a row of columns of an image 32 pixels high; two bidirectional LSTMs read them from both sides;
a linear layer scores the characters, and none, at each column, for connectionist temporal classification (Graves et al.
2006). Images that are higher have several rows of columns, which are averaged.
"""

from collections import OrderedDict

from torch import Tensor, fx, nn

from unpool.errors import DataError
from unpool.layers.initialize import he_normal
from unpool.models.catalog import Variant
from unpool.ops.sequence_outputs import ReadSteps

LEAST_HEIGHT = 32  # pixels; of fewer no row is left


@fx.wrap  # one operation of a traced network, which then refuses the same images
def _high_enough(image: Tensor) -> Tensor:
    if image.shape[-2] < LEAST_HEIGHT or image.shape[-1] < 8:
        raise DataError(
            f"the image is {tuple(image.shape[-2:])} (H, W); a network that reads columns halves its height four "
            f"times and its width twice: give {LEAST_HEIGHT} and 8 at least"
        )
    return image


class Columns(nn.Module):
    """Image (B, in_channels, H, W) -> columns (B, 8 * width, W / 4 - 1), from left to right.

    Args:
        width: channels of the first convolution.
        in_channels: channels of the image.
    """

    def __init__(self, *, width: int, in_channels: int) -> None:
        super().__init__()
        pool, flat = nn.MaxPool2d(2), nn.MaxPool2d((2, 1))
        self.stages = nn.Sequential(
            OrderedDict(
                conv1=_conv(in_channels, width),
                pool1=pool,
                conv2=_conv(width, 2 * width),
                pool2=pool,
                conv3=_conv(2 * width, 4 * width),
                conv4=_conv(4 * width, 4 * width),
                pool4=flat,
                conv5=_conv(4 * width, 8 * width, norm=True),
                conv6=_conv(8 * width, 8 * width, norm=True),
                pool6=flat,
                conv7=_conv(8 * width, 8 * width, kernel=2),
            )
        )
        self.channels = 8 * width
        he_normal(self, mode="fan_in")

    def forward(self, image: Tensor) -> Tensor:
        return self.stages(_high_enough(image)).mean(2)


def _conv(before: int, after: int, *, kernel: int = 3, norm: bool = False) -> nn.Module:
    parts: OrderedDict[str, nn.Module] = OrderedDict(conv=nn.Conv2d(before, after, kernel, padding=kernel // 3))
    if norm:
        parts["norm"] = nn.BatchNorm2d(after)
    parts["act"] = nn.ReLU()
    return nn.Sequential(parts)


class Crnn(nn.Module):
    """Image (B, in_channels, H, W) -> ReadSteps of scores (B, num_classes, W / 4 - 1).

    Args:
        in_channels: channels of the image.
        num_classes: characters and, number 0, none.
        width: channels of the first convolution.
        hidden: units of each LSTM, in each direction.
    """

    def __init__(self, *, in_channels: int = 1, num_classes: int = 37, width: int = 64, hidden: int = 256) -> None:
        super().__init__()
        self.backbone = Columns(width=width, in_channels=in_channels)
        self.recurrent = nn.LSTM(self.backbone.channels, hidden, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(2 * hidden, num_classes)

    def forward(self, image: Tensor) -> ReadSteps:
        columns, _ = self.recurrent(self.backbone(image).mT)
        return ReadSteps(self.head(columns).mT)


VARIANTS = {
    "crnn": Variant(
        build=Crnn,
        kind="whole",
        params=8_723_749,
        source="Shi et al. 2015, Table 1, with biases of convolutions beside batch norm",
        input=(1, 32, 100),
        output=(37, 24),
        classes=37,
    )
}
