"""What a network gets of a plain data set: values and sizes, as a few of its images ask for, and words on them."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from unpool.data.plain import Levels
from unpool.data.plain.sizing import Sizing
from unpool.errors import DataError
from unpool.recipe import Recipe
from unpool.recipe.levels import levels_of
from unpool.recipe.settings import GREY_MEAN, GREY_STD, RGB_MEAN

_WINDOW = [256, 256]
_DISPARITIES = (4, 1024)  # least and most of task.disparities
_LARGEST, _LEAST_RANGE = 1e6, 1e-3  # of data.value_range
_log = logging.getLogger(__name__)


def colours(recipe: Recipe, images: Sequence[Tensor], levels: Levels, *, model: nn.Module | None) -> dict[str, Any]:
    """Channels, mean and deviation: what the network of a caller gets is what the data set gives, where that is float.

    Raises:
        DataError: images have unequal numbers of channels.
    """
    counts = sorted({len(image) for image in images})
    if len(counts) > 1:
        raise DataError(f"images have {' and '.join(map(str, counts))} channels: convert them to one number")
    values: dict[str, Any] = {"data.channels": counts[0], **_usual_colours(recipe, counts[0])}
    if levels.mean:
        values |= {"data.mean": list(levels.mean), "data.std": list(levels.std)}
    elif model is not None and images[0].is_floating_point():
        values |= {"data.mean": counts[0] * [0.0], "data.std": counts[0] * [1.0]}
    else:
        return values
    black, white = levels.black, levels.white
    if white - black >= _LEAST_RANGE and max(abs(black), abs(white)) <= _LARGEST:
        values["data.value_range"] = [black, white]
    return values


def _usual_colours(recipe: Recipe, channels: int) -> dict[str, Any]:
    """Mean and deviation of the recipe for another number of channels than its own."""
    mean, std = recipe.data.mean, recipe.data.std
    if len(mean) == channels:
        return {}
    if mean == RGB_MEAN:  # of other than colours and grey they are counted in the training images
        mean, std = (GREY_MEAN, GREY_STD) if channels == 1 else ((), ())
    else:
        mean, std = channels * mean[:1], channels * std[:1]
    return {"data.mean": list(mean), "data.std": list(std)}


def say_colours(recipe: Recipe, images: Sequence[Tensor]) -> None:
    """Logs which values a data set gives, and which of them the network gets."""
    levels = levels_of(recipe) or Levels()
    kinds = " and ".join(sorted({str(image.dtype).removeprefix("torch.") for image in images}))
    undone = " once the normalisation of the data set is undone" if levels.mean else ""
    ends = f"images are {kinds}, black at {levels.black:g} and white at {levels.white:g}{undone}"
    _log.info("%s; the network gets %s", ends, _gets(recipe, levels))


def _gets(recipe: Recipe, levels: Levels) -> str:
    data = recipe.data
    if data.normalize != "channel":
        return f"them by data.normalize {data.normalize}"
    if not data.mean:
        return "them by the mean and deviation of the training images"
    plain = (len(data.mean) * (0.0,), len(data.mean) * (1.0,))
    is_same = (data.mean, data.std) == ((levels.mean, levels.std) if levels.mean else plain)
    if is_same and data.value_range == (levels.black, levels.white):
        return "the values that the data set gives, rounded to 256 steps from black to white"
    low, high = data.value_range
    least, most = (
        choose((end - mean) / std for mean, std in zip(data.mean, data.std, strict=True))
        for end, choose in ((low, min), (high, max))
    )
    ways = ", ".join(f"data.{key} {list(getattr(data, key))}" for key in ("value_range", "mean", "std"))
    return f"them as {least:.3g} to {most:.3g}, by {ways}"


def sizes(recipe: Recipe, images: Sequence[Tensor], sizing: Sizing) -> dict[str, Any]:
    """The size of the network's input: that of the images where they have one, else the recipe's, or windows."""
    every = _sizes_of(images)
    if recipe.data.size is not None and len(every) == 1:
        takes = recipe.data.rule == "cover" or sizing.rule == "stretch"  # where borders matter, none are cut off
        rule = {"data.rule": sizing.rule} if sizing.rule and takes else {}
        return {"data.size": list(every[0]), "data.crop": sizing.crop if rule else 1.0, **rule}
    if recipe.data.keeps_size and len(every) > 1:
        return {"data.train_size": _window(every), "data.augment": [{"crop": {}}]}
    return {}


def say_sizes(recipe: Recipe, images: Sequence[Tensor], sizing: Sizing) -> None:
    """Logs the size that the network gets; warns where `predict` brings photographs to it in another way."""
    every, data = _sizes_of(images), recipe.data
    shown = " and ".join(f"{width}x{height}" for height, width in every[:: max(1, len(every) - 1)])
    if data.keeps_size:
        _say_of_any_size(recipe, every, sizing, shown=shown)
    elif data.size is None:
        _log.info("images are %s: data.shorter %s and data.longest %s resize each", shown, data.shorter, data.longest)
    elif every != [data.size]:
        several = "of several sizes, such as " if len(every) > 1 else ""
        _log.info(f"images are {several}{shown}: data.rule {data.rule} makes each {data.size[1]}x{data.size[0]}")
    elif sizing.rule is not None and (sizing.rule, sizing.crop) == (
        data.rule,
        data.crop if data.rule == "cover" else 1.0,
    ):
        _log.info("images are %s and stay so; predict brings photographs to it as %s does", shown, sizing.steps)
    else:
        rule = f"data.rule {data.rule}{f' and data.crop {data.crop:g}' if data.rule == 'cover' else ''}"
        if not sizing.steps:
            _log.info("images are %s and stay so; predict brings photographs of other sizes to it by %s", shown, rule)
            return
        _log.warning(
            "images are %s by the transforms of val, %s, and predict brings photographs to it by %s: its answers are "
            "not those on images of the data set. Apply the transforms and give load(RUN)(...) the tensors",
            *(shown, sizing.steps, rule),
        )


def _say_of_any_size(recipe: Recipe, every: Sequence[tuple[int, int]], sizing: Sizing, *, shown: str) -> None:
    if len(every) > 1 and recipe.data.train_size is not None:
        window = recipe.data.train_size
        _log.info("images have several sizes, such as %s: windows of %dx%d are trained on", shown, *window)
    if sizing.steps:
        _log.warning(
            "images are %s by the transforms of val, %s, and predict shows the network photographs as they are: set "
            "data.size to bring them to a size too",
            *(shown, sizing.steps),
        )


def _sizes_of(images: Sequence[Tensor]) -> list[tuple[int, int]]:
    return sorted({(image.shape[-2], image.shape[-1]) for image in images})


def _window(every: Sequence[tuple[int, int]]) -> list[int]:
    smallest = min(map(min, every))
    return [min(side, smallest) for side in _WINDOW]


def enough_disparities(looked: Iterable[Mapping[str, Any]]) -> int:
    """How many disparities tell apart those of a few samples, with a quarter of room above.

    Example:
        >>> enough_disparities([{"disparity": [[3.0, float("nan"), 16.0]]}])
        21
    """
    return min(max(math.ceil(1.25 * _most(looked)) + 1, _DISPARITIES[0]), _DISPARITIES[1])


def say_disparities(count: int, looked: Iterable[Mapping[str, Any]]) -> None:
    """Logs how many are told apart."""
    reach = "disparities reach %.4g pixels in the samples looked at: task.disparities is %d"
    _log.info(reach, _most(looked), count)


def _most(looked: Iterable[Mapping[str, Any]]) -> float:
    """The largest known disparity of some samples; 0 where none is known."""
    arrays = [np.asarray(one["disparity"], dtype=np.float64) for one in looked]
    return max((float(array.max(where=np.isfinite(array), initial=0.0)) for array in arrays), default=0.0)
