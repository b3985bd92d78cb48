"""Classifiers: a backbone and a head that reads its last map."""

from collections import OrderedDict

from torch import Tensor, nn

from unpool.layers.initialize import normal_linear
from unpool.types import Backbone


class Classifier(nn.Module):
    """A backbone and a head on its last map: image (B, C, H, W) -> logits (B, num_classes).

    Args:
        backbone: returns maps, fine to coarse.
        head: maps the last of them to logits.
    """

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.backbone(image)[-1])


def linear_head(channels: int, num_classes: int) -> nn.Module:
    """Makes ResNet's head: global average and one linear layer; (B, channels, H, W) -> (B, num_classes)."""
    return nn.Sequential(
        OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), linear=nn.Linear(channels, num_classes))
    )


def dropout_head(channels: int, num_classes: int, *, dropout: float) -> nn.Module:
    """Makes GoogLeNet's head: global average, dropout and one linear layer; (B, channels, H, W) -> (B, num_classes).

    Initial weights are those of Caffe's release.
    """
    linear = uniform_linear(channels, num_classes, bias=0.0)
    return nn.Sequential(
        OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), drop=nn.Dropout(dropout), linear=linear)
    )


def uniform_linear(in_features: int, out_features: int, *, bias: float) -> nn.Linear:
    """Makes a linear layer: initial weights are uniform with variance 1 / fan-in, all biases are `bias`."""
    linear = nn.Linear(in_features, out_features)
    nn.init.kaiming_uniform_(linear.weight, nonlinearity="linear")
    nn.init.constant_(linear.bias, bias)
    return linear


def vgg_head(channels: int, num_classes: int) -> nn.Module:
    """Makes VGG's head: three linear layers on a 7x7 map; (B, channels, H, W) -> (B, num_classes).

    Hidden layers have eight times the channels of the map (4096 for 512). Maps of other sizes are averaged to 7x7, so
    that every image size works; 224x224 needs no averaging.
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
