"""Weights that others trained: torchvision's on ImageNet and on COCO with the classes of VOC, timm's, or a file.

`imagenet` is torchvision's first release of each network (IMAGENET1K_V1), `voc` its COCO_WITH_VOC_LABELS_V1; of timm's
networks it is what timm itself takes as pretrained, which may have seen more than ImageNet. Rows
without auxiliary heads leave out those of the file. The heads of GoogLeNet's file were never trained, as torchvision
says; it also wants mean = deviation = 0.5, which torchvision computes inside of the network. A composed network takes
ImageNet's weights for its backbone; its decoder stays new, also where the paper copies linear layers (FCN on VGG).
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
from unpool.task import split_state

_log = logging.getLogger(__name__)
_VGGS = ("vgg11", "vgg13", "vgg16", "vgg19")
_RESNETS = ("18", "34", "50", "101", "152")
_DENSE = {"fcn": "FCN", "deeplabv3": "DeepLabV3"}

PUBLISHED: dict[str, dict[str, str]] = {  # what weights= says, the row, and torchvision's name for its weights
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


class Origin(NamedTuple):
    """What comes along with published weights.

    Attributes:
        classes: names by index.
        mean, std: per channel, on the range 0..1, of the images that the network was trained on.
        source: torchvision's name and the address of the file.
        size_hw: of the images in its test; None where it takes any.
        crop: share of an image that its test keeps.
        palette: one RGB colour a class, for masks; else empty.
    """

    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    size_hw: tuple[int, int] | None = None
    crop: float = 0.875
    palette: tuple[tuple[int, int, int], ...] = ()


def check(name: str, row: Variant, *, backbone: str | None, weights: str | Path | None) -> None:
    """Refuses weights that are not published for a network.

    Raises:
        RecipeError: with what there is.
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
    """Class names, mean and deviation of the published network; needs no download.

    Raises:
        RecipeError: no such weights are published for this network.
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
        name: a row that PUBLISHED lists, or any with a file.
        weights: "imagenet", "voc" or a file.
        num_classes: that the network was built with; None where it is to be that of the weights.
        in_channels: the same of the image. What differs is derived from the weights, see `adapting.adapted`.

    Raises:
        ModelFileError: the weights do not fit, with every name.
        EnvironmentFault: they cannot be downloaded.
    """
    own = network.state_dict()
    if str(weights).endswith(ENDING):
        tensors, source = split_state(read_weights(weights))[0], str(weights)
    else:
        tensors, source = _published(name, str(weights))
        tensors = _completed(network, tensors)
        tensors = {key: tensor for key, tensor in tensors.items() if key in own or not key.startswith("auxiliary.")}
    fitting = adapted(tensors, own, num_classes=num_classes, in_channels=in_channels)
    assign_weights(network, fitting, source=source)
    _tell_derived(tensors, fitting, source=source)


def load_into_backbone(backbone: nn.Module, name: str, *, in_channels: int | None) -> None:
    """Copies ImageNet's weights of the row `name` into its backbone; the rest of `load_into` holds."""
    tensors, source = _published(name, "imagenet")
    own = backbone.state_dict()
    if _is_timms(name, "imagenet"):
        body = {key: tensor for key, tensor in tensors.items() if key in own}  # the rest is timm's head
    else:
        body = {key.removeprefix("backbone."): t for key, t in tensors.items() if key.startswith("backbone.")}
    fitting = adapted(_completed(backbone, body), own, num_classes=None, in_channels=in_channels)
    assign_weights(backbone, fitting, source=source)
    _tell_derived(body, fitting, source=source)


def _tell_derived(tensors: Mapping[str, Tensor], fitting: Mapping[str, Tensor], *, source: str) -> None:
    """Logs what was not taken over as it was; how it was derived stands in `adapting.adapted`."""
    for name, tensor in tensors.items():
        before, after = tuple(tensor.shape), tuple(fitting[name].shape)
        if before != after:
            _log.info("%s: %s %s is derived from the trained %s", source, name, after, before)


def address(member: str) -> str:
    """Where a file of torchvision's lies."""
    return _weights_of(member).url


def voc_palette(count: int) -> tuple[tuple[int, int, int], ...]:
    """The first colours of the VOC development kit: the class's bits, in turn to red, green and blue from the top."""
    return tuple((_spread(i), _spread(i >> 1), _spread(i >> 2)) for i in range(count))


def _spread(bits: int) -> int:
    """Every third bit, the lowest first, as the highest of eight."""
    return sum(((bits >> 3 * place) & 1) << (7 - place) for place in range(8))


def _published(name: str, weights: str) -> tuple[dict[str, Tensor], str]:
    """The tensors by our names, and where they come from."""
    if _is_timms(name, weights):
        return timm_weights.published(name), f"timm's {name}"
    url = address(_member(name, weights))
    return from_torchvision(fetch(url)), url


def _is_timms(name: str, weights: str) -> bool:
    return name.startswith(PREFIX) and weights == "imagenet"


def _timms_origin(name: str) -> Origin:
    told = timm_weights.told(name)
    if not told.classes:
        raise RecipeError(f"timm does not say what the classes of {name} are called: choose another network")
    return Origin(told.classes, told.mean, told.std, told.source, told.size_hw, told.crop)


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
    """With the batches that norms have seen, which files written before torch 0.4.1 do not hold, as zero."""
    seen = {
        f"{path}.num_batches_tracked": norm.num_batches_tracked
        for path, norm in network.named_modules()
        if isinstance(norm, nn.BatchNorm2d) and norm.num_batches_tracked is not None
    }
    return {**seen, **tensors}
