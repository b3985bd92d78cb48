"""The weights that timm publishes, through its own cache, and what it says about them."""

from typing import Any, NamedTuple

from torch import Tensor

from unpool.errors import EnvironmentFault, RecipeError
from unpool.models.timm_backbone import PREFIX, classifier_row


class Told(NamedTuple):
    """What timm says about a published network.

    Attributes:
        classes: names by index; empty where timm does not know them.
        mean, std: per channel, on the range 0..1, of the images that it was tested on.
        size_hw: of these images.
        crop: share of an image that the test keeps.
        source: timm's name of network and weights.
    """

    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size_hw: tuple[int, int]
    crop: float
    source: str


def published(name: str) -> dict[str, Tensor]:
    """The weights that timm publishes for its classifier, by the names they have there.

    Args:
        name: timm's, with "timm/" before it.

    Raises:
        EnvironmentFault: they cannot be downloaded.
        RecipeError: there are none, or no such network.
    """
    config = _config(name)
    if not config.has_weights:
        raise RecipeError(f"timm publishes no weights for {name}; leave weights out, or give a file")
    import timm

    try:
        return timm.create_model(name.removeprefix(PREFIX), pretrained=True).state_dict()
    except (OSError, RuntimeError) as error:  # a failed download is either, by the place that timm loads from
        raise EnvironmentFault(
            f"timm cannot download the weights of {name} ({str(error).splitlines()[0]}): connect to the network, or "
            "give a file of your own: weights=FILE.safetensors"
        ) from error


def told(name: str) -> Told:
    """What timm says about the network; nothing is downloaded. Raises RecipeError where there is none."""
    config = _config(name)
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset(config)
    info = ImageNetInfo(subset) if subset else None
    classes = () if info is None else tuple(info.index_to_description(i) for i in range(config.num_classes))
    _, height, width = config.input_size
    source = f"timm {config.architecture}.{config.tag}"
    return Told(classes, tuple(config.mean), tuple(config.std), (height, width), config.crop_pct, source)


def _config(name: str) -> Any:
    classifier_row(name)  # says what is wrong with the name, or that timm is missing
    import timm

    config = timm.get_pretrained_cfg(name.removeprefix(PREFIX))
    if config is None:
        raise RecipeError(f"timm publishes no weights for {name}; leave weights out, or give a file")
    return config
