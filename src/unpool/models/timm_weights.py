"""Loads the weights that timm publishes, through its own cache, and reads their configuration.

Most files are in the cache of Hugging Face's client, which names a file by its sha256 and does not check it again; the
others are in torch's cache, under names that contain the hash. Both are checked here.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from unpool.errors import EnvironmentFault, RecipeError
from unpool.models.download import FAULTS, cached_file, expected_hash, refuse_damaged
from unpool.models.timm_backbone import PREFIX, classifier_row
from unpool.tracing.foreign import first_line


class TimmConfig(NamedTuple):
    """timm's configuration of a published network.

    Attributes:
        classes: names by index; empty where timm has none.
        mean, std: per channel, on the range 0..1, of the images that timm tests it on.
        size_hw: size of these images.
        crop: share of an image that the test keeps.
        source: timm's name of network and weights.
        synsets: WordNet numbers by index; empty where timm has none.
    """

    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size_hw: tuple[int, int]
    crop: float
    source: str
    synsets: tuple[str, ...] = ()


def published(name: str) -> dict[str, Tensor]:
    """Returns the weights that timm publishes for a classifier, under timm's names; downloads them if not cached.

    Args:
        name: "timm/" and timm's name of the network.

    Raises:
        EnvironmentFault: they cannot be downloaded, or the downloaded or cached file has another sha256.
        RecipeError: there is no such network, or timm publishes no weights for it.
    """
    config = _config(name)
    if not config.has_weights:
        raise RecipeError(f"timm publishes no weights for {name}; leave weights out, or give a file")
    import huggingface_hub
    import timm

    _refuse_damaged(config)
    try:
        weights = timm.create_model(name.removeprefix(PREFIX), pretrained=True).state_dict()
    # a failed download raises any of these, depending on the server; the last are those of Hugging Face's client
    except (RuntimeError, *FAULTS, *huggingface_hub.errors.HfHubHTTPError.__bases__) as error:
        raise EnvironmentFault(
            f"timm cannot download the weights of {name} ({first_line(error)}): connect to the network, or "
            "give a file of your own: weights=FILE.safetensors"
        ) from error
    _refuse_damaged(config)
    return weights


def _refuse_damaged(config: Any) -> None:
    for file, expected in _cached_files(config):
        refuse_damaged(file, expected, source=config.hf_hub_id or config.url)


def _cached_files(config: Any) -> Iterator[tuple[Path, str]]:
    """Each cached file of a network's weights, with the first digits of its sha256."""
    import huggingface_hub

    if config.hf_hub_id:
        folder = Path(huggingface_hub.constants.HF_HUB_CACHE) / f"models--{config.hf_hub_id.replace('/', '--')}"
        for file in sorted(folder.glob("snapshots/*/*")):
            if re.fullmatch(r"[0-9a-f]{64}", file.resolve().name):  # the others are small and have a hash of git's
                yield file, file.resolve().name
    elif cached_file(config.url).is_file():
        yield cached_file(config.url), expected_hash(config.url)


def read_config(name: str) -> TimmConfig:
    """Returns timm's configuration of a published network; downloads nothing.

    Raises:
        RecipeError: there is no such network, or timm publishes no weights for it.
        EnvironmentFault: timm is not installed.
    """
    config = _config(name)
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset(config)
    info = ImageNetInfo(subset) if subset else None
    classes = () if info is None else tuple(info.index_to_description(i) for i in range(config.num_classes))
    _, height, width = config.input_size
    source = f"timm {config.architecture}.{config.tag}"
    synsets = () if info is None else tuple(info.index_to_label_name(i) for i in range(config.num_classes))
    return TimmConfig(classes, tuple(config.mean), tuple(config.std), (height, width), config.crop_pct, source, synsets)


def synsets_of_imagenet() -> tuple[str, ...]:
    """Returns the WordNet numbers of ImageNet's 1000 classes in their usual order; empty where timm is missing."""
    try:
        from timm.data.imagenet_info import ImageNetInfo
    except ImportError:
        return ()
    info = ImageNetInfo("imagenet-1k")
    return tuple(info.index_to_label_name(i) for i in range(1000))


def _config(name: str) -> Any:
    classifier_row(name)  # raises if the name is wrong or timm is missing
    import timm

    config = timm.get_pretrained_cfg(name.removeprefix(PREFIX))
    if config is None:
        raise RecipeError(f"timm publishes no weights for {name}; leave weights out, or give a file")
    return config
