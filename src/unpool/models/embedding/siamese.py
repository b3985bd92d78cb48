"""The convolutional network of the Siamese pair of Chopra, Hadsell and LeCun 2005, for faces of 56x46 pixels.

"Learning a similarity metric discriminatively, with application to face verification", section 3.3. Both images of a
pair go through this one network; the pair itself, and its loss, belong to the task. As in this project's LeNet-5, every
map of C3 is seen by all filters (the paper connects them in part) and pooling has no weights; pooling is the mean, the
activation tanh. Other sizes than 56x46 are averaged to 5x5 by S4, which has windows of 4x3 at the paper's. Weights
start with variance 1 / fan-in, which fits tanh.
"""

from collections import OrderedDict

from torch import Tensor, fx, nn

from unpool.errors import DataError
from unpool.models.catalog import Variant

LEAST = 18  # side of the smallest image whose last map has a pixel


class Siamese(nn.Module):
    """C1 to F6: image (B, in_channels, H, W) -> (B, num_classes).

    Args:
        in_channels: channels of the image.
        num_classes: length of the embedding.
        width: channels of C1; the other layers keep the paper's proportion to it.

    Raises:
        DataError: the image is smaller than 18x18.
    """

    def __init__(self, *, in_channels: int = 1, num_classes: int = 50, width: int = 15) -> None:
        super().__init__()
        second, hidden = 3 * width, 250 * width // 15
        self.features = nn.Sequential(
            OrderedDict(
                c1=nn.Conv2d(in_channels, width, 7),
                act1=nn.Tanh(),
                s2=nn.AvgPool2d(2),
                c3=nn.Conv2d(width, second, 6),
                act3=nn.Tanh(),
                s4=nn.AdaptiveAvgPool2d(5),
                c5=nn.Conv2d(second, hidden, 5),
                act5=nn.Tanh(),
                flatten=nn.Flatten(),
                f6=nn.Linear(hidden, num_classes),
            )
        )
        for layer in self.features:
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
                nn.init.zeros_(layer.bias)

    def forward(self, image: Tensor) -> Tensor:
        return self.features(_large_enough(image))


@fx.wrap  # one operation of a traced network, which then refuses the same images
def _large_enough(image: Tensor) -> Tensor:
    if min(image.shape[-2:]) < LEAST:
        raise DataError(
            f"the image is {tuple(image.shape[-2:])} (H, W) and this network needs {LEAST} or more: enlarge it, such "
            "as by data.size=[56,46]"
        )
    return image


VARIANTS = {
    "siamese": Variant(
        build=Siamese,
        kind="whole",
        params=750 + 24_345 + 281_500 + 12_550,
        source="Chopra et al. 2005, section 3.3: C1 750, C5 281,500, F6 12,550; C3 with all maps 24,345",
        input=(1, 56, 46),
        output=(50,),
        classes=50,
    ),
}
