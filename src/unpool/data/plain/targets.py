"""Targets of a data set as a reader gives them, by the batch key that a task needs."""

import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unpool.data.plain.levels import Levels, image_of
from unpool.errors import DataError, quoted
from unpool.types import IGNORE, DataInfo, Sample

TORCH_IGNORED = -100  # the default ignore_index of torch's losses


class Setting(NamedTuple):
    """What is known of the whole set."""

    info: DataInfo
    levels: Levels


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
    return {key: torch.tensor(operator.index(value))}


def _mask(key: str, value: Any, _: Setting) -> Sample:
    if isinstance(value, Image.Image):
        if value.mode not in ("1", "L", "P", "I", "I;16"):
            raise DataError(
                f"mask is a picture of mode {value.mode}: give the number of a class for each pixel, as modes L and P "
                "hold it, or an array"
            )
        value = np.array(value)
    mask = torch.as_tensor(value)
    if mask.dim() == 3 and mask.shape[0] == 1:
        mask = mask[0]
    if mask.dim() != 2:
        raise DataError(f"mask is {tuple(mask.shape)}: give (H, W), the number of a class for each pixel")
    if mask.is_floating_point():
        low, high = (float(end) for end in mask.aminmax())
        raise DataError(
            f"mask is {mask.dtype} from {low:.6g} to {high:.6g}: give whole numbers of classes; ToTensor divides them "
            "by 255, so use torch.as_tensor(np.array(mask))"
        )
    mask = torch.where(mask == TORCH_IGNORED, IGNORE, mask.long())
    low, high = (int(end) for end in mask.aminmax())
    if low < 0 or high > IGNORE:
        raise DataError(f"mask holds {low} to {high}; classes are 0 to {IGNORE - 1}, and {IGNORE} is no label")
    return {key: mask.to(torch.uint8)}


def _clean(key: str, value: Any, setting: Setting) -> Sample:
    return {key: setting.levels.to_uint8(image_of(value))}


def _keypoints(key: str, value: Any, setting: Setting) -> Sample:
    points, visible = _points(value, len(setting.info.keypoints), axes=2)
    return {key: points.masked_fill(~visible[:, None], 0.0), "visible": visible}


def _people(key: str, value: Any, setting: Setting) -> Sample:
    count = len(setting.info.keypoints)
    if isinstance(value, list | tuple) and not value:
        return {key: torch.empty(0, count, 2)}
    points, visible = _points(value, count, axes=3)
    return {key: points.masked_fill(~visible[..., None], torch.nan)}


def _points(value: Any, count: int, *, axes: int) -> tuple[Tensor, Tensor]:
    """(..., K, 2) float32, and (..., K) whether each is known: by a third number, and by being no NaN."""
    points = torch.as_tensor(np.asarray(value, np.float32))
    whole = f"{'(people, ' if axes == 3 else '('}{count}, 2)"
    if points.dim() != axes or points.shape[-2] != count or points.shape[-1] not in (2, 3):
        raise DataError(
            f"joints are {tuple(points.shape)}: expected {whole} of x and y in pixels, or a third number that is above "
            "0 where the joint is visible"
        )
    visible = ~points[..., :2].isnan().any(-1)
    if points.shape[-1] == 3:
        visible &= points[..., 2] > 0
    return points[..., :2].contiguous(), visible


def _other(key: str, value: Any, _: Setting) -> Sample:
    return {key: torch.as_tensor(value)}


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")


TARGETS: Mapping[str, Callable[[str, Any, Setting], Sample]] = {
    "label": _label,
    "mask": _mask,
    "clean": _clean,
    "keypoints": _keypoints,
    "people": _people,
}
