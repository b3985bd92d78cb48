"""Classifiers: a backbone and a head that reads its last map."""

from collections import OrderedDict

from torch import Tensor, nn

from unpool.layers.initialize import normal_linear
from unpool.types import Backbone


class Classifier(nn.Module):
    """Logits of the last map of a backbone: (B, C, H, W) -> (B, num_classes)."""

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.backbone(image)[-1])


def linear_head(channels: int, num_classes: int) -> nn.Module:
    """Global average and one linear layer, as in ResNet."""
    return nn.Sequential(
        OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), linear=nn.Linear(channels, num_classes))
    )


def dropout_head(channels: int, num_classes: int, *, dropout: float) -> nn.Module:
    """Global average, dropout and one linear layer, as in GoogLeNet; it starts as Caffe's release does."""
    linear = uniform_linear(channels, num_classes, bias=0.0)
    return nn.Sequential(
        OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), drop=nn.Dropout(dropout), linear=linear)
    )


def uniform_linear(in_features: int, out_features: int, *, bias: float) -> nn.Linear:
    """A linear layer of uniform weights with variance 1 / fan-in, and biases of one value."""
    linear = nn.Linear(in_features, out_features)
    nn.init.kaiming_uniform_(linear.weight, nonlinearity="linear")
    nn.init.constant_(linear.bias, bias)
    return linear


def vgg_head(channels: int, num_classes: int) -> nn.Module:
    """Three linear layers on 7x7 positions, the hidden ones eight times as wide as the map (4096 for 512).

    Maps of other sizes are averaged to 7x7, so that every image size works; 224x224 needs no averaging.
    """
    hidden = 8 * channels
    head = nn.Sequential(
        OrderedDict(
            pool=nn.AdaptiveAvgPool2d(7),
            flatten=nn.Flatten(),
            fc6=nn.Linear(channels * 49, hidden),
            act6=nn.ReLU(),
            drop6=nn.Dropout(0.5),
            fc7=nn.Linear(hidden, hidden),
            act7=nn.ReLU(),
            drop7=nn.Dropout(0.5),
            fc8=nn.Linear(hidden, num_classes),
        )
    )
    normal_linear(head)
    return head
