"""Targets of a data set as a reader gives them, by the batch key that a task needs."""

import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unpool.data.plain.levels import Levels, image_of, in_order
from unpool.errors import DataError, quoted
from unpool.ops.words import as_bytes, is_text, words_of
from unpool.types import IGNORE, DataInfo, Sample

TORCH_IGNORED = -100  # the default ignore_index of torch's losses


class Setting(NamedTuple):
    """What is known of the whole set.

    Attributes:
        info: names of the classes or joints.
        levels: of the images.
        numbers: of each class that the set numbers, its number in `info`; empty where they are the same.
    """

    info: DataInfo
    levels: Levels
    numbers: Mapping[int, int] = MappingProxyType({})


def target_of(key: str, value: Any, setting: Setting) -> Sample:
    """The values under `key`, and under those that go with it, such as `visible` with `keypoints`.

    Raises:
        DataError: the value is not of the kind that the key needs.
    """
    return TARGETS.get(key, _other)(key, value, setting)


def _label(key: str, value: Any, setting: Setting) -> Sample:
    if isinstance(value, str):
        if value not in setting.info.classes:
            raise DataError(f"label is {quoted(value)}, which is none of the classes: {_some(setting.info.classes)}")
        return {key: torch.tensor(setting.info.classes.index(value))}
    if isinstance(value, Tensor | np.ndarray):
        if np.asarray(value).size != 1:
            raise DataError(
                f"label has the shape {tuple(value.shape)}: give the number of one class; of one-hot values, "
                "int(target.argmax())"
            )
        value = value.item()
    if isinstance(value, float) or not hasattr(value, "__index__"):
        raise DataError(f"label is {quoted(value)}: give the number of its class, from 0 on, as an int")
    number = operator.index(value)
    if setting.numbers and number not in setting.numbers:
        raise DataError(f"label is {number}, and the data set names {len(setting.numbers)} classes")
    return {key: torch.tensor(setting.numbers[number] if setting.numbers else number)}


def _mask(key: str, value: Any, setting: Setting) -> Sample:
    if isinstance(value, Image.Image):
        if value.mode not in ("1", "L", "P", "I", "I;16"):
            raise DataError(
                f"mask is a picture of mode {value.mode}: give the number of a class for each pixel, as modes L and P "
                "hold it, or an array"
            )
        value = np.array(value)
    mask = numbers_in(value, "mask")
    if mask.dim() == 3 and mask.shape[0] == 1:
        mask = mask[0]
    if mask.dim() != 2 or not mask.numel():
        raise DataError(f"mask is {tuple(mask.shape)}: give (H, W), the number of a class for each pixel")
    if mask.is_floating_point():
        low, high = (float(end) for end in mask.aminmax())
        raise DataError(
            f"mask is {mask.dtype} from {low:.6g} to {high:.6g}: give whole numbers of classes; ToTensor divides them "
            "by 255, so use torch.as_tensor(np.array(mask))"
        )
    mask = mask.long()  # torch compares no -100 with bytes, in which it is 156
    mask = torch.where(mask == TORCH_IGNORED, IGNORE, mask)
    low, high = (int(end) for end in mask.aminmax())
    if low < 0 or high > IGNORE:
        raise DataError(f"mask holds {low} to {high}; classes are 0 to {IGNORE - 1}, and {IGNORE} is no label")
    return {key: _renumbered(mask, setting.numbers).to(torch.uint8)}


def numbers_in(value: Any, name: str) -> Tensor:
    """A copy of the numbers of a target of any kind; raises DataError where it holds others, by its name.

    >>> numbers_in([1, 2], "labels")
    tensor([1, 2])
    """
    if isinstance(value, Tensor):
        # one of torchvision's kinds keeps it through some operations and not others
        return value.detach().as_subclass(Tensor).clone()
    try:
        return torch.as_tensor(in_order(np.asanyarray(value)))
    except DataError:
        raise
    except (TypeError, ValueError):  # of what is no array of numbers
        raise DataError(f"{name} is {quoted(value)}: give an array or a tensor of numbers") from None


def _renumbered(mask: Tensor, numbers: Mapping[int, int]) -> Tensor:
    if not numbers:
        return mask
    is_class = mask != IGNORE
    if (highest := int(mask.where(is_class, 0).max())) >= len(numbers):
        raise DataError(f"mask holds {highest}, and the data set names {len(numbers)} classes")
    return torch.tensor(list(numbers.values()))[mask.where(is_class, 0)].where(is_class, IGNORE)


def _clean(key: str, value: Any, setting: Setting) -> Sample:
    return {key: setting.levels.to_uint8(image_of(value))}


def _keypoints(key: str, value: Any, setting: Setting) -> Sample:
    points, visible = _points(value, len(setting.info.keypoints), axes=2)
    return {key: points.masked_fill(~visible[:, None], 0.0), "visible": visible}


def visibility(value: Any, count: int) -> Tensor:
    """(K,) bool of the `visible` of a sample, whose numbers above 0 are visible joints.

    Raises:
        DataError: it is no such list.
    """
    values = np.asarray(value)
    if values.dtype.kind not in "buif" or values.shape != (count,):
        raise DataError(
            f"visible is {quoted(value)}: give {count} numbers, above 0 where the joint is visible; a sample is "
            "(image, keypoints, visible), or a dict of these"
        )
    return torch.as_tensor(values > 0)


def _people(key: str, value: Any, setting: Setting) -> Sample:
    count = len(setting.info.keypoints)
    if isinstance(value, list | tuple) and not value:
        return {key: torch.empty(0, count, 2)}
    points, visible = _points(value, count, axes=3)
    return {key: points.masked_fill(~visible[..., None], torch.nan)}


def _points(value: Any, count: int, *, axes: int) -> tuple[Tensor, Tensor]:
    """(..., K, 2) float32, and (..., K) whether each is known: by a third number, and by being no NaN."""
    points = numbers_in(value, "joints").float()
    whole = f"{'(people, ' if axes == 3 else '('}{count}, 2)"
    if points.dim() != axes or points.shape[-2] != count or points.shape[-1] not in (2, 3):
        raise DataError(
            f"joints are {tuple(points.shape)}: expected {whole} of x and y in pixels, or a third number that is above "
            "0 where the joint is visible"
        )
    visible = ~points[..., :2].isnan().any(-1)
    if points.shape[-1] == 3:
        visible &= points[..., 2] > 0
    if points[..., :2][visible].isinf().any():
        raise DataError("joints hold infinity: give numbers of pixels, and NaN where a joint is not known")
    return points[..., :2].contiguous(), visible


def _captions(key: str, value: Any, setting: Setting) -> Sample:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not texts or not all(isinstance(text, str) for text in texts):
        raise DataError(f"captions is {quoted(value)}: give one text, or a list of texts")
    lines = [" ".join(text.split()) for text in texts]
    if empty := [text for text in lines if not words_of(text) or not is_text(text)]:
        raise DataError(f"captions has {quoted(empty[0])}, which has no word, or half of a character: correct it")
    return {key: as_bytes(lines)}


def _text(key: str, value: Any, setting: Setting) -> Sample:
    if not isinstance(value, str):
        raise DataError(f"text is {quoted(value)}: give what the image says, as a str")
    numbers = {character: number for number, character in enumerate(setting.info.classes)}
    if outside := [character for character in value if character not in numbers]:
        raise DataError(f"text is {quoted(value)}, of which {quoted(outside[0])} is none of the classes")
    return {key: torch.tensor([numbers[character] for character in value], dtype=torch.int64)}


def _other(key: str, value: Any, _: Setting) -> Sample:
    return {key: numbers_in(value, key) if isinstance(value, Tensor | np.ndarray) else torch.as_tensor(value)}


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")


TARGETS: Mapping[str, Callable[[str, Any, Setting], Sample]] = {
    "label": _label,
    "identity": _label,
    "mask": _mask,
    "clean": _clean,
    "keypoints": _keypoints,
    "people": _people,
    "captions": _captions,
    "text": _text,
}
