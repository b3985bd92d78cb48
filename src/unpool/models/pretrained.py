"""Loads weights that others trained: torchvision's on ImageNet and on COCO with the classes of VOC, timm's, or a file.

`imagenet` is torchvision's first release of each network (IMAGENET1K_V1), `voc` its COCO_WITH_VOC_LABELS_V1. For timm's
networks `imagenet` is timm's default, which may have been trained on more than ImageNet. Networks without auxiliary
heads ignore those of the file. The auxiliary heads in GoogLeNet's file are untrained, as torchvision says; that file
needs mean = deviation = 0.5, which torchvision computes inside of the network. A composed network loads ImageNet's
weights into its backbone; its decoder keeps its initial weights, also where the paper copies linear layers (FCN on
VGG).
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.models import timm_weights
from unpool.models.adapting import adapted
from unpool.models.catalog import Variant
from unpool.models.download import ENDING, fetch
from unpool.models.timm_backbone import PREFIX
from unpool.models.weights import assign_weights, from_torchvision, read_weights
from unpool.ops.drawing import voc_palette
from unpool.task import split_state

_log = logging.getLogger(__name__)
_VGGS = ("vgg11", "vgg13", "vgg16", "vgg19")
_RESNETS = ("18", "34", "50", "101", "152")
_DENSE = {"fcn": "FCN", "deeplabv3": "DeepLabV3"}

PUBLISHED: dict[str, dict[str, str]] = {  # value of weights=, name of the row, torchvision's name of the weights
    "imagenet": {
        **{name: f"{name.upper()}_Weights.IMAGENET1K_V1" for name in _VGGS},
        **{f"{name}_bn": f"{name.upper()}_BN_Weights.IMAGENET1K_V1" for name in _VGGS},
        **{f"resnet{depth}": f"ResNet{depth}_Weights.IMAGENET1K_V1" for depth in _RESNETS},
        "alexnet_torchvision": "AlexNet_Weights.IMAGENET1K_V1",
        "googlenet_torchvision": "GoogLeNet_Weights.IMAGENET1K_V1",
        "googlenet_torchvision_aux": "GoogLeNet_Weights.IMAGENET1K_V1",
    },
    "voc": {
        f"{head}_resnet{depth}{heads}": f"{theirs}_ResNet{depth}_Weights.COCO_WITH_VOC_LABELS_V1"
        for head, theirs in _DENSE.items()
        for depth in ("50", "101")
        for heads in ("", "_aux")
    },
}


OPTIONS = {"voc": {"align": "sizes"}}  # value of weights=, options that give the publisher's answers


class Origin(NamedTuple):
    """Classes and preprocessing of a published network.

    Attributes:
        classes: names by index.
        mean, std: per channel, on the range 0..1, of the images that the network was trained on.
        source: name and address of the weights.
        size_hw: size of the images in the publisher's test; None if the network takes any size.
        crop: share of an image that the publisher's test keeps.
        palette: one RGB colour per class, for masks; else empty.
    """

    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    size_hw: tuple[int, int] | None = None
    crop: float = 0.875
    palette: tuple[tuple[int, int, int], ...] = ()


def with_published_options(weights: str | Path | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options of a network, with those of its published weights where they are left out; logs them."""
    published = OPTIONS.get(str(weights), {})
    chosen = {**published, **options}
    for key, value in published.items():
        differs = "" if chosen[key] == value else f"; the published network has {value}, and answers differ"
        _log.info("with the weights %s, %s is %s%s", weights, key, chosen[key], differs)
    return chosen


def check(name: str, row: Variant, *, backbone: str | None, weights: str | Path | None) -> None:
    """Raises if weights are not published for a network.

    Args:
        name: the network.
        row: its row.
        backbone: of a composed network; None for that of the row.
        weights: None or a .safetensors file, which always pass, or a key of PUBLISHED.

    Raises:
        RecipeError: no such weights are published for the network; the message lists those that are.
    """
    if weights is None or str(weights).endswith(ENDING):
        return
    if str(weights) not in PUBLISHED:
        raise RecipeError(f"weights is {str(weights)!r}; it must be {' or '.join(PUBLISHED)}, or a {ENDING} file")
    if weights == "imagenet" and row.kind == "composed":
        name = backbone or row.backbone or name
    if not _is_timms(name, str(weights)):
        _member(name, str(weights))


def origin(name: str, weights: str) -> Origin:
    """Returns the class names and preprocessing of a published network; downloads nothing.

    Args:
        name: the network.
        weights: a key of PUBLISHED.

    Raises:
        RecipeError: no such weights are published for this network, or timm has no names for its classes.
    """
    if _is_timms(name, weights):
        return _timms_origin(name)
    enum = _weights_of(_member(name, weights))
    transforms = enum.transforms()
    classes = tuple(enum.meta["categories"])
    source = f"torchvision {enum}, {enum.url}"
    if weights == "voc":
        return Origin(classes, tuple(transforms.mean), tuple(transforms.std), source, palette=voc_palette(len(classes)))
    (side,) = transforms.crop_size
    half = (0.5, 0.5, 0.5)
    is_googlenet = name.startswith("googlenet")
    mean, std = (half, half) if is_googlenet else (tuple(transforms.mean), tuple(transforms.std))
    return Origin(classes, mean, std, source, (side, side))


def load_into(
    network: nn.Module, name: str, weights: str | Path, *, num_classes: int | None, in_channels: int | None
) -> None:
    """Copies weights into a network; nothing is copied unless everything fits.

    Args:
        network: built from the row `name`.
        name: a row that PUBLISHED lists, or any row with a file.
        weights: "imagenet", "voc" or a .safetensors file.
        num_classes: that the network was built with, if it may differ from that of the weights; else None. The last
            layer is then derived from the weights: see `adapting.adapted`.
        in_channels: the same for channels of the image and the first layer.

    Raises:
        ModelFileError: the file is damaged or does not fit; the message lists the tensors.
        EnvironmentFault: the weights cannot be downloaded.
    """
    initial = network.state_dict()
    if str(weights).endswith(ENDING):
        tensors, source = split_state(read_weights(weights))[0], str(weights)
    else:
        tensors, source = _published(name, str(weights))
        tensors = _completed(network, tensors)
        tensors = {key: t for key, t in tensors.items() if key in initial or not key.startswith("auxiliary.")}
    fitting = adapted(tensors, initial, num_classes=num_classes, in_channels=in_channels)
    assign_weights(network, fitting, source=source)
    _log_derived(tensors, fitting, source=source)


def load_into_backbone(backbone: nn.Module, name: str, *, in_channels: int | None) -> None:
    """Copies ImageNet's weights of a classifier's backbone into a backbone; nothing is copied unless everything fits.

    Args:
        backbone: built from the row `name`.
        name: a backbone for which ImageNet's weights are published.
        in_channels: as in `load_into`.

    Raises:
        ModelFileError: the weights do not fit; the message lists the tensors.
        EnvironmentFault: the weights cannot be downloaded.
    """
    tensors, source = _published(name, "imagenet")
    initial = backbone.state_dict()
    if _is_timms(name, "imagenet"):
        body = {key: tensor for key, tensor in tensors.items() if key in initial}  # the rest is timm's head
    else:
        body = {key.removeprefix("backbone."): t for key, t in tensors.items() if key.startswith("backbone.")}
    fitting = adapted(_completed(backbone, body), initial, num_classes=None, in_channels=in_channels)
    assign_weights(backbone, fitting, source=source)
    _log_derived(body, fitting, source=source)


def _log_derived(tensors: Mapping[str, Tensor], fitting: Mapping[str, Tensor], *, source: str) -> None:
    """Logs each tensor whose shape `adapting.adapted` changed."""
    for name, tensor in tensors.items():
        before, after = tuple(tensor.shape), tuple(fitting[name].shape)
        if before != after:
            _log.info("%s: %s %s is derived from the trained %s", source, name, after, before)


def address(member: str) -> str:
    """Returns the URL of torchvision's weights, such as "ResNet18_Weights.IMAGENET1K_V1"."""
    return _weights_of(member).url


def _published(name: str, weights: str) -> tuple[dict[str, Tensor], str]:
    """The published tensors under our names, and their source."""
    if _is_timms(name, weights):
        return timm_weights.published(name), f"timm's {name}"
    url = address(_member(name, weights))
    return from_torchvision(fetch(url)), url


def _is_timms(name: str, weights: str) -> bool:
    return name.startswith(PREFIX) and weights == "imagenet"


def _timms_origin(name: str) -> Origin:
    config = timm_weights.read_config(name)
    if not config.classes:
        raise RecipeError(f"timm has no names for the classes of {name}: choose another network")
    return Origin(config.classes, config.mean, config.std, config.source, config.size_hw, config.crop)


def _member(name: str, weights: str) -> str:
    if weights not in PUBLISHED:
        raise RecipeError(f"weights is {weights!r}; published ones are called {' or '.join(PUBLISHED)}")
    table = PUBLISHED[weights]
    if name not in table:
        raise RecipeError(f"no weights {weights!r} are published for {name}; there are for {', '.join(table)}")
    return table[name]


def _weights_of(member: str) -> Any:
    from torchvision.models import get_weight

    return get_weight(member)


def _completed(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, with each norm's count of batches as zero where the file lacks it, as before torch 0.4.1."""
    counts = {
        f"{path}.num_batches_tracked": norm.num_batches_tracked
        for path, norm in network.named_modules()
        if isinstance(norm, nn.BatchNorm2d) and norm.num_batches_tracked is not None
    }
    return {**counts, **tensors}
