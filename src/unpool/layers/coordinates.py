"""Layers that regress coordinates: joints, and corners of boxes.

Coordinates are normalised as the N(y; b) of DeepPose (Toshev & Szegedy 2014, arXiv:1312.4659, section 3): the image
extends from -0.5 to 0.5, from edge to edge, in both directions.
"""

from collections import OrderedDict

from torch import nn

from unpool.layers.initialize import he_normal

GRID = 7  # side of the map that a head reads; VGG's


def near_middle(layer: nn.Linear) -> None:
    """Draws weights a hundredth of He's normal ones, so that what is predicted at first lies close to the middle.

    Example:
        >>> layer = nn.Linear(50, 8)
        >>> near_middle(layer)
        >>> bool(layer.weight.abs().max() < 0.02)
        True
    """
    if not layer.weight.is_meta:  # a shape without values, for which torch takes seconds to draw nothing
        nn.init.normal_(layer.weight, std=0.01 * (2 / layer.in_features) ** 0.5)


def coordinate_layer(in_features: int, numbers: int) -> nn.Linear:
    """Makes a linear layer of coordinates, (B, in_features) -> (B, numbers), that begins near the middle of the image.

    Example:
        >>> coordinate_layer(4096, 4).bias.tolist()
        [0.0, 0.0, 0.0, 0.0]
    """
    layer = nn.Linear(in_features, numbers)
    near_middle(layer)
    nn.init.zeros_(layer.bias)
    return layer


def hidden_layer(channels: int, hidden: int, *, dropout: float) -> nn.Sequential:
    """Makes a hidden layer on a map: (B, channels, H, W) -> (B, hidden).

    Maps of other sizes are averaged to 7x7: the mean of a whole map, which classifiers read, does not say where things
    are.

    Example:
        >>> import torch
        >>> hidden_layer(8, 16, dropout=0.5)(torch.zeros(2, 8, 3, 5)).shape
        torch.Size([2, 16])
    """
    layer = nn.Sequential(
        OrderedDict(
            pool=nn.AdaptiveAvgPool2d(GRID),
            flatten=nn.Flatten(),
            fc=nn.Linear(channels * GRID * GRID, hidden),
            act=nn.ReLU(),
            drop=nn.Dropout(dropout),
        )
    )
    he_normal(layer, mode="fan_in")
    return layer


def coordinate_head(channels: int, numbers: int, *, hidden: int, dropout: float) -> nn.Sequential:
    """Makes a hidden layer and one of coordinates on a map: (B, channels, H, W) -> (B, numbers).

    Example:
        >>> import torch
        >>> coordinate_head(8, 4, hidden=16, dropout=0.5)(torch.zeros(2, 8, 3, 5)).tolist()
        [[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """
    head = hidden_layer(channels, hidden, dropout=dropout)
    head.add_module("last", coordinate_layer(hidden, numbers))
    return head
