"""FCN-32s on AlexNet (Long et al. 2015, arXiv:1411.4038, Table 1), as in the authors' release.

AlexNet is Caffe's: filters in two groups, local response norm after the poolings, poolings that round up. The image
gets 100 zeros on each side, the 6x6 convolution is not padded, and the scores are upsampled once by a fixed bilinear
filter of side 63 and cropped at the release's offset. Scores start at zero; the authors start from trained weights.
"""

from functools import partial

from torch import Tensor, nn

from unpool.layers.cropping import crop
from unpool.layers.initialize import he_normal
from unpool.layers.norm import LocalResponseNorm
from unpool.layers.upsample import BilinearDeconv
from unpool.models.catalog import Variant

IMAGE_OFFSET = 18  # at which the release crops the upsampled scores


class FCNAlexNet(nn.Module):
    """Convolutional AlexNet, its scores upsampled 32 times: image -> logits (B, num_classes, H, W).

    Args:
        in_channels: channels of the image.
        num_classes: logits of each pixel.
        width: a third of the channels of the first layer; the others follow in the proportions of AlexNet.
        dropout: share dropped after fc6 and fc7.

    Attributes:
        stride: stride of the coarsest map.
    """

    stride = 32

    def __init__(self, *, in_channels: int = 3, num_classes: int = 21, width: int = 32, dropout: float = 0.5) -> None:
        super().__init__()
        pool = partial(nn.MaxPool2d, 3, stride=2, ceil_mode=True)
        norm = partial(LocalResponseNorm, 5, 1e-4 / 5, 0.75, 1.0)  # Caffe's alpha is of the mean, this one of the sum
        self.features = nn.Sequential(
            *(nn.Conv2d(in_channels, 3 * width, 11, stride=4, padding=100), nn.ReLU(), pool(), norm()),
            *(nn.Conv2d(3 * width, 8 * width, 5, padding=2, groups=2), nn.ReLU(), pool(), norm()),
            *(nn.Conv2d(8 * width, 12 * width, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(12 * width, 12 * width, 3, padding=1, groups=2), nn.ReLU()),
            *(nn.Conv2d(12 * width, 8 * width, 3, padding=1, groups=2), nn.ReLU(), pool()),
        )
        hidden = 128 * width
        self.fc = nn.Sequential(
            *(nn.Conv2d(8 * width, hidden, 6), nn.ReLU(), nn.Dropout(dropout)),
            *(nn.Conv2d(hidden, hidden, 1), nn.ReLU(), nn.Dropout(dropout)),
        )
        self.score = nn.Conv2d(hidden, num_classes, 1)
        he_normal(self, mode="fan_in")
        nn.init.zeros_(self.score.weight)
        self.to_image = BilinearDeconv(num_classes, 32, learned=False, side=63)

    def forward(self, image: Tensor) -> Tensor:
        x = self.score(self.fc(self.features(image)))  # (B, num_classes, about H/32, W/32)
        return crop(self.to_image(x), (image.shape[-2], image.shape[-1]), offset=IMAGE_OFFSET)


VARIANTS = {
    "fcn_alexnet": Variant(
        build=FCNAlexNet,
        kind="whole",
        params=58_704_590,
        gmacs=21.4245,
        source="shelhamer/fcn.berkeleyvision.org, voc-fcn-alexnet",
        input=(3, 500, 500),
        output=(21, 500, 500),
        classes=21,
    ),
}
