"""Every network by name."""

from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from functools import cache, partial
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from unpool.errors import RecipeError, UnpoolError, quoted, shortened
from unpool.machine import free_bytes
from unpool.models import (
    captions,
    classification,
    classifiers,
    denoising,
    detection,
    embedding,
    flow,
    localization,
    pose,
    pretrained,
    reading,
    segmentation,
    stereo,
    timm_backbone,
)
from unpool.models.backbones import BACKBONES
from unpool.models.catalog import MOST, MOST_ITEMS, MOST_OF, Variant, find, refuse_unknown
from unpool.models.classification import Classifier
from unpool.models.exchanging import exchange
from unpool.models.fitting import Destination
from unpool.models.foreign import load_file
from unpool.types import Backbone

EXCHANGED = tuple(name for name, p in signature(exchange).parameters.items() if p.kind is Parameter.KEYWORD_ONLY)
_LARGEST_BYTES = 4 << 30  # weights of a network of any row, with its default options or smaller ones

_ROWS = (
    (classification, {**BACKBONES, **classifiers.MODELS}),
    *(
        (area, area.MODELS)
        for area in (
            *(segmentation, detection, localization, pose, denoising),
            *(embedding, stereo, flow, captions, reading),
        )
    ),
)
AREAS: dict[str, dict[str, Variant]] = {  # by the task, or family of tasks, that the published networks were made for
    area.__name__.rpartition(".")[2]: rows for area, rows in _ROWS
}
MODELS: dict[str, Variant] = {name: row for rows in AREAS.values() for name, row in rows.items()}


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


def area_of(name: str) -> str:
    """Returns what a network was made for, a key of AREAS; timm's are for classification.

    Example:
        >>> area_of("vgg16"), area_of("timm/resnet18")
        ('classification', 'classification')
    """
    return next((area for area, rows in AREAS.items() if name in rows), next(iter(AREAS)))


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


def classifier_of(name: str, backbone: str | None) -> str | None:
    """Returns the row of the classifier that a localizer adds boxes to, or that R-CNN starts from; else None.

    Raises:
        RecipeError: the network is unknown.

    Example:
        >>> classifier_of("localizer", "resnet34"), classifier_of("alexnet_localizer", None), classifier_of("fpn", None)
        ('resnet34', 'alexnet', None)
    """
    row = row_of(name)
    starts_from_whole = row.reads_proposals and row.kind == "whole"
    return backbone or row.backbone if row.gives == "scores_and_boxes" or starts_from_whole else None


def known_options(name: str, *, backbone: str | None = None) -> dict[str, Any]:
    """Returns the name and default of every option that `build(name, backbone=backbone)` takes.

    Raises:
        RecipeError: the network or the backbone is unknown.
    """
    of_rows = _options_of_rows(name, backbone)
    return {**of_rows, **{key: None for key in EXCHANGED if key not in of_rows}}


def _options_of_rows(name: str, backbone: str | None) -> dict[str, Any]:
    """Those that the classes of the network and its backbone take, without those of every network."""
    row = row_of(name)
    return {**(_encoder(name, row, backbone).options() if row.kind == "composed" else {}), **row.options()}


def colours_of(name: str, backbone: str | None, weights: str) -> dict[str, Any] | None:
    """Returns what weights need of a recipe's `data`: mean, std, color_order and value_range.

    Args:
        name: the network.
        backbone: of a composed network; None for that of its row.
        weights: as in a recipe.

    Returns:
        None for a file, which says nothing of images.

    Raises:
        RecipeError: no such weights are published for this network.
        EnvironmentFault: the network is one of timm's and timm is not installed.

    Example:
        >>> colours_of("unet", "vgg16", "hed_vgg16")["color_order"]
        'bgr'
    """
    if pretrained.is_file(weights):
        return None
    row = row_of(name)
    is_body = row.kind == "composed" and weights in pretrained.OF_CLASSIFIERS
    published = pretrained.origin((backbone or row.backbone or name) if is_body else name, weights)
    colours = {"mean": published.mean, "std": published.std}
    return {**colours, "color_order": published.order, "value_range": published.value_range}


def build(
    name: str,
    *,
    weights: str | Path | None = None,
    backbone: str | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    new_head: bool = False,
    init: Callable[[nn.Module], None] | None = None,
    **options: object,
) -> nn.Module:
    """Builds a network, with initial, published or saved weights.

    Initial weights are drawn from torch's global generator. Published weights are downloaded once, into torch's cache.
    What a file gave is logged: as a warning where some of it was not used, or some of the network stays new.

    Args:
        name: a row of MODELS, or "timm/" and a name of timm's for its classifier.
        weights: None for initial weights; "imagenet" for torchvision's or timm's, which a composed network takes for
            its backbone; "voc" for torchvision's segmentation networks, "coco" for its detectors; "efficientnet_lite0"
            or "hed_vgg16" for those of an installed package (`models.packaged`); or a .safetensors or .pth file of any
            tool (`models.foreign`), for the whole network or its backbone. Where num_classes or in_channels differs
            from that of published weights, the last or first layer is derived from them: see `adapting.adapted`; of a
            detector, the first alone, and from a file too. "voc" sets align="sizes" and "coco" norms="frozen_no_eps"
            where they are left out, so that answers are torchvision's.
        backbone: a row of BACKBONES or "timm/" and a name of timm's, for composed networks; None takes that of the
            published network.
        num_classes: logits; None takes the published number.
        in_channels: channels of the image; None takes the published number.
        new_head: whether the tensors whose shape depends on the number of classes keep their initial weights.
        init: draws initial weights anew, in place, such as `layers.initializations.He()`, before any are loaded; None
            keeps those of the network's source.
        options: keyword-only arguments of the row's class, of its backbone's, and of `exchanging.exchange`.

    Returns:
        The network, in training mode.

    Raises:
        RecipeError: a name or an option is unknown (the message has the nearest known one), a value is not valid, or
            the weights are not published for this network.
        ModelFileError: the file of weights is damaged or does not fit.
        EnvironmentFault: the weights cannot be downloaded, or a package is not installed.

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
    pretrained.check(name, row, backbone=backbone, weights=weights, new_head=new_head)
    options = pretrained.with_published_options(weights, options)
    classes = _count("num_classes", row.classes if num_classes is None else num_classes)
    channels = _count("in_channels", row.input[0] if in_channels is None else in_channels)
    if row.kind != "composed" and backbone is not None:
        raise RecipeError(f"{name} is complete and takes no backbone ({quoted(backbone)} was given): leave it out")
    built, exchanged = _shared_out(options, _options_of_rows(name, backbone))
    assemble = partial(_assemble, name, backbone, in_channels=channels, options=built)
    is_larger = any(_may_be_larger(value, known[option]) for option, value in built.items())
    if is_larger or (built and free_bytes() < _LARGEST_BYTES):  # counting takes as long as building
        _require_memory(name, partial(assemble, num_classes=classes))
    network = assemble(num_classes=classes)
    exchange(network, **exchanged)
    if init is not None:
        init(network)
    if weights is None:
        return network

    body = backbone or row.backbone if row.kind == "composed" else None
    by_class = cache(partial(_by_class, network, assemble, classes))
    destination = Destination(
        network=network,
        name=name,
        backbone_name=body,
        classifier=classifier_of(name, backbone),
        new=by_class() if new_head else frozenset(),
        by_class=by_class,
        in_channels=in_channels,
        settings={**known, "backbone": body, **options},
        defaults={**known, "backbone": row.backbone if row.kind == "composed" else None},
    )
    if pretrained.is_file(weights):
        load_file(weights, destination)
    else:
        pretrained.load_published(destination, str(weights), num_classes=num_classes)
    return network


def _shared_out(options: Mapping[str, Any], of_rows: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options that the rows take, and those by which modules are exchanged afterwards."""
    exchanged = {key: value for key, value in options.items() if key not in of_rows}
    if options.get("norms") == "group":
        exchanged["norms"] = "group"
    built = {key: value for key, value in options.items() if key not in exchanged}
    if "norms" in of_rows and "norms" in exchanged:
        built["norms"] = "trained"
    return built, exchanged


def _by_class(network: nn.Module, assemble: Callable[..., nn.Module], num_classes: int) -> frozenset[str]:
    """Names of the tensors whose shapes depend on the number of classes, by building the network for one class more."""
    with torch.device("meta"):
        other = assemble(num_classes=num_classes + 1).state_dict()
    return frozenset(key for key, tensor in network.state_dict().items() if tensor.shape != other[key].shape)


def _assemble(
    name: str, backbone: str | None, *, in_channels: int, num_classes: int, options: Mapping[str, Any]
) -> nn.Module:
    """A network with initial weights; a composed one has its backbone, or a dilated copy of it, as `backbone`."""
    row = row_of(name)
    if row.kind == "composed":
        row_options = {key: value for key, value in options.items() if key in row.options()}
        rest = {key: value for key, value in options.items() if key not in row_options}
        body = _encoder(name, row, backbone).build(in_channels=in_channels, **rest)
        return row.build(body, num_classes=num_classes, **row_options)
    if row.head is None:
        return row.build(in_channels=in_channels, num_classes=num_classes, **options)
    body = cast(Backbone, row.build(in_channels=in_channels, **options))
    return Classifier(body, row.head(body.channels[-1], num_classes))


def _encoder(name: str, row: Variant, backbone: str | None) -> Variant:
    chosen = backbone or row.backbone
    if chosen is None:
        raise RecipeError(f"{name} needs a backbone: one of {', '.join(BACKBONES)}")
    return backbone_row_of(chosen)


def _check_value(option: str, value: object, default: object) -> None:
    """Raises RecipeError if an option is not of its default's kind: a count, counts, a switch or a share."""
    if isinstance(default, tuple):
        if not isinstance(value, list | tuple) or len(value) > MOST_ITEMS:
            raise RecipeError(
                f"{option} is {quoted(value)}; it must be a list of at most {MOST_ITEMS} whole numbers, such as "
                f"{list(default)}"
            )
        for item in value:
            _count(f"{option}: one of {quoted(list(value))}", item)
    elif isinstance(default, bool):
        if not isinstance(value, bool):
            raise RecipeError(f"{option} is {quoted(value)}; it must be true or false")
    elif isinstance(default, int):
        _count(option, value, most=MOST_OF.get(option, MOST))
    elif isinstance(default, float) and not (type(value) in (int, float) and 0 <= cast(float, value) <= 1):
        raise RecipeError(f"{option} is {quoted(value)}; it must be a number from 0 to 1")


def _count(what: str, value: object, *, most: int = MOST) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise RecipeError(f"{what} is {quoted(value)}; it must be a whole number of at least 1 and at most {most}")
    return value


def _may_be_larger(value: object, default: object) -> bool:
    """Whether an option of this value may make a network larger than it is by default."""
    if isinstance(value, list | tuple) and isinstance(default, list | tuple):
        return len(value) > len(default) or max(value, default=0) > max(default, default=0)
    if isinstance(value, int | float) and isinstance(default, int | float):
        return value > default
    return value != default


def _require_memory(name: str, assemble: Callable[[], nn.Module]) -> None:
    """Raises RecipeError if the weights would not fit into memory; they are counted without allocating any."""
    try:
        with torch.device("meta"):
            network = assemble()
    except (RuntimeError, ValueError) as error:
        if isinstance(error, UnpoolError):
            raise
        raise RecipeError(f"{name} cannot be built with these options: {shortened(str(error))}") from error
    count = sum(tensor.numel() for tensor in network.state_dict().values())
    needed, free = 4 * count, free_bytes()
    if needed > free:
        raise RecipeError(
            f"{name} with these options has {count:,} weights, {needed / 2**30:,.1f} GiB, and {free / 2**30:,.1f} GiB "
            "of memory are free: lower its width or depth"
        )
