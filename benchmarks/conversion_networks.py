"""The architectures of the table of conversions: drawn by a seed from families of timm that no benchmark names.

A family is a module of timm. Each gives one architecture as long as families last, then a second one, and so on; which
one is drawn. Architectures above a limit of parameters or of values in the outputs of all layers are left out, and
counted.
"""

import importlib
import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.dilation_networks import NETWORKS, drawn
from benchmarks.fold_batch_norm import TIMM
from benchmarks.pairs import BACKBONES
from unpool.tracing.foreign import foreign_code
from unpool.tracing.recorder import record, tensors_of

SEED, COUNT = 20261129, 60
MOST_PARAMETERS, MOST_VALUES = 32_000_000, 40_000_000
SIDES = (96, 128, 160, 192)  # of a classifier that takes other sizes than its published one


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Names of architectures in the order in which they were drawn, and of those left out as too large."""

    names: tuple[str, ...]
    left_out: tuple[str, ...]


def draw(count: int = COUNT) -> Drawing:
    """The first `count` architectures that are small enough, one of each family in turn."""
    names: list[str] = []
    left_out: list[str] = []
    families = _shuffled_families()
    while len(names) < count and families:
        for family in families:
            while len(names) < count and family:
                name = family.pop()
                (names if (fits := is_small(name)) else left_out).append(name)
                if fits:
                    break
        families = [family for family in families if family]
    return Drawing(names=tuple(names), left_out=tuple(left_out))


def family_of(name: str) -> str:
    """The module of timm that defines an architecture."""
    registry: Any = importlib.import_module("timm.models._registry")
    return registry._model_to_module[name]


def named_families() -> set[str]:
    """Families of timm that the other benchmarks name, by timm's name or by that of a network equal to it."""
    names = [*TIMM, *(name.removeprefix("timm/") for name in BACKBONES if name.startswith("timm/"))]
    names += [network.name for network in NETWORKS if network.library == "timm"]
    names += [network.timm for network in NETWORKS if network.timm]
    return {family_of(name) for name in names}


def _shuffled_families() -> list[list[str]]:
    timm: Any = importlib.import_module("timm")
    generator, named = random.Random(SEED), named_families()
    members: dict[str, list[str]] = {}
    for name in sorted(timm.list_models()):
        if family_of(name) not in named:
            members.setdefault(family_of(name), []).append(name)
    families = [members[family] for family in sorted(members)]
    for family in (families, *families):
        generator.shuffle(family)
    return families


def is_small(name: str) -> bool:
    """Whether parameters and values of all layers' outputs are below the limits; false for one that does not run."""
    with foreign_code(), torch.device("meta"):
        network = _create(name)
        if sum(parameter.numel() for parameter in network.parameters()) > MOST_PARAMETERS:
            return False
        calls = record(network, torch.empty(1, *published_size(network)))
        layers = [shape for call in calls if call.is_leaf for shape in call.outputs]
        return sum(torch.Size(shape).numel() for shape in layers) <= MOST_VALUES
    return False


def _create(name: str, **options: Any) -> nn.Module:
    timm: Any = importlib.import_module("timm")
    torch.manual_seed(0)
    return timm.create_model(name, pretrained=False, **options)


def classifier(name: str) -> nn.Module:
    """The architecture in evaluation mode and float64, its weights drawn anew."""
    return drawn(_create(name)).double()


def feature_maps(name: str) -> nn.Module | None:
    """The architecture as a network that returns its maps, drawn anew, in float64; None where timm has no such form."""
    with foreign_code():
        return drawn(_create(name, features_only=True)).double()
    return None


def published_size(network: nn.Module) -> tuple[int, int, int]:
    """(C, H, W) of the images that it was made for."""
    settings: Any = vars(network).get("pretrained_cfg") or {}
    return tuple(settings.get("input_size") or (3, 224, 224))  # pyright: ignore[reportReturnType]


def noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """One image (1, C, H, W), in float64."""
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def takes(network: nn.Module, image: Tensor) -> bool:
    """Whether the network answers the image, with values that are finite."""
    with foreign_code(), torch.no_grad():
        return all(bool(x.isfinite().all()) for x in tensors_of(network(image.clone())))
    return False


def smallest_image(network: nn.Module) -> Tensor:
    """An image of the smallest of SIDES that the network takes, or of its published size."""
    channels, height, width = published_size(network)
    for side in SIDES:
        image = noise((channels, side, side), SEED)
        if side < min(height, width) and takes(network, image):
            return image
    return noise((channels, height, width), SEED)
