"""Every network by name."""

from fnmatch import fnmatch
from pathlib import Path
from typing import Any, cast

from torch import nn

from unpool.errors import RecipeError
from unpool.models import classifiers, denoising, pose, pretrained, segmentation, timm_backbone
from unpool.models.backbones import BACKBONES
from unpool.models.catalog import Variant, find, refuse_unknown
from unpool.models.classification import Classifier
from unpool.types import Backbone

MODELS: dict[str, Variant] = {
    **BACKBONES,
    **classifiers.MODELS,
    **segmentation.MODELS,
    **pose.MODELS,
    **denoising.MODELS,
}


def names(pattern: str = "*") -> list[str]:
    """Lists the names of the networks that match a shell pattern, case ignored.

    A pattern without a wildcard matches every name that contains it. timm's networks are listed where the pattern
    begins with "timm/".

    Example:
        >>> names("unet*")
        ['unet_valid', 'unet_mirror', 'unet_same', 'unet_same_bn', 'unet', 'unet_regression']
    """
    if pattern.startswith(timm_backbone.PREFIX):
        return timm_backbone.names(pattern)
    pattern = pattern.lower()
    wild = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    return [name for name in MODELS if fnmatch(name, wild)]


def row_of(name: str) -> Variant:
    """Returns the row of a network: from MODELS, or made for one of timm's, whose names begin with "timm/".

    Raises:
        RecipeError: the name is unknown; the message has the nearest known one.
        EnvironmentFault: the network is one of timm's and timm is not installed.
    """
    return timm_backbone.classifier_row(name) if name.startswith(timm_backbone.PREFIX) else find(MODELS, name)


def backbone_row_of(name: str) -> Variant:
    """Returns the row of a backbone: from BACKBONES, or made for one of timm's.

    Raises:
        RecipeError: the name is unknown, or is that of a network that is no backbone.
        EnvironmentFault: the backbone is one of timm's and timm is not installed.
    """
    if name.startswith(timm_backbone.PREFIX):
        return timm_backbone.backbone_row(name)
    if name not in BACKBONES and name in MODELS:
        raise RecipeError(
            f"{name} is no backbone: it is a whole network and returns no maps for a decoder; choose one of "
            f"{', '.join(BACKBONES)}"
        )
    return find(BACKBONES, name, what="backbone")


def known_options(name: str, *, backbone: str | None = None) -> dict[str, Any]:
    """Returns the name and default of every option that `build(name, backbone=backbone)` takes.

    Raises:
        RecipeError: the network or the backbone is unknown.
    """
    row = row_of(name)
    return {**(_encoder(name, row, backbone).options() if row.kind == "composed" else {}), **row.options()}


def build(
    name: str,
    *,
    weights: str | Path | None = None,
    backbone: str | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    **options: object,
) -> nn.Module:
    """Builds a network, with initial, published or saved weights.

    Initial weights are drawn from torch's global generator. Published weights are downloaded once, into torch's cache.

    Args:
        name: a row of MODELS, or "timm/" and a name of timm's for its classifier.
        weights: None for initial weights; "imagenet" for torchvision's or timm's, which a composed network takes for
            its backbone; "voc" for torchvision's segmentation networks; or a .safetensors file. Where num_classes or
            in_channels differs from that of the weights, the last or first layer is derived from them: see
            `adapting.adapted`. "voc" sets align="sizes" where `align` is left out, so that answers are torchvision's.
        backbone: a row of BACKBONES or "timm/" and a name of timm's, for composed networks; None takes that of the
            published network.
        num_classes: logits; None takes the published number.
        in_channels: channels of the image; None takes the published number.
        options: keyword-only arguments of the row's class and of its backbone's.

    Returns:
        The network, in training mode.

    Raises:
        RecipeError: a name or an option is unknown (the message has the nearest known one), a value is not valid, or
            the weights are not published for this network.
        ModelFileError: the file of weights is damaged or does not fit.
        EnvironmentFault: the weights cannot be downloaded, or the network is one of timm's and timm is not installed.

    Example:
        >>> import torch
        >>> network = build("unet", backbone="resnet18", num_classes=5)
        >>> network(torch.zeros(1, 3, 64, 96)).shape
        torch.Size([1, 5, 64, 96])
    """
    row = row_of(name)
    known = known_options(name, backbone=backbone)
    refuse_unknown(name, options, known)
    for option, value in options.items():
        _check_value(option, value, known[option])
    pretrained.check(name, row, backbone=backbone, weights=weights)
    options = pretrained.with_published_options(weights, options)
    classes = _count("num_classes", row.classes if num_classes is None else num_classes)
    channels = _count("in_channels", row.input[0] if in_channels is None else in_channels)
    if row.kind == "composed":
        row_options = {key: value for key, value in options.items() if key in row.options()}
        rest = {key: value for key, value in options.items() if key not in row_options}
        body = _encoder(name, row, backbone).build(in_channels=channels, **rest)
        if weights == "imagenet":
            pretrained.load_into_backbone(body, backbone or str(row.backbone), in_channels=in_channels)
        network = row.build(body, num_classes=classes, **row_options)
    elif backbone is not None:
        raise RecipeError(f"{name} is complete and takes no backbone ({backbone!r} was given): leave it out")
    elif row.head is None:
        network = row.build(in_channels=channels, num_classes=classes, **options)
    else:
        body = cast(Backbone, row.build(in_channels=channels, **options))
        network = Classifier(body, row.head(body.channels[-1], classes))
    if weights is not None and not (row.kind == "composed" and weights == "imagenet"):
        pretrained.load_into(network, name, weights, num_classes=num_classes, in_channels=in_channels)
    return network


def _encoder(name: str, row: Variant, backbone: str | None) -> Variant:
    chosen = backbone or row.backbone
    if chosen is None:
        raise RecipeError(f"{name} needs a backbone: one of {', '.join(BACKBONES)}")
    return backbone_row_of(chosen)


def _check_value(option: str, value: object, default: object) -> None:
    """Raises RecipeError if an option is not of its default's kind: a count, counts, a switch or a share."""
    if isinstance(default, tuple):
        if not isinstance(value, list | tuple):
            raise RecipeError(f"{option} is {value!r}; it must be a list of whole numbers like {list(default)}")
        for item in value:
            _count(f"{option}: one of {list(value)}", item)
    elif isinstance(default, bool):
        if not isinstance(value, bool):
            raise RecipeError(f"{option} is {value!r}; it must be true or false")
    elif isinstance(default, int):
        _count(option, value)
    elif isinstance(default, float) and not (type(value) in (int, float) and 0 <= cast(float, value) <= 1):
        raise RecipeError(f"{option} is {value!r}; it must be a number from 0 to 1")


def _count(what: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RecipeError(f"{what} is {value!r}; it must be a whole number of at least 1")
    return value
