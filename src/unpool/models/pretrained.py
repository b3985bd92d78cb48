"""Loads weights that others trained: torchvision's on ImageNet and on COCO with the classes of VOC, timm's, those of an
installed package (`packaged`), or a file (`foreign`).

`imagenet` is torchvision's first release of each network (IMAGENET1K_V1), `voc` its COCO_WITH_VOC_LABELS_V1, `coco` the
first release of its detectors (COCO_V1), whose norms add nothing to the variance. For timm's networks `imagenet` is
timm's default, which may have been trained on more than ImageNet. Networks without auxiliary heads ignore those of the
file. The auxiliary heads in GoogLeNet's file are untrained, as torchvision says; that file needs mean = deviation =
0.5, which torchvision computes inside of the network. A composed network loads ImageNet's weights, and those of a
package, into its backbone; its decoder keeps its initial weights, also where the paper copies linear layers (FCN on
VGG).
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from unpool.errors import ModelFileError, RecipeError, quoted
from unpool.models import timm_weights
from unpool.models.adapting import adapted
from unpool.models.catalog import Variant
from unpool.models.download import fetch
from unpool.models.fitting import Destination
from unpool.models.packaged import PACKAGED, Package, read_package
from unpool.models.timm_backbone import PREFIX, is_trained
from unpool.models.weights import assign_weights, from_torchvision, some
from unpool.ops.drawing import voc_palette

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
    "coco": {
        "fasterrcnn_resnet50_fpn": "FasterRCNN_ResNet50_FPN_Weights.COCO_V1",
        "keypointrcnn_resnet50_fpn": "KeypointRCNN_ResNet50_FPN_Weights.COCO_V1",
        "maskrcnn_resnet50_fpn": "MaskRCNN_ResNet50_FPN_Weights.COCO_V1",
        "retinanet_resnet50_fpn": "RetinaNet_ResNet50_FPN_Weights.COCO_V1",
        "ssd300_vgg16": "SSD300_VGG16_Weights.COCO_V1",
    },
}


WORDS = (*PUBLISHED, *PACKAGED)  # that a recipe's weights may be instead of a file
OF_CLASSIFIERS = ("imagenet", *PACKAGED)  # those that a composed network loads into its backbone
OPTIONS = {"voc": {"align": "sizes"}, "coco": {"norms": "frozen_no_eps"}}  # those that give the publisher's answers


class Origin(NamedTuple):
    """Classes and preprocessing of a published network.

    Attributes:
        classes: names by index; empty where nobody names them, or the network has none.
        mean, std: per channel, in `order` and on `value_range`, of the images that the network was trained on.
        source: name and address of the weights.
        size_hw: size of the images in the publisher's test; None if the network takes any size.
        crop: share of an image that the publisher's test keeps.
        palette: one RGB colour per class, for masks; else empty.
        order, value_range: see `Preprocessing`.
        synsets: WordNet numbers of ImageNet's classes by index, which only timm knows; else empty.
        keypoints: names of joints by index, of a network that gives them; else empty.
    """

    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    size_hw: tuple[int, int] | None = None
    crop: float = 0.875
    palette: tuple[tuple[int, int, int], ...] = ()
    order: Literal["rgb", "bgr"] = "rgb"
    value_range: tuple[float, float] = (0.0, 1.0)
    synsets: tuple[str, ...] = ()
    keypoints: tuple[str, ...] = ()


def words_of(name: str) -> tuple[str, ...]:
    """Returns the weights that are published for a network, those of its backbone not counted.

    Example:
        >>> words_of("vgg16"), words_of("unet")
        (('imagenet', 'hed_vgg16'), ())
    """
    packaged = [word for word, package in PACKAGED.items() if package.network == name]
    timms = ["imagenet"] if name.startswith(PREFIX) and is_trained(name) else []
    return (*timms, *(word for word, names in PUBLISHED.items() if name in names), *packaged)


def with_published_options(weights: str | Path | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options of a network, with those of its published weights where they are left out; logs them."""
    published = OPTIONS.get(str(weights), {})
    chosen = {**published, **options}
    for key, value in published.items():
        differs = "" if chosen[key] == value else f"; the published network has {value}, and answers differ"
        _log.info("with the weights %s, %s is %s%s", weights, key, chosen[key], differs)
    return chosen


def is_file(weights: str | Path) -> bool:
    """Whether `weights` names a file: words have no dot and no slash."""
    return isinstance(weights, Path) or any(sign in weights for sign in "./\\")


def check(name: str, row: Variant, *, backbone: str | None, weights: str | Path | None, new_head: bool = False) -> None:
    """Raises if weights are not published for a network.

    Args:
        name: the network.
        row: its row.
        backbone: of a composed network; None for that of the row.
        weights: None or a file, which always pass, or one of WORDS.
        new_head: whether the last layer stays as it was initialised.

    Raises:
        RecipeError: no such weights are published for the network; the message lists those that are.
    """
    if weights is None or is_file(weights):
        if new_head and weights is None:
            raise RecipeError("new_head leaves the last layer of loaded weights out: set weights too, or leave it out")
        return
    if str(weights) not in WORDS:
        raise RecipeError(f"weights is {quoted(str(weights))}; it must be {' or '.join(WORDS)}, or a file")
    is_composed = row.kind == "composed"
    if weights in OF_CLASSIFIERS and is_composed:
        name = backbone or row.backbone or name
    _require(name, str(weights))
    if weights in PACKAGED and not (PACKAGED[str(weights)].has_head or is_composed or new_head):
        raise RecipeError(
            f"weights {quoted(str(weights))} have no classes: set model.new_head=true (Python: new_head=True) to train "
            f"a new last layer, or take {name} as the backbone of a decoder"
        )


def origin(name: str, weights: str) -> Origin:
    """Returns the class names and preprocessing of a published network; downloads nothing.

    Args:
        name: the network.
        weights: one of WORDS.

    Raises:
        RecipeError: no such weights are published for this network.
        EnvironmentFault: the network is one of timm's and timm is not installed.
    """
    _require(name, weights)
    if weights in PACKAGED:
        return _packages_origin(PACKAGED[weights])
    if _is_timms(name, weights):
        return _timms_origin(name)
    enum = _weights_of(PUBLISHED[weights][name])
    transforms = enum.transforms()
    classes = tuple(enum.meta["categories"])
    source = f"torchvision {enum}, {enum.url}"
    if weights == "voc":
        return Origin(classes, tuple(transforms.mean), tuple(transforms.std), source, palette=voc_palette(len(classes)))
    if weights == "coco":
        return _detectors_origin(name, classes, source)._replace(keypoints=tuple(enum.meta.get("keypoint_names", ())))
    (side,) = transforms.crop_size
    half = (0.5, 0.5, 0.5)
    is_googlenet = name.startswith("googlenet")
    mean, std = (half, half) if is_googlenet else (tuple(transforms.mean), tuple(transforms.std))
    return Origin(classes, mean, std, source, (side, side), synsets=timm_weights.synsets_of_imagenet())


def _detectors_origin(name: str, classes: tuple[str, ...], source: str) -> Origin:
    """Of COCO's numbers 1 to 90 some have no class, "N/A"; RetinaNet has one more, the background, which is no answer.

    torchvision's detectors normalise images inside of the network: SSD subtracts the mean and keeps 0 to 255.
    """
    if name.startswith("ssd"):
        return Origin(classes[1:], (0.48235, 0.45882, 0.40784), (1 / 255,) * 3, source, (300, 300), crop=1.0)
    answers = classes if name.startswith("retinanet") else classes[1:]
    return Origin(answers, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), source)


def load_published(destination: Destination, weights: str, *, num_classes: int | None) -> None:
    """Copies published weights into a network, or into the backbone of a composed one; nothing unless all fits.

    Args:
        destination: a network for which they are published.
        weights: one of WORDS.
        num_classes: that the network was built with, if it may differ from that of the weights; else None. The last
            layer is then derived from the weights: see `adapting.adapted`.

    Raises:
        ModelFileError: the file is damaged or does not fit; the message lists the tensors.
        EnvironmentFault: the weights cannot be downloaded, or their package is not installed.
    """
    body = destination.backbone_name if weights in OF_CLASSIFIERS else None
    module = destination.network.get_submodule("backbone" if body else "")
    name, is_body = body or destination.name, body is not None
    initial = module.state_dict()
    tensors, source = _published(name, weights)
    if is_body:
        below = {key.removeprefix("backbone."): tensor for key, tensor in tensors.items()}
        tensors = {key: tensor for key, tensor in below.items() if key in initial or key not in _heads(below, name)}
    new = frozenset() if is_body else destination.new
    if new and not any(key.startswith("head.") for key in tensors):
        new |= {key for key in initial if key.startswith("head.")}
    tensors = {key: t for key, t in tensors.items() if key not in new}
    tensors = {key: t for key, t in tensors.items() if key in initial or not key.startswith("auxiliary.")}
    tensors = _completed(module, tensors)
    fitting = adapted(
        tensors, initial, num_classes=None if is_body else num_classes, in_channels=destination.in_channels
    )
    wrong = [key for key, t in fitting.items() if key in initial and t.shape != initial[key].shape]
    if wrong and not is_body and set(wrong) <= destination.by_class():
        raise ModelFileError(
            f"{source} has another number of classes, and nothing of {some(wrong)} can be derived from it: leave the "
            "last layers new with model.new_head=true (Python: new_head=True), or num_classes as published"
        )
    assign_weights(module, {**{key: initial[key] for key in new}, **fitting}, source=source)
    _log_derived(tensors, fitting, source=source)


def _heads(tensors: Mapping[str, Tensor], name: str) -> set[str]:
    """Names of a classifier's tensors that a backbone has not: all that differ in timm's, `head.*` in torchvision's."""
    return (
        set(tensors) if name.startswith(PREFIX) else {key for key in tensors if key.startswith(("head.", "auxiliary."))}
    )


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
    if weights in PACKAGED:
        return read_package(weights), f"the package {PACKAGED[weights].source}"
    if _is_timms(name, weights):
        return timm_weights.published(name), f"timm's {name}"
    url = address(PUBLISHED[weights][name])
    return from_torchvision(fetch(url)), url


def _is_timms(name: str, weights: str) -> bool:
    return name.startswith(PREFIX) and weights == "imagenet"


def _timms_origin(name: str) -> Origin:
    config = timm_weights.read_config(name)
    return Origin(
        config.classes, config.mean, config.std, config.source, config.size_hw, config.crop, synsets=config.synsets
    )


def _packages_origin(package: Package) -> Origin:
    config = timm_weights.read_config(package.network) if package.has_head else None
    return Origin(
        classes=config.classes if config else (),
        synsets=config.synsets if config else (),
        mean=package.mean,
        std=package.std,
        source=f"the package {package.source}",
        size_hw=(224, 224),
        order=package.order,
        value_range=package.value_range,
    )


def _require(name: str, weights: str) -> None:
    """Raises RecipeError unless the weights are published for the network."""
    if weights not in WORDS:
        raise RecipeError(f"weights is {quoted(weights)}; published ones are called {' or '.join(WORDS)}")
    if weights in PACKAGED and name != PACKAGED[weights].network:
        raise RecipeError(f"weights {quoted(weights)} are those of {PACKAGED[weights].network}, not of {name}")
    table = PUBLISHED.get(weights, {})
    if weights in PUBLISHED and not _is_timms(name, weights) and name not in table:
        raise RecipeError(f"no weights {quoted(weights)} are published for {name}; there are for {', '.join(table)}")


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
