"""GoogLeNet with the two auxiliary classifiers of its training (Szegedy et al. 2015, section 5).

They read the outputs of modules 4a and 4d; the task weights their losses by 0.3 and does not use them for predictions.
The other parameters have the names of the networks without them. The paper averages over 5x5 at stride 3, from 14x14
to 4x4; maps of other sizes are then averaged to 4x4. torchvision 0.28.0 averages to 4x4 directly.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from unpool.models.backbones.googlenet import GoogLeNet, Layer, conv, conv_norm, paper, torchvisions
from unpool.models.catalog import Variant
from unpool.models.classification import dropout_head, uniform_linear
from unpool.types import Auxiliary


class PaperPool(nn.Module):
    """5x5 averages at stride 3 where they fit, then averages to 4x4: (B, C, H, W) -> (B, C, 4, 4)."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2] >= 5 and x.shape[-1] >= 5:
            x = nn.functional.avg_pool2d(x, 5, stride=3)
        return nn.functional.adaptive_avg_pool2d(x, 4)


def auxiliary_head(
    channels: int, num_classes: int, *, layer: Layer, pool: Callable[[], nn.Module], width: int
) -> nn.Module:
    """Makes an auxiliary classifier: (B, channels, H, W) -> logits (B, num_classes).

    Pooling to 4x4, 1x1 convolution, a hidden layer, dropout of 0.7, a linear layer.

    Args:
        channels: of the map.
        num_classes: logits.
        layer: makes the convolution.
        pool: makes the pooling to 4x4.
        width: of the network's first convolution, to which the head's channels are proportional.
    """
    return nn.Sequential(
        OrderedDict(
            pool=pool(),
            conv=layer(channels, 2 * width, 1),
            flatten=nn.Flatten(),
            fc1=uniform_linear(32 * width, 16 * width, bias=0.2),
            act=nn.ReLU(),
            drop=nn.Dropout(0.7),
            fc2=uniform_linear(16 * width, num_classes, bias=0.0),
        )
    )


class AuxiliaryGoogLeNet(nn.Module):
    """Image (B, in_channels, H, W) -> Auxiliary: logits (B, num_classes), and those of the heads on 4a and 4d.

    Args:
        body: makes the backbone.
        layer: makes the convolution of an auxiliary head.
        pool: makes the pooling of an auxiliary head to 4x4.
        dropout: share dropped before the last layer.
        in_channels: channels of the image.
        num_classes: logits.
        width: channels of the first convolution; all others, and hidden units, keep the paper's proportion to it.
    """

    def __init__(
        self,
        body: Callable[..., GoogLeNet],
        layer: Layer,
        pool: Callable[[], nn.Module],
        dropout: float,
        /,
        *,
        in_channels: int = 3,
        num_classes: int = 1000,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.backbone = body(in_channels=in_channels, width=width)
        self.head = dropout_head(self.backbone.channels[-1], num_classes, dropout=dropout)
        self.auxiliary = nn.ModuleDict(
            {
                tap: auxiliary_head(channels, num_classes, layer=layer, pool=pool, width=width)
                for tap, channels in zip(self.backbone.taps, self.backbone.tap_channels, strict=True)
            }
        )

    def forward(self, image: Tensor) -> Auxiliary:
        features, tapped = self.backbone.tapped(image)
        return Auxiliary(self.head(features[-1]), tuple(head(tapped[tap]) for tap, head in self.auxiliary.items()))


def _row(build: Callable[..., nn.Module], params: int, gmacs: float, source: str) -> Variant:
    return Variant(
        build=build,
        kind="whole",
        params=params,
        gmacs=gmacs,
        source=source,
        input=(3, 224, 224),
        output=((1000,), (1000,), (1000,)),
        classes=1000,
    )


VARIANTS = {
    "googlenet_aux": _row(
        partial(AuxiliaryGoogLeNet, paper, conv, PaperPool, 0.4),
        13_378_280,
        1.59104,
        "Szegedy et al. 2015, section 5; BVLC/caffe, bvlc_googlenet, train_val",
    ),
    "googlenet_torchvision_aux": _row(
        partial(AuxiliaryGoogLeNet, torchvisions, partial(conv_norm, eps=1e-3), partial(nn.AdaptiveAvgPool2d, 4), 0.2),
        13_004_888,
        1.50670,  # torchvision's own figure, 1.49838, is without the heads; each adds 4.2e-3
        "torchvision 0.28.0, googlenet with aux_logits",
    ),
}
